//! How a container's health is known.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

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
    /// `GET path` on a port of the container; needs `curl` or `wget` in the image.
    Http {
        /// The path, `/up`.
        path: String,
        /// The port inside the container.
        port: u16,
        /// What a healthy one answers.
        #[serde(skip_serializing_if = "Statuses::is_usual")]
        status: Statuses,
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
        /// What a healthy one answers.
        #[serde(skip_serializing_if = "Statuses::is_usual")]
        status: Statuses,
    },
    /// A command, split as a shell would; healthy when it exits with 0.
    Exec(Vec<String>),
    /// The image's own `HEALTHCHECK`.
    Image,
}

/// HTTP status codes, as ranges with both ends in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(pub Vec<(u16, u16)>);

impl Default for Statuses {
    /// What `curl --fail` takes for success: everything but an error.
    fn default() -> Statuses {
        Statuses(vec![(200, 399)])
    }
}

impl Statuses {
    /// True for what counts where nothing is declared. It is left out of a container's hash, so that to declare it
    /// replaces nothing.
    pub fn is_usual(&self) -> bool {
        *self == Statuses::default()
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
