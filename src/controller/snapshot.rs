//! From what was seen to what is shown of the instances.

use std::collections::BTreeMap;

use crate::{
    plan::{container::is_ours, fleet},
    spec::{Desired, balancer::OwnedBalancer},
    status::{BalancerStatus, ContainerStatus, DiskStatus, InstanceStatus},
    world::{ContainerSeen, Health, Instance, Observed, Seen, State, Target},
};

/// The instances of a stack, as `status` shows them.
pub fn instances(desired: &Desired, seen: &Observed) -> Vec<InstanceStatus> {
    let layers = desired.stack.layers.iter();
    layers
        .flat_map(|layer| {
            fleet::members(layer, seen).into_iter().map(|(_, instance)| InstanceStatus {
                hostname: instance.hostname.clone(),
                state: instance.status.clone(),
                balancers: layer
                    .load_balancers
                    .iter()
                    .map(|balancer| (balancer.name().to_owned(), standing(balancer.name(), instance, seen)))
                    .collect(),
                node: fleet::node(&desired.stack, layer, instance),
                containers: containers(desired, instance, seen),
                disk: disk(instance, seen),
                engine: match seen.engines.get(&instance.hostname) {
                    Some(Seen::Unknown(trouble)) => Some(trouble.message.clone()),
                    _ => None,
                },
            })
        })
        .collect()
}

/// The load balancers that are Evenkeel's own, as `status` shows them.
pub fn balancers(desired: &Desired, seen: &Observed) -> Vec<BalancerStatus> {
    let owned = desired.stack.layers.iter().flat_map(|layer| &layer.owned_balancers);
    let status = |owned: &OwnedBalancer| {
        let made = seen.owned.declared.get(&owned.name).and_then(Seen::known);
        let there = made.and_then(|made| made.balancer.as_ref());
        let otherwise = if made.is_some() { "missing" } else { "unknown" };
        BalancerStatus {
            name: owned.name.clone(),
            kind: owned.kind.word().to_owned(),
            state: there.map_or(otherwise, |there| &there.state).to_owned(),
            dns_name: there.and_then(|there| there.dns_name.clone()),
        }
    };
    owned.map(status).collect()
}

fn standing(balancer: &str, instance: &Instance, seen: &Observed) -> String {
    let Some(Seen::Known(known)) = seen.balancers.get(balancer) else { return "unknown".into() };
    match instance.ec2_id.as_ref().and_then(|id| known.targets.get(id)) {
        Some(Target::InService) => "in service".into(),
        Some(Target::Draining) => "draining".into(),
        Some(Target::OutOfService(why)) => format!("out of service: {why}"),
        None => "not registered".into(),
    }
}

fn containers(desired: &Desired, instance: &Instance, seen: &Observed) -> BTreeMap<String, ContainerStatus> {
    match seen.engines.get(&instance.hostname) {
        Some(Seen::Known(engine)) => engine
            .containers
            .iter()
            .filter(|(_, container)| is_ours(container, &desired.stack.name))
            .map(|(name, container)| {
                (name.clone(), ContainerStatus { state: state(container), image: container.image.clone() })
            })
            .collect(),
        _ => BTreeMap::new(),
    }
}

fn disk(instance: &Instance, seen: &Observed) -> Option<DiskStatus> {
    let engine = seen.engines.get(&instance.hostname)?.known()?;
    let disk = engine.disk?;
    Some(DiskStatus {
        total_bytes: disk.total,
        free_bytes: disk.free,
        used_percent: disk.used_percent(),
        images: engine.stored.len(),
    })
}

fn state(container: &ContainerSeen) -> String {
    match (container.state, container.health) {
        (State::Running, Some(Health::Healthy)) => "healthy".into(),
        (State::Running, Some(Health::Starting)) => "starting".into(),
        (State::Running, Some(Health::Unhealthy)) => "unhealthy".into(),
        (State::Running, None) => "running".into(),
        (State::Created, _) => "created".into(),
        (State::Paused, _) => "paused".into(),
        (State::Restarting { exit_code }, _) => format!("restarting after exit code {exit_code}"),
        (State::Exited { exit_code }, _) => format!("ended with exit code {exit_code}"),
        (State::Dead, _) => "dead".into(),
    }
}
