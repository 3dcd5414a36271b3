//! What should be: the manifests as plain types.
//!
//! [`decode`] turns text into these types and collects every error with its place; [`validate`] holds them
//! against each other. Neither reads a file or knows a clock.

pub mod app;
pub mod balancer;
pub mod container;
pub mod cron;
pub mod data_source;
pub mod decode;
pub mod engine;
pub mod health;
pub mod image;
pub mod interpolate;
pub mod logging;
pub mod migration;
pub mod network;
pub mod notify;
pub mod options;
pub mod port;
pub mod problem;
pub mod registry;
pub mod rollout;
pub mod scaling;
pub mod stack;
pub mod upkeep;
pub mod validate;
pub mod value;
pub mod volume;
mod zone;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use app::App;
pub use container::Container;
pub use cron::Job;
pub use engine::{engine_label, engine_name, engine_parameter};
pub use health::HealthCheck;
pub use options::Options;
pub use port::Port;
pub use problem::{File, Problem};
pub use registry::Registry;
pub use rollout::Rollout;
pub use stack::{Layer, Stack};
pub use upkeep::Upkeep;
pub use value::{Of, Reference, Value};

/// One stack with every app that is declared for it: the desired side of one reconciliation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Desired {
    /// Where the manifests stood when they were read: a commit's short id, or `dir-<hash>` for a directory.
    pub revision: String,
    /// The stack.
    pub stack: Stack,
    /// Its apps, in the order of their names.
    pub apps: Vec<App>,
}

impl Desired {
    /// Every value that is kept elsewhere and needed by what runs.
    pub fn references(&self) -> BTreeSet<Reference> {
        let apps = self.apps.iter().filter(|app| app.is_docker());
        let mut all = BTreeSet::new();
        for webhook in apps.clone().filter_map(|app| app.webhook.as_ref()) {
            all.extend([&webhook.url, &webhook.secret].into_iter().filter_map(|value| value.reference()).cloned());
        }
        if self.stack.provider == stack::Provider::Opsworks {
            let sources = apps.clone().filter_map(|app| app.data_source.as_ref()?.registration());
            sources.for_each(|source| all.extend(source.references().cloned()));
        }
        for (app, container) in apps.flat_map(|app| app.containers.iter().map(move |container| (app, container))) {
            all.extend(app.env_of(container).into_values().filter_map(Value::reference).cloned());
            all.extend(container.rollbar.iter().filter_map(|it| it.access_token.reference()).cloned());
            all.extend(self.login(&container.image).iter().flat_map(|login| login.references()).cloned());
        }
        all
    }
}

/// Everything that one revision declares, by stack name.
pub type Manifests = BTreeMap<String, Desired>;
