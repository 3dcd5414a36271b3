//! Who is told of releases, and what is on record of that.

use std::collections::BTreeMap;

use evenkeel::{
    action::{Action, Delivery},
    plan::{Facts, Told},
};
use jiff::Timestamp;

/// See the module. What is on record survives a crash.
#[derive(Debug, Clone, Default)]
pub struct Receivers {
    record: Facts,
    /// What they answer when they do not take it.
    pub deaf: Option<String>,
    /// What they were told, by its id.
    pub heard: Vec<String>,
}

impl Receivers {
    /// What a controller reads from the store before each plan.
    pub fn remind(&self, facts: &mut Facts) {
        facts.told = self.record.told.clone();
        facts.outbox = self.record.outbox.clone();
    }

    /// Carries out what is told, and what is put on record of it.
    pub fn note(&mut self, action: &Action, now: Timestamp) {
        match action {
            Action::Announce { notice } => {
                self.record.record_all(std::slice::from_ref(action), now);
                self.record.outbox.extend(notice.to.iter().map(|to| Delivery {
                    notice: (**notice).clone(),
                    to: *to,
                    since: now,
                    tries: 0,
                    tried: None,
                    trouble: None,
                }));
            }
            Action::Deliver { delivery } if self.deaf.is_some() => {
                let is_it = |it: &&mut Delivery| (&it.notice.id, it.to) == (&delivery.notice.id, delivery.to);
                for it in self.record.outbox.iter_mut().filter(is_it) {
                    it.tries += 1;
                    it.tried = Some(now);
                    it.trouble = self.deaf.clone();
                }
            }
            Action::Deliver { delivery } => {
                self.heard.push(format!("{} {}", delivery.notice.id, delivery));
                self.record.record_all(std::slice::from_ref(action), now);
            }
            Action::EndDelivery { .. } => {
                self.record.record_all(std::slice::from_ref(action), now);
            }
            _ => {}
        }
    }

    /// What is on record in a real store.
    pub fn recall(&mut self, told: BTreeMap<(String, String), Told>, outbox: Vec<Delivery>) {
        (self.record.told, self.record.outbox) = (told, outbox);
    }

    /// The store is lost.
    pub fn lose(&mut self) {
        self.record = Facts::default();
    }
}
