//! What is run once per release, before any container stops.

use std::time::Duration;

use serde::Serialize;

/// How long a migration may take, where the manifest does not say.
pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// `migration` of a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    /// The command, already split as a shell would; it runs with the image's own entrypoint.
    pub command: Vec<String>,
    /// False when the older release cannot work with what it leaves behind: then no automatic way leads back.
    pub reversible: bool,
    /// How long it may take before it is stopped and counts as failed.
    pub timeout: Duration,
}
