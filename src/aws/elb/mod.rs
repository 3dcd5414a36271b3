//! Classic load balancers.

mod apply;
mod door;
mod look;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use aws_sdk_elasticloadbalancing::types::{Instance, InstanceState};

use super::{Aws, client::Clients, trouble};
use crate::{
    action::Action,
    ports::Balancers,
    spec::Stack,
    world::{Balancer, Class, Seen, Target, Trouble},
};

use door::Doors;

/// Classic load balancers, in every region.
#[derive(Debug, Clone)]
pub struct Elb {
    aws: Arc<Aws>,
    doors: Arc<Doors>,
}

impl Elb {
    /// Makes no call yet. One for all stacks: its clones see to it that two deregistrations never count on each
    /// other's instance.
    pub fn new(aws: Arc<Aws>) -> Elb {
        Elb { aws, doors: Arc::default() }
    }

    async fn api<'a>(&self, region: &'a str) -> Api<'a> {
        Api { clients: self.aws.clients(region).await, region }
    }
}

#[async_trait]
impl Balancers for Elb {
    async fn look(&self, stack: &Stack, names: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
        look::look(&self.api(&stack.region).await, &self.doors, names).await
    }

    async fn target(&self, stack: &Stack, balancer: &str, ec2_id: &str) -> Seen<Option<Target>> {
        match self.api(&stack.region).await.target(balancer, ec2_id).await {
            Ok(target) => Seen::Known(target),
            Err(trouble) => Seen::Unknown(trouble),
        }
    }

    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble> {
        apply::apply(&self.api(&stack.region).await, &self.doors, action).await
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

    /// What the balancer says of every instance that is registered.
    async fn health(&self, balancer: &str) -> Result<Vec<InstanceState>, Trouble> {
        self.health_of(balancer, None).await.map(Option::unwrap_or_default)
    }

    /// What the balancer says of one instance: "state is returned even if they are no longer registered" (API
    /// reference of `DescribeInstanceHealth`). An instance that EC2 does not know any more is no target.
    async fn target(&self, balancer: &str, ec2_id: &str) -> Result<Option<Target>, Trouble> {
        let asked = Instance::builder().instance_id(ec2_id).build();
        let states = self.health_of(balancer, Some(vec![asked])).await?.unwrap_or_default();
        Ok(states.iter().find(|state| state.instance_id.as_deref() == Some(ec2_id)).and_then(target::target))
    }

    async fn health_of(
        &self,
        balancer: &str,
        instances: Option<Vec<Instance>>,
    ) -> Result<Option<Vec<InstanceState>>, Trouble> {
        let request = self.clients.elb.read.describe_instance_health().load_balancer_name(balancer);
        match request.set_instances(instances).send().await {
            Ok(answer) => Ok(answer.instance_states),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_invalid_end_point_exception()) => Ok(None),
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
        Trouble { class: Class::Terminal, message }
    }
}
