//! AWS counts what is asked of an account's region, and not by which role: so the clients of all its roles take from the
//! same buckets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    bucket::{Buckets, Limit},
    place::Account,
};

/// What a client may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    Read,
    Write,
}

/// An account, an API, and what for.
type Key = (Account, &'static str, Use);

/// The buckets of everybody.
#[derive(Debug, Default)]
pub(super) struct Budgets(Mutex<BTreeMap<Key, Arc<Buckets>>>);

/// Those of one account.
pub(super) struct Budget<'a> {
    all: &'a Budgets,
    account: Account,
}

impl Budgets {
    pub(super) fn of(&self, account: Account) -> Budget<'_> {
        Budget { all: self, account }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Budget<'_> {
    pub(super) fn buckets(&self, api: &'static str, what_for: Use, limit: Limit) -> Arc<Buckets> {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((self.account.clone(), api, what_for)).or_insert_with(|| Buckets::new(limit)).clone()
    }
}
