//! Which instances there are, which of them stay, and how their engines are reached.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    action::{Access, Node},
    spec::{
        Desired, Layer, Stack,
        engine::engine_name,
        stack::{AddressKind, Transport},
    },
    world::{Instance, Launched, Observed, OwLayer, Rest},
};

/// What a provider's word for an instance's state means for Evenkeel.
///
/// Sources: the `Status` values of `Instance` in the OpsWorks API reference; `InstanceState` in that of EC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// On the way up.
    Starting,
    /// Up, its recipes have run.
    Online,
    /// On the way down.
    Stopping,
    /// Down.
    Stopped,
    /// Needs a person, or OpsWorks' own healing.
    Troubled,
}

/// The phase of an instance.
pub fn phase(status: &str) -> Phase {
    match status {
        "online" | "running" => Phase::Online,
        "stopped" => Phase::Stopped,
        "stopping" | "shutting_down" | "shutting-down" | "terminating" | "terminated" => Phase::Stopping,
        "start_failed" | "setup_failed" | "stop_failed" | "connection_lost" => Phase::Troubled,
        _ => Phase::Starting,
    }
}

/// How long it may take from a launch until the engine answers: an update of the package lists, Docker, a file system.
const BOOTSTRAP: Duration = Duration::from_secs(15 * 60);

/// Until when an instance's bootstrap may take; nothing when its engine answered before, or it said that it failed.
pub(super) fn bootstraps_until(launched: &Launched, now: Timestamp) -> Option<Timestamp> {
    if launched.ready || launched.bootstrap.is_some() {
        return None;
    }
    let until = launched.at.unwrap_or(now) + BOOTSTRAP;
    Some(until).filter(|until| now < *until)
}

/// The number in a hostname that belongs to a layer: `docker2` → 2.
pub fn index_in(layer: &Layer, hostname: &str) -> Option<u32> {
    let digits = hostname.strip_prefix(layer.short_name.as_str())?;
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The layer as OpsWorks tells it, if it can be told.
pub fn seen_layer<'a>(layer: &Layer, seen: &'a Observed) -> Option<&'a OwLayer> {
    let layers = seen.provided.opsworks()?.layers.known()?;
    layers.iter().find(|found| found.settings.short_name == layer.short_name)
}

/// True when the layer is there, and Evenkeel's to work with.
pub(super) fn is_managed(desired: &Desired, layer: &Layer, seen: &Observed) -> bool {
    match &seen.provided.rest {
        Rest::OpsWorks(_) => seen_layer(layer, seen).is_some_and(|found| found.ours || desired.stack.adopt),
        // On EC2 a layer is a tag: whatever bears it is Evenkeel's.
        Rest::Ec2(_) => true,
    }
}

/// How the provider calls the layer in the instances that it tells of.
fn layer_id<'a>(layer: &'a Layer, seen: &'a Observed) -> Option<&'a str> {
    match &seen.provided.rest {
        Rest::OpsWorks(_) => seen_layer(layer, seen).map(|found| found.id.as_str()),
        Rest::Ec2(_) => Some(&layer.short_name),
    }
}

/// The instances of a layer that are Evenkeel's, by their number; nothing while they cannot be seen.
pub fn members<'a>(layer: &Layer, seen: &'a Observed) -> Vec<(u32, &'a Instance)> {
    let (Some(id), Some(instances)) = (layer_id(layer, seen), seen.provided.instances.known()) else {
        return Vec::new();
    };
    let mut members: Vec<_> = instances
        .iter()
        .filter(|instance| instance.layer_ids.iter().any(|found| found == id))
        .filter_map(|instance| Some((index_in(layer, &instance.hostname)?, instance)))
        .collect();
    members.sort_by_key(|(index, _)| *index);
    members
}

/// The engine of an instance that should answer, if it is up and has an address.
pub fn node(stack: &Stack, layer: &Layer, instance: &Instance) -> Option<Node> {
    if phase(&instance.status) != Phase::Online {
        return None;
    }
    let address = match layer.docker.address {
        AddressKind::Private => instance.private_ip.as_ref()?,
        AddressKind::Public => instance.public_ip.as_ref()?,
    };
    let access = match &layer.docker.transport {
        // One certificate serves all instances of a stack that Evenkeel boots itself; others have their own.
        Transport::Tls { .. } if instance.launched.is_some() => Access::Tls { name: Some(engine_name(&stack.name)) },
        Transport::Tls { .. } => Access::Tls { name: None },
        Transport::Ssh { user } => Access::Ssh {
            user: user.clone(),
            key: stack.ssh_key_name.clone().unwrap_or_default(),
            pin: instance.ec2_id.clone().unwrap_or_else(|| instance.id.clone()),
        },
    };
    Some(Node { hostname: instance.hostname.clone(), endpoint: format!("{address}:{}", layer.docker.port), access })
}

/// Every engine of the stack that should answer.
pub fn nodes(desired: &Desired, seen: &Observed) -> Vec<Node> {
    desired
        .stack
        .layers
        .iter()
        .flat_map(|layer| {
            members(layer, seen).into_iter().filter_map(|(_, instance)| node(&desired.stack, layer, instance))
        })
        .collect()
}

/// The balancers that an instance should serve, by name.
pub fn balancers_of<'a>(desired: &'a Desired, seen: &Observed, instance: &Instance) -> Vec<&'a str> {
    desired
        .stack
        .layers
        .iter()
        .filter(|layer| layer_id(layer, seen).is_some_and(|id| instance.layer_ids.iter().any(|found| found == id)))
        .flat_map(|layer| layer.load_balancers.iter().map(|balancer| balancer.name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_status_has_its_phase() {
        for (status, expected) in [
            ("requested", Phase::Starting),
            ("pending", Phase::Starting),
            ("booting", Phase::Starting),
            ("running_setup", Phase::Starting),
            ("rebooting", Phase::Starting),
            ("online", Phase::Online),
            ("stopping", Phase::Stopping),
            ("shutting_down", Phase::Stopping),
            ("stopped", Phase::Stopped),
            ("setup_failed", Phase::Troubled),
            ("connection_lost", Phase::Troubled),
            ("running", Phase::Online),
            ("shutting-down", Phase::Stopping),
        ] {
            assert_eq!(phase(status), expected, "{status}");
        }
    }
}
