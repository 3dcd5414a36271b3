//! How a container's health is known.

use std::time::Duration;

use serde::Serialize;

/// A health check; the engine itself runs it inside the container, so that health is known even while no
/// controller runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Time between two checks.
    pub interval: Duration,
    /// Time after which one check has failed.
    pub timeout: Duration,
    /// Failures in a row after which the container is unhealthy.
    pub retries: u32,
    /// Time after the start in which failures do not count.
    pub start_period: Duration,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// `GET path` on a port of the container; needs `wget` or `curl` in the image.
    Http {
        /// The path, `/up`.
        path: String,
        /// The port inside the container.
        port: u16,
    },
    /// A TCP connection to a port of the container; needs `nc` or `bash` in the image.
    Tcp {
        /// The port inside the container.
        port: u16,
    },
    /// `GET path` through a unix socket; needs `curl` in the image.
    Unix {
        /// The socket's path inside the container.
        socket: String,
        /// The path, `/up`.
        path: String,
    },
    /// A command, split as a shell would; healthy when it exits with 0.
    Exec(Vec<String>),
    /// The image's own `HEALTHCHECK`.
    Image,
}
