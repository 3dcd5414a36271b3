//! How a change is rolled out over the instances of a layer.

use std::time::Duration;

use serde::Serialize;

/// `spec.rollout`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Instances that must stay in service in every load balancer while another is out. Default 1.
    pub min_in_service: u32,
    /// Instances that may be out at once. Default 1.
    pub max_unavailable: u32,
    /// How long a drain may take before the swap goes on without it. Default 300 s.
    pub drain_timeout: Duration,
    /// Time between the balancers' word that the instance is out and the first stop; load balancers are
    /// eventually consistent. Default 2 s.
    pub settle: Duration,
    /// How long a new container may take to become healthy. Default 300 s.
    pub progress_deadline: Duration,
    /// Whether one instance more than declared comes up for the time of a rollout, so that none is missing while
    /// another is out. Default no.
    pub surge: bool,
    /// What happens when a new container fails. Default rollback.
    pub on_failure: OnFailure,
}

/// What happens to the instances already done when a release fails on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They go back to the old containers, drained likewise.
    Rollback,
    /// They stay; the rollout stops where it is.
    Pause,
}

impl Default for Rollout {
    fn default() -> Self {
        Rollout {
            min_in_service: 1,
            max_unavailable: 1,
            drain_timeout: Duration::from_secs(300),
            settle: Duration::from_secs(2),
            progress_deadline: Duration::from_secs(300),
            surge: false,
            on_failure: OnFailure::Rollback,
        }
    }
}
