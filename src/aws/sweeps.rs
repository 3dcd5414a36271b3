//! What is left over of a stack: the whole account must be listed to find it, so that this is done seldom, and once for
//! all stacks of a place.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{flight::Flight, place::Place};
use crate::{
    spec::Stack,
    world::{Leftover, Trouble},
};

/// How often everything is listed.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// The place and the name of a stack.
type Whose = (Place, String);

/// The last listing of each place, and what was found in it for each stack.
#[derive(Debug)]
pub(super) struct Sweeps<T> {
    listings: Mutex<BTreeMap<Place, Arc<Flight<T>>>>,
    found: Mutex<BTreeMap<Whose, Found<T>>>,
}

#[derive(Debug)]
struct Found<T> {
    of: Arc<T>,
    left: Vec<Leftover>,
}

impl<T> Default for Sweeps<T> {
    fn default() -> Self {
        Sweeps { listings: Mutex::default(), found: Mutex::default() }
    }
}

impl<T> Sweeps<T> {
    /// What is left over of the stack. Everything is listed anew when the last listing is too old, and `sift`ed for the
    /// stack once a listing.
    pub(super) async fn share<L, F>(
        &self,
        place: &Place,
        stack: &Stack,
        list: impl FnOnce() -> L,
        sift: impl FnOnce(Arc<T>) -> F,
    ) -> Result<Vec<Leftover>, Trouble>
    where
        L: Future<Output = Result<T, Trouble>>,
        F: Future<Output = Result<Vec<Leftover>, Trouble>>,
    {
        let flight = lock(&self.listings).entry(place.clone()).or_default().clone();
        let listing = flight.share(EVERY, |_| true, list).await?;
        let whose = (place.clone(), stack.name.clone());
        if let Some(found) = lock(&self.found).get(&whose).filter(|found| Arc::ptr_eq(&found.of, &listing)) {
            return Ok(found.left.clone());
        }
        let left = sift(listing.clone()).await?;
        lock(&self.found).insert(whose, Found { of: listing, left: left.clone() });
        Ok(left)
    }

    /// Something was deleted.
    pub(super) fn forget(&self) {
        lock(&self.listings).values().for_each(|flight| flight.outdate());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::aws::testing::shop;

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_for_every_five_minutes_and_after_something_was_deleted() {
        let (sweeps, place) = (Sweeps::default(), Place::from("eu-west-1"));
        let other = Stack { name: "other".into(), ..shop() };
        let (listed, sifted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let share = async |stack: &Stack| {
            let list = || async { Ok(listed.fetch_add(1, Ordering::Relaxed)) };
            let sift = |_| async {
                sifted.fetch_add(1, Ordering::Relaxed);
                Ok(Vec::new())
            };
            sweeps.share(&place, stack, list, sift).await.expect("a sweep that succeeds");
        };
        let times = || (listed.load(Ordering::Relaxed), sifted.load(Ordering::Relaxed));

        share(&shop()).await;
        assert_eq!(times(), (1, 1));
        tokio::time::advance(EVERY - Duration::from_secs(1)).await;
        share(&shop()).await;
        assert_eq!(times(), (1, 1), "what is known");
        share(&other).await;
        assert_eq!(times(), (1, 2), "another stack has the same listing");
        tokio::time::advance(Duration::from_secs(1)).await;
        share(&shop()).await;
        share(&other).await;
        assert_eq!(times(), (2, 4));
        sweeps.forget();
        share(&shop()).await;
        assert_eq!(times(), (3, 5));
    }
}
