//! A migration that went well.

use std::fmt;

use serde::Serialize;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Migrated {
    /// The app's name.
    pub app: String,
    /// The container's key.
    pub container: String,
    /// Which one: a hash of the release and of the command.
    pub key: String,
    /// Where it ran.
    pub hostname: String,
    /// The revision of the manifests at the time.
    pub revision: String,
    /// What it said last.
    pub words: String,
}

impl fmt::Display for Migrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}: it went well on {}", self.app, self.container, self.hostname)
    }
}
