//! Target groups: what is declared of them by name or ARN, as AWS describes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::types::TargetGroup;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Api;
use crate::{
    aws::{
        place::Place,
        several::{Failed, several},
    },
    world::{Class, Trouble},
};

/// How long ports, VPC and attributes of a group are taken to be as they were. Who is registered is always asked.
pub(super) const AGE: Duration = Duration::from_secs(60);
/// Two looks of one pass share an answer.
pub(super) const PASS: Duration = Duration::from_secs(1);

/// A target group, and how many seconds it lets an instance that leaves finish.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) arn: String,
    pub(super) port: u16,
    pub(super) draining: u32,
    pub(super) told: TargetGroup,
}

type Known = BTreeMap<String, (Instant, Group)>;

/// The groups that were described a moment ago, by place and by what they are declared as.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<BTreeMap<Place, Arc<tokio::sync::Mutex<Known>>>>);

impl Groups {
    fn of(&self, place: &Place) -> Arc<tokio::sync::Mutex<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(place.clone()).or_default().clone()
    }

    /// Something was changed: every group of the place is described anew.
    pub(super) async fn forget(&self, place: &Place) {
        self.of(place).lock().await.clear();
    }

    /// What there is under each name or ARN, none of it older than `age`; `None` where there is nothing.
    pub(super) async fn described(
        &self,
        api: &Api,
        wanted: &BTreeSet<String>,
        age: Duration,
    ) -> BTreeMap<String, Result<Option<Group>, Trouble>> {
        let known = self.of(&api.place);
        let mut known = known.lock().await;
        known.retain(|_, (at, _)| at.elapsed() < AGE);
        let is_fresh = |(at, _): &(Instant, Group)| at.elapsed() < age;
        let stale = wanted.iter().filter(|name| !known.get(*name).is_some_and(is_fresh)).cloned();
        let (arns, names): (Vec<String>, Vec<String>) = stale.partition(|name| name.starts_with("arn:"));
        let by_name = several(
            &names,
            |group: &TargetGroup| group.target_group_name.as_deref(),
            |names| async move { describe(api, Some(names), None).await },
        );
        let by_arn = several(
            &arns,
            |group: &TargetGroup| group.target_group_arn.as_deref(),
            |arns| async move { describe(api, None, Some(arns)).await },
        );
        let (by_name, by_arn) = tokio::join!(by_name, by_arn);
        let fresh = join_all(by_name.into_iter().chain(by_arn).map(|(name, told)| async move {
            let group = match told {
                Ok(Some(told)) => with_attributes(api, told).await,
                Ok(None) => Ok(None),
                Err(trouble) => Err(trouble),
            };
            (name, group)
        }));
        let mut answer = BTreeMap::new();
        for (name, group) in fresh.await {
            if let Ok(Some(group)) = &group {
                known.insert(name.clone(), (Instant::now(), group.clone()));
            } else {
                known.remove(&name);
            }
            answer.insert(name, group);
        }
        for name in wanted {
            if let (false, Some((_, group))) = (answer.contains_key(name), known.get(name)) {
                answer.insert(name.clone(), Ok(Some(group.clone())));
            }
        }
        answer
    }

    /// The one group of that name or ARN.
    pub(super) async fn one(&self, api: &Api, name: &str) -> Result<Option<Group>, Trouble> {
        let answer = self.described(api, &BTreeSet::from([name.to_owned()]), AGE).await.remove(name);
        answer.unwrap_or(Ok(None))
    }
}

/// Groups by name, by ARN, or, with neither, all there are.
pub(super) async fn describe(
    api: &Api,
    names: Option<Vec<String>>,
    arns: Option<Vec<String>>,
) -> Result<Vec<TargetGroup>, Failed> {
    let on = match (&names, &arns) {
        (Some(wanted), _) | (None, Some(wanted)) => format!("target groups {}", wanted.join(", ")),
        (None, None) => "all target groups".to_owned(),
    };
    let request = api.clients.elbv2.read.describe_target_groups().set_names(names).set_target_group_arns(arns);
    let mut pages = request.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => found.extend(page.target_groups.unwrap_or_default()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_target_group_not_found_exception()) => {
                return Err(Failed::Absent);
            }
            Err(error) => return Err(Failed::Otherwise(api.call("DescribeTargetGroups", &on).failed(&error))),
        }
    }
    Ok(found)
}

async fn with_attributes(api: &Api, told: TargetGroup) -> Result<Option<Group>, Trouble> {
    let name = told.target_group_name.clone().unwrap_or_default();
    let on = format!("target group {name}");
    let call = api.call("DescribeTargetGroups", &on);
    let (Some(arn), Some(port)) = (told.target_group_arn.clone(), told.port.and_then(|port| u16::try_from(port).ok()))
    else {
        let said = "it has no port, so that instances cannot be its targets; name another one in loadBalancers";
        return Err(call.own(Class::Terminal, said));
    };
    if told.target_type.as_ref().is_some_and(|kind| kind.as_str() != "instance") {
        let kind = told.target_type.as_ref().map_or("", |kind| kind.as_str());
        let said = format!("its targets are of type {kind}, not instances; name another one in loadBalancers");
        return Err(call.own(Class::Terminal, said));
    }
    let request = api.clients.elbv2.read.describe_target_group_attributes().target_group_arn(&arn);
    let attributes = match request.send().await {
        Ok(answer) => answer.attributes.unwrap_or_default(),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_target_group_not_found_exception()) => {
            return Ok(None);
        }
        Err(error) => return Err(api.call("DescribeTargetGroupAttributes", &on).failed(&error)),
    };
    // "The default value is 300 seconds" ("Deregistration delay").
    let delay = attributes.iter().find(|attribute| attribute.key.as_deref() == Some(super::DELAY));
    let draining = delay.and_then(|attribute| attribute.value.as_ref()?.parse().ok()).unwrap_or(300);
    Ok(Some(Group { arn, port, draining, told }))
}
