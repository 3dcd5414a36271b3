//! Load balancers of every kind: each key is asked of the API that it belongs to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;

use super::{
    Aws, Elb,
    elbv2::{Declared, Elbv2},
};
use crate::{
    action::{Action, BalancerAction},
    ports::Balancers,
    spec::{
        Stack,
        balancer::{BalancerKind, LoadBalancer},
    },
    world::{Balancer, Class, Owned, Part, Seen, Target, Trouble},
};

/// Classic load balancers, and the target groups of the others, in every region.
#[derive(Debug, Clone)]
pub struct LoadBalancers {
    classic: Elb,
    groups: Elbv2,
}

impl LoadBalancers {
    /// Makes no call yet. One for all stacks: its clones see to it that two deregistrations never count on each
    /// other's instance.
    pub fn new(aws: Arc<Aws>) -> LoadBalancers {
        LoadBalancers { classic: Elb::new(aws.clone()), groups: Elbv2::new(aws) }
    }
}

fn declared<'a>(stack: &'a Stack, key: &str) -> Option<&'a LoadBalancer> {
    stack.layers.iter().flat_map(|layer| &layer.load_balancers).find(|balancer| balancer.name() == key)
}

/// The target group of a key; nothing for a classic load balancer, which is what goes by its mere name.
fn group<'a>(stack: &'a Stack, key: &str) -> Option<Declared<'a>> {
    declared(stack, key).and_then(Declared::of)
}

#[async_trait]
impl Balancers for LoadBalancers {
    async fn look(&self, stack: &Stack, names: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
        let groups: Vec<Declared<'_>> = names.iter().filter_map(|key| group(stack, key)).collect();
        let classic: BTreeSet<String> = names.iter().filter(|key| group(stack, key).is_none()).cloned().collect();
        let (groups, mut classic) = tokio::join!(self.groups.look(stack, &groups), async {
            match classic.is_empty() {
                true => BTreeMap::new(),
                false => self.classic.look(stack, &classic).await,
            }
        });
        classic.extend(groups);
        classic
    }

    async fn target(&self, stack: &Stack, balancer: &str, ec2_id: &str) -> Seen<Option<Target>> {
        match group(stack, balancer) {
            Some(group) => self.groups.target(stack, group, ec2_id).await,
            None => self.classic.target(stack, balancer, ec2_id).await,
        }
    }

    async fn owned(&self, stack: &Stack) -> Owned {
        let (classic, groups, left, more) = tokio::join!(
            self.classic.owned(stack),
            self.groups.owned(stack),
            self.classic.leftovers(stack),
            self.groups.leftovers(stack)
        );
        let leftover = match (left, more) {
            (Seen::Known(left), Seen::Known(more)) => Seen::Known(left.into_iter().chain(more).collect()),
            (Seen::Unknown(trouble), _) | (_, Seen::Unknown(trouble)) => Seen::Unknown(trouble),
        };
        Owned { declared: classic.into_iter().chain(groups).collect(), leftover }
    }

    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble> {
        match action {
            Action::Register { balancer, .. } | Action::Deregister { balancer, .. } => match group(stack, balancer) {
                Some(group) => self.groups.apply(stack, group, action).await,
                None => self.classic.apply(stack, action).await,
            },
            Action::Owned { balancer, what } if is_classic(what) => self.classic.make(stack, balancer, what).await,
            Action::Owned { balancer, what } => self.groups.make(stack, balancer, what).await,
            _ => {
                Err(Trouble { class: Class::Terminal, message: format!("{action}: not an action on a load balancer") })
            }
        }
    }
}

fn is_classic(what: &BalancerAction) -> bool {
    match what {
        BalancerAction::Create { kind, .. } => *kind == BalancerKind::Classic,
        BalancerAction::CreateGroup { .. } => false,
        BalancerAction::Mark { part, .. } => is_classic_part(part),
        _ => what.touches().is_some_and(is_classic_part),
    }
}

fn is_classic_part(part: &Part) -> bool {
    matches!(part, Part::Balancer { kind: BalancerKind::Classic, .. })
}
