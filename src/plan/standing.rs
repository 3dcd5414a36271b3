//! Where an instance stands with its load balancers.

use crate::{
    spec::Layer,
    world::{Instance, Observed, Seen, Target},
};

/// Where an instance stands with all its balancers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// There are none.
    NoBalancers,
    /// Every balancer sends it requests.
    InService,
    /// Some balancer does not, though it is registered with some: why.
    Partly(String),
    /// Some balancer lets its last requests finish, and no other one sends any.
    Draining(String),
    /// Registered with none.
    Out,
    /// Some balancer cannot be asked.
    Unknown,
}

/// Asks every balancer of the layer about one instance.
pub(super) fn standing(layer: &Layer, instance: &Instance, seen: &Observed) -> Standing {
    if layer.load_balancers.is_empty() {
        return Standing::NoBalancers;
    }
    let Some(ec2_id) = &instance.ec2_id else { return Standing::Out };
    let (mut serving, mut out, mut draining, mut absent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for balancer in &layer.load_balancers {
        let name = balancer.name();
        let Some(known) = seen.balancers.get(name).and_then(Seen::known) else { return Standing::Unknown };
        match known.targets.get(ec2_id) {
            Some(Target::InService) => serving.push(name),
            Some(Target::OutOfService(why)) => out.push(format!("{name} says it is out of service: {why}")),
            Some(Target::Draining) => draining.push(name),
            None => absent.push(name),
        }
    }
    if serving.len() == layer.load_balancers.len() {
        Standing::InService
    } else if absent.len() == layer.load_balancers.len() {
        Standing::Out
    } else if !draining.is_empty() && serving.is_empty() && out.is_empty() {
        Standing::Draining(draining.join(", "))
    } else if let Some(why) = out.into_iter().next() {
        Standing::Partly(why)
    } else {
        Standing::Partly(format!("it is not registered with {}", absent.first().unwrap_or(&"all of them")))
    }
}
