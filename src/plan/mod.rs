//! Decides what to do now. Pure: no clock, no I/O, no randomness.
//!
//! [`plan`] looks at what should be, what was seen and what is remembered, and says which [`Action`]s may run now
//! (those in different lanes side by side) and what everything else waits for. It is computed anew after every
//! action, so a crash at any point needs no recovery of its own. [`forecast`] plays the same decisions forward in
//! an ideal world, which is how `evenkeel plan` can show every step before the first is taken.

pub mod ask;
mod asked;
pub mod collect;
mod connected;
pub mod container;
mod deadline;
mod disk;
mod drain;
pub mod ec2;
pub mod facts;
pub mod fleet;
pub mod forecast;
pub mod gone;
pub mod imagine;
pub mod intent;
mod job;
mod lag;
pub mod lineup;
pub mod migration;
pub mod node;
pub mod notices;
pub mod opsworks;
mod permit;
pub mod progress;
pub mod releases;
pub mod render;
mod resolve;
pub mod rollout;
pub mod scaling;
mod secrets;
pub mod slot;
mod soak;
mod standing;
mod start_first;
pub mod strategy;
mod subject;
mod surge;
mod tags;
pub mod traffic;
mod verdict;
mod view;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

pub use facts::{Facts, Failure, Released};
pub use intent::Intent;
pub use job::{JobRun, Jobs};
pub use lag::Done;
pub use notices::Told;
pub use progress::Progress;
pub use strategy::{Replacement, Strategy};

use crate::{
    action::{Action, EngineAction},
    spec::Desired,
    status::{Condition, Hold, JobStatus, Kind, ScalingStatus},
    world::{Class, Observed, Rest, Trouble},
};

/// How long after a create was sent an absent thing may still appear.
///
/// OpsWorks takes no client token, so a create whose answer was lost is looked for, for this long, before it is
/// sent again.
pub const INTENT_GRACE: std::time::Duration = std::time::Duration::from_secs(30);

/// How long something must stay away before it is made, or made again: one read that misses it proves nothing.
pub const GONE_GRACE: std::time::Duration = std::time::Duration::from_secs(10);

/// What to do now, and what is waited for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    /// What may be done now; of one lane, the first.
    pub actions: Vec<Action>,
    /// What is waited for.
    pub holds: Vec<Hold>,
    /// What a person should know.
    pub conditions: Vec<Condition>,
    /// Which way each container goes that runs and is to be replaced, and why.
    pub replacements: Vec<Replacement>,
    /// How each job is that is run by the clock.
    #[serde(skip)]
    pub jobs: Vec<JobStatus>,
    /// How many instances each layer is to have whose number is not fixed, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scaling: Vec<ScalingStatus>,
    /// When something is to be begun or ended by the clock next; nothing is waited for until then.
    #[serde(skip)]
    pub wake: Option<Timestamp>,
    /// The layers whose containers wait for a listener that is to send requests to another port of theirs.
    #[serde(skip)]
    pub torn: BTreeSet<String>,
    /// How far the rollout of each layer is that has one under way.
    #[serde(skip)]
    pub progress: BTreeMap<String, Progress>,
    /// When something is due again that nothing waits for.
    #[serde(skip)]
    pub next: Option<Timestamp>,
    /// The keys of all actions that are wanted now, those held back after a failure or for an intent included.
    #[serde(skip)]
    pub wanted: BTreeSet<String>,
}

impl Plan {
    /// True when the world is as declared, as far as it can be.
    pub fn is_done(&self) -> bool {
        self.actions.is_empty() && self.holds.is_empty()
    }

    fn hold(&mut self, subject: impl Into<String>, on: impl Into<String>, until: Option<Timestamp>) {
        self.holds.push(Hold { subject: subject.into(), on: on.into(), until });
    }

    /// Has the stack looked at again at a time that is to come.
    fn wake(&mut self, at: Option<Timestamp>, now: Timestamp) {
        self.wake = self.wake.into_iter().chain(at.filter(|at| *at > now)).min();
    }

    fn condition(&mut self, kind: Kind, subject: impl Into<String>, message: impl Into<String>) {
        self.conditions.push(Condition { kind, subject: subject.into(), message: message.into() });
    }

    fn unobservable(&mut self, subject: &str, trouble: &Trouble) {
        self.condition(Kind::Unobservable, subject, &trouble.message);
        self.hold(subject, "a clear answer", None);
    }

    /// Plans to make something that is not there, unless it was there a moment ago, or may have been.
    fn make(&mut self, subject: &str, what: &str, action: Action, facts: &Facts, now: Timestamp) {
        if let Some(doubt) = facts.doubt(what, now) {
            return self.hold(subject, doubt.on, doubt.until);
        }
        self.attempt(subject, action, facts, now);
    }

    /// Plans an action, unless it failed a moment ago or may already be on its way.
    fn attempt(&mut self, subject: &str, action: Action, facts: &Facts, now: Timestamp) {
        let key = action.key();
        let intent = action.intent();
        self.wanted.insert(key.clone());
        self.wanted.extend(intent.clone());
        if let Some(failure) = facts.failures.get(&key) {
            self.condition(Kind::ActionFailed, subject, failure_message(&key, failure));
            if failure.retry_at > now {
                // Time alone does not mend what is terminal, though it is tried again now and then.
                let until = Some(failure.retry_at).filter(|_| failure.trouble.class != Class::Terminal);
                self.hold(subject, format!("another try to {key}"), until);
                return;
            }
        }
        if let Some(before) = intent.and_then(|intent| facts.intents.get(&intent))
            && before.token.as_deref() == action.token()
        {
            let until = before.sent + INTENT_GRACE;
            if until > now {
                let on = format!("the outcome of “{key}”, which was sent at {}", before.sent.strftime("%H:%M:%S"));
                self.hold(subject, on, Some(until));
                return;
            }
        }
        if let Some(until) = facts.may_show_until(&key, now) {
            return self.hold(subject, format!("it to show that it was done: {key}"), Some(until));
        }
        self.actions.push(action);
    }
}

fn failure_message(key: &str, failure: &Failure) -> String {
    let again = match failure.trouble.class {
        Class::Terminal => "not tried again before",
        _ => "tried again at",
    };
    format!(
        "{key} failed{}: {} ({again} {})",
        if failure.times > 1 { format!(" {} times", failure.times) } else { String::new() },
        failure.trouble.message,
        failure.retry_at.strftime("%H:%M:%S"),
    )
}

/// What is known of AWS is old: nothing there is changed, and nothing that runs is stopped. Containers that died or
/// were removed still come back.
fn look_after_engines_only(plan: &mut Plan, trouble: &Trouble) {
    plan.unobservable("AWS", trouble);
    plan.actions.retain(|action| match action {
        Action::Engine { what, .. } => !matches!(what, EngineAction::Stop { .. }),
        Action::NoteJob { .. } | Action::Deliver { .. } => true,
        _ => false,
    });
}

/// The decision. See the module.
pub fn plan(desired: &Desired, seen: &Observed, facts: &Facts, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    // From here on a layer that is scaled has the number of instances that it is to have now.
    let sized = scaling::sized(desired, seen, facts);
    let desired = &*sized;
    match &seen.provided.rest {
        Rest::OpsWorks(cloud) => opsworks::plan(&mut plan, desired, cloud, seen, facts, now),
        Rest::Ec2(cloud) => ec2::plan(&mut plan, desired, cloud, seen, facts, now),
    }
    wish::forget_undeclared(&mut plan, desired, facts, now);
    job::forget_undeclared(&mut plan, desired, facts, now);
    for layer in &desired.stack.layers {
        rollout::plan(&mut plan, desired, layer, seen, facts, now);
    }
    scaling::plan(&mut plan, desired, seen, facts, now);
    notices::deliver(&mut plan, desired, seen, facts, now);
    if let Rest::Ec2(cloud) = &seen.provided.rest {
        ec2::balancers::plan(&mut plan, desired, cloud, seen, facts, now);
    }
    if let Some(trouble) = &seen.stale {
        look_after_engines_only(&mut plan, trouble);
    }
    if desired.stack.suspend {
        plan.actions.clear();
        plan.condition(
            Kind::Suspended,
            "stack",
            "suspend: true is set; nothing is changed until it is taken out of the manifest",
        );
        plan.holds.clear();
    }
    // What a job and a service both need is done once.
    let mut keys = BTreeSet::new();
    plan.actions.retain(|action| keys.insert(action.key()));
    let mut told = Vec::new();
    plan.holds.retain(|hold| {
        let new = !told.contains(hold);
        told.push(hold.clone());
        new
    });
    plan.conditions.sort();
    plan.conditions.dedup();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Access, Node, StopHow};

    #[test]
    fn while_what_is_known_of_aws_is_old_nothing_is_changed_there_and_nothing_is_stopped() {
        let on = |what| Action::Engine {
            node: Node {
                hostname: "docker1".into(),
                endpoint: "192.0.2.1:2376".into(),
                access: Access::Tls { name: None },
            },
            what,
        };
        let (id, name) = ("1".to_owned(), "web0".to_owned());
        let start = on(EngineAction::Start { id: id.clone(), name: name.clone() });
        let stop = StopHow { signal: None, timeout: std::time::Duration::from_secs(1) };
        let stop = on(EngineAction::Stop { id, name, stop, guard: None });
        let cloud = Action::StopInstance { id: "2".into(), ec2_id: None, hostname: "docker2".into(), drained: true };
        let mut plan = Plan { actions: vec![cloud, stop, start.clone()], ..Plan::default() };
        look_after_engines_only(&mut plan, &Trouble { class: Class::Transient, message: "no answer".into() });
        assert_eq!(plan.actions, [start]);
        assert_eq!(plan.conditions[0].kind, Kind::Unobservable);
        assert!(!plan.is_done());
    }
}
