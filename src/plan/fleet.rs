//! Which instances there are, which of them stay, and how their engines are reached.

use super::stack::seen_layer;
use crate::{
    action::{Access, Node},
    spec::{Desired, Layer, stack::AddressKind},
    world::{Observed, OwInstance},
};

/// What an OpsWorks status means for Evenkeel.
///
/// Source: the `Status` values of `Instance` in the OpsWorks API reference.
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
        "online" => Phase::Online,
        "stopped" => Phase::Stopped,
        "stopping" | "shutting_down" | "terminating" | "terminated" => Phase::Stopping,
        "start_failed" | "setup_failed" | "stop_failed" | "connection_lost" => Phase::Troubled,
        _ => Phase::Starting,
    }
}

/// The number in a hostname that belongs to a layer: `docker2` → 2.
pub fn index_in(layer: &Layer, hostname: &str) -> Option<u32> {
    let digits = hostname.strip_prefix(layer.short_name.as_str())?;
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The instances of a layer that are Evenkeel's, by their number; nothing while they cannot be seen.
pub fn members<'a>(layer: &Layer, seen: &'a Observed) -> Vec<(u32, &'a OwInstance)> {
    let (Some(found), Some(instances)) = (seen_layer(layer, seen), seen.opsworks.instances.known()) else {
        return Vec::new();
    };
    let mut members: Vec<_> = instances
        .iter()
        .filter(|instance| instance.layer_ids.contains(&found.id))
        .filter_map(|instance| Some((index_in(layer, &instance.hostname)?, instance)))
        .collect();
    members.sort_by_key(|(index, _)| *index);
    members
}

/// The numbers that stay: the lowest existing ones up to the count, then the lowest free ones.
pub(super) fn kept(layer: &Layer, members: &[(u32, &OwInstance)]) -> Vec<u32> {
    let count = layer.instances.count as usize;
    let mut kept: Vec<u32> = members.iter().map(|(index, _)| *index).take(count).collect();
    let mut next = 1;
    while kept.len() < count {
        if !kept.contains(&next) {
            kept.push(next);
        }
        next += 1;
    }
    kept.sort_unstable();
    kept
}

/// True when the instance is one too many.
pub fn is_leaving(layer: &Layer, members: &[(u32, &OwInstance)], index: u32) -> bool {
    !kept(layer, members).contains(&index)
}

/// The engine of an instance that should answer, if it is up and has an address.
pub fn node(layer: &Layer, instance: &OwInstance) -> Option<Node> {
    if phase(&instance.status) != Phase::Online {
        return None;
    }
    let address = match layer.docker.address {
        AddressKind::Private => instance.private_ip.as_ref()?,
        AddressKind::Public => instance.public_ip.as_ref()?,
    };
    Some(Node {
        hostname: instance.hostname.clone(),
        endpoint: format!("{address}:{}", layer.docker.port),
        access: Access::Tls { name: None },
    })
}

/// Every engine of the stack that should answer.
pub fn nodes(desired: &Desired, seen: &Observed) -> Vec<Node> {
    desired
        .stack
        .layers
        .iter()
        .flat_map(|layer| members(layer, seen).into_iter().filter_map(|(_, instance)| node(layer, instance)))
        .collect()
}

/// The balancers that an instance should serve, by name.
pub fn balancers_of<'a>(desired: &'a Desired, seen: &Observed, instance: &OwInstance) -> Vec<&'a str> {
    desired
        .stack
        .layers
        .iter()
        .filter(|layer| seen_layer(layer, seen).is_some_and(|found| instance.layer_ids.contains(&found.id)))
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
        ] {
            assert_eq!(phase(status), expected, "{status}");
        }
    }
}
