//! What is done to a load balancer that Evenkeel makes itself.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    spec::balancer::{BalancerKind, Listener},
    world::{Check, Part},
};

/// One mutation of an owned load balancer, or of a target group of one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum BalancerAction {
    /// Makes the load balancer. Its name is unique, so that sent again it makes no second one.
    Create {
        /// What it will be.
        kind: BalancerKind,
        /// Reachable from inside the VPC only.
        internal: bool,
        /// Its subnets.
        subnet_ids: Vec<String>,
        /// Its security groups; none: the VPC's default.
        security_group_ids: Vec<String>,
        /// A classic one is made with its listeners, others get theirs one by one.
        listeners: Vec<Listener>,
        /// Its mark.
        tags: BTreeMap<String, String>,
    },
    /// Makes a target group, whose name is unique likewise.
    CreateGroup {
        /// Its name.
        name: String,
        /// Spoken to the instance.
        protocol: String,
        /// The instance's port.
        port: u16,
        /// Where the instances are.
        vpc_id: String,
        /// How an instance is checked.
        check: Check,
        /// Its mark.
        tags: BTreeMap<String, String>,
    },
    /// Takes over what somebody else made.
    Mark {
        /// What.
        part: Part,
        /// The mark.
        tags: BTreeMap<String, String>,
    },
    /// Sets the subnets.
    SetSubnets {
        /// Of what.
        part: Part,
        /// All of them.
        subnet_ids: Vec<String>,
        /// Those that are new.
        added: Vec<String>,
        /// Those that are not wanted any more.
        removed: Vec<String>,
    },
    /// Sets the security groups.
    SetSecurityGroups {
        /// Of what.
        part: Part,
        /// All of them.
        groups: Vec<String>,
    },
    /// Sets the health check.
    SetHealthCheck {
        /// Of what.
        part: Part,
        /// As it should be.
        check: Check,
        /// What differs, for people.
        changed: Vec<String>,
    },
    /// Sets how long an instance that leaves may finish what it has.
    SetDraining {
        /// Of what.
        part: Part,
        /// 0: not at all.
        seconds: u32,
    },
    /// Makes a listener.
    CreateListener {
        /// Of what.
        part: Part,
        /// As it should be.
        listener: Listener,
        /// The ARN of the target group it forwards to; a classic one has none.
        group: Option<String>,
    },
    /// Changes a listener.
    ModifyListener {
        /// Of what.
        part: Part,
        /// Its ARN; a classic one has none.
        id: Option<String>,
        /// As it should be.
        listener: Listener,
        /// The ARN of the target group it forwards to.
        group: Option<String>,
        /// What differs, for people.
        changed: Vec<String>,
    },
    /// Removes a listener.
    DeleteListener {
        /// Of what.
        part: Part,
        /// Its ARN; a classic one has none.
        id: Option<String>,
        /// Its port.
        port: u16,
        /// Why.
        why: String,
    },
    /// Deletes what is left over and has no targets.
    Delete {
        /// What.
        part: Part,
    },
}

impl BalancerAction {
    /// True when it makes something.
    pub fn creates(&self) -> bool {
        matches!(
            self,
            BalancerAction::Create { .. } | BalancerAction::CreateGroup { .. } | BalancerAction::CreateListener { .. }
        )
    }

    /// What must bear the stack's mark before it is touched.
    pub fn touches(&self) -> Option<&Part> {
        match self {
            BalancerAction::Create { .. } | BalancerAction::CreateGroup { .. } | BalancerAction::Mark { .. } => None,
            BalancerAction::SetSubnets { part, .. }
            | BalancerAction::SetSecurityGroups { part, .. }
            | BalancerAction::SetHealthCheck { part, .. }
            | BalancerAction::SetDraining { part, .. }
            | BalancerAction::CreateListener { part, .. }
            | BalancerAction::ModifyListener { part, .. }
            | BalancerAction::DeleteListener { part, .. }
            | BalancerAction::Delete { part } => Some(part),
        }
    }
}

/// As it follows “load balancer NAME: ”.
impl fmt::Display for BalancerAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BalancerAction::Create { kind, internal, subnet_ids, .. } => {
                let scheme = if *internal { "internal " } else { "" };
                write!(f, "create it ({scheme}{}) in {}", kind.word(), subnet_ids.join(", "))
            }
            BalancerAction::CreateGroup { name, protocol, port, .. } => {
                write!(f, "create target group {name} ({protocol} on port {port})")
            }
            BalancerAction::Mark { part, .. } => write!(f, "take over {}", part.words()),
            BalancerAction::SetSubnets { subnet_ids, .. } => write!(f, "set its subnets to {}", subnet_ids.join(", ")),
            BalancerAction::SetSecurityGroups { groups, .. } => {
                write!(f, "set its security groups to {}", groups.join(", "))
            }
            BalancerAction::SetHealthCheck { part, changed, .. } => {
                write!(f, "set the health check of {}: {}", its(part), changed.join(", "))
            }
            BalancerAction::SetDraining { part, seconds } => {
                write!(f, "set the draining time of {} to {seconds}s", its(part))
            }
            BalancerAction::CreateListener { listener, .. } => write!(f, "create listener {}", listener.words()),
            BalancerAction::ModifyListener { listener, changed, .. } => {
                write!(f, "change the listener of port {}: {}", listener.port, changed.join(", "))
            }
            BalancerAction::DeleteListener { port, why, .. } => {
                write!(f, "delete the listener of port {port} ({why})")
            }
            BalancerAction::Delete { part } => write!(f, "delete {} ({})", part.words(), part.id()),
        }
    }
}

fn its(part: &Part) -> String {
    match part {
        Part::Balancer { .. } => "its instances".to_owned(),
        Part::Group { .. } => part.words(),
    }
}
