//! What is declared of an owned load balancer, in AWS's terms.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Work;
use crate::{
    action::BalancerAction,
    plan::Plan,
    spec::balancer::{BalancerKind, Listener},
    world::{Check, Part, Seen, tag},
};

/// Why it is not known what should be.
pub(super) enum Obstacle {
    /// Something must be seen first.
    Unknown(String),
    /// What is declared cannot be.
    Refused(String),
}

/// What it speaks HTTP with has a path to check.
fn is_http(protocol: &str) -> bool {
    matches!(protocol, "HTTP" | "HTTPS")
}

pub(super) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

impl Work<'_> {
    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        let own = [(tag::STACK, &self.desired.stack.name), (tag::LAYER, &self.layer.short_name)];
        own.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    /// Its own subnets as declared, or one of the layer's in each zone: a load balancer has at most one in each
    /// ("Availability Zones for your Application Load Balancer").
    pub(super) fn subnet_ids(&self) -> Result<Vec<String>, Obstacle> {
        if !self.owned.subnet_ids.is_empty() {
            return Ok(self.owned.subnet_ids.clone());
        }
        let Seen::Known(known) = &self.cloud.subnets else {
            return Err(Obstacle::Unknown("a look at the layer's subnets".into()));
        };
        let mut zones = BTreeSet::new();
        let there = self.layer.subnet_ids.iter().filter_map(|id| Some((id, known.get(id)?)));
        let subnets: Vec<String> =
            there.filter(|(_, subnet)| zones.insert(&subnet.zone)).map(|(id, _)| id.clone()).collect();
        let least = if self.owned.kind == BalancerKind::Application { 2 } else { 1 };
        if subnets.len() < least {
            let name = &self.layer.short_name;
            return Err(Obstacle::Refused(match subnets.len() {
                0 => format!("the layer {name} has no subnet that exists; correct subnetIds in the manifest"),
                _ => format!(
                    "an application load balancer needs subnets in two availability zones at least, and those of the \
                     layer {name} are all in {}; name another one in the subnetIds of the layer or of the load \
                     balancer",
                    zones.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
                ),
            }));
        }
        Ok(subnets)
    }

    /// Where the instances are, and so the target groups must be.
    pub(super) fn vpc_id(&self) -> Option<String> {
        let known = self.cloud.subnets.known()?;
        self.layer.subnet_ids.iter().find_map(|id| Some(known.get(id)?.vpc_id.clone()))
    }

    fn listener_of(&self, instance_port: u16) -> Option<&Listener> {
        self.owned.listeners.iter().find(|listener| listener.instance_port == instance_port)
    }

    /// TLS is spoken to the instances of a network load balancer by a group of protocol TLS, and so on.
    pub(super) fn group_protocol(&self, instance_port: u16) -> String {
        self.listener_of(instance_port).map(|listener| listener.instance_protocol.clone()).unwrap_or_default()
    }

    pub(super) fn group_check(&self, instance_port: u16) -> Check {
        let spoken = self.group_protocol(instance_port);
        let protocol = match (&self.owned.health_check.path, self.owned.kind) {
            // An application load balancer checks by HTTP or HTTPS only.
            (Some(_), _) | (None, BalancerKind::Application) if spoken == "HTTPS" => "HTTPS",
            (Some(_), _) | (None, BalancerKind::Application) => "HTTP",
            (None, _) => "TCP",
        };
        let path = is_http(protocol).then(|| self.owned.health_check.path.clone().unwrap_or_else(|| "/".into()));
        self.check_of(protocol, path, self.owned.health_check.port)
    }

    /// A classic load balancer checks one port of its instances: that of the first listener, unless told otherwise.
    pub(super) fn classic_check(&self) -> Check {
        let first = self.owned.listeners.first();
        let secure = first.is_some_and(|listener| matches!(listener.instance_protocol.as_str(), "HTTPS" | "SSL"));
        let path = self.owned.health_check.path.clone();
        let protocol = match (&path, secure) {
            (Some(_), true) => "HTTPS",
            (Some(_), false) => "HTTP",
            (None, true) => "SSL",
            (None, false) => "TCP",
        };
        let port = self.owned.health_check.port.or(first.map(|listener| listener.instance_port));
        self.check_of(protocol, path, port)
    }

    fn check_of(&self, protocol: &str, path: Option<String>, port: Option<u16>) -> Check {
        let declared = &self.owned.health_check;
        Check {
            protocol: protocol.to_owned(),
            path,
            port,
            interval: seconds(declared.interval),
            timeout: seconds(declared.timeout),
            healthy: declared.healthy,
            unhealthy: declared.unhealthy,
        }
    }

    pub(super) fn check(&self, plan: &mut Plan, part: &Part, is: Option<&Check>, declared: &Check) {
        let changed = is.map_or_else(|| vec![target(declared)], |is| differences(is, declared));
        if !changed.is_empty() {
            let what = BalancerAction::SetHealthCheck { part: part.clone(), check: declared.clone(), changed };
            self.attempt(plan, what);
        }
    }
}

/// `HTTP on port 8080 /up`
fn target(check: &Check) -> String {
    let port = check.port.map_or_else(|| "the traffic's port".to_owned(), |port| format!("port {port}"));
    let path = check.path.as_ref().map_or_else(String::new, |path| format!(" {path}"));
    format!("{} on {port}{path}", check.protocol)
}

fn differences(is: &Check, declared: &Check) -> Vec<String> {
    let mut changed = Vec::new();
    let mut compare = |what: &str, is: String, declared: String| {
        if is != declared {
            changed.push(format!("{what}{is} → {declared}"));
        }
    };
    compare("", target(is), target(declared));
    compare("every ", format!("{}s", is.interval), format!("{}s", declared.interval));
    compare("timeout ", format!("{}s", is.timeout), format!("{}s", declared.timeout));
    compare("healthy after ", is.healthy.to_string(), declared.healthy.to_string());
    compare("unhealthy after ", is.unhealthy.to_string(), declared.unhealthy.to_string());
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_tells_what_differs_and_nothing_else() {
        let is = Check {
            protocol: "HTTP".into(),
            path: Some("/".into()),
            port: None,
            interval: 30,
            timeout: 5,
            healthy: 5,
            unhealthy: 2,
        };
        assert!(differences(&is, &is.clone()).is_empty());
        let declared = Check { path: Some("/up".into()), port: Some(8080), healthy: 2, ..is.clone() };
        assert_eq!(
            differences(&is, &declared),
            ["HTTP on the traffic's port / → HTTP on port 8080 /up", "healthy after 5 → 2"]
        );
    }
}
