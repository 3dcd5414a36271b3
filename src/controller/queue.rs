//! Which stack is looked at next: keyed, deduplicated, the earliest time wins, and never two passes of one key at
//! once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use tokio::{sync::Notify, time::Instant};

/// See the module. A key that is added while it is being worked on is handed out again when it is done.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    due: BTreeMap<String, Instant>,
    busy: BTreeSet<String>,
}

impl Queue {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Asks for the key at a time; of several, the earliest wins.
    pub fn add(&self, key: &str, at: Instant) {
        let mut state = self.state();
        let due = state.due.entry(key.to_owned()).or_insert(at);
        *due = at.min(*due);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next key that is due and that nobody works on; it is the caller's until [`Queue::done`].
    pub async fn next(&self) -> String {
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let earliest = {
                let mut state = self.state();
                let next = state
                    .due
                    .iter()
                    .filter(|(key, _)| !state.busy.contains(*key))
                    .min_by_key(|(_, at)| **at)
                    .map(|(key, at)| (key.clone(), *at));
                match next {
                    Some((key, at)) if at <= now => {
                        state.due.remove(&key);
                        state.busy.insert(key.clone());
                        return key;
                    }
                    other => other.map(|(_, at)| at),
                }
            };
            match earliest {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// The work on a key is over.
    pub fn done(&self, key: &str) {
        self.state().busy.remove(key);
        self.changed.notify_one();
    }

    /// Forgets a key that is no longer wanted.
    pub fn forget(&self, key: &str) {
        self.state().due.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_several_times_wins() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add("shop", start + Duration::from_secs(60));
        queue.add("shop", start + Duration::from_secs(5));
        queue.add("shop", start + Duration::from_secs(30));
        assert_eq!(queue.next().await, "shop");
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_handed_out_twice_at_once() {
        let queue = Arc::new(Queue::default());
        queue.add("shop", Instant::now());
        assert_eq!(queue.next().await, "shop");
        queue.add("shop", Instant::now());
        let again = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
        assert!(again.is_err(), "handed out while it was being worked on");
        queue.done("shop");
        assert_eq!(queue.next().await, "shop");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_is_woken_by_a_key_that_is_due_sooner() {
        let queue = Arc::new(Queue::default());
        let start = Instant::now();
        queue.add("slow", start + Duration::from_secs(100));
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        queue.add("quick", Instant::now());
        assert_eq!(waiter.await.unwrap(), "quick");
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_busy_key_does_not_keep_another_waiting() {
        let queue = Queue::default();
        queue.add("a", Instant::now());
        queue.add("b", Instant::now());
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
    }
}
