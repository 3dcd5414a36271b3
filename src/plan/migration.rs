//! Migrations: once per release, on the first instance, before any container stops.
//!
//! A migration is a container of its own, `NAME.migration`, which ends. It is kept until the rollout is over, so that
//! a controller that was killed finds it and waits for it, or for what it has left to say: it is never begun again. One
//! that failed stops the rollout, and is tried again with another release, or when somebody removes it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Facts, Plan,
    asked::{command, waits_for_resume},
    container::{colon, is_live, is_ours, last_words},
    fleet,
    node::marks,
    render::{Place, label, migration_key, migration_run, release},
    resolve::Known,
    slot::{MIGRATION, Slot},
};
use crate::{
    action::{Action, EngineAction, Migrated, Node, StopHow},
    spec::{Layer, migration::Migration},
    status::{Condition, Kind},
    world::{ContainerSeen, Engine, Instance, Seen, State},
};

/// How far a migration is.
enum Progress {
    Done,
    /// What everything waits for, and until when at the latest.
    Waits(String, Option<Timestamp>),
    Next(Node, Box<EngineAction>),
    /// It is to be put on record.
    Succeeded(Migrated),
    /// Where, and what is to be told.
    Failed(String, String),
}

/// Plans the migrations of a layer, and lets what must wait for one wait.
pub(super) fn migrate(
    plan: &mut Plan,
    known: &Known<'_>,
    layer: &Layer,
    staying: &[&Instance],
    slots: &mut [Slot<'_>],
) {
    let mut seen = BTreeSet::new();
    for at in 0..slots.len() {
        let slot = &slots[at];
        let Some(migration) = &slot.container.migration else { continue };
        let (app, container) = (slot.app.name.clone(), slot.container.name.clone());
        if slot.by_hand || slot.unresolved.is_some() || !seen.insert((app.clone(), container.clone())) {
            continue;
        }
        let one = One { known, layer, staying, slot, migration, key: migration_key(known.desired, slot) };
        let subject = format!("{app}/{container}");
        let waits = match one.progress() {
            Progress::Done => None,
            Progress::Waits(on, until) => {
                plan.hold(&subject, &on, until);
                Some(on)
            }
            Progress::Next(node, what) => {
                let hostname = node.hostname.clone();
                plan.attempt(&hostname, Action::Engine { node, what: *what }, known.facts, known.now);
                Some(format!("the migration of {container} on {hostname}"))
            }
            Progress::Succeeded(migrated) => {
                plan.attempt(&subject, Action::RecordMigration { migrated }, known.facts, known.now);
                Some(format!("the migration of {container} to be recorded"))
            }
            Progress::Failed(_, message) => {
                plan.conditions.push(Condition { kind: Kind::MigrationFailed, subject, message });
                Some(format!("the migration of {container}, which failed"))
            }
        };
        let key = one.key.clone();
        for other in slots.iter_mut().filter(|other| other.app.name == app) {
            if other.container.name == container {
                other.migration = Some(key.clone());
                other.migrating = other.migrating.take().or_else(|| waits.clone());
            }
            other.held = other.held.take().or_else(|| waits.clone());
        }
    }
}

/// One migration.
struct One<'a> {
    known: &'a Known<'a>,
    layer: &'a Layer,
    staying: &'a [&'a Instance],
    slot: &'a Slot<'a>,
    migration: &'a Migration,
    key: String,
}

impl One<'_> {
    fn name(&self) -> String {
        format!("{}{MIGRATION}", self.slot.name)
    }

    fn progress(&self) -> Progress {
        let name = self.name();
        let is_of = |container: &&ContainerSeen| {
            is_ours(container, &self.known.desired.stack.name)
                && container.labels.get(label::APP) == Some(&self.slot.app.name)
                && container.labels.contains_key(label::MIGRATION)
        };
        // On every instance, those that are about to leave included.
        let found: Vec<(&String, &ContainerSeen)> = (self.known.seen.engines.iter())
            .filter_map(|(hostname, engine)| Some((hostname, engine.known()?.containers.get(&name).filter(is_of)?)))
            .collect();
        let is_this = |container: &ContainerSeen| container.labels.get(label::MIGRATION) == Some(&self.key);
        if self.is_known_to_be_done() {
            return Progress::Done;
        }
        // Should it have been made twice, by one who could not see the other, then the one that was begun counts.
        let made = || found.iter().filter(|(_, container)| is_this(container));
        let begun = made().find(|(_, container)| container.state != State::Created);
        if let Some((hostname, container)) = begun.or_else(|| made().next()) {
            return self.of(hostname, container);
        }
        if let Some((hostname, _)) = found.iter().find(|(_, container)| is_live(container)) {
            return Progress::Waits(format!("{name} of another release to end on {hostname}"), None);
        }
        let Some(first) = self.staying.first() else { return Progress::Done };
        let node = fleet::node(&self.known.desired.stack, self.layer, first);
        let engine = self.known.engines.iter().find(|(hostname, _)| *hostname == first.hostname);
        let (Some(node), Some((_, engine))) = (node, engine) else {
            return Progress::Waits(
                format!("the engine of {} to answer, where the migration runs", first.hostname),
                None,
            );
        };
        if let Some(container) = engine.containers.get(&name) {
            if !is_ours(container, &self.known.desired.stack.name) {
                let on = format!("a container {name} that Evenkeel did not make to be removed from {}", first.hostname);
                return Progress::Waits(on, None);
            }
            if unrecorded(self.known.facts, container, std::iter::once(self.slot)).is_some() {
                return Progress::Waits(format!("{name}, which went well, to be recorded"), None);
            }
            let (id, name) = (container.id.clone(), name);
            return Progress::Next(node, Box::new(EngineAction::Remove { id, name }));
        }
        self.begin(first, node, engine)
    }

    /// On record; or a container of this release was made, which only happens after it.
    fn is_known_to_be_done(&self) -> bool {
        let slot = self.slot;
        let key = (slot.app.name.clone(), slot.container.name.clone(), self.key.clone());
        let release = release(self.known.desired, slot);
        let is_of = |container: &ContainerSeen| {
            container.labels.get(label::RELEASE) == Some(&release) && !container.labels.contains_key(label::MIGRATION)
        };
        self.known.facts.migrated.contains(&key)
            || self.known.engines.iter().any(|(_, engine)| engine.containers.values().any(is_of))
    }

    fn begin(&self, first: &Instance, node: Node, engine: &Engine) -> Progress {
        let app = &self.slot.app.name;
        if self.known.facts.paused(app).is_some() {
            return Progress::Waits(waits_for_resume(app), None);
        }
        if let Some(on) = &self.slot.unread {
            return Progress::Waits(on.clone(), None);
        }
        if let Some(waits) = self.may_be_elsewhere() {
            return waits;
        }
        let image = &self.slot.image;
        if let Some((hostname, _)) = self.known.engines.iter().find(|(_, e)| !e.images.contains_key(image)) {
            let on = format!("image {} to be on {hostname} before the migration", crate::spec::image::shown(image));
            return Progress::Waits(on, None);
        }
        let place = Place::of(first);
        let rendered = migration_run(self.known.desired, self.slot, place, &self.migration.command, &self.key);
        let is_up = |name: &String| engine.containers.get(name).is_some_and(is_live);
        if let Some(missing) = rendered.needs.iter().find(|name| !is_up(name)) {
            return Progress::Waits(
                format!("{missing}, which the migration needs, to run on {}", first.hostname),
                None,
            );
        }
        let missing = rendered.run.data_volumes.iter().find(|mount| !engine.volumes.contains(&mount.volume));
        let network = rendered.run.network.own();
        let missing_network = network.filter(|name| !engine.networks.contains_key(*name));
        let what = match (missing, missing_network) {
            (Some(mount), _) => {
                let labels = marks(self.known.desired, self.slot);
                EngineAction::CreateVolume { name: mount.volume.clone(), labels }
            }
            (None, Some(name)) => {
                let labels = marks(self.known.desired, self.slot);
                EngineAction::CreateNetwork { name: name.to_owned(), labels }
            }
            (None, None) => EngineAction::Create { run: Box::new(rendered.for_engine(engine)) },
        };
        Progress::Next(node, Box::new(what))
    }

    /// It may have been begun where nobody can look: on an instance that one read does not tell of, or whose engine is
    /// silent. That of one which has never answered was never asked to.
    fn may_be_elsewhere(&self) -> Option<Progress> {
        let Known { seen, facts, now, .. } = *self.known;
        let members = fleet::members(self.layer, seen);
        let declared = (1..=self.layer.instances.count).map(|number| format!("{}{number}", self.layer.short_name));
        let gone = facts.gone_since.keys().filter(|name| fleet::index_in(self.layer, name).is_some()).cloned();
        let unseen = declared.chain(gone).filter(|name| !members.iter().any(|(_, it)| it.hostname == **name));
        let doubted = unseen.filter_map(|name| Some((facts.doubt(&name, now)?.until, name)));
        if let Some((until, name)) = doubted.filter(|(until, _)| until.is_none_or(|until| until > now)).max() {
            let on = format!("another look for {name}, where the migration may have been begun");
            return Some(Progress::Waits(on, until));
        }
        let is_silent = |instance: &Instance| {
            fleet::phase(&instance.status) == fleet::Phase::Online
                && instance.launched.as_ref().is_none_or(|launched| launched.ready)
                && seen.engines.get(&instance.hostname).and_then(Seen::known).is_none()
        };
        let (_, silent) = members.into_iter().find(|(_, instance)| is_silent(instance))?;
        let on = format!("the engine of {} to answer: the migration may have been begun there", silent.hostname);
        Some(Progress::Waits(on, None))
    }

    /// Its container is there.
    fn of(&self, hostname: &str, container: &ContainerSeen) -> Progress {
        let (id, name) = (container.id.clone(), self.name());
        let ends = container.started_at.map(|at| at + self.migration.timeout);
        let on_it = |what: EngineAction| {
            let members = fleet::members(self.layer, self.known.seen);
            let instance = members.iter().find(|(_, instance)| instance.hostname == hostname);
            let node = instance.and_then(|(_, it)| fleet::node(&self.known.desired.stack, self.layer, it));
            match node {
                Some(node) => Progress::Next(node, Box::new(what)),
                None => Progress::Waits(format!("{hostname}, where it was begun, to be online"), None),
            }
        };
        let in_time = match (container.finished_at, ends) {
            (Some(finished), Some(ends)) => finished <= ends,
            _ => true,
        };
        match container.state {
            State::Created => on_it(EngineAction::Start { id, name }),
            State::Running | State::Restarting { .. } | State::Paused => match ends {
                Some(until) if until <= self.known.now => {
                    let stop = &self.slot.container.stop;
                    let stop = StopHow { signal: stop.signal.clone(), timeout: stop.timeout };
                    on_it(EngineAction::Stop { id, name, stop, guard: None })
                }
                until => Progress::Waits(format!("{name} to end on {hostname}"), until),
            },
            State::Exited { exit_code: 0 } if in_time => Progress::Succeeded(Migrated {
                app: self.slot.app.name.clone(),
                container: self.slot.container.name.clone(),
                key: self.key.clone(),
                hostname: hostname.to_owned(),
                revision: self.known.desired.revision.clone(),
                words: last_words(container),
            }),
            State::Exited { exit_code } => {
                let took = match in_time {
                    true => format!("ended with exit code {exit_code}"),
                    false => format!("was stopped after {}s (exit code {exit_code})", self.migration.timeout.as_secs()),
                };
                self.failed(hostname, &took, container)
            }
            State::Dead => self.failed(hostname, "could not be removed completely by the engine", container),
        }
    }

    fn failed(&self, hostname: &str, how: &str, container: &ContainerSeen) -> Progress {
        let (name, app) = (self.name(), &self.slot.app.name);
        let message = format!(
            "{name} on {hostname} {how}{}. Nothing was stopped for this release; it is not tried again until the release \
             changes, or {} asks for it",
            colon(&last_words(container)),
            command("deploy", app)
        );
        Progress::Failed(hostname.to_owned(), message)
    }
}

/// The container of a migration that failed: where it is, and its name.
pub(super) fn failed<'a>(
    known: &Known<'a>,
    layer: &Layer,
    staying: &[&Instance],
    slot: &Slot<'_>,
) -> Option<(&'a str, String, &'a ContainerSeen)> {
    let migration = slot.container.migration.as_ref()?;
    let one = One { known, layer, staying, slot, migration, key: migration_key(known.desired, slot) };
    let Progress::Failed(hostname, _) = one.progress() else { return None };
    let (hostname, engine) = known.engines.iter().find(|(other, _)| *other == hostname)?;
    Some((hostname, one.name(), engine.containers.get(&one.name())?))
}

/// Which migration a container was, if it ended well and that is not on record. One that took too long was stopped.
fn unrecorded<'a>(
    facts: &Facts,
    container: &ContainerSeen,
    mut slots: impl Iterator<Item = &'a Slot<'a>>,
) -> Option<(String, String, String)> {
    let label = |name: &str| container.labels.get(name).cloned();
    let key = (label(label::APP)?, label(label::CONTAINER)?, label(label::MIGRATION)?);
    let declared = slots.find(|slot| (&slot.app.name, &slot.container.name) == (&key.0, &key.1));
    let timeout = declared.and_then(|slot| Some(slot.container.migration.as_ref()?.timeout));
    let was_stopped = match (container.started_at, container.finished_at, timeout) {
        (Some(started), Some(finished), Some(timeout)) => finished > started + timeout,
        _ => false,
    };
    let ended_well = container.state == State::Exited { exit_code: 0 } && !was_stopped;
    (ended_well && !facts.migrated.contains(&key)).then_some(key)
}

/// Whether a migration's container is still needed: it runs, it is to be put on record, or it tells of a release that
/// is not over.
pub(super) fn is_kept(
    container: &ContainerSeen,
    facts: &Facts,
    slots: &[&Slot<'_>],
    over: &dyn Fn(&str, &str) -> bool,
) -> bool {
    let Some(key) = container.labels.get(label::MIGRATION) else { return false };
    let of = |slot: &&&Slot<'_>| slot.migration.as_ref() == Some(key);
    is_live(container)
        || (!slots.iter().any(|slot| of(&slot)) && unrecorded(facts, container, slots.iter().copied()).is_some())
        || slots.iter().find(of).is_some_and(|slot| !over(&slot.app.name, &slot.container.name))
}

/// A migration of a release that is not declared any more goes on to its end, and is put on record if it ends well:
/// declared again, the release has been migrated to. Until then not everything is done.
pub(super) fn wait_for_strays(plan: &mut Plan, known: &Known<'_>, slots: &[Slot<'_>]) {
    for (hostname, engine) in known.engines {
        for (name, container) in &engine.containers {
            let Some(key) = container.labels.get(label::MIGRATION) else { continue };
            let is_declared = slots.iter().any(|slot| slot.migration.as_ref() == Some(key));
            if is_declared || !is_ours(container, &known.desired.stack.name) {
                continue;
            }
            if let Some((app, of, key)) = unrecorded(known.facts, container, slots.iter()) {
                let (hostname, revision) = ((*hostname).to_owned(), known.desired.revision.clone());
                let words = last_words(container);
                let migrated = Migrated { app, container: of, key, hostname, revision, words };
                plan.attempt(name, Action::RecordMigration { migrated }, known.facts, known.now);
            }
            if is_live(container) {
                let on = format!("{name}, the migration of a release that is not declared any more, to end");
                plan.hold(*hostname, on, None);
            }
        }
    }
}

/// A migration that runs on an engine, by its name.
pub(super) fn running_on<'a>(engine: &'a Engine, stack: &str) -> Option<&'a str> {
    let runs = |container: &ContainerSeen| {
        is_ours(container, stack) && container.labels.contains_key(label::MIGRATION) && is_live(container)
    };
    engine.containers.iter().find(|(_, container)| runs(container)).map(|(name, _)| name.as_str())
}

impl Facts {
    /// Takes a migration for recorded.
    pub fn record_migration(&mut self, migrated: &Migrated) {
        let Migrated { app, container, key, .. } = migrated;
        self.migrated.insert((app.clone(), container.clone(), key.clone()));
    }
}
