//! A slot: the place of one replica of one container on every instance of a layer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use crate::{
    secret::Sealed,
    spec::{App, Container, Desired, Layer, container::Deploy},
};

/// See the module.
#[derive(Debug, Clone)]
pub struct Slot<'a> {
    /// The app it belongs to.
    pub app: &'a App,
    /// What is declared.
    pub container: &'a Container,
    /// Which replica.
    pub index: u32,
    /// Its name on the engine, `app0`.
    pub name: String,
    /// The image: as declared, and fixed to a digest once that is known.
    pub image: String,
    /// What the image waits for, when it is not known which one it is.
    pub unresolved: Option<String>,
    /// Deployed by hand, and nobody has asked for it.
    pub by_hand: bool,
    /// The key of the migration of its release, where it has one.
    pub migration: Option<String>,
    /// The migration that must be over before a container of this release is made.
    pub migrating: Option<String>,
    /// The migration of the app that must be over before a container that runs is replaced.
    pub held: Option<String>,
    /// The values of the variables that are kept elsewhere, as far as they could be read.
    pub secrets: BTreeMap<String, Sealed>,
    /// What it waits for when one of them could not.
    pub unread: Option<String>,
    /// Its release, which is the same on every instance, once it was asked for.
    pub(super) release: OnceLock<String>,
}

impl<'a> Slot<'a> {
    fn of(app: &'a App, container: &'a Container, index: u32) -> Slot<'a> {
        Slot {
            app,
            container,
            index,
            name: container.replica(index),
            image: container.image.clone(),
            unresolved: None,
            by_hand: container.deploy == Deploy::Manual,
            migration: None,
            migrating: None,
            held: None,
            secrets: BTreeMap::new(),
            unread: None,
            release: OnceLock::new(),
        }
    }

    /// The names of what it is linked with or takes volumes from, as declared.
    pub(super) fn needs(&self) -> impl Iterator<Item = &str> {
        let entries = self.container.links.iter().chain(&self.container.volumes_from);
        entries.map(|entry| entry.split(':').next().unwrap_or(entry))
    }

    /// The name under which the container that it replaces is kept until the rollout is over.
    pub fn old_name(&self) -> String {
        format!("{}{OLD}", self.name)
    }

    /// The name under which a container that failed is kept, stopped, for a look at it.
    pub fn failed_name(&self) -> String {
        format!("{}{FAILED}", self.name)
    }
}

/// Suffix of a replaced container.
pub const OLD: &str = ".old";
/// Suffix of a failed container.
pub const FAILED: &str = ".failed";
/// Suffix of a migration's container.
pub const MIGRATION: &str = ".migration";

/// The jobs of a layer. A run has no index: `%{app_name}` is the container's key everywhere.
pub fn jobs<'a>(desired: &'a Desired, layer: &Layer) -> Vec<Slot<'a>> {
    let apps = desired.apps.iter().filter(|app| app.is_docker() && app.layer == layer.short_name);
    let all = apps.flat_map(|app| app.containers.iter().map(move |container| (app, container)));
    let run_by_the_clock = all.filter(|(_, container)| container.cron.is_some());
    run_by_the_clock
        .map(|(app, container)| Slot { name: container.name.clone(), ..Slot::of(app, container, 0) })
        .collect()
}

/// Every slot of a layer, in the order in which they are processed: as declared, but what a container is linked with
/// or takes volumes from comes before it.
pub fn slots<'a>(desired: &'a Desired, layer: &Layer) -> Vec<Slot<'a>> {
    let mut left: Vec<Slot<'a>> = desired
        .apps
        .iter()
        .filter(|app| app.is_docker() && app.layer == layer.short_name)
        .flat_map(|app| app.containers.iter().map(move |container| (app, container)))
        .flat_map(|(app, container)| (0..container.replicas).map(move |index| Slot::of(app, container, index)))
        .collect();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let names: BTreeSet<&str> = left.iter().map(|slot| slot.name.as_str()).collect();
        // Validation refuses circles; were there one, the order declared is as good as any.
        let next = left.iter().position(|slot| !slot.needs().any(|name| names.contains(name))).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}
