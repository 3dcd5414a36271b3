//! What was done a moment ago, well or not, and does not show yet.
//!
//! AWS tells of a change some time after it was made ("Eventual consistency in the Amazon EC2 API", EC2 developer guide): what
//! it was asked for a moment ago it is not asked for again on the strength of a look that may be of the past.

use std::time::Duration;

use jiff::Timestamp;

use super::{Facts, Failure, subject};
use crate::{
    action::{Action, EngineAction, Lane},
    world::{Class, Trouble},
};

/// From the first time to the second; each further one takes twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);

/// An action that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// When it last did.
    at: Timestamp,
    /// How often it did, without anything to be seen of it.
    times: u32,
}

impl Done {
    /// Until when it may not show yet.
    fn until(self) -> Timestamp {
        let doublings = self.times.saturating_sub(1).min(8);
        self.at + FIRST.saturating_mul(1 << doublings).min(LONGEST)
    }
}

impl Facts {
    /// An action went well.
    pub fn succeeded(&mut self, action: &Action, now: Timestamp) {
        let key = action.key();
        self.failures.remove(&key);
        self.may_be_there(action);
        match action {
            Action::Engine { node, what: EngineAction::RemoveImage { .. } } => self.made_room(&node.hostname),
            Action::Register { hostname, .. } => {
                // A look of the past that tells of the drain before tells nothing of how long the next one takes.
                self.draining_since.remove(hostname);
                self.out_since.remove(hostname);
                self.may_show_late(key, now);
            }
            Action::Deregister { .. } => self.may_show_late(key, now),
            action if matches!(action.lane(), Lane::Cloud | Lane::Balancer(_)) => self.may_show_late(key, now),
            // An engine tells what is.
            _ => {}
        }
    }

    /// An action went wrong, and is tried again then.
    pub fn failed(&mut self, action: &Action, trouble: Trouble, retry_at: Timestamp) {
        if trouble.class == Class::UnknownOutcome {
            self.may_be_there(action);
        }
        let key = action.key();
        let times = self.failures.get(&key).map_or(0, |failure| failure.times) + 1;
        self.failures.insert(key, Failure { trouble, times, retry_at });
    }

    /// What was made counts as seen, though no look told of it yet: one that misses it is no proof that it is not there.
    fn may_be_there(&mut self, action: &Action) {
        let made = match action {
            Action::CreateStack { .. } => subject::STACK.to_owned(),
            Action::CreateLayer { settings, .. } => subject::layer(&settings.short_name),
            Action::CreateApp { settings, .. } => subject::app(&settings.short_name),
            Action::CreateInstance { hostname, .. } => hostname.clone(),
            // A launch is made no second time by its token.
            _ => return,
        };
        self.present.insert(made);
    }

    fn may_show_late(&mut self, key: String, now: Timestamp) {
        let done = self.done.entry(key).or_insert(Done { at: now, times: 0 });
        *done = Done { at: now, times: done.times.saturating_add(1) };
    }

    /// Until when an action that went well, and is wanted all the same, may just not show yet.
    pub(super) fn may_show_until(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        Some(self.done.get(key)?.until()).filter(|until| *until > now)
    }

    /// Forgets what is wanted no more: it shows.
    pub fn keep_wanted(&mut self, wanted: impl Fn(&String) -> bool) {
        self.failures.retain(|key, _| wanted(key));
        self.done.retain(|key, _| wanted(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Node;

    fn second(at: i64) -> Timestamp {
        Timestamp::from_second(at).unwrap()
    }

    #[test]
    fn how_long_a_drain_takes_is_counted_anew_once_the_instance_was_registered_again() {
        let mut facts = Facts::default();
        for since in [&mut facts.draining_since, &mut facts.out_since] {
            since.insert("web1".into(), second(0));
            since.insert("web2".into(), second(0));
        }
        let action = Action::Register { balancer: "shop".into(), ec2_id: "i-1".into(), hostname: "web1".into() };
        facts.succeeded(&action, second(60));
        for since in [&facts.draining_since, &facts.out_since] {
            assert_eq!(since.keys().collect::<Vec<_>>(), ["web2"]);
        }
    }

    #[test]
    fn what_does_not_show_is_asked_for_again_later_and_later() {
        let mut facts = Facts::default();
        let action = Action::Register { balancer: "shop".into(), ec2_id: "i-1".into(), hostname: "web1".into() };
        let mut at = 0;
        let mut waits = Vec::new();
        for _ in 0..6 {
            facts.succeeded(&action, second(at));
            let until = facts.may_show_until(&action.key(), second(at)).unwrap();
            waits.push(until.as_second() - at);
            at = until.as_second();
            assert_eq!(facts.may_show_until(&action.key(), second(at)), None);
        }
        assert_eq!(waits, [2, 4, 8, 16, 30, 30]);
        facts.keep_wanted(|_| false);
        facts.succeeded(&action, second(at));
        assert_eq!(facts.may_show_until(&action.key(), second(at)), Some(second(at + 2)));
    }

    #[test]
    fn what_was_made_or_may_have_been_is_not_made_again_because_the_first_answer_misses_it() {
        let create = || Action::CreateInstance {
            stack_id: "s".into(),
            layer_id: "l".into(),
            hostname: "docker1".into(),
            instance_type: "t3.small".into(),
        };
        let trouble = |class| Trouble { class, message: "no answer".into() };
        let mut facts = Facts::default();
        facts.failed(&create(), trouble(Class::Transient), second(1));
        assert!(facts.present.is_empty(), "it was refused");
        facts.failed(&create(), trouble(Class::UnknownOutcome), second(1));
        assert!(facts.present.contains("docker1"));
        let mut facts = Facts::default();
        facts.succeeded(&create(), second(0));
        assert!(facts.present.contains("docker1"));
    }

    #[test]
    fn an_engine_tells_what_is() {
        let mut facts = Facts::default();
        let access = crate::action::Access::Tls { name: None };
        let node = Node { hostname: "web1".into(), endpoint: "10.0.0.1:2376".into(), access };
        let what = EngineAction::Start { id: "1".into(), name: "web0".into() };
        let action = Action::Engine { node, what };
        facts.succeeded(&action, second(0));
        assert_eq!(facts.may_show_until(&action.key(), second(0)), None);
    }
}
