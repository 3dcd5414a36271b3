//! From a slot and an instance to what the engine is told.
//!
//! Two hashes tell whether a container is as declared. The *release* is the same on every instance: it is computed
//! before anything of the instance is filled in. The *spec hash* is of everything filled in.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::slot::{MIGRATION, Slot};
use crate::{
    action::{DataMount, Kept, Run, run_name},
    secret::Sealed,
    spec::{
        App, Desired, HealthCheck, Options, Reference, Value,
        health::Probe,
        interpolate::{Names, interpolate, opsworks_name},
        logging::Logging,
        network::{Joined, Network},
        port::Port,
        volume::Mount,
    },
    world::{ContainerSeen, Engine, Instance},
};

/// The labels that are Evenkeel's mark.
pub mod label {
    /// The stack's name.
    pub const STACK: &str = "evenkeel.stack";
    /// The app's name.
    pub const APP: &str = "evenkeel.app";
    /// The container's key.
    pub const CONTAINER: &str = "evenkeel.container";
    /// The replica's index.
    pub const INDEX: &str = "evenkeel.index";
    /// Hash of what was declared, everything filled in.
    pub const SPEC_HASH: &str = "evenkeel.spec-hash";
    /// Hash of what was declared, the same on every instance.
    pub const RELEASE: &str = "evenkeel.release";
    /// The revision of the manifests at the time.
    pub const REVISION: &str = "evenkeel.revision";
    /// `true` when it serves traffic.
    pub const TRAFFIC: &str = "evenkeel.traffic";
    /// Of a migration's container: which one it is.
    pub const MIGRATION: &str = "evenkeel.migration";
    /// Of a run of a job: when it was due.
    pub const JOB: &str = "evenkeel.job";
    /// Of a run of a job that has one on every instance: the instance's hostname.
    pub const JOB_PLACE: &str = "evenkeel.job-place";
    /// The variables that it was given by reference, with blanks between them.
    pub const SECRETS: &str = "evenkeel.secrets";
    /// The variables that tell it of its database as RDS does: no secrets, with blanks between them.
    pub const ASKED: &str = "evenkeel.asked";
    /// The variables whose values are told to others, with blanks between them.
    pub const SAYS: &str = "evenkeel.says";
    /// The containers it is linked with or takes volumes from, as `name=id`, with commas.
    pub const NEEDS: &str = "evenkeel.needs";
}

/// The variable that holds the id of the image.
const RELEASE_TAG: &str = "RELEASE_TAG";

/// What is filled in per instance.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The instance's hostname.
    pub hostname: &'a str,
    /// Its public address; its private one where it has none.
    pub public_ip: &'a str,
}

impl<'a> Place<'a> {
    /// That of an instance.
    pub fn of(instance: &'a Instance) -> Place<'a> {
        let public_ip = instance.public_ip.as_ref().or(instance.private_ip.as_ref()).map_or("", String::as_str);
        Place { hostname: &instance.hostname, public_ip }
    }
}

/// The instance that stands for all of them when the release is computed.
const ANYWHERE: Place<'static> = Place { hostname: "\u{0}hostname", public_ip: "\u{0}public_ip" };

/// A slot on one instance, with everything filled in and both hashes.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// What the engine is told; labels and `RELEASE_TAG` are added by [`Rendered::for_engine`].
    pub run: Run,
    /// The same on every instance, another one for every value of what is kept elsewhere.
    pub release: String,
    /// Of this instance.
    pub spec_hash: String,
    /// The containers of the same engine that must exist first.
    pub needs: Vec<String>,
    /// The label of the release, whatever was given by reference.
    declared: String,
}

/// Fills in a slot for one instance.
///
/// Manifests were validated, so every `%{…}` is known and every port and volume can be read; what could not be is
/// left as it stands rather than lost.
pub fn render(desired: &Desired, slot: &Slot<'_>, place: Place<'_>, serves: bool) -> Rendered {
    let release = release(desired, slot);
    let mut run = fill(desired, slot, place);
    let spec_hash = hash(&run);
    run.labels = BTreeMap::from([
        (label::STACK.into(), desired.stack.name.clone()),
        (label::APP.into(), slot.app.name.clone()),
        (label::CONTAINER.into(), slot.container.name.clone()),
        (label::INDEX.into(), slot.index.to_string()),
        (label::SPEC_HASH.into(), spec_hash.clone()),
        (label::RELEASE.into(), release.clone()),
        (label::REVISION.into(), desired.revision.clone()),
        (label::TRAFFIC.into(), serves.to_string()),
    ]);
    mark_secrets(&mut run);
    if let Some(rollbar) = &slot.container.rollbar {
        run.labels.insert(label::SAYS.into(), format!("{} {}", rollbar.env_var, rollbar.rev_var));
    }
    let needs = needs(&run);
    Rendered { run, release: with_values(&release, &slot.secrets), spec_hash, needs, declared: release }
}

fn mark_secrets(run: &mut Run) {
    let is_asked = |kept: &Kept| matches!(kept.from, Reference::Rds { .. });
    for (label, asked) in [(label::SECRETS, false), (label::ASKED, true)] {
        let names = run.secrets.iter().filter(|(_, kept)| is_asked(kept) == asked).map(|(name, _)| name.as_str());
        let names: Vec<&str> = names.collect();
        if !names.is_empty() {
            run.labels.insert(label.into(), names.join(" "));
        }
    }
}

/// A release with the values that it was given: one that was rotated makes another of it.
fn with_values(release: &str, secrets: &BTreeMap<String, Sealed>) -> String {
    if secrets.is_empty() {
        return release.to_owned();
    }
    let values: Vec<String> = secrets.iter().map(|(name, sealed)| format!("{name}={}", sealed.digits())).collect();
    format!("{release} with {}", digest(&values.join(" ")))
}

/// The release of a container as it was seen, and that of a slot.
pub(super) fn release_seen(container: &ContainerSeen) -> Option<String> {
    Some(with_values(container.labels.get(label::RELEASE)?, &container.secrets))
}

/// See [`Rendered::release`].
pub(super) fn release_wanted(desired: &Desired, slot: &Slot<'_>) -> String {
    with_values(&release(desired, slot), &slot.secrets)
}

/// The containers that it is linked with or takes volumes from.
fn needs(run: &Run) -> Vec<String> {
    let entries = run.links.iter().chain(&run.volumes_from);
    let names: BTreeSet<String> = entries.map(|entry| entry.split(':').next().unwrap_or(entry).to_owned()).collect();
    names.into_iter().collect()
}

/// The migration of a slot's release: the same image, environment, volumes and links, and another command with the
/// image's own entrypoint. It publishes nothing and is run once.
pub fn migration_run(desired: &Desired, slot: &Slot<'_>, place: Place<'_>, command: &[String], key: &str) -> Rendered {
    let mut run = fill(desired, slot, place);
    let opsworks = opsworks_name(&desired.stack.name, place.hostname);
    let names = Names { public_ip: place.public_ip, app_name: &slot.name, opsworks: &opsworks };
    let word = |word: &String| interpolate(word, &names).unwrap_or_else(|_| word.clone());
    run.command = Some(command.iter().map(word).collect());
    run.entrypoint = None;
    run.ports.clear();
    // Whatever finds a container by its labels or its name on the network must not take the migration for it.
    run.options.labels.clear();
    if let Joined::Own { aliases, .. } = &mut run.network {
        aliases.clear();
    }
    run.health_check = None;
    run.once = true;
    run.name.push_str(MIGRATION);
    run.labels = BTreeMap::from([
        (label::STACK.into(), desired.stack.name.clone()),
        (label::APP.into(), slot.app.name.clone()),
        (label::CONTAINER.into(), slot.container.name.clone()),
        (label::MIGRATION.into(), key.to_owned()),
        (label::TRAFFIC.into(), false.to_string()),
    ]);
    mark_secrets(&mut run);
    let declared = release(desired, slot);
    Rendered { needs: needs(&run), run, release: declared.clone(), spec_hash: String::new(), declared }
}

/// A run of a job: all that is declared of its container, but that it is found by nobody, and not started again.
pub fn job_run(desired: &Desired, slot: &Slot<'_>, place: Place<'_>, due: Timestamp, on: &str) -> Rendered {
    let declared = release(desired, slot);
    let mut run = fill(desired, slot, place);
    run.options.labels.clear();
    if let Joined::Own { aliases, .. } = &mut run.network {
        aliases.clear();
    }
    run.once = true;
    run.name = run_name(&slot.container.name, due);
    run.labels = BTreeMap::from([
        (label::STACK.into(), desired.stack.name.clone()),
        (label::APP.into(), slot.app.name.clone()),
        (label::CONTAINER.into(), slot.container.name.clone()),
        (label::JOB.into(), due.to_string()),
        (label::RELEASE.into(), declared.clone()),
        (label::REVISION.into(), desired.revision.clone()),
        (label::TRAFFIC.into(), false.to_string()),
    ]);
    if !on.is_empty() {
        run.labels.insert(label::JOB_PLACE.into(), on.to_owned());
    }
    mark_secrets(&mut run);
    let (needs, release) = (needs(&run), with_values(&declared, &slot.secrets));
    Rendered { run, release, spec_hash: String::new(), needs, declared }
}

/// Which migration it is: the same release with the same command has the same.
pub fn migration_key(desired: &Desired, slot: &Slot<'_>) -> String {
    let command = slot.container.migration.as_ref().map(|migration| &migration.command);
    digest(&format!("{} {command:?}", release(desired, slot)))
}

/// The hash of what is declared of a container, the same for every replica of it on every instance: what fails as
/// one replica has failed as a release.
pub fn release(desired: &Desired, slot: &Slot<'_>) -> String {
    let compute = || {
        let name = format!("{}\u{0}", slot.container.name);
        hash(&fill(desired, &Slot { index: 0, name, ..slot.clone() }, ANYWHERE))
    };
    slot.release.get_or_init(compute).clone()
}

impl Rendered {
    /// Completes the run with what only the engine knows: the ids of the containers it needs and of its image.
    pub fn for_engine(&self, engine: &Engine) -> Run {
        let mut run = self.run.clone();
        run.labels.insert(label::NEEDS.into(), self.needs_now(engine));
        if let Some(id) = engine.images.get(&run.image) {
            run.env.insert(RELEASE_TAG.into(), id.clone());
        }
        run
    }

    /// True when the container is what is declared, linked to the containers that are there now.
    pub fn matches(&self, container: &ContainerSeen, engine: &Engine) -> bool {
        let is = |name: &str, value: &str| container.labels.get(name).is_some_and(|found| found == value);
        is(label::SPEC_HASH, &self.spec_hash) && self.has_values(container) && self.is_linked(container, engine)
    }

    /// True when it has every value that could be read: one that could not counts as the one that it has.
    fn has_values(&self, container: &ContainerSeen) -> bool {
        let read = self.run.secrets.iter().filter_map(|(name, kept)| Some((name, kept.sealed.as_ref()?)));
        read.into_iter().all(|(name, sealed)| container.secrets.get(name) == Some(sealed))
    }

    /// True for a container of this release, as far as that can be told.
    pub fn is_of(&self, container: &ContainerSeen) -> bool {
        container.labels.get(label::RELEASE) == Some(&self.declared) && self.has_values(container)
    }

    /// True when the container is linked to the containers that are there now.
    pub fn is_linked(&self, container: &ContainerSeen, engine: &Engine) -> bool {
        container.labels.get(label::NEEDS).is_some_and(|found| *found == self.needs_now(engine))
    }

    fn needs_now(&self, engine: &Engine) -> String {
        let ids: Vec<String> = self
            .needs
            .iter()
            .map(|name| format!("{name}={}", engine.containers.get(name).map_or("", |found| found.id.as_str())))
            .collect();
        ids.join(",")
    }
}

/// The name on the engine of an app's own network.
pub fn network_name(desired: &Desired, app: &App) -> String {
    format!("evenkeel.{}.{}", crate::spec::interpolate::slug(&desired.stack.name), app.slug())
}

fn joined(desired: &Desired, slot: &Slot<'_>) -> Joined {
    match slot.app.network_of(slot.container) {
        Network::Bridge => Joined::Bridge,
        Network::Host => Joined::Host,
        Network::None => Joined::None,
        Network::App => Joined::Own {
            name: network_name(desired, slot.app),
            aliases: vec![slot.name.clone(), slot.container.name.clone()],
        },
    }
}

/// The name on the engine of an app's data volume at one of its paths.
pub fn data_volume_name(desired: &Desired, slot: &Slot<'_>, set: &str, position: usize) -> String {
    format!(
        "evenkeel.{}.{}.{}.{position}",
        crate::spec::interpolate::slug(&desired.stack.name),
        slot.app.slug(),
        crate::spec::interpolate::slug(set)
    )
}

fn fill(desired: &Desired, slot: &Slot<'_>, place: Place<'_>) -> Run {
    let container = slot.container;
    let opsworks = opsworks_name(&desired.stack.name, place.hostname);
    // The index shows in hostname and command only; elsewhere %{app_name} is the container's key.
    let plain = Names { public_ip: place.public_ip, app_name: &container.name, opsworks: &opsworks };
    let indexed = Names { app_name: &slot.name, ..plain };
    let text = |value: &String, names: &Names<'_>| interpolate(value, names).unwrap_or_else(|_| value.clone());
    let list = |values: &[String], names: &Names<'_>| values.iter().map(|value| text(value, names)).collect::<Vec<_>>();

    let (mut env, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in slot.app.env_of(container) {
        match value {
            Value::Text(value) => drop(env.insert(name.clone(), text(value, &plain))),
            // Filled in by the engine's image, whatever is declared.
            Value::Reference(_) if name == RELEASE_TAG => {}
            Value::Reference(from) => {
                let kept = Kept { from: from.clone(), sealed: slot.secrets.get(name).copied() };
                secrets.insert(name.clone(), kept);
            }
        }
    }

    let mut data_volumes = Vec::new();
    let mut binds = Vec::new();
    let mut anonymous_volumes = Vec::new();
    let mut volumes_from = Vec::new();
    for entry in list(&container.volumes_from, &plain) {
        let (name, mode) = entry.split_once(':').unwrap_or((&entry, ""));
        match slot.app.data_volumes.get(name) {
            Some(paths) => {
                for (position, path) in paths.iter().enumerate() {
                    if path.contains(':') {
                        binds.push(path.clone());
                    } else {
                        let volume = data_volume_name(desired, slot, name, position);
                        data_volumes.push(DataMount { volume, path: path.clone(), read_only: mode == "ro" });
                    }
                }
            }
            None => volumes_from.push(entry),
        }
    }
    for entry in list(&container.volumes, &plain) {
        match Mount::parse(&entry) {
            Ok(Mount::Anonymous(path)) => anonymous_volumes.push(path),
            _ => binds.push(entry),
        }
    }
    let ports = list(&container.ports, &plain).iter().filter_map(|entry| Port::parse(entry).ok()).collect();
    let hostname = match &container.hostname {
        Some(hostname) => text(hostname, &indexed),
        None => format!("{}.{}", slot.name, place.hostname),
    };
    Run {
        name: slot.name.clone(),
        image: slot.image.clone(),
        env,
        secrets,
        binds,
        anonymous_volumes,
        data_volumes,
        volumes_from,
        links: list(&container.links, &plain),
        ports,
        network: joined(desired, slot),
        hostname,
        entrypoint: container.entrypoint.clone(),
        command: container.command.as_ref().map(|words| list(words, &indexed)),
        health_check: container.health_check.as_ref().map(|check| fill_check(check, &indexed)),
        stop_signal: container.stop.signal.clone(),
        stop_timeout: container.stop.timeout,
        once: false,
        options: fill_options(slot, &indexed),
        labels: BTreeMap::new(),
    }
}

/// What is told of a replica to others is of that replica, so `%{app_name}` has the index here as in the command.
fn fill_options(slot: &Slot<'_>, names: &Names<'_>) -> Options {
    let text = |value: &String| interpolate(value, names).unwrap_or_else(|_| value.clone());
    let table =
        |values: &BTreeMap<String, String>| values.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let options = &slot.container.options;
    let logging = options.logging.as_ref().or(slot.app.logging.as_ref());
    let logging = logging.map(|it| Logging { driver: it.driver.clone(), options: table(&it.options) });
    Options { labels: table(&options.labels), logging, ..options.clone() }
}

/// A check names the replica's own socket or file, so `%{app_name}` has the index here as in the command.
fn fill_check(check: &HealthCheck, names: &Names<'_>) -> HealthCheck {
    let text = |value: &String| interpolate(value, names).unwrap_or_else(|_| value.clone());
    let probe = match &check.probe {
        Probe::Http { path, port, status } => Probe::Http { path: text(path), port: *port, status: status.clone() },
        Probe::Unix { socket, path, status } => {
            Probe::Unix { socket: text(socket), path: text(path), status: status.clone() }
        }
        Probe::Exec(words) => Probe::Exec(words.iter().map(text).collect()),
        other => other.clone(),
    };
    HealthCheck { probe, ..check.clone() }
}

thread_local! {
    /// What was hashed last under each name and hostname: from one plan to the next hardly anything changes, and
    /// comparing is much cheaper than writing all of it down again.
    static HASHED: RefCell<BTreeMap<String, (Run, String)>> = const { RefCell::new(BTreeMap::new()) };
}

/// So many are remembered at most.
const REMEMBERED: usize = 1_000;

/// The hash of what the engine is told.
fn hash(run: &Run) -> String {
    let key = format!("{} {}", run.name, run.hostname);
    HASHED.with_borrow_mut(|all| match all.get(&key) {
        Some((before, hash)) if before == run => hash.clone(),
        _ => {
            let hash = told(run);
            if all.len() >= REMEMBERED {
                all.clear();
            }
            all.insert(key, (run.clone(), hash.clone()));
            hash
        }
    })
}

fn told(run: &Run) -> String {
    let text = serde_json::to_string(run).unwrap_or_else(|_| format!("{run:?}"));
    digest(&text)
}

/// 16 hexadecimal digits of the SHA-256.
fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
