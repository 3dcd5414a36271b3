//! Which containers serve traffic.
//!
//! One does that publishes a port or has the host's network, and so does one that shares a volume, a link or its app's
//! network with one that does, however far.
//! `traffic: true` or `false` overrides.

use std::collections::BTreeSet;

use super::slot::Slot;
use crate::spec::network::Network;

/// For each slot, whether it serves traffic.
pub fn serving(slots: &[Slot<'_>]) -> Vec<bool> {
    reasons(slots).iter().map(Option::is_some).collect()
}

/// For each slot, why it serves traffic; nothing for one that serves nobody.
pub fn reasons(slots: &[Slot<'_>]) -> Vec<Option<String>> {
    let touches: Vec<BTreeSet<String>> = slots.iter().map(meeting_points).collect();
    let mut reasons: Vec<Option<String>> = slots.iter().map(by_itself).collect();
    loop {
        let mut changed = false;
        for i in 0..slots.len() {
            if reasons[i].is_some() || slots[i].container.traffic == Some(false) {
                continue;
            }
            let meets = |j: usize| touches[i].intersection(&touches[j]).next().map(|point| (j, point));
            let met = (0..slots.len()).filter(|j| reasons[*j].is_some()).find_map(meets);
            if let Some((j, point)) = met {
                reasons[i] = Some(shared(&slots[i].name, &slots[j].name, point));
                changed = true;
            }
        }
        if !changed {
            return reasons;
        }
    }
}

fn by_itself(slot: &Slot<'_>) -> Option<String> {
    match slot.container.traffic {
        Some(true) => Some("traffic: true is declared".into()),
        None if slot.app.network_of(slot.container) == Network::Host => {
            Some("it has the host's network, where any port may be its own".into())
        }
        None if !slot.container.ports.is_empty() => Some(format!("it publishes {}", slot.container.ports.join(", "))),
        _ => None,
    }
}

fn shared(name: &str, other: &str, point: &str) -> String {
    match point.strip_prefix("container ") {
        Some(used) if used == name => format!("{other}, which serves, uses it"),
        Some(used) if used == other => format!("it uses {other}, which serves"),
        Some(used) => format!("it uses {used}, as does {other}, which serves"),
        None => format!("it shares {point} with {other}, which serves"),
    }
}

/// What two containers can have in common: a volume's name, a host path, a network, or one of them by its name.
fn meeting_points(slot: &Slot<'_>) -> BTreeSet<String> {
    let mut points = BTreeSet::from([format!("container {}", slot.name)]);
    if slot.app.network_of(slot.container) == Network::App {
        points.insert(format!("the network of {}", slot.app.name));
    }
    for link in &slot.container.links {
        points.insert(format!("container {}", link.split(':').next().unwrap_or(link)));
    }
    for from in &slot.container.volumes_from {
        let name = from.split(':').next().unwrap_or(from);
        if slot.app.data_volumes.contains_key(name) {
            points.insert(format!("data volume {}/{name}", slot.app.name));
        } else {
            points.insert(format!("container {name}"));
        }
    }
    for volume in &slot.container.volumes {
        if let Some((source, _)) = volume.split_once(':') {
            // The engine's own socket is read by log forwarders and the like; it carries no requests.
            if source != "/var/run/docker.sock" && source != "/run/docker.sock" {
                points.insert(format!("volume {source}"));
            }
        }
    }
    points
}
