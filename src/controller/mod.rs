//! The loop that never ends.
//!
//! Every stack has a key in the [`queue`]; whatever happens (a new revision, an engine's event, an action's end, the
//! passing of time) only ever asks for another pass over that key. A pass looks, plans and begins what may begin.

pub mod backoff;
mod clock;
pub mod lease;
pub mod pace;
pub mod queue;
pub mod reconciler;
pub mod report;
pub mod rounds;
mod snapshot;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    observe::Ports,
    spec::Manifests,
    status::{Condition, StackStatus},
    store::Store,
};
use pace::Pace;
use queue::Queue;
use reconciler::Reconciler;
use report::Report;
use rounds::Rounds;

/// How long a controller that is asked to stop waits for the actions under way.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often the store is looked at for what operators ask for.
pub const LISTENS: Duration = Duration::from_secs(1);

/// How long a stack is left alone after a pass that panicked.
const AFTER_A_PANIC: Duration = Duration::from_secs(10);

/// Reconciles every stack of the manifests it was given last.
pub struct Controller {
    ports: Ports,
    store: Arc<Store>,
    report: Report,
    pace: Pace,
    /// When the rounds of all stacks began.
    began: Instant,
    queue: Arc<Queue>,
    stacks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Reconciler>>>>,
    /// What concerns every stack: the source's troubles.
    source_conditions: Mutex<Vec<Condition>>,
    statuses: Mutex<BTreeMap<String, StackStatus>>,
    /// The requests to AWS that are on record.
    calls: Mutex<BTreeMap<String, u64>>,
}

impl Controller {
    /// A controller without any manifests yet.
    pub fn new(ports: Ports, store: Arc<Store>, report: Report, pace: Pace) -> Arc<Controller> {
        Arc::new(Controller {
            ports,
            store,
            report,
            pace,
            began: Instant::now(),
            queue: Arc::default(),
            stacks: Mutex::default(),
            source_conditions: Mutex::default(),
            statuses: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    /// From now on these are the manifests. A stack that is no longer declared is let go of; nothing of it is
    /// deleted.
    pub async fn set(&self, manifests: Manifests) {
        let names: Vec<String> = manifests.keys().cloned().collect();
        let gone: Vec<_> = {
            let mut stacks = lock(&self.stacks);
            let gone = stacks.keys().filter(|name| !manifests.contains_key(*name)).cloned().collect::<Vec<_>>();
            gone.iter().filter_map(|name| stacks.remove(name).map(|stack| (name.clone(), stack))).collect()
        };
        for (name, stack) in gone {
            self.queue.forget(&name);
            lock(&self.statuses).remove(&name);
            stack.lock().await.stop(PATIENCE).await;
            tracing::info!(stack = name, "no longer declared: it is left as it is");
        }
        let rounds = Rounds::of(&manifests, self.began, self.pace.resync);
        for ((name, desired), rounds) in manifests.into_iter().zip(rounds.into_values()) {
            let existing = lock(&self.stacks).get(&name).cloned();
            match existing {
                Some(stack) => stack.lock().await.set(desired, rounds),
                None => {
                    let (ports, store, report) = (self.ports.clone(), self.store.clone(), self.report.clone());
                    let when = (self.pace, rounds);
                    let reconciler = Reconciler::new(desired, ports, store, report, when, self.queue.clone());
                    lock(&self.stacks).insert(name.clone(), Arc::new(tokio::sync::Mutex::new(reconciler)));
                }
            }
            self.queue.add(&name, Instant::now());
        }
        if let Err(error) = self.store.keep_statuses(&names) {
            tracing::warn!(%error, "old statuses were not removed");
        }
    }

    /// What is wrong with the source, for as long as it is; shown on every stack.
    pub fn set_source_conditions(&self, conditions: Vec<Condition>) {
        let changed = {
            let mut current = lock(&self.source_conditions);
            let changed = *current != conditions;
            *current = conditions;
            changed
        };
        if changed {
            for name in lock(&self.stacks).keys() {
                self.queue.add(name, Instant::now());
            }
        }
    }

    /// How every stack was after its last pass.
    pub fn statuses(&self) -> BTreeMap<String, StackStatus> {
        lock(&self.statuses).clone()
    }

    /// Works off the queue, for ever. Stacks do not wait for each other.
    pub async fn work(self: Arc<Self>) {
        loop {
            let key = self.queue.next().await;
            let Some(stack) = lock(&self.stacks).get(&key).cloned() else {
                self.queue.done(&key);
                continue;
            };
            let controller = self.clone();
            tokio::spawn(async move {
                let conditions = lock(&controller.source_conditions).clone();
                // In a task of its own, so that a defect that panics costs one pass and not the stack.
                let pass = tokio::spawn(async move { stack.lock().await.pass(&conditions).await });
                let next = match pass.await {
                    Ok((status, next)) => {
                        lock(&controller.statuses).insert(key.clone(), status);
                        controller.record_calls();
                        next
                    }
                    Err(error) => {
                        tracing::error!(stack = key, %error, "a pass ended badly; this is a defect, please report it");
                        AFTER_A_PANIC
                    }
                };
                controller.queue.add(&key, Instant::now() + next);
                controller.queue.done(&key);
            });
        }
    }

    /// Looks after what operators have asked for in the store, for ever.
    pub async fn listen(self: Arc<Self>) {
        let mut known = None;
        loop {
            match self.store.version() {
                Ok(version) => {
                    if known.replace(version).is_some_and(|before| before != version) {
                        for name in lock(&self.stacks).keys() {
                            self.queue.add(name, Instant::now());
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "what operators ask for cannot be seen"),
            }
            tokio::time::sleep(LISTENS).await;
        }
    }

    fn record_calls(&self) {
        let calls = self.ports.cloud.calls();
        let mut recorded = lock(&self.calls);
        if *recorded == calls {
            return;
        }
        match self.store.put_calls(&calls) {
            Ok(()) => *recorded = calls,
            Err(error) => tracing::warn!(%error, "the requests to AWS were not recorded"),
        }
    }

    /// Lets what is under way come to its end, for a few seconds.
    pub async fn stop(&self) {
        let stacks: Vec<_> = std::mem::take(&mut *lock(&self.stacks)).into_values().collect();
        let stops = stacks.iter().map(|stack| async { stack.lock().await.stop(PATIENCE).await });
        futures_util::future::join_all(stops).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
