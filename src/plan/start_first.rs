//! Which containers can be up twice for a moment, so that the new one is there before the old one is stopped.

use super::slot::Slot;
use crate::{
    action::Port,
    spec::{container::Way, network::Network},
};

/// True when two containers of a slot cannot be there at the same time.
fn collides(slot: &Slot<'_>, slots: &[Slot<'_>]) -> bool {
    let is_fixed = |port: &String| Port::parse(port).is_ok_and(|port| port.host_port.is_some());
    slot.app.network_of(slot.container) == Network::Host
        || slot.container.ports.iter().any(is_fixed)
        || slots.iter().any(|other| other.needs().any(|name| name == slot.name))
}

/// True when a new container is to be up before the old one is stopped: where nothing collides, and somebody has said
/// that it serves, or that it is to be so. What else two of it could get into each other's way with cannot be known.
pub(super) fn starts_first(slot: &Slot<'_>, slots: &[Slot<'_>]) -> bool {
    let container = slot.container;
    let may = match container.strategy {
        Some(way) => way == Way::StartFirst,
        None => container.traffic == Some(true) && container.volumes.is_empty() && container.volumes_from.is_empty(),
    };
    may && !collides(slot, slots)
}
