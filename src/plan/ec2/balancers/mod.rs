//! The load balancers that Evenkeel makes: there, and as declared, with a target group for each port of the instances.
//!
//! What is no longer declared is left alone and told, since clients may know its address. Under `deletionPolicy:
//! Delete` it is deleted, once nothing is registered with it any more.

mod leftovers;
mod listeners;
mod wanted;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    action::{Action, BalancerAction},
    plan::{Facts, Plan},
    spec::{
        Desired, Layer,
        balancer::{BalancerKind, LoadBalancer, OwnedBalancer, words},
    },
    status::Kind,
    world::{Ec2, Made, MadeBalancer, MadeGroup, Observed, Part, Seen},
};

use wanted::Obstacle;

pub(in crate::plan) use listeners::elsewhere;

/// All that a decision about one owned load balancer rests on.
struct Work<'a> {
    desired: &'a Desired,
    layer: &'a Layer,
    owned: &'a OwnedBalancer,
    made: &'a Made,
    cloud: &'a Ec2,
    seen: &'a Observed,
    facts: &'a Facts,
    now: Timestamp,
    subject: String,
}

/// After the rollouts: a listener is not moved to another port of instances whose containers are not as declared yet.
pub(in crate::plan) fn plan(
    plan: &mut Plan,
    desired: &Desired,
    cloud: &Ec2,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) {
    for layer in &desired.stack.layers {
        for owned in &layer.owned_balancers {
            let subject = words(&owned.name);
            match seen.owned.declared.get(&owned.name) {
                Some(Seen::Known(made)) => {
                    Work { desired, layer, owned, made, cloud, seen, facts, now, subject }.converge(plan);
                }
                Some(Seen::Unknown(trouble)) => plan.unobservable(&subject, trouble),
                None => plan.hold(subject, "a first look at it", None),
            }
        }
    }
    leftovers::plan(plan, desired, seen, facts, now);
}

/// True for what the layer's instances are to be registered with, and is known not to be there yet.
pub(in crate::plan) fn is_to_be_made(layer: &Layer, key: &str, seen: &Observed) -> bool {
    layer.owned_balancers.iter().any(|owned| {
        let Some(Seen::Known(made)) = seen.owned.declared.get(&owned.name) else { return false };
        match owned.kind {
            BalancerKind::Classic => owned.name == key && made.balancer.is_none(),
            BalancerKind::Application | BalancerKind::Network => owned.instance_ports().iter().any(|port| {
                let name = owned.group_name(*port);
                !made.groups.contains_key(&name) && LoadBalancer::target_group(name, None).name() == key
            }),
        }
    })
}

impl Work<'_> {
    fn converge(&self, plan: &mut Plan) {
        let Some(there) = &self.made.balancer else {
            self.create(plan);
            return self.groups(plan);
        };
        let part = self.part(there);
        if !self.may_touch(plan, &part, there.ours) || self.is_another_kind(plan, there) {
            return;
        }
        match there.state.as_str() {
            "active" => {}
            "provisioning" => plan.hold(&self.subject, "it to be active (provisioning now)", None),
            state => {
                let message = format!(
                    "AWS says that it is {state}; look at its subnets and security groups, and if it does not mend, \
                     delete it: it is made anew"
                );
                plan.condition(Kind::BalancerTrouble, &self.subject, message);
            }
        }
        self.groups(plan);
        self.subnets(plan, &part, there);
        self.security_groups(plan, &part, there);
        if self.owned.kind == BalancerKind::Classic {
            self.check(plan, &part, there.check.as_ref(), &self.classic_check());
            self.draining(plan, &part, there.draining.unwrap_or_default());
        }
        self.listeners(plan, &part, there);
    }

    fn attempt(&self, plan: &mut Plan, what: BalancerAction) {
        let action = Action::Owned { balancer: self.owned.name.clone(), what: Box::new(what) };
        plan.attempt(&self.subject, action, self.facts, self.now);
    }

    fn part(&self, there: &MadeBalancer) -> Part {
        Part::Balancer { name: self.owned.name.clone(), kind: there.kind, id: there.id.clone() }
    }

    fn create(&self, plan: &mut Plan) {
        let subnet_ids = match self.subnet_ids() {
            Ok(subnet_ids) => subnet_ids,
            Err(obstacle) => return self.tell(plan, obstacle),
        };
        let owned = self.owned;
        let classic = owned.kind == BalancerKind::Classic;
        let create = BalancerAction::Create {
            kind: owned.kind,
            internal: owned.internal,
            subnet_ids,
            security_group_ids: owned.security_group_ids.clone(),
            listeners: if classic { owned.listeners.clone() } else { Vec::new() },
            tags: self.tags(),
        };
        self.attempt(plan, create);
        plan.hold(&self.subject, "it to be made", None);
    }

    fn tell(&self, plan: &mut Plan, obstacle: Obstacle) {
        match obstacle {
            Obstacle::Unknown(what) => plan.hold(&self.subject, what, None),
            Obstacle::Refused(message) => plan.condition(Kind::Refused, &self.subject, message),
        }
    }

    /// False for what somebody else made; with `adopt: true` it is taken over first.
    fn may_touch(&self, plan: &mut Plan, part: &Part, ours: bool) -> bool {
        if ours {
            return true;
        }
        if self.desired.stack.adopt {
            self.attempt(plan, BalancerAction::Mark { part: part.clone(), tags: self.tags() });
            return true;
        }
        let message = format!(
            "{} ({}) was not made by Evenkeel for this stack; give the declared load balancer another name, or set \
             adopt: true in the stack's manifest to take it over",
            part.words(),
            part.id()
        );
        plan.condition(Kind::Conflict, &self.subject, message);
        false
    }

    fn is_another_kind(&self, plan: &mut Plan, there: &MadeBalancer) -> bool {
        let scheme = |internal: bool| if internal { "internal" } else { "internet-facing" };
        let (is, declared) = if there.kind == self.owned.kind {
            (scheme(there.internal), scheme(self.owned.internal))
        } else {
            (there.kind.word(), self.owned.kind.word())
        };
        if is == declared {
            return false;
        }
        let message = format!(
            "it is {is}, declared is {declared}, and AWS makes only a new load balancer so. Declare another one of \
             another name beside it, move its clients there, then take this one out of the manifest"
        );
        plan.condition(Kind::Refused, &self.subject, message);
        true
    }

    /// The target groups: there, and as declared.
    fn groups(&self, plan: &mut Plan) {
        if self.owned.kind == BalancerKind::Classic {
            return;
        }
        for port in self.owned.instance_ports() {
            let name = self.owned.group_name(port);
            match self.made.groups.get(&name) {
                Some(group) => self.group(plan, &name, group, port),
                None => match self.vpc_id() {
                    Some(vpc_id) => {
                        let (protocol, check) = (self.group_protocol(port), self.group_check(port));
                        let create =
                            BalancerAction::CreateGroup { name, protocol, port, vpc_id, check, tags: self.tags() };
                        self.attempt(plan, create);
                    }
                    None => {
                        plan.hold(&self.subject, "a look at the layer's subnets, which tell the VPC", None);
                    }
                },
            }
        }
    }

    fn group(&self, plan: &mut Plan, name: &str, group: &MadeGroup, port: u16) {
        let part = Part::Group { name: name.to_owned(), arn: group.arn.clone() };
        if !self.may_touch(plan, &part, group.ours) {
            return;
        }
        let protocol = self.group_protocol(port);
        let (is, declared) = if group.protocol != protocol {
            (&group.protocol, &protocol)
        } else {
            match (&group.vpc_id, &self.vpc_id()) {
                (Some(is), Some(declared)) if is != declared => {
                    let message = format!(
                        "target group {name} is in {is}, the layer's subnets are in {declared}, and AWS cannot move \
                         it. Declare a load balancer of another name for them"
                    );
                    return plan.condition(Kind::Refused, &self.subject, message);
                }
                _ => (&group.protocol, &group.protocol),
            }
        };
        if is != declared {
            let message = format!(
                "target group {name} speaks {is} to the instances, declared is {declared}, and AWS makes only a new \
                 one so. Declare a load balancer of another name, or put instanceProtocol back"
            );
            return plan.condition(Kind::Refused, &self.subject, message);
        }
        self.check(plan, &part, Some(&group.check), &self.group_check(port));
        self.draining(plan, &part, group.draining);
    }

    fn subnets(&self, plan: &mut Plan, part: &Part, there: &MadeBalancer) {
        let subnet_ids = match self.subnet_ids() {
            Ok(subnet_ids) => subnet_ids,
            Err(obstacle) => return self.tell(plan, obstacle),
        };
        let added: Vec<String> = subnet_ids.iter().filter(|id| !there.subnet_ids.contains(*id)).cloned().collect();
        let removed: Vec<String> = there.subnet_ids.iter().filter(|id| !subnet_ids.contains(id)).cloned().collect();
        if !added.is_empty() || !removed.is_empty() {
            self.attempt(plan, BalancerAction::SetSubnets { part: part.clone(), subnet_ids, added, removed });
        }
    }

    fn security_groups(&self, plan: &mut Plan, part: &Part, there: &MadeBalancer) {
        let declared = &self.owned.security_group_ids;
        let as_declared = declared.iter().cloned().collect::<BTreeSet<_>>() == there.security_group_ids;
        if declared.is_empty() || as_declared {
            return;
        }
        self.attempt(plan, BalancerAction::SetSecurityGroups { part: part.clone(), groups: declared.clone() });
    }

    fn draining(&self, plan: &mut Plan, part: &Part, is: u32) {
        let seconds = wanted::seconds(self.owned.draining);
        if seconds != is {
            self.attempt(plan, BalancerAction::SetDraining { part: part.clone(), seconds });
        }
    }
}
