//! Which way a container is replaced, and why: decided here for the rollout, and shown before it begins.

use std::fmt;

use serde::Serialize;

use super::{
    node::{Look, Need},
    view::{Desk, View},
};

/// How a container that runs is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// Its instance leaves its load balancers first.
    Drain,
    /// The same, once one instance more than declared is in service.
    Surge,
    /// Its instance stays in; replicas are swapped one at a time.
    InPlace,
    /// It serves nobody: nothing has to be drained.
    NoDrain,
    /// It would interrupt what nobody allowed to be interrupted.
    Refused,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::Drain => "drain",
            Strategy::Surge => "surge",
            Strategy::InPlace => "in place, replica by replica",
            Strategy::NoDrain => "no drain",
            Strategy::Refused => "refused",
        })
    }
}

/// One container that is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replacement {
    /// Its name on the engine.
    pub container: String,
    /// The instances that it is replaced on.
    pub instances: Vec<String>,
    /// How.
    pub strategy: Strategy,
    /// Why so.
    pub why: String,
}

impl fmt::Display for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: {} ({})", self.container, self.instances.join(", "), self.strategy, self.why)
    }
}

impl Desk<'_> {
    /// The way for a container that serves, or does not; `look` is missing for one that is not declared any more.
    pub(super) fn strategy(&self, view: &View<'_>, serves: bool, look: Option<&Look<'_>>) -> Strategy {
        if !serves {
            return Strategy::NoDrain;
        }
        if self.rollout.surge {
            return Strategy::Surge;
        }
        if self.layer.instances.count > self.rollout.min_in_service {
            return Strategy::Drain;
        }
        let is_lone = |look: &Look<'_>| look.up && !view.looks.iter().any(|other| other.is_sibling(look));
        match look {
            Some(look) if is_lone(look) && !look.slot.container.allow_downtime => Strategy::Refused,
            _ => Strategy::InPlace,
        }
    }

    /// The containers that run and are to be replaced. `reasons`: why a slot serves, by its name.
    pub(super) fn replacements(&self, views: &[View<'_>], reasons: &[Option<String>]) -> Vec<Replacement> {
        let mut all: Vec<Replacement> = Vec::new();
        for view in views {
            for (look, reason) in view.looks.iter().zip(reasons) {
                if !(look.replaced || matches!(look.need, Need::Swap(_))) {
                    continue;
                }
                let strategy = self.strategy(view, look.serves, Some(look));
                let (container, why) = (look.slot.name.clone(), self.why(look, strategy, reason.as_deref()));
                let same = |other: &&mut Replacement| {
                    other.container == container && other.strategy == strategy && other.why == why
                };
                match all.iter_mut().find(same) {
                    Some(other) => other.instances.push(view.hostname().to_owned()),
                    None => {
                        all.push(Replacement { container, instances: vec![view.hostname().to_owned()], strategy, why })
                    }
                }
            }
        }
        all
    }

    fn why(&self, look: &Look<'_>, strategy: Strategy, reason: Option<&str>) -> String {
        let (count, keep) = (self.layer.instances.count, self.rollout.min_in_service);
        let serves = reason.unwrap_or("it serves traffic");
        let few = format!("{serves}; without its instance fewer than minInService ({keep}) of {count} would serve");
        match strategy {
            Strategy::NoDrain if look.slot.container.traffic == Some(false) => "traffic: false is declared".into(),
            Strategy::NoDrain => "it serves nobody".into(),
            Strategy::Drain => format!("{serves}; {keep} of {count} instances must stay in service (minInService)"),
            Strategy::Surge => format!("{serves}; one instance more comes up first, so that {count} go on serving"),
            Strategy::InPlace if look.slot.container.allow_downtime => format!("{few}; allowDowntime: true"),
            Strategy::InPlace => few,
            Strategy::Refused => format!("{few}, and it is the only replica; allowDowntime: true would allow it"),
        }
    }
}
