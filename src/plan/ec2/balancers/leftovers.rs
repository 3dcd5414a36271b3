//! What Evenkeel made once and nobody declares any more.

use jiff::Timestamp;

use crate::{
    action::{Action, BalancerAction},
    plan::{Facts, Plan},
    spec::{Desired, balancer::BalancerKind, stack::DeletionPolicy},
    status::Kind,
    world::{Observed, Part, Seen},
};

/// Left alone and told; under `deletionPolicy: Delete` deleted once nothing is registered with it.
pub(super) fn plan(plan: &mut Plan, desired: &Desired, seen: &Observed, facts: &Facts, now: Timestamp) {
    let found = match &seen.owned.leftover {
        Seen::Known(found) => found,
        Seen::Unknown(trouble) => {
            return plan.condition(Kind::Unobservable, "load balancers that are left over", &trouble.message);
        }
    };
    // A stack whose last layer vanished is more likely a mistake than a wish.
    let delete = desired.stack.deletion_policy == DeletionPolicy::Delete && !desired.stack.layers.is_empty();
    for leftover in found.iter().filter(|leftover| !is_declared(desired, &leftover.part)) {
        let part = &leftover.part;
        let what = part.id();
        if let Some(in_use) = leftover.in_use.as_ref().filter(|_| delete) {
            let message = format!(
                "{what} is not declared any more and is deleted once nothing is registered with it: {in_use} now. \
                 Deregister them if nobody sends requests there any more"
            );
            plan.condition(Kind::LeftOver, part.words(), message);
        } else if delete {
            let balancer = match part {
                Part::Balancer { name, .. } => name.clone(),
                Part::Group { name, .. } => name.rsplit_once('-').map_or(name.as_str(), |(of, _)| of).to_owned(),
            };
            let what = Box::new(BalancerAction::Delete { part: part.clone() });
            plan.attempt(&part.words(), Action::Owned { balancer, what }, facts, now);
        } else {
            let message = format!(
                "{what} was made for this stack and is not declared any more: instances are not drained from it before \
                 their containers are swapped. It is left alone; delete it yourself when nobody uses it, or set \
                 deletionPolicy: Delete"
            );
            plan.condition(Kind::LeftOver, part.words(), message);
        }
    }
}

/// A classic load balancer may have the name of another that is not.
fn is_declared(desired: &Desired, part: &Part) -> bool {
    let mut owned = desired.stack.layers.iter().flat_map(|layer| &layer.owned_balancers);
    match part {
        Part::Balancer { name, kind, .. } => owned.any(|owned| {
            owned.name == *name && (owned.kind == BalancerKind::Classic) == (*kind == BalancerKind::Classic)
        }),
        Part::Group { name, .. } => owned.any(|owned| {
            owned.kind != BalancerKind::Classic
                && owned.instance_ports().iter().any(|port| owned.group_name(*port) == *name)
        }),
    }
}
