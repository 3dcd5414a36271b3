//! What is left over of a stack: the whole account must be listed to find it, so that it is looked for seldom.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::client::Place;
use crate::{
    spec::Stack,
    world::{Leftover, Trouble},
};

/// How often everything is listed.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// The place and the name of a stack.
type Whose = (Place, String);

/// What was found the last time, by stack.
#[derive(Debug, Default)]
pub(super) struct Sweeps(Mutex<BTreeMap<Whose, (Instant, Vec<Leftover>)>>);

impl Sweeps {
    /// What was found, and unless that is too long ago, without a `sweep`.
    pub(super) async fn share(
        &self,
        place: &Place,
        stack: &Stack,
        sweep: impl Future<Output = Result<Vec<Leftover>, Trouble>>,
    ) -> Result<Vec<Leftover>, Trouble> {
        let whose = (place.clone(), stack.name.clone());
        let known = self.all().get(&whose).filter(|(at, _)| at.elapsed() < EVERY).map(|(_, found)| found.clone());
        if let Some(known) = known {
            return Ok(known);
        }
        let found = sweep.await?;
        self.all().insert(whose, (Instant::now(), found.clone()));
        Ok(found)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::aws::testing::shop;

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_for_every_five_minutes_and_after_something_was_deleted() {
        let sweeps = Sweeps::default();
        let place = Place::from("eu-west-1");
        let stack = shop();
        let swept = AtomicUsize::new(0);
        let share = || {
            sweeps.share(&place, &stack, async {
                swept.fetch_add(1, Ordering::Relaxed);
                Ok(Vec::new())
            })
        };
        let times = || swept.load(Ordering::Relaxed);

        share().await.expect("a sweep that succeeds");
        assert_eq!(times(), 1);
        tokio::time::advance(EVERY - Duration::from_secs(1)).await;
        share().await.expect("what is known");
        assert_eq!(times(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        share().await.expect("a sweep that succeeds");
        assert_eq!(times(), 2);
        sweeps.forget();
        share().await.expect("a sweep that succeeds");
        assert_eq!(times(), 3);
    }
}
