//! A slot: the place of one replica of one container on every instance of a layer.

use crate::spec::{App, Container, Desired, Layer};

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
}

impl Slot<'_> {
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

/// Every slot of a layer, in the order in which they are processed.
pub fn slots<'a>(desired: &'a Desired, layer: &Layer) -> Vec<Slot<'a>> {
    desired
        .apps
        .iter()
        .filter(|app| app.is_docker() && app.layer == layer.short_name)
        .flat_map(|app| app.containers.iter().map(move |container| (app, container)))
        .flat_map(|(app, container)| {
            (0..container.replicas).map(move |index| Slot { app, container, index, name: container.replica(index) })
        })
        .collect()
}
