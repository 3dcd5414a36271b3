//! What a look misses, and when it is gone for certain.
//!
//! Reads lag behind writes ("Eventual consistency in the Amazon EC2 API", EC2 developer guide), and one that misses
//! something is no proof that it is gone: before it is made, or made again, it has to be missed for [`GONE_GRACE`].

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Facts, GONE_GRACE, subject};
use crate::world::{Observed, Volume};

/// When a part of the provider's side was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The last answer.
    at: Timestamp,
    /// It was asked for in vain since.
    silent: bool,
}

/// What is not there, and not for certain yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Doubt {
    /// What is waited for.
    pub(super) on: String,
    /// When it is certain. `None`: not before there is an answer again.
    pub(super) until: Option<Timestamp>,
}

impl Facts {
    /// Why what a read does not tell of may be there all the same.
    pub(super) fn doubt(&self, what: &str, now: Timestamp) -> Option<Doubt> {
        let part = subject::part(what);
        let heard = self.heard.get(&part);
        let is_silent = heard.is_some_and(|heard| heard.silent);
        let until = |since: Timestamp| Some(since + GONE_GRACE).filter(|_| !is_silent);
        if let Some(since) = self.gone_since.get(what) {
            let on = format!("it to be gone for certain; it was there until {}", since.strftime("%H:%M:%S"));
            return Some(Doubt { on, until: until(*since) });
        }
        let since = *self.told_since.as_ref()?.get(&part)?;
        let told_until = heard.filter(|heard| heard.silent).map_or(now, |heard| heard.at);
        let on = "another look that does not find it either; the controller has only just begun".to_owned();
        Some(Doubt { on, until: until(since) }).filter(|_| since + GONE_GRACE > told_until)
    }

    /// Takes note of what this look misses.
    pub(super) fn note_gone(&mut self, seen: &Observed, now: Timestamp) {
        let parts = parts(seen);
        let told = |what: &str| parts[subject::part(what)].is_some();
        for (part, answer) in parts.iter().enumerate() {
            match answer {
                Some(_) => self.hear(part, now),
                None => self.heard.get_mut(&part).into_iter().for_each(|heard| heard.silent = true),
            }
        }
        let there: BTreeSet<String> = parts.iter().flatten().flatten().cloned().collect();
        for missing in self.present.difference(&there).filter(|what| told(what)) {
            self.gone_since.entry(missing.clone()).or_insert(now);
        }
        let is_certain = |since: Timestamp| since + GONE_GRACE <= now;
        self.gone_since.retain(|what, since| !told(what) || (!there.contains(what) && !is_certain(*since)));
        self.present.retain(|what| there.contains(what) || self.gone_since.contains_key(what) || !told(what));
        self.present.extend(there);
    }

    /// A part was told.
    ///
    /// Two reads that miss something prove no more than one where as long a silence lies between them as it has to be
    /// missed for: then it begins anew. A shorter one takes nothing away, or an API of which every other answer is an
    /// error would let nothing be replaced for as long as that lasts; whoever is missed on both sides of one was looked
    /// for three times at least.
    fn hear(&mut self, part: usize, now: Timestamp) {
        let before = self.heard.get(&part).filter(|heard| heard.silent && heard.at + GONE_GRACE <= now);
        if let Some(Heard { at, .. }) = before {
            self.gone_since.retain(|what, _| subject::part(what) != part);
            if let Some(told_since) = &mut self.told_since {
                told_since.retain(|told, since| *told != part || *since + GONE_GRACE <= *at);
            }
        }
        if let Some(told_since) = &mut self.told_since {
            told_since.entry(part).or_insert(now);
        }
        self.heard.insert(part, Heard { at: now, silent: false });
    }
}

/// What of each part is there, by its subject. What one part does not tell says nothing about the others.
fn parts(seen: &Observed) -> [Option<BTreeSet<String>>; 5] {
    if seen.stale.is_some() {
        // What was told before is told once more: that is no other look.
        return Default::default();
    }
    let cloud = seen.provided.opsworks();
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
    [stack, layers, apps, instances, volumes]
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::world::{
        Class, LayerSettings, OpsWorks, OwLayer, OwStack, Owned, Provided, Rest, Seen, StackSettings, Trouble,
    };

    pub fn seen(layers: &[&str]) -> Observed {
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

    /// What a look that the layers gave no answer to was told.
    fn blind() -> Observed {
        let mut blind = seen(&[]);
        let none = Trouble { class: Class::Transient, message: "none".into() };
        blind.provided.opsworks_mut().unwrap().layers = Seen::Unknown(none);
        blind
    }

    pub fn at(second: i64) -> Timestamp {
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
        assert_eq!(facts.doubt("layer docker", at(0)).and_then(|doubt| doubt.until), Some(at(10)));
        facts.note_gone(&seen(&[]), at(10));
        assert_eq!(facts.doubt("layer docker", at(10)), None);
    }

    #[test]
    fn what_gave_no_answer_at_first_is_doubted_from_its_first_answer_on() {
        let mut facts = Facts::at_first();
        facts.note_gone(&blind(), at(0));
        facts.note_gone(&seen(&[]), at(20));
        assert_eq!(facts.doubt("stack", at(20)), None);
        assert_eq!(facts.doubt("layer docker", at(20)).and_then(|doubt| doubt.until), Some(at(30)));
    }

    /// One that has just begun, and one that has seen it before.
    fn new_and_old() -> [Facts; 2] {
        let mut old = Facts::default();
        old.note_gone(&seen(&["docker"]), at(-1));
        [Facts::at_first(), old]
    }

    fn is_doubted(facts: &Facts, now: i64) -> bool {
        facts.doubt("layer docker", at(now)).is_some()
    }

    #[test]
    fn two_reads_that_miss_it_with_a_long_silence_in_between_prove_no_more_than_one() {
        for mut facts in new_and_old() {
            facts.note_gone(&seen(&[]), at(0));
            facts.note_gone(&blind(), at(5));
            let doubt = facts.doubt("layer docker", at(5)).expect("a doubt");
            assert_eq!(doubt.until, None, "not before there is an answer");
            facts.note_gone(&blind(), at(9));
            facts.note_gone(&seen(&[]), at(10));
            assert_eq!(facts.doubt("layer docker", at(10)).and_then(|doubt| doubt.until), Some(at(20)));
            facts.note_gone(&seen(&[]), at(19));
            assert!(is_doubted(&facts, 19));
            facts.note_gone(&seen(&[]), at(20));
            assert!(!is_doubted(&facts, 20));
        }
    }

    #[test]
    fn an_api_of_which_every_other_answer_is_an_error_delays_no_proof() {
        for mut facts in new_and_old() {
            for second in [0, 7] {
                facts.note_gone(&seen(&[]), at(second));
                facts.note_gone(&blind(), at(second + 4));
                assert!(is_doubted(&facts, second + 4));
            }
            facts.note_gone(&seen(&[]), at(14));
            assert!(!is_doubted(&facts, 14), "missed three times in 14 s");
        }
    }

    #[test]
    fn what_is_told_again_after_a_short_silence_was_never_gone() {
        for mut facts in new_and_old() {
            facts.note_gone(&seen(&[]), at(0));
            facts.note_gone(&blind(), at(3));
            facts.note_gone(&seen(&["docker"]), at(6));
            assert!(facts.gone_since.is_empty());
            facts.note_gone(&seen(&[]), at(12));
            assert!(is_doubted(&facts, 12));
        }
    }

    #[test]
    fn what_was_certain_before_a_silence_is_so_after_it() {
        for mut facts in new_and_old() {
            facts.note_gone(&seen(&[]), at(0));
            facts.note_gone(&seen(&[]), at(10));
            facts.note_gone(&blind(), at(11));
            assert!(!is_doubted(&facts, 11));
            facts.note_gone(&seen(&[]), at(60));
            assert!(!is_doubted(&facts, 60));
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
        assert_eq!(facts.doubt("layer docker", at(30)).and_then(|doubt| doubt.until), Some(at(40)));
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
    fn an_answer_that_is_none_dates_nothing() {
        let mut facts = Facts::default();
        facts.note_gone(&seen(&["docker"]), at(0));
        facts.note_gone(&blind(), at(1));
        assert!(facts.gone_since.is_empty());
        assert!(facts.present.contains("layer docker"));
    }
}
