//! Which containers serve traffic.
//!
//! One does that publishes a port, and so does one that shares a volume or a link with one that does, however far.
//! `traffic: true` or `false` overrides.

use std::collections::BTreeSet;

use super::slot::Slot;

/// For each slot, whether it serves traffic.
pub fn serving(slots: &[Slot<'_>]) -> Vec<bool> {
    let touches: Vec<BTreeSet<String>> = slots.iter().map(meeting_points).collect();
    let mut serves: Vec<bool> =
        slots.iter().map(|slot| slot.container.traffic.unwrap_or(!slot.container.ports.is_empty())).collect();
    loop {
        let mut changed = false;
        for i in 0..slots.len() {
            if serves[i] || slots[i].container.traffic == Some(false) {
                continue;
            }
            if (0..slots.len()).any(|j| serves[j] && !touches[i].is_disjoint(&touches[j])) {
                serves[i] = true;
                changed = true;
            }
        }
        if !changed {
            return serves;
        }
    }
}

/// What two containers can have in common: a volume's name, a host path, or one of them by its name.
fn meeting_points(slot: &Slot<'_>) -> BTreeSet<String> {
    let mut points = BTreeSet::from([format!("container {}", slot.name)]);
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
