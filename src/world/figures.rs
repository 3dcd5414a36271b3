//! What an instance has to do, and what OpsWorks makes of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// The figures of one instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Percent of its processors' time: what its containers took since the figures before, or, of CloudWatch, the whole
    /// machine over the minute or the five that its last point tells of.
    pub cpu: Option<f64>,
    /// Percent of its memory that its containers use.
    pub memory: Option<f64>,
    /// The load average of one minute.
    pub load: Option<f64>,
    /// When that was, by the clock of who looks; of CloudWatch, when it began.
    pub at: Timestamp,
    /// How long ago that was when it was told.
    #[serde(skip)]
    pub age: Duration,
    /// How long ago whoever tells it answered last, with new figures or none.
    #[serde(skip)]
    pub answered: Duration,
}

/// Load-based scaling of a layer as OpsWorks has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct LoadScaling {
    pub enabled: bool,
    pub up: Thresholds,
    pub down: Thresholds,
}

/// One direction of it, in OpsWorks' units: minutes, percent, and no threshold for -1.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Thresholds {
    pub count: u32,
    pub wait_minutes: u32,
    pub ignore_minutes: u32,
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
    pub load: Option<f64>,
}
