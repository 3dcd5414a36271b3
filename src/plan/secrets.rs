//! What the references of containers stand for.
//!
//! What a container was given is read from its engine and compared by [sealed](crate::secret::Sealed) values: one that
//! was rotated is another release of what uses it. While a value cannot be read, what runs counts as having it, and
//! nothing is made or replaced that needs it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, slot::Slot};
use crate::{
    spec::Reference,
    status::Kind,
    world::{Observed, Seen},
};

/// Takes note of the values of every slot, and of what it waits for where one cannot be read.
pub(super) fn resolve(plan: &mut Plan, seen: &Observed, slots: &mut [Slot<'_>]) {
    let mut lacking: BTreeMap<&Reference, BTreeSet<String>> = BTreeMap::new();
    for slot in slots {
        let env = slot.app.env_of(slot.container);
        for (name, reference) in env.into_iter().filter_map(|(name, value)| Some((name, value.reference()?))) {
            match seen.secrets.get(reference) {
                Some(Seen::Known(sealed)) => {
                    slot.secrets.insert(name.clone(), *sealed);
                }
                unknown => {
                    slot.unread.get_or_insert_with(|| format!("{reference} to be read"));
                    if unknown.is_some() {
                        let needy = format!("{}/{}", slot.app.name, slot.container.name);
                        lacking.entry(reference).or_default().insert(needy);
                    }
                }
            }
        }
    }
    for (reference, needy) in lacking {
        let Some(Seen::Unknown(trouble)) = seen.secrets.get(reference) else { continue };
        let needy: Vec<String> = needy.into_iter().collect();
        let message = format!(
            "{}. What runs of {} goes on with what it has, and none is made or replaced until it can be read",
            trouble.message,
            needy.join(", ")
        );
        plan.condition(Kind::SecretUnavailable, reference.to_string(), message);
    }
}
