//! How long to wait after a failure. The only place that knows the `backoff` crate.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff as _};

use crate::world::Class;

/// How long an action that cannot succeed as things stand is left alone, unless the manifest changes before.
const TERMINAL: Duration = Duration::from_secs(60);

/// The same where a disk is full: each try fills it again, and who needs it meanwhile has none. It is tried at once
/// when room was made.
const NO_ROOM: Duration = Duration::from_secs(10 * 60);

/// The waits after consecutive failures of one thing.
#[derive(Debug)]
pub struct Waits {
    waits: ExponentialBackoff,
}

impl Default for Waits {
    fn default() -> Self {
        let waits = ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(500))
            .with_multiplier(2.0)
            .with_randomization_factor(0.2)
            .with_max_interval(Duration::from_secs(60))
            .with_max_elapsed_time(None)
            .build();
        Waits { waits }
    }
}

impl Waits {
    /// The wait after one more failure of this class.
    pub fn after(&mut self, class: Class) -> Duration {
        let next = self.waits.next_backoff().unwrap_or(TERMINAL);
        match class {
            Class::Terminal => TERMINAL,
            Class::NoRoom => NO_ROOM,
            // The API asked for fewer calls: begin where the others are after a few failures.
            Class::Throttled => next.max(Duration::from_secs(2)),
            Class::Transient | Class::UnknownOutcome | Class::TokenSpent => next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_a_bound() {
        let mut waits = Waits::default();
        let first = waits.after(Class::Transient);
        assert!(first < Duration::from_secs(1), "{first:?}");
        let later: Vec<_> = (0..20).map(|_| waits.after(Class::Transient)).collect();
        assert!(later[3] > first);
        assert!(later.iter().all(|wait| *wait <= Duration::from_secs(73)), "{later:?}");
    }

    #[test]
    fn a_throttled_api_is_left_alone_for_longer_from_the_first() {
        assert!(Waits::default().after(Class::Throttled) >= Duration::from_secs(2));
    }

    #[test]
    fn what_cannot_succeed_is_tried_rarely() {
        assert_eq!(Waits::default().after(Class::Terminal), TERMINAL);
        assert_eq!(Waits::default().after(Class::NoRoom), NO_ROOM);
    }
}
