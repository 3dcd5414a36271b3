//! How far the rollout of a layer is.

use std::collections::BTreeSet;

use jiff::Timestamp;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The revision that is rolled out.
    pub revision: String,
    /// The instances that are done.
    pub done: BTreeSet<String>,
    /// Since when no other one was.
    pub since: Timestamp,
}

impl Progress {
    /// True when this rollout has got beyond what is remembered of it.
    pub(super) fn is_beyond(&self, before: &Progress) -> bool {
        self.revision != before.revision || !self.done.is_subset(&before.done)
    }
}
