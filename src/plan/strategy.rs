//! Which way a container is replaced, and why: decided here for the rollout, and shown before it begins.

use std::fmt;

use serde::Serialize;

use super::{
    node::{Look, Need},
    view::{Desk, View},
};
use crate::{action::EngineAction, spec::container::Way};

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
    /// The new one is up before the old one is stopped.
    StartFirst,
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
            Strategy::StartFirst => "start first",
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
        // What is left for a container that failed, or cannot be kept, is the way of all others.
        if look.is_some_and(|look| look.start_first && !matches!(look.need, Need::Swap(EngineAction::Stop { .. }))) {
            return Strategy::StartFirst;
        }
        if !serves {
            return Strategy::NoDrain;
        }
        let declared = look.and_then(|look| look.slot.container.strategy);
        if self.rollout.surge && declared != Some(Way::InPlace) {
            return Strategy::Surge;
        }
        if self.layer.instances.count > self.rollout.min_in_service && declared != Some(Way::InPlace) {
            return Strategy::Drain;
        }
        if declared == Some(Way::Drain) && look.is_some_and(|look| !look.slot.container.allow_downtime) {
            return Strategy::Refused;
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
        let declared = |way: Way| look.slot.container.strategy == Some(way);
        match strategy {
            Strategy::StartFirst if declared(Way::StartFirst) => "strategy: startFirst is declared".into(),
            Strategy::StartFirst => {
                format!("{serves}; two of it do not collide, so the new one is up before the old one is stopped")
            }
            Strategy::Drain if declared(Way::Drain) => "strategy: drain is declared".into(),
            Strategy::InPlace if declared(Way::InPlace) => "strategy: inPlace is declared".into(),
            Strategy::Refused if declared(Way::Drain) => format!("strategy: drain is declared, but {few}"),
            Strategy::Refused if declared(Way::InPlace) => {
                "strategy: inPlace is declared, and it is the only replica; allowDowntime: true would allow it".into()
            }
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
