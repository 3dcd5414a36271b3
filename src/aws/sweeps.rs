//! What is left over of a stack: the whole account must be listed to find it, so that it is looked for seldom.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::client::Place;
use crate::world::Leftover;

/// How often everything is listed.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// The place and the name of a stack.
pub(super) type Whose = (Place, String);

/// What was found the last time, by stack.
#[derive(Debug, Default)]
pub(super) struct Sweeps(Mutex<BTreeMap<Whose, (Instant, Vec<Leftover>)>>);

impl Sweeps {
    /// What was found, unless that is too long ago.
    pub(super) fn known(&self, whose: &Whose) -> Option<Vec<Leftover>> {
        self.all().get(whose).filter(|(at, _)| at.elapsed() < EVERY).map(|(_, found)| found.clone())
    }

    pub(super) fn note(&self, whose: Whose, found: Vec<Leftover>) {
        self.all().insert(whose, (Instant::now(), found));
    }

    /// Something was deleted.
    pub(super) fn forget(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Whose, (Instant, Vec<Leftover>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_for_every_five_minutes_and_after_something_was_deleted() {
        let sweeps = Sweeps::default();
        let whose = (Place::from("eu-west-1"), "shop".to_owned());
        assert!(sweeps.known(&whose).is_none());
        sweeps.note(whose.clone(), Vec::new());
        tokio::time::advance(EVERY - Duration::from_secs(1)).await;
        assert!(sweeps.known(&whose).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(sweeps.known(&whose).is_none());
        sweeps.note(whose.clone(), Vec::new());
        sweeps.forget();
        assert!(sweeps.known(&whose).is_none());
    }
}
