//! The load balancers that Evenkeel makes, in the ideal world.

use std::collections::BTreeMap;

use super::World;
use crate::{
    action::BalancerAction,
    spec::balancer::{BalancerKind, Listener, LoadBalancer},
    world::{Balancer, Made, MadeBalancer, MadeGroup, MadeListener, Part, Seen},
};

/// What a load balancer drains for unless told otherwise.
const DRAINING: u32 = 300;

impl World {
    pub(super) fn on_balancer(&mut self, name: &str, what: BalancerAction) {
        let id = self.id("balancer");
        match what {
            BalancerAction::Create { kind, internal, subnet_ids, security_group_ids, listeners, .. } => {
                let there = MadeBalancer {
                    id: if kind == BalancerKind::Classic { name.to_owned() } else { id },
                    ours: true,
                    kind,
                    internal,
                    state: if kind == BalancerKind::Classic { "active" } else { "provisioning" }.into(),
                    dns_name: None,
                    vpc_id: None,
                    subnet_ids: subnet_ids.into_iter().collect(),
                    security_group_ids: security_group_ids.into_iter().collect(),
                    listeners: listeners.iter().map(|listener| (listener.port, classic(listener))).collect(),
                    check: None,
                    draining: None,
                };
                self.made(name).balancer.get_or_insert(there);
                if kind == BalancerKind::Classic {
                    self.appears(name, None, None);
                }
            }
            BalancerAction::CreateGroup { name: group, protocol, port, vpc_id, check, .. } => {
                let vpc = Some(vpc_id.clone());
                let there = MadeGroup { arn: id, ours: true, protocol, port, vpc_id: vpc, check, draining: DRAINING };
                self.made(name).groups.entry(group.clone()).or_insert(there);
                self.appears(LoadBalancer::target_group(group, None).name(), Some(DRAINING), Some(vpc_id));
            }
            BalancerAction::Mark { part: Part::Group { name: group, .. }, .. } => {
                self.group(name, &group, |group| group.ours = true);
            }
            BalancerAction::Mark { .. } => self.on(name, |there| there.ours = true),
            BalancerAction::SetSubnets { subnet_ids, .. } => {
                self.on(name, |there| there.subnet_ids = subnet_ids.into_iter().collect());
            }
            BalancerAction::SetSecurityGroups { groups, .. } => {
                self.on(name, |there| there.security_group_ids = groups.into_iter().collect());
            }
            BalancerAction::SetHealthCheck { part, check, .. } => match part {
                Part::Group { name: group, .. } => self.group(name, &group, |group| group.check = check),
                Part::Balancer { .. } => self.on(name, |there| there.check = Some(check)),
            },
            BalancerAction::SetDraining { part, seconds } => self.set_draining(name, &part, seconds),
            BalancerAction::CreateListener { part, listener, .. }
            | BalancerAction::ModifyListener { part, listener, .. } => self.set_listener(name, &part, &listener, id),
            BalancerAction::DeleteListener { port, .. } => self.on(name, |there| _ = there.listeners.remove(&port)),
            BalancerAction::Delete { part } => {
                if let Some(leftover) = self.seen.owned.leftover.known_mut() {
                    leftover.retain(|found| found.part != part);
                }
            }
        }
    }

    /// What was provisioning is active.
    pub(super) fn settle_balancers(&mut self) -> bool {
        let made = self.seen.owned.declared.values_mut().filter_map(Seen::known_mut);
        let mut changed = false;
        for there in made.filter_map(|made| made.balancer.as_mut()).filter(|there| there.state == "provisioning") {
            there.state = "active".into();
            changed = true;
        }
        changed
    }

    fn made(&mut self, name: &str) -> &mut Made {
        let seen = self.seen.owned.declared.entry(name.to_owned()).or_insert(Seen::Known(Made::default()));
        super::for_known(seen, Made::default)
    }

    fn on(&mut self, name: &str, change: impl FnOnce(&mut MadeBalancer)) {
        if let Some(there) = &mut self.made(name).balancer {
            change(there);
        }
    }

    fn group(&mut self, name: &str, group: &str, change: impl FnOnce(&mut MadeGroup)) {
        if let Some(group) = self.made(name).groups.get_mut(group) {
            change(group);
        }
    }

    /// Instances can be registered with it from now on.
    fn appears(&mut self, key: &str, draining: Option<u32>, vpc_id: Option<String>) {
        let there = Balancer { draining, vpc_id, targets: BTreeMap::new() };
        let seen = self.seen.balancers.entry(key.to_owned()).or_insert(Seen::Known(there.clone()));
        super::for_known(seen, || there);
    }

    fn set_draining(&mut self, name: &str, part: &Part, seconds: u32) {
        let draining = Some(seconds).filter(|seconds| *seconds > 0);
        let key = match part {
            Part::Group { name: group, .. } => {
                self.group(name, group, |group| group.draining = seconds);
                LoadBalancer::target_group(group.clone(), None).name().to_owned()
            }
            Part::Balancer { .. } => {
                self.on(name, |there| there.draining = draining);
                name.to_owned()
            }
        };
        if let Some(balancer) = self.balancer(&key) {
            balancer.draining = draining;
        }
    }

    fn set_listener(&mut self, name: &str, part: &Part, listener: &Listener, id: String) {
        let made = match part {
            Part::Balancer { kind: BalancerKind::Classic, .. } => classic(listener),
            _ => MadeListener {
                id: Some(id),
                protocol: listener.protocol.clone(),
                forwards_to: format!("{name}-{}", listener.instance_port),
                certificate_arn: listener.certificate_arn.clone(),
            },
        };
        self.on(name, |there| _ = there.listeners.insert(listener.port, made));
    }
}

fn classic(listener: &Listener) -> MadeListener {
    MadeListener {
        id: None,
        protocol: listener.protocol.clone(),
        forwards_to: format!("{}:{}", listener.instance_protocol, listener.instance_port),
        certificate_arn: listener.certificate_arn.clone(),
    }
}
