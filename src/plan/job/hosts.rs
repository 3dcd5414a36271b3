//! The instances of a layer as jobs see them, and the runs that are found there.

use jiff::Timestamp;

use crate::{
    action::{Action, EngineAction, Node, Turn},
    plan::{
        Plan,
        container::is_ours,
        fleet,
        lineup::Lineup,
        render::label,
        resolve::Known,
        standing::{Standing, standing},
    },
    spec::Layer,
    world::{ContainerSeen, Engine, Instance, Seen},
};

/// One instance.
pub(super) struct Host<'a> {
    pub(super) instance: &'a Instance,
    pub(super) node: Option<Node>,
    /// Its engine, where that answers.
    pub(super) engine: Option<&'a Engine>,
    /// It is not about to leave.
    pub(super) stays: bool,
    /// It is in service, and nothing else is to take its place.
    pub(super) settled: bool,
}

impl Host<'_> {
    pub(super) fn hostname(&self) -> &str {
        &self.instance.hostname
    }

    /// A run can be begun on it.
    pub(super) fn is_up(&self) -> bool {
        self.stays && self.node.is_some() && self.engine.is_some()
    }

    pub(super) fn on(&self, plan: &mut Plan, known: &Known<'_>, what: EngineAction) {
        if let Some(node) = self.node.clone() {
            plan.attempt(self.hostname(), Action::Engine { node, what }, known.facts, known.now);
        }
    }
}

/// All of them, the first to be chosen first.
pub(super) fn hosts<'a>(known: &Known<'a>, layer: &Layer, lineup: &Lineup<'_>) -> Vec<Host<'a>> {
    let has = |list: &[&Instance], one: &Instance| list.iter().any(|other| other.id == one.id);
    let mut hosts: Vec<Host<'a>> = fleet::members(layer, known.seen)
        .into_iter()
        .map(|(_, instance)| {
            let standing = standing(layer, instance, known.seen);
            Host {
                instance,
                node: fleet::node(&known.desired.stack, layer, instance),
                engine: known.seen.engines.get(&instance.hostname).and_then(Seen::known),
                stays: has(&lineup.staying, instance),
                settled: matches!(standing, Standing::InService | Standing::NoBalancers)
                    && !has(&lineup.refresh, instance),
            }
        })
        .collect();
    hosts.sort_by_key(|host| !host.settled);
    hosts
}

/// A container of a run.
pub(super) struct Found<'a> {
    pub(super) host: &'a Host<'a>,
    pub(super) name: &'a str,
    pub(super) container: &'a ContainerSeen,
    pub(super) turn: Turn,
}

/// Every run that is found, those on instances that are about to leave included.
pub(super) fn found<'a>(known: &Known<'_>, hosts: &'a [Host<'a>]) -> Vec<Found<'a>> {
    let mut all = Vec::new();
    for host in hosts {
        for (name, container) in host.engine.iter().flat_map(|engine| &engine.containers) {
            if is_ours(container, &known.desired.stack.name)
                && let Some(turn) = turn_of(container)
            {
                all.push(Found { host, name, container, turn });
            }
        }
    }
    all
}

fn turn_of(container: &ContainerSeen) -> Option<Turn> {
    let label = |name: &str| container.labels.get(name).cloned();
    let due: Timestamp = label(label::JOB)?.parse().ok()?;
    let place = label(label::JOB_PLACE).unwrap_or_default();
    Some(Turn { app: label(label::APP)?, container: label(label::CONTAINER)?, due, place })
}
