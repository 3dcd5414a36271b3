//! What the plan must know that cannot be seen by looking: what was sent, what failed, and since when things are
//! as they are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    fleet, gone::Heard, intent::Intent, job::Jobs, lag::Done, notices::Told, progress::Progress, scaling::Since,
};
use crate::{
    action::{Action, Delivery, Lane, Release, Scaled, Wish},
    spec::Desired,
    world::{Class, Health, Instance, Observed, Seen, State, Target, Trouble},
};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Creates that were sent, by the key of the intent. A launch stays here for as long as its hostname is wanted:
    /// whatever a read misses, its token makes no second instance.
    pub intents: BTreeMap<String, Intent>,
    /// The last release of each container that is on record, by app and container.
    pub releases: BTreeMap<(String, String), Released>,
    /// Every release on record, the oldest first.
    pub history: Vec<Released>,
    /// Migrations that went well, by app, container and key.
    pub migrated: BTreeSet<(String, String, String)>,
    /// What is on record of what is run by the clock.
    pub jobs: Jobs,
    /// How many instances each layer is to have that is scaled, by its short name.
    pub scaled: BTreeMap<String, Scaled>,
    /// Since when the load of a layer asks for more instances, or for fewer.
    pub load_since: BTreeMap<String, Since>,
    /// No run is begun: what is forecast is the way to what is declared, not what the clock brings.
    pub idle: bool,
    /// What was last said of each container, by app and container.
    pub told: BTreeMap<(String, String), Told>,
    /// What somebody is to be told and was not yet.
    pub outbox: Vec<Delivery>,
    /// What operators have asked for and is not over.
    pub wishes: Vec<Wish>,
    /// Actions that failed: action key → what and when it may be tried again.
    pub failures: BTreeMap<String, Failure>,
    /// How much was free on an instance's disk when nothing was refused for want of room yet, by hostname.
    pub free: BTreeMap<String, u64>,
    /// Actions that went well, and that it is not known of yet whether they show: action key → when.
    pub done: BTreeMap<String, Done>,
    /// Lanes with an action under way.
    pub busy: BTreeSet<Lane>,
    /// Since when an instance is being drained, or has been before it was out, by hostname.
    pub draining_since: BTreeMap<String, Timestamp>,
    /// Since when an instance is registered with none of its balancers, by hostname.
    pub out_since: BTreeMap<String, Timestamp>,
    /// Since when every balancer has an instance in service, by hostname.
    pub in_since: BTreeMap<String, Timestamp>,
    /// How far the rollout of each layer is that has one under way.
    pub progress: BTreeMap<String, Progress>,
    /// Since when a container is running and not unhealthy, by its id.
    pub up_since: BTreeMap<String, Timestamp>,
    /// Since when an instance's engine cannot be reached, by the instance's id.
    pub lost_since: BTreeMap<String, Timestamp>,
    /// Since when EC2's status checks say that an instance is impaired, by its id.
    pub impaired_since: BTreeMap<String, Timestamp>,
    /// What was there when it was looked for: `stack`, `layer docker`, `docker1`, …
    pub present: BTreeSet<String>,
    /// Since when something that was there is not any more.
    pub gone_since: BTreeMap<String, Timestamp>,
    /// Since when each part of the provider's side is told to a controller. `None`: to nobody who has to doubt it.
    pub told_since: Option<BTreeMap<usize, Timestamp>>,
    /// When each part of the provider's side was last told.
    pub heard: BTreeMap<usize, Heard>,
}

/// A release on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Which image.
    pub release: Release,
    /// When it was recorded.
    pub since: Timestamp,
}

/// One action's failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What happened.
    pub trouble: Trouble,
    /// How often in a row.
    pub times: u32,
    /// Not before.
    pub retry_at: Timestamp,
}

impl Facts {
    /// Those of a controller that has just begun: it has seen nothing yet that it could hold against one read that
    /// misses something.
    pub fn at_first() -> Facts {
        Facts { told_since: Some(BTreeMap::new()), ..Facts::default() }
    }

    /// The controller has only just begun: what one before it has sent may still be carried out.
    pub(super) fn is_new(&self, now: Timestamp) -> bool {
        let Some(told_since) = &self.told_since else { return false };
        told_since.values().min().is_none_or(|first| *first + super::INTENT_GRACE > now)
    }

    /// Takes a release for recorded.
    pub fn record(&mut self, release: &Release, now: Timestamp) {
        let key = (release.app.clone(), release.container.clone());
        let released = Released { release: release.clone(), since: now };
        self.history.push(released.clone());
        self.releases.insert(key, released);
    }

    /// Room was made on an instance: what failed for want of it is tried again at once.
    pub fn made_room(&mut self, hostname: &str) {
        let on = format!("{hostname}: ");
        self.failures.retain(|key, failure| failure.trouble.class != Class::NoRoom || !key.starts_with(&on));
    }

    /// Takes everything that is to be recorded for recorded; true when there was one.
    pub fn record_all(&mut self, actions: &[Action], now: Timestamp) -> bool {
        let mut any = false;
        for action in actions {
            match action {
                Action::Record { release } => self.record(release, now),
                Action::RecordMigration { migrated } => self.record_migration(migrated),
                Action::NoteJob { note } => self.jobs.note(note),
                Action::Scale { scaled } => drop(self.scaled.insert(scaled.layer.clone(), scaled.clone())),
                Action::ForgetScale { layer } => drop(self.scaled.remove(layer)),
                action if action.note_in(&mut self.wishes) || self.note_notice(action) => {}
                _ => continue,
            }
            any = true;
        }
        any
    }

    /// The intents that are over: what was sent is not wanted any more, and no read from the past can make it wanted
    /// again. Until the grace has passed, that nothing is wanted may only mean that what it belongs to was not seen.
    pub fn intents_over(&self, wanted: &BTreeSet<String>, now: Timestamp) -> Vec<String> {
        let over =
            self.intents.iter().filter(|(key, it)| !wanted.contains(*key) && it.sent + super::INTENT_GRACE <= now);
        over.map(|(key, _)| key.clone()).collect()
    }

    /// Takes note of what can be dated only by being seen for the first time.
    pub fn note(&mut self, desired: &Desired, seen: &Observed, now: Timestamp) {
        for engine in seen.engines.values().filter_map(|engine| engine.known()) {
            for container in engine.containers.values() {
                let up = container.state == State::Running && matches!(container.health, None | Some(Health::Healthy));
                keep(&mut self.up_since, &container.id, up, now);
            }
        }
        if seen.engines.values().all(|engine| engine.known().is_some()) {
            let engines = seen.engines.values().filter_map(|engine| engine.known());
            let there: BTreeSet<&String> =
                engines.flat_map(|engine| engine.containers.values()).map(|container| &container.id).collect();
            self.up_since.retain(|id, _| there.contains(id));
        }
        self.note_room(seen);
        self.note_gone(seen, now);
        self.note_load(desired, seen, now);
        let Some(instances) = seen.provided.instances.known() else { return };
        self.note_engines(instances, seen, now);
        for since in [&mut self.draining_since, &mut self.out_since, &mut self.in_since] {
            since.retain(|hostname, _| instances.iter().any(|instance| instance.hostname == *hostname));
        }
        for instance in instances {
            let Some(ec2_id) = &instance.ec2_id else { continue };
            let mut draining = false;
            let mut registered = false;
            let mut known = true;
            let (mut serves, mut balanced) = (true, false);
            for name in fleet::balancers_of(desired, seen, instance) {
                balanced = true;
                match seen.balancers.get(name).and_then(|b| b.known()) {
                    Some(balancer) => match balancer.targets.get(ec2_id) {
                        Some(Target::InService) => {
                            registered = true;
                            continue;
                        }
                        Some(Target::Draining) => {
                            draining = true;
                            registered = true;
                        }
                        Some(_) => registered = true,
                        None => {}
                    },
                    None => known = false,
                }
                serves = false;
            }
            if !known {
                continue;
            }
            // It goes on until the instance is back: the last connections may outlive the balancers' word.
            let drains = draining || (!registered && self.draining_since.contains_key(&instance.hostname));
            keep(&mut self.draining_since, &instance.hostname, drains, now);
            keep(&mut self.out_since, &instance.hostname, !registered, now);
            keep(&mut self.in_since, &instance.hostname, balanced && serves, now);
        }
    }
}

impl Facts {
    /// An engine that refuses the controller, or shows another identity, is there: it is not lost.
    fn note_engines(&mut self, instances: &[Instance], seen: &Observed, now: Timestamp) {
        for since in [&mut self.lost_since, &mut self.impaired_since] {
            since.retain(|id, _| instances.iter().any(|instance| instance.id == *id));
        }
        for instance in instances {
            let lost = match seen.engines.get(&instance.hostname) {
                Some(Seen::Unknown(trouble)) => trouble.class != Class::Terminal,
                _ => false,
            };
            keep(&mut self.lost_since, &instance.id, lost, now);
            let impaired = instance.launched.as_ref().is_some_and(|launched| launched.impaired.is_some());
            keep(&mut self.impaired_since, &instance.id, impaired, now);
        }
    }
}

fn keep(since: &mut BTreeMap<String, Timestamp>, key: &str, holds: bool, now: Timestamp) {
    if holds {
        since.entry(key.to_owned()).or_insert(now);
    } else {
        since.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::gone::tests::{at, seen};

    #[test]
    fn what_was_refused_for_want_of_room_is_tried_again_once_there_is_clearly_more_of_it() {
        let mut facts = Facts::default();
        let refuse = |facts: &mut Facts| {
            let trouble = Trouble { class: Class::NoRoom, message: "no room".into() };
            let failure = Failure { trouble, times: 1, retry_at: Timestamp::MAX };
            facts.failures.insert("web1: pull web:2".into(), failure);
        };
        let look = |facts: &mut Facts, mib: u64| {
            let disk = Some(crate::world::Disk { total: 1 << 30, free: mib << 20 });
            let mut seen = seen(&[]);
            let engine = crate::world::Engine { disk, ..crate::world::Engine::default() };
            seen.engines.insert("web1".into(), Seen::Known(engine));
            facts.note_room(&seen);
            facts.failures.is_empty()
        };
        assert!(look(&mut facts, 230));
        refuse(&mut facts);
        // What was begun is still being cleared away, and then it is as before.
        for mib in [150, 230, 250] {
            assert!(!look(&mut facts, mib), "{mib}");
        }
        assert!(look(&mut facts, 300), "there is more than when it was begun");
        refuse(&mut facts);
        assert!(!look(&mut facts, 310));
        assert!(look(&mut facts, 840));
    }

    #[test]
    fn an_intent_is_over_when_what_was_sent_is_there_and_no_old_read_can_miss_it() {
        let sent = Intent { sent: at(0), token: None, place: None, resent: false };
        let facts = Facts { intents: BTreeMap::from([("create a".to_owned(), sent)]), ..Facts::default() };
        let wanted = BTreeSet::from(["create a".to_owned()]);
        assert!(facts.intents_over(&BTreeSet::new(), at(29)).is_empty());
        assert_eq!(facts.intents_over(&BTreeSet::new(), at(30)), ["create a"]);
        assert!(facts.intents_over(&wanted, at(30)).is_empty());
    }
}
