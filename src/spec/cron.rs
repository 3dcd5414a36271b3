//! What is run by the clock: a container with `deploy: cron`.

mod schedule;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

pub use schedule::{Schedule, Wrong};

/// How long after its time a run that was missed is still made up for, where the manifest does not say.
pub const STARTING_DEADLINE: Duration = Duration::from_secs(60 * 60);
/// How long a run may take, where the manifest does not say.
pub const TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// When and how a container is run by the clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// When.
    pub schedule: Schedule,
    /// Where.
    pub run_on: RunOn,
    /// What becomes of a run that is due while another one of it goes on.
    pub concurrency: Concurrency,
    /// How long after its time a run that was missed is still made up for.
    pub starting_deadline: Duration,
    /// How long it may take before it is stopped and counts as failed.
    pub timeout: Duration,
    /// How many containers of runs that are over are kept, for a look at what they wrote.
    pub history: History,
}

/// On which instances of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RunOn {
    /// On one, whichever can.
    OneInstance,
    /// On each.
    EveryInstance,
}

/// What becomes of a run that is due while another one of the same job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Concurrency {
    /// It waits for the other to end, and is left out if the one after it is due by then.
    Forbid,
    /// Both go on.
    Allow,
    /// The other is stopped first.
    Replace,
}

/// How many containers of runs that are over are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct History {
    /// Of those that went well.
    pub succeeded: u32,
    /// Of the others.
    pub failed: u32,
}

impl Default for History {
    fn default() -> History {
        History { succeeded: 3, failed: 1 }
    }
}
