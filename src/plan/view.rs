//! One instance of a layer as a rollout sees it, and the desk at which the layer is looked at.

use jiff::Timestamp;

use super::{
    Facts,
    collect::Leftover,
    node::{Look, Need},
    slot::Slot,
    standing::Standing,
};
use crate::{
    action::Node,
    spec::{Layer, Rollout},
    world::{Engine, Instance, Observed, Target},
};

/// One instance of the layer, as the rollout sees it.
pub(super) struct View<'a> {
    pub(super) instance: &'a Instance,
    pub(super) node: Option<Node>,
    pub(super) engine: Option<&'a Engine>,
    pub(super) looks: Vec<Look<'a>>,
    pub(super) leftovers: Vec<Leftover>,
    pub(super) standing: Standing,
}

impl<'a> View<'a> {
    pub(super) fn hostname(&self) -> &str {
        &self.instance.hostname
    }

    /// The slots that need something and are not held up by themselves: what is half done first. A replica is not
    /// taken away while another of the same container is held up.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Look<'a>> {
        let needy = |look: &&Look<'a>| match look.need {
            Need::Nothing | Need::Stuck(_) => false,
            Need::Swap(_) => !self.looks.iter().any(|other| other.stalled && other.is_sibling(look)),
            Need::Do(_) | Need::Wait { .. } => !look.stalled,
        };
        let is_needy = move |name: &String| self.looks.iter().any(|look| look.slot.name == *name && needy(&look));
        let first = move |look: &&Look<'a>| look.is_half_done() && !look.rendered.needs.iter().any(is_needy);
        let rest = self.looks.iter().filter(needy).filter(move |look| !first(look));
        self.looks.iter().filter(needy).filter(first).chain(rest)
    }

    /// Every container that serves traffic is up.
    pub(super) fn serves_well(&self) -> bool {
        self.engine.is_some() && self.looks.iter().filter(|look| look.serves).all(|look| look.up)
    }

    /// What it needs next is to take away something that runs.
    pub(super) fn waits_for_permission(&self) -> bool {
        matches!(self.pending().next().map(|look| &look.need), Some(Need::Swap(_)))
    }

    /// Something on it is on its way, or half done.
    pub(super) fn is_in_hand(&self) -> bool {
        matches!(self.pending().next().map(|look| &look.need), Some(Need::Do(_) | Need::Wait { .. }))
            || self.looks.iter().any(Look::is_half_done)
    }

    /// The same, but what serves nobody and is half done does not count while it waits for another one's turn: nothing
    /// of the requests depends on it, and two instances that wait so would wait for each other.
    pub(super) fn is_in_hand_for_traffic(&self) -> bool {
        matches!(self.pending().next().map(|look| &look.need), Some(Need::Do(_) | Need::Wait { .. }))
            || self.looks.iter().any(|look| look.serves && look.is_half_done())
    }
}

/// The rollout settings of a layer: of several apps' the most careful. With one instance more, as many as declared go
/// on serving.
pub(super) fn careful(slots: &[Slot<'_>], layer: &Layer) -> Rollout {
    let mut all = slots.iter().map(|slot| slot.app.rollout.clone());
    let first = all.next().unwrap_or_default();
    let mut rollout = all.fold(first, |a, b| Rollout {
        min_in_service: a.min_in_service.max(b.min_in_service),
        max_unavailable: a.max_unavailable.min(b.max_unavailable),
        drain_timeout: a.drain_timeout.max(b.drain_timeout),
        settle: a.settle.max(b.settle),
        surge: a.surge || b.surge,
        soak: a.soak.max(b.soak),
        progress_deadline: a.progress_deadline.max(b.progress_deadline),
        ..a
    });
    if rollout.surge {
        rollout.min_in_service = rollout.min_in_service.max(layer.instances.count);
    }
    rollout
}

/// All that a decision about a layer rests on.
pub(super) struct Desk<'a> {
    pub(super) layer: &'a Layer,
    pub(super) seen: &'a Observed,
    pub(super) facts: &'a Facts,
    pub(super) now: Timestamp,
    pub(super) rollout: Rollout,
    /// The pulls under way.
    pub(super) pulls: Vec<String>,
}

impl Desk<'_> {
    /// What a balancer says of an instance.
    pub(super) fn target(&self, balancer: &str, view: &View<'_>) -> Option<&Target> {
        self.seen.balancers.get(balancer)?.known()?.targets.get(view.instance.ec2_id.as_ref()?)
    }

    pub(super) fn gets_requests(&self, balancer: &str, view: &View<'_>) -> bool {
        self.target(balancer, view) == Some(&Target::InService)
    }
}
