//! The listeners of an owned load balancer: added, changed and removed, and never moved under the requests.

use super::Work;
use crate::{
    action::BalancerAction,
    plan::{Plan, fleet},
    spec::{
        Layer,
        balancer::{BalancerKind, Listener, LoadBalancer, OwnedBalancer, words},
    },
    status::Kind,
    world::{MadeBalancer, MadeListener, Observed, Part, Seen},
};

/// Requests that still go where a layer's instances are not declared to serve.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::plan) struct Elsewhere {
    /// Told to people.
    pub(in crate::plan) said: String,
    /// True when the listener is declared to send them to another port of the instances: then both the containers and
    /// the listener are to change.
    pub(in crate::plan) moves: bool,
}

/// A listener that sends requests where no drain reaches them. Meanwhile nothing that serves is stopped.
pub(in crate::plan) fn elsewhere(layer: &Layer, seen: &Observed) -> Option<Elsewhere> {
    layer.owned_balancers.iter().find_map(|owned| {
        let made = seen.owned.declared.get(&owned.name)?.known()?;
        let there = made.balancer.as_ref().filter(|there| there.ours && there.kind == owned.kind)?;
        there.listeners.iter().find_map(|(port, found)| {
            let declared = owned.listeners.iter().find(|listener| listener.port == *port);
            let reached = |group: &str| owned.instance_ports().iter().any(|port| owned.group_name(*port) == group);
            let said = format!("the listener of port {port} of {}", words(&owned.name));
            match declared {
                _ if owned.kind != BalancerKind::Classic && reached(&found.forwards_to) => None,
                Some(declared) if is_own(owned, &found.forwards_to) => {
                    let wanted = owned.forwards_to(declared);
                    (wanted != found.forwards_to).then(|| Elsewhere {
                        said: format!("{said}, which forwards to {}, to forward to {wanted}", found.forwards_to),
                        moves: true,
                    })
                }
                // What drains from a classic one drains from all its listeners.
                None if owned.kind != BalancerKind::Classic && is_own(owned, &found.forwards_to) => Some(Elsewhere {
                    said: format!("{said}, which is not declared any more, to be gone"),
                    moves: false,
                }),
                _ => None,
            }
        })
    })
}

/// True for a port of the layer's instances, whichever; false for what somebody set by hand.
fn is_own(owned: &OwnedBalancer, forwards_to: &str) -> bool {
    match owned.kind {
        BalancerKind::Classic => true,
        _ => forwards_to
            .strip_prefix(&owned.name)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|port| port.parse::<u16>().is_ok()),
    }
}

impl Work<'_> {
    pub(super) fn listeners(&self, plan: &mut Plan, part: &Part, there: &MadeBalancer) {
        for declared in &self.owned.listeners {
            let Some(group) = self.group_of(plan, declared) else { continue };
            let part = part.clone();
            match there.listeners.get(&declared.port) {
                None => {
                    let listener = declared.clone();
                    self.attempt(plan, BalancerAction::CreateListener { part, listener, group });
                }
                Some(found) => self.listener(plan, part, found, declared, group),
            }
        }
        for (port, found) in &there.listeners {
            if !self.owned.listeners.iter().any(|listener| listener.port == *port) {
                let (part, id, port) = (part.clone(), found.id.clone(), *port);
                let why = "it is not declared".to_owned();
                self.attempt(plan, BalancerAction::DeleteListener { part, id, port, why });
            }
        }
    }

    /// The ARN of its target group, where it has one; nothing while that is not made.
    fn group_of(&self, plan: &mut Plan, listener: &Listener) -> Option<Option<String>> {
        if self.owned.kind == BalancerKind::Classic {
            return Some(None);
        }
        let name = self.owned.group_name(listener.instance_port);
        match self.made.groups.get(&name) {
            Some(group) if group.ours || self.desired.stack.adopt => Some(Some(group.arn.clone())),
            Some(_) => None,
            None => {
                plan.hold(&self.subject, format!("target group {name} to be made"), None);
                None
            }
        }
    }

    fn listener(&self, plan: &mut Plan, part: Part, found: &MadeListener, declared: &Listener, group: Option<String>) {
        let mut changed = Vec::new();
        let wanted = self.owned.forwards_to(declared);
        let moves = found.forwards_to != wanted;
        if found.protocol != declared.protocol {
            changed.push(format!("{} → {}", found.protocol, declared.protocol));
        }
        if moves {
            changed.push(format!("{} → {wanted}", found.forwards_to));
        }
        let only_certificate = changed.is_empty();
        if found.certificate_arn != declared.certificate_arn {
            let word = |arn: &Option<String>| arn.clone().unwrap_or_else(|| "none".into());
            let (is, declared) = (word(&found.certificate_arn), word(&declared.certificate_arn));
            changed.push(format!("certificate {is} → {declared}"));
        }
        if changed.is_empty() || (moves && !self.may_move(plan, found, declared, &wanted)) {
            return;
        }
        let (id, listener) = (found.id.clone(), declared.clone());
        // "You can't modify a listener" of a classic load balancer, but for its certificate.
        if self.owned.kind == BalancerKind::Classic && !only_certificate {
            let why = format!("made anew: {}", changed.join(", "));
            let port = declared.port;
            return self.attempt(plan, BalancerAction::DeleteListener { part, id, port, why });
        }
        self.attempt(plan, BalancerAction::ModifyListener { part, id, listener, group, changed });
    }

    /// Requests are sent to another port of the instances only when every container is as declared, and every
    /// instance is registered there.
    fn may_move(&self, plan: &mut Plan, found: &MadeListener, declared: &Listener, wanted: &str) -> bool {
        if is_own(self.owned, &found.forwards_to) && plan.torn.contains(&self.layer.short_name) {
            let message = format!(
                "the listener of port {} is declared to forward to port {} of the instances, and their containers are \
                 to change as well: whichever came first, requests would be lost. Let the containers serve the old \
                 port and the new one for one release, move the listener in the next, and drop the old port after that",
                declared.port, declared.instance_port
            );
            plan.condition(Kind::Refused, &self.subject, message);
            return false;
        }
        if self.owned.kind == BalancerKind::Classic {
            return true;
        }
        let group = LoadBalancer::target_group(wanted.to_owned(), None);
        let Some(Seen::Known(known)) = self.seen.balancers.get(group.name()) else {
            plan.hold(&self.subject, format!("a clear answer from {}", words(group.name())), None);
            return false;
        };
        let running = fleet::members(self.layer, self.seen)
            .into_iter()
            .filter(|(_, instance)| fleet::phase(&instance.status) == fleet::Phase::Online);
        let missing: Vec<&str> = running
            .filter(|(_, instance)| !instance.ec2_id.as_ref().is_some_and(|id| known.targets.contains_key(id)))
            .map(|(_, instance)| instance.hostname.as_str())
            .collect();
        if missing.is_empty() {
            return true;
        }
        let on = format!(
            "{} to be registered with {} before the listener of port {} forwards there",
            missing.join(", "),
            words(group.name()),
            declared.port
        );
        plan.hold(&self.subject, on, None);
        false
    }
}
