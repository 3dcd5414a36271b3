//! Who is told of releases.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Value;

/// Where Rollbar takes notes of deploys ("Deploys", API reference).
pub const ROLLBAR: &str = "https://api.rollbar.com/api/1/deploy/";

/// Rollbar, which is told of a container's release once it is done everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollbar {
    /// A project access token with the scope `post_server_item`.
    pub access_token: Value,
    /// The variable of the container that says which environment it is.
    pub env_var: String,
    /// The variable of the container that says which revision it is.
    pub rev_var: String,
    /// Where it listens.
    pub url: String,
}

/// A receiver of one's own, which is told of the releases of an app's containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Where it listens.
    pub url: Value,
    /// What each message is signed with.
    pub secret: Value,
    /// What it is told of.
    pub events: BTreeSet<Occasion>,
}

/// What there is to tell of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Occasion {
    /// It begins: nothing was made for it yet.
    Started,
    /// Every instance runs it, and serves.
    Done,
    /// It did not come up, or its migration did not go well.
    Failed,
    /// It failed, and the one before runs everywhere again.
    RolledBack,
}

impl Occasion {
    /// Every one, by its word.
    pub const ALL: [(&'static str, Occasion); 4] = [
        ("started", Occasion::Started),
        ("done", Occasion::Done),
        ("failed", Occasion::Failed),
        ("rolledBack", Occasion::RolledBack),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Occasion::ALL.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
    }
}
