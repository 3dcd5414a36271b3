//! When stacks at rest are looked at: in rounds, a few of them at the same moment, so that what is asked of an account's
//! region on behalf of all of them is asked once.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::spec::{Desired, Manifests};

/// So many stacks of a place are looked at together. Not all of them: each one's load balancers are asked one by one, and
/// Elastic Load Balancing allows 40 requests at once ("Request throttling for the ELB API").
const TOGETHER: usize = 8;
/// By how much those that come next are later.
const APART: Duration = Duration::from_secs(5);

/// The rounds of one stack.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    began: Instant,
    /// How old the round was that was under way then: so there is none before the first.
    age: Duration,
    every: Duration,
}

impl Rounds {
    /// Those of every stack, by name.
    pub fn of(manifests: &Manifests, began: Instant, every: Duration) -> BTreeMap<String, Rounds> {
        // Stacks of a place share what is asked of it.
        let mut places: BTreeMap<_, usize> = BTreeMap::new();
        let rounds = manifests.iter().map(|(name, Desired { stack, .. })| {
            let number = places.entry((&stack.region, &stack.assume_role)).or_default();
            let rounds = Rounds::nth(*number, began, every);
            *number += 1;
            (name.clone(), rounds)
        });
        rounds.collect()
    }

    /// Those of the stack before which there are so many of its place.
    fn nth(number: usize, began: Instant, every: Duration) -> Rounds {
        let later = APART * u32::try_from(number / TOGETHER).unwrap_or_default();
        Rounds { began, age: every - remainder(later, every), every }
    }

    /// Which one it is.
    pub fn number(&self, now: Instant) -> u128 {
        self.since_the_first(now).as_nanos() / self.every.as_nanos()
    }

    /// How long it is until the next.
    pub fn until_next(&self, now: Instant) -> Duration {
        self.every - remainder(self.since_the_first(now), self.every)
    }

    fn since_the_first(&self, now: Instant) -> Duration {
        now.duration_since(self.began) + self.age
    }
}

fn remainder(of: Duration, every: Duration) -> Duration {
    let nanos = of.as_nanos() % every.as_nanos();
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    /// When the stack is looked at that begins at such a time, and then whenever a round begins.
    fn looks(rounds: Rounds, began: Instant, first: u64) -> Vec<f64> {
        let mut at = began + Duration::from_secs(first);
        let mut looks = Vec::new();
        for _ in 0..4 {
            let before = rounds.number(at);
            at += rounds.until_next(at);
            assert_eq!(rounds.number(at), before + 1);
            looks.push(at.duration_since(began).as_secs_f64());
        }
        looks
    }

    #[test]
    fn stacks_that_came_to_rest_at_different_times_are_looked_at_together() {
        let began = Instant::now();
        let of = |number| Rounds::nth(number, began, EVERY);
        assert_eq!(looks(of(0), began, 0), [30.0, 60.0, 90.0, 120.0]);
        assert_eq!(looks(of(1), began, 29), [30.0, 60.0, 90.0, 120.0]);
        assert_eq!(looks(of(7), began, 7), [30.0, 60.0, 90.0, 120.0]);
    }

    #[test]
    fn no_more_than_a_few_are_looked_at_in_the_same_moment() {
        let began = Instant::now();
        let of = |number| Rounds::nth(number, began, EVERY);
        assert_eq!(looks(of(8), began, 7), [35.0, 65.0, 95.0, 125.0]);
        assert_eq!(looks(of(8), began, 2), [5.0, 35.0, 65.0, 95.0]);
        assert_eq!(looks(of(47), began, 7), [25.0, 55.0, 85.0, 115.0]);
        assert_eq!(looks(of(48), began, 7), [30.0, 60.0, 90.0, 120.0]);
    }

    #[test]
    fn rounds_may_be_shorter_than_what_those_that_come_next_are_later_by() {
        let began = Instant::now();
        let looks = looks(Rounds::nth(8, began, Duration::from_secs(3)), began, 3);
        assert_eq!(looks, [5.0, 8.0, 11.0, 14.0]);
    }
}
