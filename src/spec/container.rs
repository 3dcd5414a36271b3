//! A container, as declared: one key of the app's list, `replicas` of it on every instance.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{HealthCheck, Job, Options, Value, migration::Migration, network::Network, notify::Rollbar};

/// One entry of `spec.containers`. Strings may still hold `%{…}`; they are filled in per instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Container {
    /// The key; containers on the engine are called after it with their index, `app0`, `app1`.
    pub name: String,
    /// When it is replaced.
    pub deploy: Deploy,
    /// The image reference with its tag or digest, never without (`latest` is filled in).
    pub image: String,
    /// How many on every instance.
    pub replicas: u32,
    /// How long a replica without a health check must run before it counts as healthy, and the next is touched.
    pub startup_time: Duration,
    /// How its health is known.
    pub health_check: Option<HealthCheck>,
    /// How it is stopped.
    pub stop: Stop,
    /// Environment variables.
    pub env: BTreeMap<String, Value>,
    /// Another container of the app whose `env` is taken first.
    pub env_from: Option<String>,
    /// As `docker run -v`.
    pub volumes: Vec<String>,
    /// Names of data volumes of the app, or of containers with their index.
    pub volumes_from: Vec<String>,
    /// As `docker run --link`: `redis0:redis`.
    pub links: Vec<String>,
    /// As `docker run -p`.
    pub ports: Vec<String>,
    /// The container's hostname; left out, `NAMEi.<instance hostname>`.
    pub hostname: Option<String>,
    /// As `docker run --entrypoint`: one word or several.
    pub entrypoint: Option<Vec<String>>,
    /// The command, already split as a shell would.
    pub command: Option<Vec<String>>,
    /// What is run once per release, before any container stops.
    pub migration: Option<Migration>,
    /// When it is run, if it is run by the clock and is no service; it has no replicas then.
    pub cron: Option<Job>,
    /// Whether it serves traffic; left out, it is inferred from ports, volumes and links.
    pub traffic: Option<bool>,
    /// A lone replica on a lone instance may be swapped with an interruption.
    pub allow_downtime: bool,
    /// Which way it is replaced; left out, it is chosen.
    pub strategy: Option<Way>,
    /// Its network; left out, its app's.
    pub network: Option<Network>,
    /// The variables that tell it of its app's database, where it asks for them.
    pub database: Option<BTreeMap<String, Value>>,
    /// Rollbar, which is told of its releases.
    pub rollbar: Option<Rollbar>,
    /// What it is given and denied beyond its image.
    pub options: Options,
}

impl Container {
    /// The name of one replica on the engine: key and index.
    pub fn replica(&self, index: u32) -> String {
        format!("{}{index}", self.name)
    }

    /// The names of all replicas, in order.
    pub fn replica_names(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.replicas).map(|index| self.replica(index))
    }
}

/// When a container is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Deploy {
    /// Whenever what is declared differs from what runs.
    Auto,
    /// Started if absent or stopped, never replaced while it runs; its image is not pulled for a replacement.
    Manual,
    /// Never run as a service, but by the clock.
    Cron,
}

/// Which way a container that runs is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// Its instance leaves its load balancers first.
    Drain,
    /// Its instance stays in; replicas are swapped one at a time.
    InPlace,
    /// The new one is up before the old one is stopped.
    StartFirst,
}

/// How a container is stopped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stop {
    /// The signal, by name; left out, the image's own (`STOPSIGNAL`), else SIGTERM.
    pub signal: Option<String>,
    /// How long it may take to end before the engine kills it.
    pub timeout: Duration,
}
