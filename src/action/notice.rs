//! What there is to tell of a release, and how far that is.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spec::notify::Occasion;

/// Something about a release of a container that is put on record, and told to whom it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The same for the same event, however often it is told.
    pub id: String,
    /// The app's name.
    pub app: String,
    /// The container's key.
    pub container: String,
    /// What happened; nothing where it is only noted that this release runs already.
    pub occasion: Option<Occasion>,
    /// Which release: a hash of its image and of what is declared.
    pub release: String,
    /// The image, with its tag.
    pub image: String,
    /// What that stands for, where it is known.
    pub digest: Option<String>,
    /// The revision of the manifests at the time.
    pub revision: String,
    /// What went wrong, where something did.
    pub words: String,
    /// What the container says of itself to Rollbar.
    pub says: Option<Says>,
    /// Who is to be told.
    pub to: Vec<Receiver>,
}

/// What two variables of a container said, where that is no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Says {
    /// Which environment it is.
    pub environment: Option<String>,
    /// Which revision it is.
    pub revision: Option<String>,
}

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Receiver {
    /// The container's Rollbar project.
    Rollbar,
    /// The app's webhook.
    Webhook,
}

/// A notice that one receiver was not told of yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// What it is about.
    pub notice: Notice,
    /// Who is told.
    pub to: Receiver,
    /// When it was put on record.
    pub since: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// When it was tried last.
    pub tried: Option<Timestamp>,
    /// What went wrong then.
    pub trouble: Option<String>,
}

impl Notice {
    /// What it is about: `APP/CONTAINER`.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.app, self.container)
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Receiver::Rollbar => "Rollbar",
            Receiver::Webhook => "the webhook",
        })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "release {} of {}", self.release, self.subject())?;
        match self.occasion {
            Some(Occasion::Started) => f.write_str(" has started"),
            Some(Occasion::Done) => f.write_str(" is done"),
            Some(Occasion::Failed) => f.write_str(" has failed"),
            Some(Occasion::RolledBack) => f.write_str(" was rolled back"),
            None => f.write_str(" runs already"),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} that {}", self.to, self.notice)
    }
}
