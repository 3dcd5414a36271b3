//! Which image a container's tag stands for.
//!
//! A tag is resolved once per release: what the registry says is put on record, and every instance runs that digest,
//! whatever the tag stands for later. A tag that moves is a new release of an `auto` container, and told of a
//! `manual` one. While a registry gives no answer, what is on record counts, and what runs goes on.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Facts, Plan, asked::command, container::is_ours, render::label, slot::Slot};
use crate::{
    action::{Action, Release},
    spec::{Desired, image},
    status::Kind,
    world::{Class, ContainerSeen, Engine, Observed, Seen, Trouble},
};

/// What is known when an image is chosen.
pub(super) struct Known<'a> {
    pub(super) desired: &'a Desired,
    /// The engines of the layer that could be looked at, by hostname.
    pub(super) engines: &'a [(&'a str, &'a Engine)],
    pub(super) seen: &'a Observed,
    pub(super) facts: &'a Facts,
    pub(super) now: Timestamp,
}

/// What is waited for while a registry does not tell what a tag stands for.
pub(super) fn answer(declared: &str, trouble: Option<&Trouble>) -> String {
    let why = trouble.map_or_else(String::new, |trouble| format!(": {}", trouble.message));
    format!("{} to tell which image {declared} is{why}", image::registry(declared))
}

/// An image, and what it waits for if it is not known for certain.
#[derive(Clone)]
struct Choice {
    image: String,
    waits: Option<String>,
}

/// Chooses the image of every slot. What is not on record yet is to be recorded first.
pub(super) fn resolve(plan: &mut Plan, known: &Known<'_>, slots: &mut [Slot<'_>]) {
    let mut chosen: BTreeMap<(&str, &str), Choice> = BTreeMap::new();
    for slot in slots.iter_mut() {
        slot.by_hand &= !known.facts.is_being_deployed(&slot.app.name, &slot.container.name);
    }
    for at in 0..slots.len() {
        let key = (slots[at].app.name.as_str(), slots[at].container.name.as_str());
        let choice = match chosen.get(&key) {
            Some(choice) => choice.clone(),
            None => known.choose(plan, &slots[at], slots),
        };
        slots[at].image = choice.image.clone();
        slots[at].unresolved = choice.waits.clone();
        chosen.insert(key, choice);
    }
}

impl Known<'_> {
    fn choose(&self, plan: &mut Plan, slot: &Slot<'_>, slots: &[Slot<'_>]) -> Choice {
        let declared = &slot.container.image;
        if let Some(choice) = self.back(plan, slot) {
            return choice;
        }
        if let Some(digest) = image::digest(declared) {
            self.note_fixed(plan, slot, digest);
            return Choice { image: declared.clone(), waits: None };
        }
        let recorded = self.recorded(slot);
        let recorded = recorded.filter(|release| release.image == *declared).map(|release| release.digest.clone());
        let told = self.seen.registry.get(declared);
        let newest = told.and_then(Seen::known);
        let by_hand = slot.by_hand;

        if let Some(digest) = recorded {
            match newest {
                Some(newest) if *newest != digest && by_hand => self.tell_newer(plan, slot, &digest, newest),
                Some(newest) if *newest != digest => self.record(plan, slot, newest),
                _ => {}
            }
            return Choice { image: image::pinned(declared, &digest), waits: None };
        }
        if self.engines.is_empty() {
            // Nobody can be asked, and nothing be run.
            return Choice { image: declared.clone(), waits: None };
        }
        let to_be_recorded = |digest: &str| Choice {
            image: image::pinned(declared, digest),
            waits: Some(format!("the release of {declared} to be recorded")),
        };
        // What is on the engines tells as much as a record that was lost.
        let running = self.running(slot, slots);
        match (newest, running, told) {
            (Some(_), Some(digest), _) if by_hand => {
                self.record(plan, slot, &digest);
                to_be_recorded(&digest)
            }
            (Some(newest), _, _) => {
                self.record(plan, slot, newest);
                to_be_recorded(newest)
            }
            (None, Some(digest), Some(_)) => {
                self.record(plan, slot, &digest);
                to_be_recorded(&digest)
            }
            (None, running, None) => Choice {
                image: running.map_or_else(|| declared.clone(), |digest| image::pinned(declared, &digest)),
                waits: Some(answer(declared, None)),
            },
            (None, None, Some(_)) => self.without_an_answer(plan, slot),
        }
    }

    /// The registry does not tell: an image that was brought to every engine by other means is run as it is.
    fn without_an_answer(&self, plan: &mut Plan, slot: &Slot<'_>) -> Choice {
        let declared = &slot.container.image;
        let as_it_is = |waits| Choice { image: declared.clone(), waits };
        if self.engines.iter().all(|(_, engine)| engine.images.contains_key(declared)) {
            return as_it_is(None);
        }
        let Some(Seen::Unknown(trouble)) = self.seen.registry.get(declared) else { return as_it_is(None) };
        if trouble.class == Class::Terminal {
            let subject = format!("{}/{}", slot.app.name, slot.container.name);
            plan.condition(Kind::ImageUnavailable, subject, &trouble.message);
            return as_it_is(Some(format!("{} to have an image {declared}", image::registry(declared))));
        }
        as_it_is(Some(answer(declared, Some(trouble))))
    }

    /// What an operator went back to, as long as that holds.
    fn back(&self, plan: &mut Plan, slot: &Slot<'_>) -> Option<Choice> {
        let (app, container, declared) = (&slot.app.name, &slot.container.name, &slot.container.image);
        let (wish, back) = self.facts.rolled_back(app, container)?;
        let newest = self.seen.registry.get(declared).and_then(Seen::known);
        let newer = newest.filter(|newest| **newest != back.from && **newest != back.digest);
        if back.declared != *declared {
            plan.end(wish, format!("{declared} is declared now"), self.facts, self.now);
            return None;
        }
        if let Some(newer) = newer {
            let why = format!("{declared} is {} in its registry now", image::short(newer));
            plan.end(wish, why, self.facts, self.now);
            return None;
        }
        let message = format!(
            "{} ({}) runs since {}, in the place of {} ({}), as was asked for; {}, or another image in the \
             manifest or in the registry, ends that",
            back.image,
            image::short(&back.digest),
            wish.at.strftime("%F %H:%M:%S UTC"),
            image::tagged(&back.declared),
            image::short(&back.from),
            command("deploy", &format!("{app}/{container}")),
        );
        plan.condition(Kind::RolledBack, format!("{app}/{container}"), message);
        let is_recorded =
            self.recorded(slot).is_some_and(|last| (&last.image, &last.digest) == (&back.image, &back.digest));
        let waits = (!is_recorded && !self.engines.is_empty()).then(|| {
            self.record_as(plan, slot, &back.image, &back.digest);
            format!("the release of {} to be recorded", back.image)
        });
        Some(Choice { image: image::pinned(&back.image, &back.digest), waits })
    }

    fn recorded(&self, slot: &Slot<'_>) -> Option<&Release> {
        let key = (slot.app.name.clone(), slot.container.name.clone());
        self.facts.releases.get(&key).map(|released| &released.release)
    }

    /// A release that is declared by its digest needs no record to be run, but is one to go back to later.
    fn note_fixed(&self, plan: &mut Plan, slot: &Slot<'_>, digest: &str) {
        let tagged = image::tagged(&slot.container.image);
        let is_recorded = self.recorded(slot).is_some_and(|last| last.image == tagged && last.digest == digest);
        if !is_recorded && !self.engines.is_empty() {
            self.record_as(plan, slot, tagged, digest);
        }
    }

    fn record(&self, plan: &mut Plan, slot: &Slot<'_>, digest: &str) {
        self.record_as(plan, slot, &slot.container.image, digest);
    }

    fn record_as(&self, plan: &mut Plan, slot: &Slot<'_>, image: &str, digest: &str) {
        let release = Release {
            app: slot.app.name.clone(),
            container: slot.container.name.clone(),
            image: image.to_owned(),
            digest: digest.to_owned(),
            revision: self.desired.revision.clone(),
        };
        let subject = release.subject();
        plan.attempt(&subject, Action::Record { release }, self.facts, self.now);
    }

    fn tell_newer(&self, plan: &mut Plan, slot: &Slot<'_>, digest: &str, newest: &str) {
        let message = format!(
            "{} is {} in its registry now, and {} here; what runs is left alone, because it is deployed by hand; \
             {} has it rolled out",
            slot.container.image,
            image::short(newest),
            image::short(digest),
            command("deploy", &format!("{}/{}", slot.app.name, slot.container.name)),
        );
        plan.condition(Kind::NewerRelease, format!("{}/{}", slot.app.name, slot.container.name), message);
    }

    /// The digest that containers made from this tag run: the one that was started last, in its place before one that
    /// is kept aside.
    fn running(&self, slot: &Slot<'_>, slots: &[Slot<'_>]) -> Option<String> {
        let same = |other: &&Slot<'_>| other.app.name == slot.app.name && other.container.name == slot.container.name;
        let newest = |name: &dyn Fn(&Slot<'_>) -> String| {
            let replicas = slots.iter().filter(same).map(name);
            let named = replicas
                .flat_map(|name| self.engines.iter().filter_map(move |(_, engine)| engine.containers.get(&name)));
            let from_tag = named.filter(|container| self.is_of(container, slot));
            let last = from_tag.max_by_key(|container| container.started_at)?;
            image::digest(&last.image).map(str::to_owned)
        };
        newest(&|slot| slot.name.clone()).or_else(|| newest(&|slot| slot.old_name()))
    }

    fn is_of(&self, container: &ContainerSeen, slot: &Slot<'_>) -> bool {
        is_ours(container, &self.desired.stack.name)
            && container.labels.get(label::CONTAINER) == Some(&slot.container.name)
            && image::tagged(&container.image) == slot.container.image
            && image::digest(&container.image).is_some()
    }
}
