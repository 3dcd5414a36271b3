//! Load balancers that a layer's instances serve: those that exist already, and those that Evenkeel makes.

use std::time::Duration;

use serde::Serialize;

/// A load balancer, or a target group of one, that every instance of the layer is registered with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadBalancer {
    /// A classic ELB, by name.
    Classic(String),
    /// A target group of an ALB or NLB.
    TargetGroup {
        /// Its name, or its ARN.
        group: String,
        /// The instance's port, where it is not the group's own.
        port: Option<u16>,
        /// The key it goes by.
        key: String,
    },
}

/// What the key of a target group begins with; no name of a classic load balancer has a blank.
const TARGET_GROUP: &str = "target group ";

impl LoadBalancer {
    /// A target group, by name or ARN.
    pub fn target_group(group: String, port: Option<u16>) -> LoadBalancer {
        // arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-http/73e2d6bc24d8a067
        let name = group
            .split_once(":targetgroup/")
            .map_or(group.as_str(), |(_, rest)| rest.split('/').next().unwrap_or(rest));
        let key = match port {
            Some(port) => format!("{TARGET_GROUP}{name}:{port}"),
            None => format!("{TARGET_GROUP}{name}"),
        };
        LoadBalancer::TargetGroup { group, port, key }
    }

    /// The key under which it is observed, reported, and named in actions: the name of a classic one,
    /// `target group NAME[:PORT]` of the others.
    pub fn name(&self) -> &str {
        match self {
            LoadBalancer::Classic(name) => name,
            LoadBalancer::TargetGroup { key, .. } => key,
        }
    }
}

/// How people are told of the load balancer of a key.
pub fn words(key: &str) -> String {
    if key.starts_with(TARGET_GROUP) { key.to_owned() } else { format!("load balancer {key}") }
}

/// A load balancer that Evenkeel makes and keeps as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedBalancer {
    /// Its name: unique in the account and region.
    pub name: String,
    /// What it is.
    pub kind: BalancerKind,
    /// Reachable from inside the VPC only.
    pub internal: bool,
    /// Its subnets; left out, the layer's.
    pub subnet_ids: Vec<String>,
    /// Its security groups (not of an NLB).
    pub security_group_ids: Vec<String>,
    /// What it listens on.
    pub listeners: Vec<Listener>,
    /// How it checks an instance.
    pub health_check: BalancerCheck,
    /// How long an instance that leaves may finish what it has. Default 300 s.
    pub draining: Duration,
}

/// The kinds of load balancers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BalancerKind {
    /// A classic ELB.
    Classic,
    /// An ALB, with a target group for each port of the instances.
    Application,
    /// An NLB, likewise.
    Network,
}

impl BalancerKind {
    /// As people call it.
    pub fn word(self) -> &'static str {
        match self {
            BalancerKind::Classic => "classic",
            BalancerKind::Application => "application",
            BalancerKind::Network => "network",
        }
    }
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The balancer's port.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TCP`, `TLS` (`SSL` on a classic one).
    pub protocol: String,
    /// The instance's port.
    pub instance_port: u16,
    /// `HTTP`, `HTTPS`, `TCP`, …: spoken to the instance.
    pub instance_protocol: String,
    /// The certificate's ARN, where the protocol needs one.
    pub certificate_arn: Option<String>,
}

impl Listener {
    /// `HTTPS on port 443 → HTTP on port 8080`
    pub fn words(&self) -> String {
        let Listener { port, protocol, instance_port, instance_protocol, .. } = self;
        format!("{protocol} on port {port} → {instance_protocol} on port {instance_port}")
    }
}

/// How a balancer checks an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancerCheck {
    /// The path of an HTTP check; left out, a TCP connection is all that is asked.
    pub path: Option<String>,
    /// The port; left out, that of the traffic.
    pub port: Option<u16>,
    /// Between two checks.
    pub interval: Duration,
    /// After which one has failed.
    pub timeout: Duration,
    /// Passed in a row before it is in service.
    pub healthy: u32,
    /// Failed in a row before it is out.
    pub unhealthy: u32,
}

impl OwnedBalancer {
    /// The name of the target group for one port of the instances.
    pub fn group_name(&self, instance_port: u16) -> String {
        format!("{}-{instance_port}", self.name)
    }

    /// The ports of the instances that it sends requests to, each once.
    pub fn instance_ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.listeners.iter().map(|listener| listener.instance_port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Where a listener should send requests: the name of a target group; of a classic one `HTTP:8080`.
    pub fn forwards_to(&self, listener: &Listener) -> String {
        match self.kind {
            BalancerKind::Classic => format!("{}:{}", listener.instance_protocol, listener.instance_port),
            BalancerKind::Application | BalancerKind::Network => self.group_name(listener.instance_port),
        }
    }

    /// What the instances are registered with.
    pub fn joined(&self) -> Vec<LoadBalancer> {
        match self.kind {
            BalancerKind::Classic => vec![LoadBalancer::Classic(self.name.clone())],
            BalancerKind::Application | BalancerKind::Network => {
                let ports = self.instance_ports();
                ports.iter().map(|port| LoadBalancer::target_group(self.group_name(*port), None)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_group_goes_by_its_name_whether_its_arn_was_given_or_not() {
        let arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-http/73e2d6bc24d8a067";
        assert_eq!(LoadBalancer::target_group(arn.into(), Some(80)).name(), "target group shop-http:80");
        assert_eq!(LoadBalancer::target_group("shop-http".into(), None).name(), "target group shop-http");
        assert_eq!(words("target group shop-http"), "target group shop-http");
        assert_eq!(words("shop"), "load balancer shop");
    }
}
