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
    /// What of the two was declared as a share of the layer's instances.
    #[serde(skip)]
    pub share: Share,
    /// How long a drain may take before the swap goes on without it. Default 300 s.
    pub drain_timeout: Duration,
    /// Time between the balancers' word that the instance is out and the first stop; load balancers are
    /// eventually consistent. Default 2 s.
    pub settle: Duration,
    /// How long an instance that is done must do well, back in service, before the next one is touched and the old
    /// containers are given up; one that ends or becomes unhealthy in that time counts against the release. Kubernetes
    /// calls it `minReadySeconds`, Nomad `min_healthy_time`. Default 2 s.
    pub soak: Duration,
    /// How long a new container may take to become healthy; and how long a rollout may go on, beyond a drain, without
    /// another instance done before that is told. Default 300 s.
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
            share: Share::default(),
            drain_timeout: Duration::from_secs(300),
            settle: Duration::from_secs(2),
            soak: Duration::from_secs(2),
            progress_deadline: Duration::from_secs(300),
            surge: false,
            on_failure: OnFailure::Rollback,
        }
    }
}

/// Percentages of a layer's instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// `minInService`, rounded up: what is promised to stay is never fewer.
    pub min_in_service: Option<u32>,
    /// `maxUnavailable`, rounded down, but one at least, or nothing would ever be replaced.
    pub max_unavailable: Option<u32>,
}

impl Rollout {
    /// The same for a layer of so many instances. Percentages are rounded as Kubernetes does: `minAvailable` of a
    /// PodDisruptionBudget up, `maxUnavailable` of a rolling update down.
    pub fn scaled(mut self, instances: u32) -> Rollout {
        let share = |percent: u32| u64::from(percent) * u64::from(instances);
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        if let Some(percent) = self.share.min_in_service {
            self.min_in_service = number(share(percent).div_ceil(100));
        }
        if let Some(percent) = self.share.max_unavailable {
            self.max_unavailable = number(share(percent) / 100).max(1);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_stay_is_rounded_up_and_what_may_leave_down_but_to_one_at_least() {
        let of = |stay, leave, instances| {
            let share = Share { min_in_service: Some(stay), max_unavailable: Some(leave) };
            let scaled = Rollout { share, ..Rollout::default() }.scaled(instances);
            (scaled.min_in_service, scaled.max_unavailable)
        };
        assert_eq!(of(50, 50, 3), (2, 1));
        assert_eq!(of(50, 25, 8), (4, 2));
        assert_eq!(of(1, 1, 3), (1, 1));
        assert_eq!(of(0, 100, 5), (0, 5));
        assert_eq!(of(100, 10, 0), (0, 1));
        assert_eq!(Rollout::default().scaled(9), Rollout::default());
    }
}
