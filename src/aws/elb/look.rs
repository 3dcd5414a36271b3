//! Classic load balancers as their API tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_elasticloadbalancing::types::{InstanceState, LoadBalancerDescription};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{Api, target::targets};
use crate::{
    aws::{
        client::Place,
        door::Doors,
        several::{Failed, several},
    },
    world::{Balancer, Seen, Trouble},
};

/// What a balancer waits when draining is on and no time is told ("Configure connection draining").
const DEFAULT_DRAINING: i32 = 300;
/// How long that is taken to be as it was; who is registered is always asked.
const AGE: Duration = Duration::from_secs(60);

/// All that is asked of one balancer is asked at once: a rollout waits for the answers.
pub(super) async fn look(
    api: &Api,
    doors: &Doors,
    drainings: &Drainings,
    names: &BTreeSet<String>,
) -> BTreeMap<String, Seen<Balancer>> {
    let names: Vec<String> = names.iter().cloned().collect();
    let health = names.iter().map(|name| async move { tokio::try_join!(drainings.of(api, name), api.health(name)) });
    let (described, health) = tokio::join!(describe(api, &names), join_all(health));
    let mut health: BTreeMap<&String, _> = names.iter().zip(health).collect();
    let each = described.into_iter().map(|(name, described)| {
        let told = health.remove(&name);
        async move {
            let seen = match (described, told) {
                (Err(trouble), _) => Err(trouble),
                (Ok(Some(described)), Some(Ok((draining, health)))) => {
                    whole(api, doors, &name, &described, draining, &health).await
                }
                (Ok(Some(_)), Some(Err(trouble))) => Err(trouble),
                (Ok(None), _) | (_, None) => Err(api.absent("DescribeLoadBalancers", &name)),
            };
            (name, seen.into())
        }
    });
    join_all(each).await.into_iter().collect()
}

/// What there is under each name; `None` where there is nothing.
pub(super) async fn describe(
    api: &Api,
    names: &[String],
) -> BTreeMap<String, Result<Option<LoadBalancerDescription>, Trouble>> {
    let ask = |names: Vec<String>| async move { describe_all(api, Some(names)).await };
    several(names, |described| described.load_balancer_name.as_deref(), ask).await
}

/// Load balancers by name, or all there are.
pub(super) async fn describe_all(
    api: &Api,
    names: Option<Vec<String>>,
) -> Result<Vec<LoadBalancerDescription>, Failed> {
    let on = match &names {
        Some(names) => format!("load balancers {}", names.join(", ")),
        None => "all load balancers".to_owned(),
    };
    let request = api.clients.elb.read.describe_load_balancers().set_load_balancer_names(names);
    let mut pages = request.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => found.extend(page.load_balancer_descriptions.unwrap_or_default()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_access_point_not_found_exception()) => {
                return Err(Failed::Absent);
            }
            Err(error) => {
                return Err(Failed::Otherwise(api.call("DescribeLoadBalancers", &on).failed(&error)));
            }
        }
    }
    Ok(found)
}

async fn whole(
    api: &Api,
    doors: &Doors,
    name: &str,
    described: &LoadBalancerDescription,
    draining: Option<u32>,
    health: &[InstanceState],
) -> Result<Balancer, Trouble> {
    let door = doors.of(&api.place, name);
    let registered = described.instances().iter().filter_map(|instance| instance.instance_id.as_deref());
    let mut targets = targets(registered, health);
    for ec2_id in door.leaving().into_iter().filter(|ec2_id| !targets.contains_key(ec2_id)).collect::<Vec<_>>() {
        match api.target(name, &ec2_id).await? {
            Some(target) => _ = targets.insert(ec2_id, target),
            None => door.forget(&ec2_id),
        }
    }
    // Any instance can be registered whose subnet the balancer reaches; no single VPC must be told.
    Ok(Balancer { draining, vpc_id: described.vpc_id.clone().filter(|id| !id.is_empty()), targets })
}

/// By place and name: when it was told, and how many seconds, if it drains at all.
type Told = BTreeMap<(Place, String), (Instant, Option<u32>)>;

/// How long each balancer drains, as it was told a moment ago.
#[derive(Debug, Default)]
pub(super) struct Drainings(Mutex<Told>);

impl Drainings {
    async fn of(&self, api: &Api, name: &str) -> Result<Option<u32>, Trouble> {
        let key = (api.place.clone(), name.to_owned());
        let known = self.all().get(&key).filter(|(at, _)| at.elapsed() < AGE).map(|(_, draining)| *draining);
        if let Some(known) = known {
            return Ok(known);
        }
        let told = draining(api, name).await?;
        self.all().insert(key, (Instant::now(), told));
        Ok(told)
    }

    /// It was changed, or made anew.
    pub(super) fn forget(&self, place: &Place, name: &str) {
        self.all().remove(&(place.clone(), name.to_owned()));
    }

    fn all(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn draining(api: &Api, name: &str) -> Result<Option<u32>, Trouble> {
    let request = api.clients.elb.read.describe_load_balancer_attributes().load_balancer_name(name);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.as_service_error().is_some_and(|e| e.is_access_point_not_found_exception()) => {
            return Err(api.absent("DescribeLoadBalancerAttributes", name));
        }
        Err(error) => {
            let on = format!("load balancer {name}");
            return Err(api.call("DescribeLoadBalancerAttributes", &on).failed(&error));
        }
    };
    let draining = answer.load_balancer_attributes.and_then(|attributes| attributes.connection_draining);
    Ok(draining
        .filter(|draining| draining.enabled)
        .map(|draining| u32::try_from(draining.timeout.unwrap_or(DEFAULT_DRAINING)).unwrap_or_default()))
}
