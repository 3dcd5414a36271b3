//! What the consoles of instances that are not ready yet say of their bootstrap.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::api::Api;
use crate::{
    bootstrap::{self, Verdict},
    world::Instance,
};

/// A console is asked for this seldom, and not before an instance is this old: it has nothing to say earlier.
const EVERY: Duration = Duration::from_secs(30);
const YOUNG: Duration = Duration::from_secs(60);

/// When each console was asked for last, and what it said of a failure.
#[derive(Debug, Default)]
pub(super) struct Consoles(Mutex<BTreeMap<String, (Instant, Option<String>)>>);

impl Consoles {
    /// Fills in `launched.bootstrap` of those instances of one stack that run and were never reached. A console that
    /// cannot be read is not known, and costs nothing else.
    pub(super) async fn ask(&self, api: &Api, instances: &mut [Instance], now: Timestamp) {
        let due: Vec<&mut Instance> = instances.iter_mut().filter(|instance| is_due(instance, now)).collect();
        let asks = due.into_iter().map(|instance| async {
            let said = self.failure(api, &instance.id).await;
            if let Some(launched) = &mut instance.launched {
                launched.bootstrap = said;
            }
        });
        futures_util::future::join_all(asks).await;
    }

    async fn failure(&self, api: &Api, id: &str) -> Option<String> {
        let before = self.lock().get(id).cloned();
        if let Some((at, said)) = &before
            && at.elapsed() < EVERY
        {
            return said.clone();
        }
        let asked = Instant::now();
        let said = match api.console(id).await.as_deref().map(bootstrap::verdict) {
            Some(Verdict::Failed { step, said }) => Some(format!("{step}: {said}")),
            Some(Verdict::Done | Verdict::NotYet) => None,
            None => before.and_then(|(_, said)| said),
        };
        let mut all = self.lock();
        // Of an instance that is ready, or gone, nobody asks any more.
        all.retain(|_, (at, _)| at.elapsed() < EVERY * 4);
        all.insert(id.to_owned(), (asked, said.clone()));
        said
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Instant, Option<String>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due(instance: &Instance, now: Timestamp) -> bool {
    let Some(launched) = &instance.launched else { return false };
    instance.status == "running" && !launched.ready && launched.at.is_some_and(|at| at + YOUNG < now)
}
