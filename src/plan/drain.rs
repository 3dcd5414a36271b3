//! Taking an instance out of its load balancers, and putting it back.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Facts, Plan, ec2, fleet, job, migration,
    slot::slots,
    standing::{Standing, standing},
    view::{Desk, View, careful},
};
use crate::{
    action::{Action, Guard, Lane},
    spec::{Desired, Layer, balancer::words},
    status::Kind,
    world::{Instance, Observed, Seen, Target},
};

/// How far a drain is.
pub(super) enum Drained {
    Yes,
    NotYet,
    TimedOut,
}

impl Desk<'_> {
    /// Who must not be sending the instance requests any more when a container of it is stopped.
    pub(super) fn guard(&self, view: &View<'_>, drained: bool) -> Option<Guard> {
        if self.layer.load_balancers.is_empty() {
            return None;
        }
        let balancers = self.layer.load_balancers.iter().map(|balancer| balancer.name().to_owned()).collect();
        let unconnected = if drained { self.unconnected(view) } else { BTreeMap::new() };
        Some(Guard { ec2_id: view.instance.ec2_id.clone()?, balancers, drained, unconnected })
    }

    /// So many others are in service when one that serves leaves: those that are promised, and all but those that may
    /// be out. Fewer may have been declared outright.
    fn keep(&self) -> u32 {
        let (count, rollout) = (self.layer.instances.count, &self.rollout);
        rollout.min_in_service.max(count.saturating_sub(rollout.max_unavailable.max(1))).min(count)
    }

    /// Takes the instance out of its balancers, step by step.
    pub(super) fn drained(&self, plan: &mut Plan, view: &View<'_>) -> Drained {
        let hostname = view.hostname();
        let Some(ec2_id) = &view.instance.ec2_id else { return Drained::Yes };
        if let Some(elsewhere) = ec2::balancers::elsewhere(self.layer, self.seen) {
            plan.hold(hostname, elsewhere.said, None);
            return Drained::NotYet;
        }
        let mut draining = Vec::new();
        let mut leaving = false;
        for balancer in &self.layer.load_balancers {
            let name = balancer.name();
            let Some(known) = self.seen.balancers.get(name).and_then(Seen::known) else {
                plan.hold(hostname, format!("a clear answer from {}", words(name)), None);
                return Drained::NotYet;
            };
            match known.targets.get(ec2_id) {
                Some(Target::InService | Target::OutOfService(_)) => {
                    let action = Action::Deregister {
                        balancer: name.to_owned(),
                        ec2_id: ec2_id.clone(),
                        hostname: hostname.to_owned(),
                        keep: self.keep(),
                    };
                    plan.attempt(hostname, action, self.facts, self.now);
                    leaving = true;
                }
                Some(Target::Draining) => draining.push(name),
                None => {}
            }
        }
        if leaving {
            plan.hold(hostname, "its load balancers to say that it is out", None);
            return Drained::NotYet;
        }
        if !draining.is_empty() {
            let since = self.facts.draining_since.get(hostname).copied().unwrap_or(self.now);
            let until = since + self.rollout.drain_timeout;
            if self.now >= until {
                plan.condition(
                    Kind::DrainTimedOut,
                    hostname,
                    format!(
                        "{} still had requests in flight after drainTimeout ({}s); the swap goes on",
                        draining.join(", "),
                        self.rollout.drain_timeout.as_secs()
                    ),
                );
                return Drained::TimedOut;
            }
            plan.hold(hostname, format!("{} to finish its requests in flight", draining.join(", ")), Some(until));
            return Drained::NotYet;
        }
        if self.layer.load_balancers.is_empty() {
            return Drained::Yes;
        }
        let since = self.facts.out_since.get(hostname).copied().unwrap_or(self.now);
        let until = since + self.rollout.settle;
        if self.now < until {
            plan.hold(hostname, "the load balancers to settle (rollout.settle)", Some(until));
            return Drained::NotYet;
        }
        if self.waits_for_connections(plan, view, since) { Drained::NotYet } else { Drained::Yes }
    }

    /// An instance with nothing left to do serves, or says why it does not.
    pub(super) fn put_back(&self, plan: &mut Plan, view: &View<'_>) {
        if !view.serves_well() {
            return;
        }
        let Some(ec2_id) = &view.instance.ec2_id else { return };
        for balancer in &self.layer.load_balancers {
            let name = balancer.name();
            let Some(known) = self.seen.balancers.get(name).and_then(Seen::known) else { continue };
            match known.targets.get(ec2_id) {
                Some(Target::InService) => {}
                Some(Target::OutOfService(why)) => {
                    plan.hold(view.hostname(), format!("{name} to have it in service: {why}"), None);
                }
                // One that is on its way out is not registered again before it is out.
                Some(Target::Draining) => {
                    plan.hold(view.hostname(), format!("{name} to finish draining it, then it is registered"), None);
                }
                None => {
                    let action = Action::Register {
                        balancer: name.to_owned(),
                        ec2_id: ec2_id.clone(),
                        hostname: view.hostname().to_owned(),
                    };
                    plan.attempt(view.hostname(), action, self.facts, self.now);
                    plan.hold(view.hostname(), format!("{name} to have it in service"), None);
                }
            }
        }
    }
}

/// Drains an instance that is to be removed.
pub(super) fn drain_for_removal(
    plan: &mut Plan,
    desired: &Desired,
    layer: &Layer,
    instance: &Instance,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) -> Drained {
    let engine = seen.engines.get(&instance.hostname).and_then(Seen::known);
    let stack = &desired.stack.name;
    let runs = |engine| migration::running_on(engine, stack).or_else(|| job::running_on(engine, stack));
    if let Some(name) = engine.and_then(runs) {
        plan.hold(&instance.hostname, format!("{name} to end before it is removed"), None);
        return Drained::NotYet;
    }
    let slots = slots(desired, layer);
    let desk = Desk { layer, seen, facts, now, rollout: careful(&slots, layer), pulls: Vec::new() };
    let keep = desk.keep();
    let members = fleet::members(layer, seen);
    let in_service = members
        .iter()
        .filter(|(_, other)| other.id != instance.id)
        // What was begun there a moment ago, and does not show yet, may be its own way out.
        .filter(|(_, other)| !facts.busy.contains(&Lane::Node(other.hostname.clone())))
        .filter(|(_, other)| matches!(standing(layer, other, seen), Standing::InService | Standing::NoBalancers))
        .count();
    let standing = standing(layer, instance, seen);
    if standing == Standing::InService && in_service < keep as usize {
        plan.hold(
            &instance.hostname,
            format!("{keep} other instances in service, {in_service} are, before it is removed"),
            None,
        );
        return Drained::NotYet;
    }
    let engine = seen.engines.get(&instance.hostname).and_then(Seen::known);
    let view = View { instance, node: None, engine, looks: Vec::new(), leftovers: Vec::new(), standing };
    desk.drained(plan, &view)
}
