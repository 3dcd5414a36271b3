//! Who is just leaving which balancer, and who stays.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{self, MutexGuard},
    time::Instant,
};

use super::place::{Account, Place};
use crate::world::Target;

/// How long health may still call an instance in service after its deregistration was accepted.
const LAG: Duration = Duration::from_secs(30);
/// The longest that a balancer drains ("Configure connection draining": 1 to 3,600 seconds).
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);

/// An account's region and a balancer in it: stacks that share a balancer need not share their role.
type Key = (Account, String);

/// The doors of all balancers.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<BTreeMap<Key, Arc<Door>>>);

impl Doors {
    pub(super) fn of(&self, place: &Place, balancer: &str) -> Arc<Door> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((Account::from(place), balancer.to_owned())).or_default().clone()
    }
}

/// One balancer's door: instances pass it one at a time, so that two never leave each counting on the other.
///
/// It remembers who left, for two reasons: health lags behind, and a balancer that is asked about all of its
/// instances tells of those "currently registered" (API reference of `DescribeInstanceHealth`), which one that
/// drains may no longer be.
#[derive(Debug, Default)]
pub(super) struct Door {
    gate: sync::Mutex<()>,
    left: Mutex<BTreeMap<String, Instant>>,
}

impl Door {
    /// Held from the check to the answer.
    pub(super) async fn pass(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    /// Noted before the request is sent, so that nobody can look in between.
    pub(super) fn leaves(&self, ec2_id: &str) {
        self.left().insert(ec2_id.to_owned(), Instant::now());
    }

    /// It is back, never left, or has been seen to be gone.
    pub(super) fn forget(&self, ec2_id: &str) {
        self.left().remove(ec2_id);
    }

    /// Everybody who may still be draining.
    pub(super) fn leaving(&self) -> Vec<String> {
        let mut left = self.left();
        left.retain(|_, since| since.elapsed() < LONGEST_DRAIN);
        left.keys().cloned().collect()
    }

    /// True when health may still say that this one is in service although it is not.
    pub(super) fn just_left(&self, ec2_id: &str) -> bool {
        self.left().get(ec2_id).is_some_and(|since| since.elapsed() < LAG)
    }

    fn left(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other targets of a balancer, when one is to leave.
#[derive(Debug, PartialEq)]
pub(super) struct Others {
    pub(super) in_service: usize,
    /// Why each of the rest does not count.
    pub(super) missing: Vec<String>,
}

impl Others {
    /// What the balancer says of each target, by EC2 id; without those that are not registered.
    pub(super) fn of<'a>(targets: impl IntoIterator<Item = (&'a str, Target)>, leaves: &str, door: &Door) -> Others {
        let mut others = Others { in_service: 0, missing: Vec::new() };
        for (id, target) in targets.into_iter().filter(|(id, _)| *id != leaves) {
            match target {
                Target::InService if door.just_left(id) => {
                    others.missing.push(format!("{id} was deregistered a moment ago"));
                }
                Target::InService => others.in_service += 1,
                Target::Draining => others.missing.push(format!("{id} is draining")),
                Target::OutOfService(why) => others.missing.push(format!("{id} is out of service: {why}")),
            }
        }
        others
    }

    pub(super) fn too_few(&self, keep: u32) -> String {
        let missing = match self.missing.as_slice() {
            [] => "no other is registered".to_owned(),
            missing => missing.join("; "),
        };
        format!(
            "{} other instances are in service and {keep} must stay ({missing}); tried again when they are",
            self.in_service
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_others_that_stay_in_service_count() {
        let targets = [
            ("i-1", Target::InService),
            ("i-2", Target::InService),
            ("i-3", Target::Draining),
            ("i-4", Target::OutOfService("Instance registration is still in progress.".into())),
        ];
        let others = Others::of(targets, "i-1", &Door::default());
        assert_eq!(others.in_service, 1);
        assert_eq!(
            others.missing,
            ["i-3 is draining", "i-4 is out of service: Instance registration is still in progress."]
        );
    }

    #[test]
    fn one_that_left_a_moment_ago_does_not_count_although_health_lags() {
        let door = Door::default();
        door.leaves("i-2");
        let others = Others::of([("i-1", Target::InService), ("i-2", Target::InService)], "i-1", &door);
        assert_eq!(others.in_service, 0);
        assert!(others.too_few(1).contains("i-2 was deregistered a moment ago"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_left_is_remembered_as_long_as_a_drain_can_take() {
        let door = Door::default();
        door.leaves("i-1");
        door.leaves("i-2");
        door.forget("i-2");
        assert!(door.just_left("i-1"));
        assert_eq!(door.leaving(), ["i-1"]);
        tokio::time::advance(LAG).await;
        assert!(!door.just_left("i-1"));
        assert_eq!(door.leaving(), ["i-1"]);
        tokio::time::advance(LONGEST_DRAIN).await;
        assert!(door.leaving().is_empty());
    }
}
