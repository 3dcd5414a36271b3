//! An app: the containers that every instance of a layer runs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Container, Registry, Rollout, Value, logging::Logging, network::Network, notify::Webhook};

pub use super::data_source::DataSource;

/// `kind: App`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct App {
    /// `metadata.name`; blanks are allowed.
    pub name: String,
    /// The stack's name.
    pub stack: String,
    /// The layer's short name.
    pub layer: String,
    /// The app's environment; `APP_TYPE: docker` is what makes Evenkeel take it up.
    pub environment: BTreeMap<String, String>,
    /// The database that the app is attached to on the provider's side.
    pub data_source: Option<DataSource>,
    /// Named sets of paths that outlive containers and are shared by `volumesFrom`.
    pub data_volumes: BTreeMap<String, Vec<String>>,
    /// How its containers log that do not say so themselves; left out, as the engine is set up.
    pub logging: Option<Logging>,
    /// The network of its containers that do not choose one.
    pub network: Network,
    /// The registries of its images, by host.
    pub registries: BTreeMap<String, Registry>,
    /// Who is told of its releases.
    pub webhook: Option<Webhook>,
    /// How a change is rolled out.
    pub rollout: Rollout,
    /// The containers, in the order in which they are processed.
    pub containers: Vec<Container>,
}

impl App {
    /// True when the app declares `APP_TYPE: docker`; every other app is left alone.
    pub fn is_docker(&self) -> bool {
        self.environment.get("APP_TYPE").is_some_and(|kind| kind == "docker")
    }

    /// The variables of one of its containers: those that `envFrom` names first, overridden by its own, and these by those
    /// of its database.
    pub fn env_of<'a>(&'a self, container: &'a Container) -> BTreeMap<&'a String, &'a Value> {
        let base = container.env_from.as_ref().and_then(|from| self.containers.iter().find(|it| it.name == *from));
        let database = container.database.iter().flatten();
        base.iter().flat_map(|base| &base.env).chain(&container.env).chain(database).collect()
    }

    /// The network of one of its containers.
    pub fn network_of(&self, container: &Container) -> Network {
        container.network.unwrap_or(self.network)
    }

    /// The name in lower case with everything but letters and digits as dashes: what labels, volume names and
    /// OpsWorks short names can carry.
    pub fn slug(&self) -> String {
        super::interpolate::slug(&self.name)
    }
}
