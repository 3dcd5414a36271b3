//! Which releases have failed, read off the engines.
//!
//! A container that failed is kept as `NAME.failed`, so a controller that was killed still knows. One that could not
//! even be created leaves nothing behind: that is only remembered, and tried once more by a new controller.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    container::{is_ours, last_words},
    facts::{Facts, Failure},
    render::{label, release_seen, release_wanted},
    slot::{OLD, Slot},
};
use crate::{
    spec::{Desired, image},
    world::{Class, ContainerSeen, Engine, Health, State},
};

/// A transient failure that has come back so often is no longer waited out while an older container could serve.
const TRIES: u32 = 3;

/// True when trying again will not help, or has not.
pub(super) fn given_up(failure: &Failure) -> bool {
    failure.trouble.class == Class::Terminal || failure.times >= TRIES
}

/// Where a release failed, and what was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// The instance.
    pub hostname: String,
    /// The container.
    pub name: String,
    /// What was said; empty where it is not known any more.
    pub words: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Releases {
    failed: BTreeMap<String, Failed>,
    /// Containers, by hostname and name, that must go back because what is linked with them goes back.
    dragged: BTreeSet<(String, String)>,
    /// Containers, by hostname and name, that stay as they are for the sake of the named one that is linked with them.
    pinned: BTreeMap<(String, String), String>,
    /// The keys of the failures that this rests on.
    pub remembered: BTreeSet<String>,
}

impl Releases {
    /// Looks through every engine that can be seen.
    pub fn read(desired: &Desired, slots: &[Slot<'_>], engines: &[(&str, &Engine)], facts: &Facts) -> Releases {
        let mut releases = Releases::default();
        for (hostname, engine) in engines {
            for slot in slots {
                releases.kept(desired, slot, hostname, engine);
                releases.never_created(desired, slot, hostname, engine, facts);
            }
        }
        if releases.failed.is_empty() {
            return releases;
        }
        let declared: Vec<String> = slots.iter().map(|slot| release_wanted(desired, slot)).collect();
        for (hostname, engine) in engines {
            while slots.iter().zip(&declared).any(|(slot, declared)| releases.drags(slot, declared, hostname, engine)) {
            }
        }
        releases
    }

    /// Where this release failed, if it did.
    pub fn failed(&self, release: &str) -> Option<&Failed> {
        self.failed.get(release)
    }

    /// True when the container goes back for the sake of one that is linked with it.
    pub fn is_dragged(&self, hostname: &str, name: &str) -> bool {
        self.dragged.contains(&(hostname.to_owned(), name.to_owned()))
    }

    /// The older container, linked with this one, that has to serve and would be left with a link to what is gone.
    pub fn pinned_by(&self, hostname: &str, name: &str) -> Option<&str> {
        self.pinned.get(&(hostname.to_owned(), name.to_owned())).map(String::as_str)
    }

    fn kept(&mut self, desired: &Desired, slot: &Slot<'_>, hostname: &str, engine: &Engine) {
        if let Some(container) = engine.containers.get(&slot.failed_name())
            && is_ours(container, &desired.stack.name)
            && let Some(release) = release_seen(container)
        {
            let said = last_words(container);
            let words = match container.state {
                State::Created => "it could not be started".into(),
                State::Exited { exit_code } if exit_code != 0 && said.is_empty() => {
                    format!("it ended with exit code {exit_code}")
                }
                _ if container.health == Some(Health::Starting) => match said.as_str() {
                    "" => "it was not healthy in time".into(),
                    said => format!("it was not healthy in time: {said}"),
                },
                State::Exited { exit_code: 0 } if container.restarts > 0 => {
                    let colon = if said.is_empty() { "" } else { ": " };
                    format!("it ended and was started again {} times{colon}{said}", container.restarts)
                }
                // It was well itself, and only had to go back with the others.
                _ if container.health == Some(Health::Healthy) || said.is_empty() => String::new(),
                _ => said,
            };
            self.note(&release, hostname, slot, words);
        }
    }

    fn never_created(&mut self, desired: &Desired, slot: &Slot<'_>, hostname: &str, engine: &Engine, facts: &Facts) {
        let has_older = [slot.name.clone(), slot.old_name()].iter().any(|name| engine.containers.contains_key(name));
        let key = format!("{hostname}: create {} from {}", slot.name, image::shown(&slot.image));
        if has_older
            && let Some(failure) = facts.failures.get(&key)
            && given_up(failure)
        {
            self.note(&release_wanted(desired, slot), hostname, slot, failure.trouble.message.clone());
            self.remembered.insert(key);
        }
    }

    fn note(&mut self, release: &str, hostname: &str, slot: &Slot<'_>, words: String) {
        let failed = Failed { hostname: hostname.to_owned(), name: slot.name.clone(), words };
        let known = self.failed.entry(release.to_owned()).or_insert_with(|| failed.clone());
        if known.words.is_empty() {
            *known = failed;
        }
    }

    /// The older container that this slot goes back to may be linked with one that is kept aside too: that one goes
    /// back first. True when that was not known yet.
    fn drags(&mut self, slot: &Slot<'_>, declared: &String, hostname: &str, engine: &Engine) -> bool {
        let goes_back = self.failed.contains_key(declared)
            || self.is_dragged(hostname, &slot.name)
            || self.pinned_by(hostname, &slot.name).is_some();
        if !goes_back {
            return false;
        }
        let not_declared = |container: &&ContainerSeen| release_seen(container).as_ref() != Some(declared);
        let goes_back_to = [slot.old_name(), slot.name.clone()]
            .into_iter()
            .filter_map(|name| engine.containers.get(&name))
            .find(not_declared);
        let needs = goes_back_to.and_then(|container| container.labels.get(label::NEEDS)).map_or("", String::as_str);
        let mut news = false;
        for (name, id) in needs.split(',').filter_map(|need| need.split_once('=')) {
            let is_called = |name: &str| engine.containers.get(name).is_some_and(|container| container.id == id);
            let key = (hostname.to_owned(), name.to_owned());
            if is_called(&format!("{name}{OLD}")) {
                news |= self.dragged.insert(key);
            } else if is_called(name) {
                news |= self.pinned.insert(key, slot.name.clone()).is_none();
            }
        }
        news
    }
}
