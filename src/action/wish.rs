//! What an operator asks of a running controller, beside the manifests.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spec::image;

/// See the module. It is kept in the store until it is done, taken back, or overtaken by a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    /// The app's name.
    pub app: String,
    /// The container's key; without one it is every container of the app that is not deployed by hand.
    pub container: Option<String>,
    /// What is asked for.
    pub kind: WishKind,
    /// When it was asked for. Asked for again it is another one.
    pub at: Timestamp,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WishKind {
    /// To roll out what is declared: what failed is tried again, and a container that is deployed by hand is replaced
    /// this once.
    Deploy {
        /// What was kept of earlier failures is cleared away, and the rollout may go.
        begun: bool,
    },
    /// To run an earlier release until there is a newer one than the one that was left.
    Rollback(Back),
    /// To take no healthy container away.
    Pause,
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Back {
    /// The image that was declared then.
    pub declared: String,
    /// The digest that is left.
    pub from: String,
    /// The image to be run, as it was declared at its time.
    pub image: String,
    /// Its digest.
    pub digest: String,
}

impl Wish {
    /// What it is about: `APP`, or `APP/CONTAINER`.
    pub fn subject(&self) -> String {
        match &self.container {
            Some(container) => format!("{}/{container}", self.app),
            None => self.app.clone(),
        }
    }

    /// The word of the command that asks for it.
    pub fn word(&self) -> &'static str {
        match self.kind {
            WishKind::Deploy { .. } => "deploy",
            WishKind::Rollback(_) => "rollback",
            WishKind::Pause => "pause",
        }
    }

    /// Where a rollback goes.
    pub fn back(&self) -> Option<&Back> {
        match &self.kind {
            WishKind::Rollback(back) => Some(back),
            _ => None,
        }
    }

    /// What a container was rolled back to.
    pub fn rolled_back<'a>(wishes: &'a [Wish], app: &str, container: &str) -> Option<(&'a Wish, &'a Back)> {
        wishes.iter().filter(|wish| wish.is_about(app, container)).find_map(|wish| Some((wish, wish.back()?)))
    }

    /// The same deploy, begun.
    pub fn begun(&self) -> Wish {
        Wish { kind: WishKind::Deploy { begun: true }, ..self.clone() }
    }

    /// True when it is about this container.
    pub fn is_about(&self, app: &str, container: &str) -> bool {
        self.app == app && self.container.as_deref().is_none_or(|own| own == container)
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.word(), self.subject())?;
        if let WishKind::Rollback(back) = &self.kind {
            write!(f, " to {} ({})", back.image, image::short(&back.digest))?;
        }
        Ok(())
    }
}
