//! The load balancers that Evenkeel makes, as their API tells them. Their targets are told with all the others.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Seen;
use crate::spec::balancer::BalancerKind;

/// What was seen of the load balancers that one stack owns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Owned {
    /// What there is under each declared name.
    pub declared: BTreeMap<String, Seen<Made>>,
    /// What bears the stack's mark and was not declared when it was looked for, which is done every few minutes.
    pub leftover: Seen<Vec<Leftover>>,
}

impl Default for Owned {
    /// Nothing is declared, and nothing left over.
    fn default() -> Owned {
        Owned { declared: BTreeMap::new(), leftover: Seen::Known(Vec::new()) }
    }
}

/// What there is of one declared load balancer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Made {
    /// The load balancer of that name.
    pub balancer: Option<MadeBalancer>,
    /// The declared target groups that exist, by name.
    pub groups: BTreeMap<String, MadeGroup>,
}

/// A load balancer that exists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MadeBalancer {
    /// Its ARN; of a classic one the name.
    pub id: String,
    /// True when it bears the stack's mark.
    pub ours: bool,
    /// What it is.
    pub kind: BalancerKind,
    /// Reachable from inside the VPC only.
    pub internal: bool,
    /// The API's word: `provisioning`, `active`, …; a classic one is always `active`.
    pub state: String,
    /// Where clients find it.
    pub dns_name: Option<String>,
    /// Its VPC.
    pub vpc_id: Option<String>,
    /// Its subnets.
    pub subnet_ids: BTreeSet<String>,
    /// Its security groups.
    pub security_group_ids: BTreeSet<String>,
    /// Its listeners, by port.
    pub listeners: BTreeMap<u16, MadeListener>,
    /// How it checks an instance; of a classic one only, others have it in their target groups.
    pub check: Option<Check>,
    /// How many seconds it lets an instance finish, likewise; nothing: it does not.
    pub draining: Option<u32>,
}

/// A listener that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeListener {
    /// Its ARN; a classic one has none.
    pub id: Option<String>,
    /// `HTTP`, `HTTPS`, …
    pub protocol: String,
    /// Where requests go: the name of a target group; of a classic one `HTTP:8080`; or, when it is not as Evenkeel
    /// makes them, what it does instead.
    pub forwards_to: String,
    /// The certificate's ARN.
    pub certificate_arn: Option<String>,
}

/// A target group that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeGroup {
    /// Its ARN.
    pub arn: String,
    /// True when it bears the stack's mark.
    pub ours: bool,
    /// Spoken to the instance.
    pub protocol: String,
    /// The instance's port.
    pub port: u16,
    /// Its VPC.
    pub vpc_id: Option<String>,
    /// How an instance is checked.
    pub check: Check,
    /// How many seconds an instance that leaves may finish what it has.
    pub draining: u32,
}

/// A health check in the API's own terms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `HTTP`, `HTTPS`, `TCP` or `SSL`.
    pub protocol: String,
    /// The path of an HTTP or HTTPS check.
    pub path: Option<String>,
    /// The port; nothing: that of the traffic.
    pub port: Option<u16>,
    /// Seconds between two checks.
    pub interval: u32,
    /// Seconds after which one has failed.
    pub timeout: u32,
    /// Passed in a row before it is in service.
    pub healthy: u32,
    /// Failed in a row before it is out.
    pub unhealthy: u32,
}

/// A load balancer, or a target group of one: what bears tags, and what has a health check and a draining time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "part", rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Part {
    Balancer { name: String, kind: BalancerKind, id: String },
    Group { name: String, arn: String },
}

impl Part {
    /// How people are told of it.
    pub fn words(&self) -> String {
        match self {
            Part::Balancer { name, .. } => format!("load balancer {name}"),
            Part::Group { name, .. } => format!("target group {name}"),
        }
    }

    /// What AWS calls it.
    pub fn id(&self) -> &str {
        match self {
            Part::Balancer { id, .. } => id,
            Part::Group { arn, .. } => arn,
        }
    }
}

/// What Evenkeel made once and nobody declares any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// What it is.
    pub part: Part,
    /// Why it cannot simply be deleted: `2 targets are registered`.
    pub in_use: Option<String>,
}
