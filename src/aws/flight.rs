//! One answer for everybody who asks at about the same time.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use crate::world::Trouble;

/// How old an answer may be that another stack asked for.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// One kind of look. Whoever asks while it is under way gets its answer; so does who asks soon after it began.
#[derive(Debug)]
pub(super) struct Flight<T> {
    last: Mutex<Option<Landed<T>>>,
    /// Counts the changes after which what was seen before is of no use.
    outdated: AtomicU64,
}

#[derive(Debug)]
struct Landed<T> {
    began: Instant,
    ended: Instant,
    outdated: u64,
    answer: Result<Arc<T>, Trouble>,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Flight { last: Mutex::default(), outdated: AtomicU64::default() }
    }
}

impl<T> Flight<T> {
    /// Something was changed: an answer whose question was asked before is not shared any more.
    pub(super) fn outdate(&self) {
        self.outdated.fetch_add(1, SeqCst);
    }

    /// The last answer, if its question is no older than `age` (after a failure: than a tick) and it `covers` what is
    /// asked now, or else a new one.
    ///
    /// # Errors
    /// Those of `ask`, which are shared too.
    pub(super) async fn share<F>(
        &self,
        age: Duration,
        covers: impl Fn(&T) -> bool,
        ask: impl FnOnce() -> F,
    ) -> Result<Arc<T>, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let asked = Instant::now();
        // Held while it is asked, so that the others wait for the answer.
        let mut last = self.last.lock().await;
        if let Some(landed) = &*last
            && landed.outdated == self.outdated.load(SeqCst)
            && landed.is_fresh(asked, age)
            && landed.answer.as_ref().map_or(true, |answer| covers(answer))
        {
            return landed.answer.clone();
        }
        let (began, outdated) = (Instant::now(), self.outdated.load(SeqCst));
        let answer = ask().await.map(Arc::new);
        *last = Some(Landed { began, ended: Instant::now(), outdated, answer: answer.clone() });
        answer
    }
}

impl<T> Landed<T> {
    fn is_fresh(&self, asked: Instant, age: Duration) -> bool {
        let age = if self.answer.is_ok() { age } else { age.min(TICK) };
        self.began + age > asked || self.ended >= asked
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::world::Class;

    type Numbers = Flight<BTreeSet<u32>>;

    /// Answers with a number after `seconds`, and counts.
    async fn ask(flight: &Numbers, asked: &AtomicU64, number: u32, seconds: u64) -> Result<BTreeSet<u32>, Trouble> {
        let ask = || async {
            asked.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            match number {
                0 => Err(Trouble { class: Class::Transient, message: "down".into() }),
                number => Ok(BTreeSet::from([number])),
            }
        };
        flight.share(TICK, |answer| number == 0 || answer.contains(&number), ask).await.map(|all| (*all).clone())
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_while_it_is_under_way_gets_its_answer_however_long_it_takes() {
        let (flight, asked) = (Numbers::default(), AtomicU64::default());
        let late = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            ask(&flight, &asked, 1, 9).await
        };
        let (first, second, third) = tokio::join!(ask(&flight, &asked, 1, 9), ask(&flight, &asked, 1, 9), late);
        assert_eq!((&first, &second), (&Ok(BTreeSet::from([1])), &third));
        assert_eq!(asked.load(SeqCst), 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        ask(&flight, &asked, 1, 0).await.unwrap();
        assert_eq!(asked.load(SeqCst), 2, "a question of 9 s ago is answered no more");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_shared_for_a_tick_and_a_failure_as_well() {
        for number in [0, 1] {
            let (flight, asked) = (Numbers::default(), AtomicU64::default());
            let first = ask(&flight, &asked, number, 0).await;
            tokio::time::sleep(TICK / 2).await;
            assert_eq!(ask(&flight, &asked, number, 0).await, first);
            assert_eq!(asked.load(SeqCst), 1);
            tokio::time::sleep(TICK / 2).await;
            assert_eq!(ask(&flight, &asked, number, 0).await, first);
            assert_eq!(asked.load(SeqCst), 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_change_everything_is_asked_again_even_what_was_under_way() {
        let (flight, asked) = (Numbers::default(), AtomicU64::default());
        let change = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            flight.outdate();
            ask(&flight, &asked, 1, 2).await.unwrap();
        };
        let (_, ()) = tokio::join!(ask(&flight, &asked, 1, 2), change);
        assert_eq!(asked.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_lacks_what_is_asked_is_not_shared() {
        let (flight, asked) = (Numbers::default(), AtomicU64::default());
        ask(&flight, &asked, 1, 0).await.unwrap();
        assert_eq!(ask(&flight, &asked, 2, 0).await, Ok(BTreeSet::from([2])));
        assert_eq!(asked.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_leaves_the_others_their_answer() {
        let (flight, asked) = (Numbers::default(), AtomicU64::default());
        let gone = tokio::time::timeout(Duration::from_secs(1), ask(&flight, &asked, 1, 2));
        let (gone, answer) = tokio::join!(gone, ask(&flight, &asked, 1, 2));
        assert!(gone.is_err());
        assert_eq!(answer, Ok(BTreeSet::from([1])));
    }
}
