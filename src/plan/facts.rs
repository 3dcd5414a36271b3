//! What the plan must know that cannot be seen by looking: what was sent, what failed, and since when things are
//! as they are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{fleet, intent::Intent, job::Jobs, lag::Done, notices::Told, progress::Progress, scaling::Since, subject};
use crate::{
    action::{Action, Delivery, Lane, Release, Scaled, Wish},
    spec::Desired,
    world::{Class, Health, Instance, Observed, Seen, State, Target, Trouble, Volume},
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

/// What is not there, and not for certain yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Doubt {
    /// What is waited for.
    pub(super) on: String,
    /// When it is certain.
    pub(super) until: Timestamp,
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

    /// Why what a read does not tell of may be there all the same.
    pub(super) fn doubt(&self, what: &str, now: Timestamp) -> Option<Doubt> {
        if let Some(since) = self.gone_since.get(what) {
            let on = format!("it to be gone for certain; it was there until {}", since.strftime("%H:%M:%S"));
            return Some(Doubt { on, until: *since + super::GONE_GRACE });
        }
        let until = *self.told_since.as_ref()?.get(&subject::part(what))? + super::GONE_GRACE;
        let on = "another look that does not find it either; the controller has only just begun".to_owned();
        Some(Doubt { on, until }).filter(|doubt| doubt.until > now)
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

    /// Reads lag behind writes, and one that misses something is no proof that it is gone.
    fn note_gone(&mut self, seen: &Observed, now: Timestamp) {
        let cloud = seen.provided.opsworks();
        // What one part does not tell says nothing about the others.
        let stack = cloud.and_then(|cloud| cloud.stack.known());
        let stack = stack.map(|stack| stack.iter().map(|_| subject::STACK.to_owned()).collect());
        let layers = cloud.and_then(|cloud| cloud.layers.known());
        let layers = layers.map(|all| all.iter().map(|layer| subject::layer(&layer.settings.short_name)).collect());
        let apps = cloud.and_then(|cloud| cloud.apps.known());
        let apps = apps.map(|all| all.iter().map(|app| subject::app(&app.settings.short_name)).collect());
        let instances = seen.provided.instances.known();
        let instances = instances.map(|all| all.iter().map(|instance| instance.hostname.clone()).collect());
        let volumes = seen.provided.ec2().and_then(|cloud| cloud.volumes.known());
        let named = |volume: &Volume| Some(subject::volume(volume.hostname.as_ref()?, volume.mount_point.as_ref()?));
        let volumes = volumes.map(|all| all.iter().filter_map(named).collect());
        let mut parts: [Option<BTreeSet<String>>; 5] = [stack, layers, apps, instances, volumes];
        if seen.stale.is_some() {
            // What was told before is told once more: that is no other look.
            parts = Default::default();
        }
        let told = |what: &str| parts[subject::part(what)].is_some();
        // Whatever is doubted is looked for twice with nothing but answers in between: two reads that a time without an
        // answer lies between prove no more than one.
        if let Some(told_since) = &mut self.told_since {
            told_since.retain(|part, since| parts[*part].is_some() || *since + super::GONE_GRACE <= now);
            for (part, _) in parts.iter().enumerate().filter(|(_, told)| told.is_some()) {
                told_since.entry(part).or_insert(now);
            }
        }
        let there: BTreeSet<String> = parts.iter().flatten().flatten().cloned().collect();
        for missing in self.present.difference(&there).filter(|what| told(what)) {
            self.gone_since.entry(missing.clone()).or_insert(now);
        }
        self.gone_since.retain(|what, since| told(what) && !there.contains(what) && *since + super::GONE_GRACE > now);
        self.present.retain(|what| there.contains(what) || self.gone_since.contains_key(what) || !told(what));
        self.present.extend(there);
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
    use crate::world::{LayerSettings, OpsWorks, OwLayer, OwStack, Owned, Provided, Rest, StackSettings};

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

    fn seen(layers: &[&str]) -> Observed {
        let layer = |short_name: &&str| OwLayer {
            id: format!("id-of-{short_name}"),
            ours: true,
            settings: LayerSettings { short_name: (*short_name).to_owned(), ..LayerSettings::default() },
            tags: None,
        };
        let stack = OwStack { id: "id".into(), ours: true, settings: StackSettings::default() };
        Observed {
            provided: Provided {
                instances: Seen::Known(Vec::new()),
                rest: Rest::OpsWorks(OpsWorks {
                    stack: Seen::Known(Some(stack)),
                    layers: Seen::Known(layers.iter().map(layer).collect()),
                    apps: Seen::Known(Vec::new()),
                    attached: Seen::Known(BTreeMap::new()),
                    databases: Seen::Known(Vec::new()),
                    load_scaling: Seen::Known(BTreeMap::new()),
                }),
            },
            stale: None,
            balancers: BTreeMap::new(),
            owned: Owned::default(),
            engines: BTreeMap::new(),
            registry: BTreeMap::new(),
            secrets: BTreeMap::new(),
            figures: BTreeMap::new(),
            metered: BTreeMap::new(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_a_read_misses_once_is_not_gone() {
        let mut facts = Facts::default();
        facts.note_gone(&seen(&["docker"]), at(0));
        facts.note_gone(&seen(&[]), at(1));
        assert_eq!(facts.gone_since, BTreeMap::from([("layer docker".to_owned(), at(1))]));
        facts.note_gone(&seen(&["docker"]), at(2));
        assert!(facts.gone_since.is_empty());
    }

    #[test]
    fn what_stays_away_for_the_whole_grace_is_gone_for_certain() {
        let mut facts = Facts::default();
        facts.note_gone(&seen(&["docker"]), at(0));
        for second in 1..11 {
            facts.note_gone(&seen(&[]), at(second));
            assert!(facts.gone_since.contains_key("layer docker"), "second {second}");
        }
        facts.note_gone(&seen(&[]), at(11));
        assert!(facts.gone_since.is_empty());
    }

    #[test]
    fn what_was_never_there_is_not_waited_for() {
        let mut facts = Facts::default();
        facts.note_gone(&seen(&[]), at(0));
        facts.note_gone(&seen(&[]), at(1));
        assert!(facts.gone_since.is_empty());
    }

    #[test]
    fn a_controller_that_has_just_begun_takes_nothing_for_absent_at_its_first_look() {
        let mut facts = Facts::at_first();
        facts.note_gone(&seen(&[]), at(0));
        assert_eq!(facts.doubt("layer docker", at(0)).map(|doubt| doubt.until), Some(at(10)));
        facts.note_gone(&seen(&[]), at(10));
        assert_eq!(facts.doubt("layer docker", at(10)), None);
    }

    #[test]
    fn what_gave_no_answer_at_first_is_doubted_from_its_first_answer_on() {
        let mut facts = Facts::at_first();
        let mut blind = seen(&[]);
        let none = Trouble { class: Class::Transient, message: "none".into() };
        blind.provided.opsworks_mut().unwrap().layers = Seen::Unknown(none);
        facts.note_gone(&blind, at(0));
        facts.note_gone(&seen(&[]), at(20));
        assert_eq!(facts.doubt("stack", at(20)), None);
        assert_eq!(facts.doubt("layer docker", at(20)).map(|doubt| doubt.until), Some(at(30)));
    }

    #[test]
    fn two_reads_that_miss_it_with_no_answer_in_between_prove_no_more_than_one() {
        let mut blind = seen(&[]);
        let none = Trouble { class: Class::Transient, message: "none".into() };
        blind.provided.opsworks_mut().unwrap().layers = Seen::Unknown(none);
        let until = |facts: &Facts, now: i64| facts.doubt("layer docker", at(now)).map(|doubt| doubt.until);

        let mut new = Facts::at_first();
        let mut old = Facts::default();
        old.note_gone(&seen(&["docker"]), at(0));
        for facts in [&mut new, &mut old] {
            facts.note_gone(&seen(&[]), at(1));
            facts.note_gone(&blind, at(5));
            facts.note_gone(&seen(&[]), at(30));
            assert_eq!(until(facts, 30), Some(at(40)));
            facts.note_gone(&seen(&[]), at(40));
            assert_eq!(until(facts, 40), None);
        }
    }

    #[test]
    fn what_is_told_as_it_was_is_no_other_look() {
        let mut facts = Facts::default();
        facts.note_gone(&seen(&["docker"]), at(0));
        facts.note_gone(&seen(&[]), at(1));
        let stale = Some(Trouble { class: Class::Transient, message: "none".into() });
        facts.note_gone(&Observed { stale, ..seen(&[]) }, at(20));
        facts.note_gone(&seen(&[]), at(30));
        assert_eq!(facts.doubt("layer docker", at(30)).map(|doubt| doubt.until), Some(at(40)));
    }

    #[test]
    fn what_is_missed_while_another_part_cannot_be_read_is_not_gone() {
        let mut facts = Facts::default();
        facts.note_gone(&seen(&["docker"]), at(0));
        let mut partly = seen(&[]);
        let none = Trouble { class: Class::Transient, message: "none".into() };
        partly.provided.opsworks_mut().unwrap().apps = Seen::Unknown(none);
        facts.note_gone(&partly, at(1));
        assert_eq!(facts.gone_since, BTreeMap::from([("layer docker".to_owned(), at(1))]));
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

    #[test]
    fn an_answer_that_is_none_dates_nothing() {
        let mut facts = Facts::default();
        facts.note_gone(&seen(&["docker"]), at(0));
        let mut blind = seen(&[]);
        let none = Trouble { class: Class::Transient, message: "no answer".into() };
        blind.provided.opsworks_mut().unwrap().layers = Seen::Unknown(none);
        facts.note_gone(&blind, at(1));
        assert!(facts.gone_since.is_empty());
        assert!(facts.present.contains("layer docker"));
    }
}
