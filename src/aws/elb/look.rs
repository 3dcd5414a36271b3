//! Classic load balancers as their API tells them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_elasticloadbalancing::types::{InstanceState, LoadBalancerDescription};
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::{Api, target::targets};
use crate::{
    aws::{
        door::Doors,
        place::Place,
        several::{Failed, several},
    },
    world::{Balancer, Seen, Target, Trouble},
};

/// What a balancer waits when draining is on and no time is told ("Configure connection draining").
const DEFAULT_DRAINING: i32 = 300;
/// How long that is taken to be as it was; what it says of those that are registered is always asked.
const AGE: Duration = Duration::from_secs(60);
/// How long the list of those that are registered is. A rollout looks many times a second, and Elastic Load Balancing
/// allows few requests: each one that is not sent is one that need not wait for its turn.
const LIST_AGE: Duration = Duration::from_secs(1);

/// All that is asked of one balancer is asked at once: a rollout waits for the answers.
pub(super) async fn look(
    api: &Api,
    doors: &Doors,
    known: &Known,
    names: &BTreeSet<String>,
) -> BTreeMap<String, Seen<Balancer>> {
    let names: Vec<String> = names.iter().cloned().collect();
    let health = names.iter().map(|name| async move {
        let left = left(api, name, doors.of(&api.place, name).leaving());
        tokio::try_join!(known.draining(api, name), api.health(name), left)
    });
    let (mut described, health) = tokio::join!(known.described(api, &names), join_all(health));
    let mut health: BTreeMap<&String, _> = names.iter().zip(health).collect();
    // A list may be of a moment ago: who is on it and has no health may have left.
    let is_doubted = |name: &&String| match (described.get(*name), health.get(*name)) {
        (Some(Ok(Some(list))), Some(Ok((_, health, _)))) => list.instances().iter().any(|listed| {
            listed.instance_id.is_some() && !health.iter().any(|state| state.instance_id == listed.instance_id)
        }),
        _ => false,
    };
    let doubted: Vec<String> = names.iter().filter(is_doubted).cloned().collect();
    if !doubted.is_empty() {
        doubted.iter().for_each(|name| known.forget_list(&api.place, name));
        described.extend(known.described(api, &doubted).await);
    }
    let each = described.into_iter().map(|(name, described)| {
        let told = health.remove(&name);
        async move {
            let seen = match (described, told) {
                (Err(trouble), _) => Err(trouble),
                (Ok(Some(described)), Some(Ok((draining, health, left)))) => {
                    whole(api, doors, &name, &described, draining, &health, left).await
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

/// What is said of those who left, and may drain.
async fn left(api: &Api, name: &str, ids: Vec<String>) -> Result<BTreeMap<String, Option<Target>>, Trouble> {
    let asked = ids.into_iter().map(|id| async move {
        let target = api.target(name, &id).await?;
        Ok((id, target))
    });
    Ok(try_join_all(asked).await?.into_iter().collect())
}

async fn whole(
    api: &Api,
    doors: &Doors,
    name: &str,
    described: &LoadBalancerDescription,
    draining: Option<u32>,
    health: &[InstanceState],
    mut left: BTreeMap<String, Option<Target>>,
) -> Result<Balancer, Trouble> {
    let door = doors.of(&api.place, name);
    let registered = described.instances().iter().filter_map(|instance| instance.instance_id.as_deref());
    let mut targets = targets(registered, health);
    for ec2_id in door.leaving().into_iter().filter(|ec2_id| !targets.contains_key(ec2_id)).collect::<Vec<_>>() {
        let said = match left.remove(&ec2_id) {
            Some(said) => said,
            // It left after that was asked.
            None => api.target(name, &ec2_id).await?,
        };
        match said {
            Some(target) => _ = targets.insert(ec2_id, target),
            None => door.forget(&ec2_id),
        }
    }
    // Any instance can be registered whose subnet the balancer reaches; no single VPC must be told.
    Ok(Balancer { draining, vpc_id: described.vpc_id.clone().filter(|id| !id.is_empty()), targets })
}

/// By place and name: when it was told, and what.
type Told<T> = Mutex<BTreeMap<(Place, String), (Instant, T)>>;

/// What was told a moment ago.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// How many seconds each balancer drains, if it does at all.
    drainings: Told<Option<u32>>,
    lists: Told<LoadBalancerDescription>,
}

impl Known {
    async fn draining(&self, api: &Api, name: &str) -> Result<Option<u32>, Trouble> {
        if let Some(known) = recall(&self.drainings, api, name, AGE) {
            return Ok(known);
        }
        let told = draining(api, name).await?;
        note(&self.drainings, api, name, told);
        Ok(told)
    }

    async fn described(
        &self,
        api: &Api,
        names: &[String],
    ) -> BTreeMap<String, Result<Option<LoadBalancerDescription>, Trouble>> {
        let mut answer = BTreeMap::new();
        for name in names {
            if let Some(list) = recall(&self.lists, api, name, LIST_AGE) {
                answer.insert(name.clone(), Ok(Some(list)));
            }
        }
        let asked: Vec<String> = names.iter().filter(|name| !answer.contains_key(*name)).cloned().collect();
        if !asked.is_empty() {
            for (name, told) in describe(api, &asked).await {
                if let Ok(Some(list)) = &told {
                    note(&self.lists, api, &name, list.clone());
                }
                answer.insert(name, told);
            }
        }
        answer
    }

    /// It was changed, or made anew.
    pub(super) fn forget(&self, place: &Place, name: &str) {
        all(&self.drainings).remove(&(place.clone(), name.to_owned()));
        self.forget_list(place, name);
    }

    /// Somebody was registered with it, or is no more.
    pub(super) fn forget_list(&self, place: &Place, name: &str) {
        all(&self.lists).remove(&(place.clone(), name.to_owned()));
    }
}

fn recall<T: Clone>(told: &Told<T>, api: &Api, name: &str, age: Duration) -> Option<T> {
    let all = all(told);
    all.get(&(api.place.clone(), name.to_owned())).filter(|(at, _)| at.elapsed() < age).map(|(_, told)| told.clone())
}

fn note<T>(told: &Told<T>, api: &Api, name: &str, what: T) {
    all(told).insert((api.place.clone(), name.to_owned()), (Instant::now(), what));
}

fn all<T>(told: &Told<T>) -> MutexGuard<'_, BTreeMap<(Place, String), (Instant, T)>> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
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
