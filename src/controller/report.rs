//! Telling people what happens while it happens.

use std::sync::Arc;

use crate::status::StackStatus;

/// Something worth telling.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// An action was begun.
    Started(String),
    /// An action succeeded, after so many seconds.
    Done(String, f64),
    /// An action failed.
    Failed(String, String),
    /// How far a long action is.
    Progress(String),
    /// What is waited for has changed.
    Waiting {
        /// Everything that is waited for now.
        all: Vec<String>,
        /// The part of it that was not waited for before.
        new: Vec<String>,
    },
    /// A condition came up.
    Condition(String),
    /// A condition is over.
    Cleared(String),
    /// A new revision is being reconciled.
    Revision(String),
    /// Everything is as declared.
    Converged,
}

impl News {
    /// The text for the event history; nothing for what is only of the moment.
    pub fn history(&self) -> Option<String> {
        match self {
            News::Progress(_) | News::Waiting { .. } | News::Started(_) => None,
            other => Some(other.to_string()),
        }
    }
}

impl std::fmt::Display for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            News::Started(action) => write!(f, "{action} …"),
            News::Done(action, seconds) => write!(f, "{action}: done in {seconds:.1}s"),
            News::Failed(action, why) => write!(f, "{action}: failed: {why}"),
            News::Progress(text) => f.write_str(text),
            News::Waiting { all, .. } => f.write_str(&all.join("; ")),
            News::Condition(text) => f.write_str(text),
            News::Cleared(text) => write!(f, "over: {text}"),
            News::Revision(revision) => write!(f, "revision {revision}"),
            News::Converged => f.write_str("everything is as declared"),
        }
    }
}

/// Where news goes.
pub trait Reporter: Send + Sync {
    /// Something happened to a stack.
    fn news(&self, stack: &str, news: &News);
    /// How a stack is after a pass.
    fn status(&self, _status: &StackStatus) {}
}

/// A shared reporter.
pub type Report = Arc<dyn Reporter>;
