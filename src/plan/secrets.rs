//! What the references of containers stand for.
//!
//! What a container was given is read from its engine and compared by [sealed](crate::secret::Sealed) values: one that
//! was rotated is another release of what uses it. While a value cannot be read, what runs counts as having it, and
//! nothing is made or replaced that needs it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, slot::Slot};
use crate::{
    spec::{Desired, Reference, image},
    status::Kind,
    world::{Observed, Seen},
};

/// Takes note of the values of every slot, and of what it waits for where one cannot be read.
pub(super) fn resolve(plan: &mut Plan, desired: &Desired, seen: &Observed, slots: &mut [Slot<'_>]) {
    logins(plan, desired, seen, slots);
    let mut lacking: BTreeMap<(Kind, String, &str), BTreeSet<String>> = BTreeMap::new();
    for slot in slots {
        let env = slot.app.env_of(slot.container);
        for (name, reference) in env.into_iter().filter_map(|(name, value)| Some((name, value.reference()?))) {
            match seen.secrets.get(reference) {
                Some(Seen::Known(sealed)) => {
                    slot.secrets.insert(name.clone(), *sealed);
                }
                unknown => {
                    slot.unread.get_or_insert_with(|| format!("{reference} to be read"));
                    if let Some(Seen::Unknown(trouble)) = unknown {
                        let needy = format!("{}/{}", slot.app.name, slot.container.name);
                        let (kind, subject) = subject(reference);
                        lacking.entry((kind, subject, &trouble.message)).or_default().insert(needy);
                    }
                }
            }
        }
    }
    for ((kind, subject, trouble), needy) in lacking {
        let needy: Vec<String> = needy.into_iter().collect();
        let message = format!(
            "{trouble}. What runs of {} goes on with what it has, and none is made or replaced until it can be read",
            needy.join(", ")
        );
        plan.condition(kind, subject, message);
    }
}

/// As what it is told that one cannot be read. What is asked of one database is one trouble.
pub(super) fn subject(reference: &Reference) -> (Kind, String) {
    match reference {
        Reference::Rds { rds, .. } => (Kind::DatabaseUnavailable, format!("rds {rds}")),
        _ => (Kind::SecretUnavailable, reference.to_string()),
    }
}

/// What has to be read before an image can be pulled, and was not.
pub(super) fn unread_login(desired: &Desired, seen: &Observed, image: &str) -> Option<Reference> {
    let login = desired.login(image)?;
    let unread = |it: &&Reference| seen.secrets.get(*it).and_then(Seen::known).is_none();
    login.references().find(unread).cloned()
}

/// Who pulls cannot be told: what is on the instances goes on.
fn logins(plan: &mut Plan, desired: &Desired, seen: &Observed, slots: &[Slot<'_>]) {
    let mut lacking: BTreeMap<Reference, BTreeSet<&str>> = BTreeMap::new();
    for slot in slots {
        let login = desired.login(&slot.container.image);
        let unread = |it: &&Reference| matches!(seen.secrets.get(*it), Some(Seen::Unknown(_)));
        for reference in login.iter().flat_map(|login| login.references()).filter(unread) {
            lacking.entry(reference.clone()).or_default().insert(image::registry(&slot.container.image));
        }
    }
    for (reference, hosts) in lacking {
        let Some(Seen::Unknown(trouble)) = seen.secrets.get(&reference) else { continue };
        let hosts: Vec<&str> = hosts.into_iter().collect();
        let message = format!(
            "{}. Nothing is pulled from {} until it can be read; what runs goes on",
            trouble.message,
            hosts.join(", ")
        );
        plan.condition(Kind::SecretUnavailable, reference.to_string(), message);
    }
}
