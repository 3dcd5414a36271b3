//! Looking at the load balancers that Evenkeel makes, and at what is left over of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_elasticloadbalancingv2::types::{
    ActionTypeEnum, Listener, LoadBalancer, LoadBalancerSchemeEnum, LoadBalancerTypeEnum, TagDescription, TargetGroup,
};
use futures_util::future::{join_all, try_join_all};

use super::{
    Api, Declared, Elbv2,
    group::{Group, PASS, describe},
};
use crate::{
    aws::several::{CHUNK, Failed, several},
    spec::{
        Stack,
        balancer::{BalancerKind, OwnedBalancer},
    },
    world::{Check, Class, Leftover, Made, MadeBalancer, MadeGroup, MadeListener, Part, Seen, Trouble, tag},
};

fn owned(stack: &Stack) -> impl Iterator<Item = &OwnedBalancer> {
    let all = stack.layers.iter().flat_map(|layer| &layer.owned_balancers);
    all.filter(|owned| owned.kind != BalancerKind::Classic)
}

/// Every target group that the stack declares, so that this look and that at the targets are one request.
fn groups(stack: &Stack) -> BTreeSet<String> {
    let all = stack.layers.iter().flat_map(|layer| &layer.load_balancers);
    all.filter_map(|balancer| Some(Declared::of(balancer)?.group.to_owned())).collect()
}

impl Elbv2 {
    /// What there is under each declared name.
    pub(in crate::aws) async fn owned(&self, stack: &Stack) -> BTreeMap<String, Seen<Made>> {
        let names: Vec<String> = owned(stack).map(|owned| owned.name.clone()).collect();
        if names.is_empty() {
            return BTreeMap::new();
        }
        let api = &self.api(stack).await;
        let groups = groups(stack);
        let ask = |names: Vec<String>| async move { balancers(api, Some(names)).await };
        let (described, groups) = tokio::join!(
            several(&names, |balancer: &LoadBalancer| balancer.load_balancer_name.as_deref(), ask),
            self.groups.described(api, &groups, PASS)
        );
        let arns = described.values().flatten().flatten().filter_map(|balancer| balancer.load_balancer_arn.clone());
        let group_arns = groups.values().flatten().flatten().map(|group| group.arn.clone());
        let marked = &api.marked(arns.chain(group_arns).collect(), &stack.name).await;
        let groups = &groups;
        let each = owned(stack).map(|owned| {
            let balancer = described.get(&owned.name).cloned().unwrap_or(Ok(None));
            async move {
                let made = async { made(api, owned, balancer?, groups, marked.as_ref().map_err(Clone::clone)?).await };
                (owned.name.clone(), made.await.into())
            }
        });
        join_all(each).await.into_iter().collect()
    }

    /// What bears the stack's mark and is not declared; looked for every few minutes.
    pub(in crate::aws) async fn leftovers(&self, stack: &Stack) -> Seen<Vec<Leftover>> {
        let api = self.api(stack).await;
        let api = &api;
        let sift = |listing: Arc<Listing>| async move { sift(api, stack, &listing).await };
        self.sweeps.share(&api.place, stack, || list(api), sift).await.into()
    }
}

impl Api {
    /// Which of these bear the stack's mark.
    pub(super) async fn marked(&self, arns: Vec<String>, stack: &str) -> Result<BTreeSet<String>, Trouble> {
        let marks = self.stacks_of(arns).await?.into_iter();
        Ok(marks.filter(|(_, of)| of == stack).map(|(arn, _)| arn).collect())
    }

    /// Of which stack each of these bears the mark, if of any.
    async fn stacks_of(&self, arns: Vec<String>) -> Result<BTreeMap<String, String>, Trouble> {
        let asked = arns.chunks(CHUNK).map(|arns| async move {
            let request = self.clients.elbv2.read.describe_tags().set_resource_arns(Some(arns.to_vec()));
            match request.send().await {
                Ok(answer) => Ok(answer.tag_descriptions.unwrap_or_default()),
                // One that is absent fails the request, and says nothing about the others.
                Err(error)
                    if error.as_service_error().is_some_and(|e| {
                        e.is_load_balancer_not_found_exception() || e.is_target_group_not_found_exception()
                    }) =>
                {
                    let said = "one of them is not there any more; asked again";
                    Err(self.call("DescribeTags", &arns.join(", ")).own(Class::Transient, said))
                }
                Err(error) => Err(self.call("DescribeTags", &arns.join(", ")).failed(&error)),
            }
        });
        let described = try_join_all(asked).await?.into_iter().flatten();
        let mark = |described: TagDescription| {
            let tags = described.tags.unwrap_or_default();
            let mark = tags.into_iter().find(|one| one.key.as_deref() == Some(tag::STACK))?;
            Some((described.resource_arn?, mark.value?))
        };
        Ok(described.filter_map(mark).collect())
    }
}

/// Load balancers by name, or all there are.
async fn balancers(api: &Api, names: Option<Vec<String>>) -> Result<Vec<LoadBalancer>, Failed> {
    let on = match &names {
        Some(names) => format!("load balancers {}", names.join(", ")),
        None => "all load balancers".to_owned(),
    };
    let request = api.clients.elbv2.read.describe_load_balancers().set_names(names);
    let mut pages = request.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => found.extend(page.load_balancers.unwrap_or_default()),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_load_balancer_not_found_exception()) => {
                return Err(Failed::Absent);
            }
            Err(error) => return Err(Failed::Otherwise(api.call("DescribeLoadBalancers", &on).failed(&error))),
        }
    }
    Ok(found)
}

async fn made(
    api: &Api,
    owned: &OwnedBalancer,
    balancer: Option<LoadBalancer>,
    groups: &BTreeMap<String, Result<Option<Group>, Trouble>>,
    marked: &BTreeSet<String>,
) -> Result<Made, Trouble> {
    let mut made = Made::default();
    for name in owned.instance_ports().into_iter().map(|port| owned.group_name(port)) {
        match groups.get(&name) {
            Some(Ok(Some(group))) => _ = made.groups.insert(name, made_group(group, marked)),
            Some(Err(trouble)) => return Err(trouble.clone()),
            Some(Ok(None)) | None => {}
        }
    }
    if let Some(told) = balancer {
        made.balancer = Some(made_balancer(api, &owned.name, told, marked).await?);
    }
    Ok(made)
}

fn made_group(group: &Group, marked: &BTreeSet<String>) -> MadeGroup {
    let told = &group.told;
    MadeGroup {
        arn: group.arn.clone(),
        ours: marked.contains(&group.arn),
        protocol: told.protocol.as_ref().map_or("", |protocol| protocol.as_str()).to_owned(),
        port: group.port,
        vpc_id: told.vpc_id.clone(),
        check: check(told),
        draining: group.draining,
    }
}

fn check(told: &TargetGroup) -> Check {
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or_default();
    Check {
        protocol: told.health_check_protocol.as_ref().map_or("", |protocol| protocol.as_str()).to_owned(),
        path: told.health_check_path.clone(),
        // "The default is traffic-port" (CreateTargetGroup).
        port: told.health_check_port.as_ref().and_then(|port| port.parse().ok()),
        interval: number(told.health_check_interval_seconds),
        timeout: number(told.health_check_timeout_seconds),
        healthy: number(told.healthy_threshold_count),
        unhealthy: number(told.unhealthy_threshold_count),
    }
}

async fn made_balancer(
    api: &Api,
    name: &str,
    told: LoadBalancer,
    marked: &BTreeSet<String>,
) -> Result<MadeBalancer, Trouble> {
    let id = told.load_balancer_arn.clone().unwrap_or_default();
    let kind = match &told.r#type {
        Some(LoadBalancerTypeEnum::Network) => BalancerKind::Network,
        _ => BalancerKind::Application,
    };
    let zones = told.availability_zones.unwrap_or_default();
    let state = told.state.and_then(|state| state.code);
    Ok(MadeBalancer {
        ours: marked.contains(&id),
        kind,
        internal: told.scheme == Some(LoadBalancerSchemeEnum::Internal),
        state: state.as_ref().map_or("active", |code| code.as_str()).to_owned(),
        dns_name: told.dns_name.filter(|name| !name.is_empty()),
        vpc_id: told.vpc_id,
        subnet_ids: zones.into_iter().filter_map(|zone| zone.subnet_id).collect(),
        security_group_ids: told.security_groups.unwrap_or_default().into_iter().collect(),
        listeners: listeners(api, name, &id).await?,
        check: None,
        draining: None,
        id,
    })
}

async fn listeners(api: &Api, name: &str, arn: &str) -> Result<BTreeMap<u16, MadeListener>, Trouble> {
    let mut pages = api.clients.elbv2.read.describe_listeners().load_balancer_arn(arn).into_paginator().send();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            // "The specified load balancer does not exist": it was deleted a moment ago.
            Err(error) => {
                let on = format!("load balancer {name}");
                return Err(api.call("DescribeListeners", &on).failed(&error));
            }
        };
        for told in page.listeners.unwrap_or_default() {
            if let Some(port) = told.port.and_then(|port| u16::try_from(port).ok()) {
                found.insert(port, listener(told));
            }
        }
    }
    Ok(found)
}

fn listener(told: Listener) -> MadeListener {
    let forwards_to = forwards_to(&told);
    let certificate = told.certificates.unwrap_or_default().into_iter().next();
    MadeListener {
        id: told.listener_arn,
        protocol: told.protocol.as_ref().map_or("", |protocol| protocol.as_str()).to_owned(),
        forwards_to,
        certificate_arn: certificate.and_then(|certificate| certificate.certificate_arn),
    }
}

/// The group's name, or in words what else its default action does.
fn forwards_to(told: &Listener) -> String {
    let group = |arn: &str| arn.split('/').nth(1).unwrap_or(arn).to_owned();
    let actions = told.default_actions();
    let forward = actions.iter().find(|action| action.r#type == Some(ActionTypeEnum::Forward));
    let Some(forward) = forward.filter(|_| actions.len() == 1) else {
        let kinds: Vec<&str> = actions.iter().filter_map(|action| Some(action.r#type.as_ref()?.as_str())).collect();
        return if kinds.is_empty() { "nothing".into() } else { kinds.join(" and ") };
    };
    let several = forward.forward_config.as_ref().map(|config| config.target_groups()).unwrap_or_default();
    match (several, &forward.target_group_arn) {
        ([_, _, ..], _) => {
            several.iter().filter_map(|one| Some(group(one.target_group_arn()?))).collect::<Vec<_>>().join(" and ")
        }
        (_, Some(arn)) => group(arn),
        ([one], None) => one.target_group_arn().map(group).unwrap_or_default(),
        ([], None) => "nothing".into(),
    }
}

/// What bears the mark of any stack.
#[derive(Debug)]
pub(super) struct Listing {
    balancers: Vec<LoadBalancer>,
    /// Those of the balancers as well.
    groups: Vec<TargetGroup>,
    /// By ARN.
    marks: BTreeMap<String, String>,
}

/// Everything of the account in the region is listed: a filter by tag these APIs do not have.
async fn list(api: &Api) -> Result<Listing, Trouble> {
    let answer = |failed| match failed {
        Failed::Otherwise(trouble) => trouble,
        Failed::Absent => api.absent("DescribeLoadBalancers", "of no name"),
    };
    let (balancers, groups) = tokio::join!(balancers(api, None), describe(api, None, None));
    let (mut balancers, mut groups) = (balancers.map_err(answer)?, groups.map_err(answer)?);
    let arns = balancers.iter().filter_map(|one| one.load_balancer_arn.clone());
    let arns = arns.chain(groups.iter().filter_map(|one| one.target_group_arn.clone())).collect();
    let marks = api.stacks_of(arns).await?;
    let is_marked = |arn: Option<&str>| arn.is_some_and(|arn| marks.contains_key(arn));
    balancers.retain(|one| is_marked(one.load_balancer_arn()));
    groups.retain(|one| {
        is_marked(one.target_group_arn()) || one.load_balancer_arns().iter().any(|arn| marks.contains_key(arn))
    });
    Ok(Listing { balancers, groups, marks })
}

/// What of it bears the stack's mark and is not declared.
async fn sift(api: &Api, stack: &Stack, listing: &Listing) -> Result<Vec<Leftover>, Trouble> {
    let is_ours = |arn: &str| listing.marks.get(arn).is_some_and(|of| *of == stack.name);
    let declared: BTreeSet<&str> = owned(stack).map(|owned| owned.name.as_str()).collect();
    let declared_groups = groups_of(stack);
    let mut left = Vec::new();
    for balancer in &listing.balancers {
        let (Some(arn), Some(name)) = (balancer.load_balancer_arn(), balancer.load_balancer_name()) else { continue };
        if declared.contains(name) || !is_ours(arn) {
            continue;
        }
        let kind = match balancer.r#type {
            Some(LoadBalancerTypeEnum::Network) => BalancerKind::Network,
            _ => BalancerKind::Application,
        };
        let its = listing.groups.iter().filter(|group| group.load_balancer_arns().iter().any(|user| user == arn));
        let its: Vec<String> = its.filter_map(|group| group.target_group_arn.clone()).collect();
        let in_use = registered(api, &its).await?;
        left.push(Leftover { part: Part::Balancer { name: name.to_owned(), kind, id: arn.to_owned() }, in_use });
    }
    for group in &listing.groups {
        let (Some(arn), Some(name)) = (group.target_group_arn.clone(), group.target_group_name.clone()) else {
            continue;
        };
        if declared_groups.contains(&name) || !is_ours(&arn) {
            continue;
        }
        let in_use = match group.load_balancer_arns().first() {
            Some(user) => Some(format!("{} forwards to it", user.split('/').nth(2).unwrap_or(user))),
            None => registered(api, std::slice::from_ref(&arn)).await?,
        };
        left.push(Leftover { part: Part::Group { name, arn }, in_use });
    }
    Ok(left)
}

/// The names of the target groups of owned load balancers.
fn groups_of(stack: &Stack) -> BTreeSet<String> {
    owned(stack).flat_map(|owned| owned.instance_ports().into_iter().map(|port| owned.group_name(port))).collect()
}

/// What is registered with any of these groups, in words; nothing when nothing is.
pub(super) async fn registered(api: &Api, arns: &[String]) -> Result<Option<String>, Trouble> {
    let mut registered = 0;
    for arn in arns {
        let request = api.clients.elbv2.read.describe_target_health().target_group_arn(arn);
        match request.send().await {
            Ok(answer) => registered += answer.target_health_descriptions().len(),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_target_group_not_found_exception()) => {}
            Err(error) => return Err(api.call("DescribeTargetHealth", arn).failed(&error)),
        }
    }
    Ok(match registered {
        0 => None,
        1 => Some("1 target is registered".into()),
        more => Some(format!("{more} targets are registered")),
    })
}
