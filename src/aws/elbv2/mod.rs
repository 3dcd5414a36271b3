//! Application and network load balancers, and the target groups that instances are registered with.

mod apply;
mod group;
mod make;
mod owned;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_elasticloadbalancingv2::types::{TargetDescription, TargetHealthDescription};
use futures_util::future::join_all;

use super::{Aws, client::Clients, door::Doors, place::Place, service, sweeps::Sweeps, trouble};
use crate::{
    action::Action,
    spec::{Stack, stack::LoadBalancer},
    world::{Balancer, Class, Seen, Target, Trouble},
};

use group::{AGE, Group, Groups};
use owned::Listing;

/// The attribute that says how long an instance that leaves may finish.
const DELAY: &str = "deregistration_delay.timeout_seconds";

/// ELBv2, in every region.
#[derive(Debug, Clone)]
pub(super) struct Elbv2 {
    aws: Arc<Aws>,
    doors: Arc<Doors>,
    groups: Arc<Groups>,
    sweeps: Arc<Sweeps<Listing>>,
}

/// A target group as the manifest names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared<'a> {
    /// The key it goes by.
    key: &'a str,
    /// Its name or its ARN.
    group: &'a str,
    /// The instances' port, where it is not the group's own.
    port: Option<u16>,
}

impl<'a> Declared<'a> {
    /// Nothing for a classic load balancer.
    pub(super) fn of(balancer: &'a LoadBalancer) -> Option<Declared<'a>> {
        match balancer {
            LoadBalancer::TargetGroup { group, port, key } => Some(Declared { key, group, port: *port }),
            LoadBalancer::Classic(_) => None,
        }
    }
}

impl Elbv2 {
    pub(super) fn new(aws: Arc<Aws>) -> Elbv2 {
        Elbv2 { aws, doors: Arc::default(), groups: Arc::default(), sweeps: Arc::default() }
    }

    async fn api(&self, stack: &Stack) -> Api {
        let place = Place::from(stack);
        Api { clients: self.aws.clients(place.clone()).await, place }
    }

    /// Looks at target groups. One that does not exist is unknown with class `Terminal`.
    pub(super) async fn look(&self, stack: &Stack, wanted: &[Declared<'_>]) -> BTreeMap<String, Seen<Balancer>> {
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        let api = &self.api(stack).await;
        let names: BTreeSet<String> = wanted.iter().map(|declared| declared.group.to_owned()).collect();
        let described = &self.groups.described(api, &names, AGE).await;
        let looks = wanted.iter().map(|declared| async move {
            let seen = match described.get(declared.group) {
                Some(Ok(Some(group))) => self.targets(api, declared, group).await,
                Some(Err(trouble)) => Err(trouble.clone()),
                Some(Ok(None)) | None => Err(api.absent("DescribeTargetGroups", declared.group)),
            };
            (declared.key.to_owned(), seen.into())
        });
        join_all(looks).await.into_iter().collect()
    }

    async fn targets(&self, api: &Api, declared: &Declared<'_>, group: &Group) -> Result<Balancer, Trouble> {
        let port = declared.port.unwrap_or(group.port);
        let Some(health) = api.health(group, None).await? else {
            // It was deleted since it was described.
            self.groups.forget(&api.place).await;
            return Err(api.absent("DescribeTargetHealth", declared.group));
        };
        Ok(Balancer {
            draining: Some(group.draining).filter(|seconds| *seconds > 0),
            vpc_id: group.told.vpc_id.clone(),
            targets: target::targets(&health, port),
        })
    }

    /// What the group says of one instance right now, whether it lists it or not.
    pub(super) async fn target(&self, stack: &Stack, declared: Declared<'_>, ec2_id: &str) -> Seen<Option<Target>> {
        let api = self.api(stack).await;
        let asked = async {
            let Some(group) = self.groups.one(&api, declared.group).await? else {
                return Err(api.absent("DescribeTargetGroups", declared.group));
            };
            let port = declared.port.unwrap_or(group.port);
            let asked = target_of(ec2_id, port);
            let health = api.health(&group, Some(asked)).await?;
            let health = health.ok_or_else(|| api.absent("DescribeTargetHealth", declared.group))?;
            Ok(target::targets(&health, port).remove(ec2_id))
        };
        asked.await.into()
    }

    /// Registers an instance, or takes it out.
    pub(super) async fn apply(&self, stack: &Stack, declared: Declared<'_>, action: &Action) -> Result<(), Trouble> {
        let api = self.api(stack).await;
        let Some(group) = self.groups.one(&api, declared.group).await? else {
            return Err(api.absent("DescribeTargetGroups", declared.group));
        };
        apply::apply(&api, &self.doors, &group, declared, action).await
    }
}

fn target_of(ec2_id: &str, port: u16) -> TargetDescription {
    TargetDescription::builder().id(ec2_id).port(i32::from(port)).build()
}

/// ELBv2 of one place.
struct Api {
    clients: Arc<Clients>,
    place: Place,
}

impl Api {
    fn call<'c>(&'c self, operation: &'static str, on: &'c str) -> trouble::Call<'c> {
        trouble::Call { service: service::ELB, operation, on, region: &self.place.region }
    }

    /// What a group says of all its targets, or of one whether it is registered or not; nothing when the group is gone.
    async fn health(
        &self,
        group: &Group,
        one: Option<TargetDescription>,
    ) -> Result<Option<Vec<TargetHealthDescription>>, Trouble> {
        let request = self.clients.elbv2.read.describe_target_health().target_group_arn(&group.arn);
        match request.set_targets(one.map(|one| vec![one])).send().await {
            Ok(answer) => Ok(Some(answer.target_health_descriptions.unwrap_or_default())),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_target_group_not_found_exception()) => Ok(None),
            // An instance that EC2 does not know any more is no target.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_invalid_target_exception()) => {
                Ok(Some(Vec::new()))
            }
            Err(error) => {
                let on = format!("target group {}", group.told.target_group_name().unwrap_or(&group.arn));
                Err(self.call("DescribeTargetHealth", &on).failed(&error))
            }
        }
    }

    fn absent(&self, operation: &'static str, group: &str) -> Trouble {
        let message = format!(
            "{}:{operation}: target group {group} does not exist in {}: create it or correct loadBalancers in the \
             manifest",
            service::ELB,
            self.place.region
        );
        Trouble { class: Class::Terminal, message }
    }
}
