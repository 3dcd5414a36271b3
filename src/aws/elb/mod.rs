//! Classic load balancers.

mod apply;
mod look;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use aws_sdk_elasticloadbalancing::types::InstanceState;

use super::{Aws, client::Clients, trouble};
use crate::{
    action::Action,
    ports::Balancers,
    spec::Stack,
    world::{Balancer, Seen, Trouble},
};

use apply::Leaving;

/// Classic load balancers, in every region.
#[derive(Debug, Clone)]
pub struct Elb {
    aws: Arc<Aws>,
    leaving: Arc<Leaving>,
}

impl Elb {
    /// Makes no call yet. One for all stacks: its clones see to it that two deregistrations never count on each
    /// other's instance.
    pub fn new(aws: Arc<Aws>) -> Elb {
        Elb { aws, leaving: Arc::default() }
    }

    async fn api<'a>(&self, region: &'a str) -> Api<'a> {
        Api { clients: self.aws.clients(region).await, region }
    }
}

#[async_trait]
impl Balancers for Elb {
    async fn look(&self, stack: &Stack, names: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
        look::look(&self.api(&stack.region).await, names).await
    }

    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble> {
        apply::apply(&self.api(&stack.region).await, &self.leaving, action).await
    }
}

/// The classic load balancers of one region.
struct Api<'a> {
    clients: Arc<Clients>,
    region: &'a str,
}

impl Api<'_> {
    fn call<'c>(&'c self, operation: &'static str, on: &'c str) -> trouble::Call<'c> {
        let reads = operation.starts_with("Describe");
        trouble::Call { service: trouble::ELB, operation, on, region: self.region, reads }
    }

    /// What the balancer says of every instance that is registered, or is still being deregistered.
    async fn health(&self, balancer: &str) -> Result<Vec<InstanceState>, Trouble> {
        let request = self.clients.elb.read.describe_instance_health().load_balancer_name(balancer);
        match request.send().await {
            Ok(answer) => Ok(answer.instance_states.unwrap_or_default()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_access_point_not_found_exception()) => {
                Err(self.absent("DescribeInstanceHealth", balancer))
            }
            Err(error) => {
                let on = format!("load balancer {balancer}");
                Err(self.call("DescribeInstanceHealth", &on).failed(&error))
            }
        }
    }

    fn absent(&self, operation: &'static str, balancer: &str) -> Trouble {
        let message = format!(
            "{}:{operation}: load balancer {balancer} does not exist in {}: create it or correct loadBalancers in the \
             manifest",
            trouble::ELB,
            self.region
        );
        Trouble { class: crate::world::Class::Terminal, message }
    }
}
