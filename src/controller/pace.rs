//! How often things are looked at.

use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A full look at a stack that is as declared.
    pub resync: Duration,
    /// A look at the values that are kept elsewhere.
    pub secrets: Duration,
    /// A look while something is waited for.
    pub poll: Duration,
    /// The first looks at a balancer that has just been told something: no event says when it is ready.
    pub soon: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            resync: Duration::from_secs(30),
            secrets: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            soon: Duration::from_millis(100),
        }
    }
}

impl Pace {
    /// How long until a balancer is asked again that has been waited for so long: a tenth of that. So a short wait is not
    /// made long by the looks, and a long one costs no more calls than any other.
    pub fn next(&self, waited: Duration) -> Duration {
        (waited / 10).clamp(self.soon.min(self.poll), self.poll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a balancer is asked that takes so long.
    fn looks(takes: Duration) -> Vec<Duration> {
        let pace = Pace::default();
        let mut at = vec![Duration::ZERO];
        while at[at.len() - 1] < takes {
            at.push(at[at.len() - 1] + pace.next(at[at.len() - 1]));
        }
        at
    }

    #[test]
    fn a_wait_is_made_longer_by_a_tenth_or_a_moment_at_most() {
        for takes in [50, 900, 1500, 4000, 9000].map(Duration::from_millis) {
            let seen = *looks(takes).last().unwrap();
            assert!(seen - takes <= (takes / 10).max(Pace::default().soon), "{takes:?} was seen after {seen:?}");
        }
    }

    #[test]
    fn a_long_wait_costs_one_look_a_second() {
        let minutes = |n: u64| looks(Duration::from_secs(60 * n)).len();
        assert_eq!(minutes(5) - minutes(4), 60);
        assert!(minutes(1) <= 60 + 30, "{} looks in the first minute", minutes(1));
    }
}
