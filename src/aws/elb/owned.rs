//! Looking at the classic load balancers that Evenkeel makes, and at what is left over of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_elasticloadbalancing::types::{HealthCheck, LoadBalancerDescription, TagDescription};
use futures_util::future::{join_all, try_join_all};

use super::{
    Api, Elb,
    look::{describe, describe_all, draining},
};
use crate::{
    aws::several::{CHUNK, Failed},
    spec::{Stack, balancer::BalancerKind},
    world::{Check, Class, Leftover, Made, MadeBalancer, MadeListener, Part, Seen, Trouble, tag},
};

fn declared(stack: &Stack) -> Vec<String> {
    let all = stack.layers.iter().flat_map(|layer| &layer.owned_balancers);
    all.filter(|owned| owned.kind == BalancerKind::Classic).map(|owned| owned.name.clone()).collect()
}

impl Elb {
    /// What there is under each declared name.
    pub(in crate::aws) async fn owned(&self, stack: &Stack) -> BTreeMap<String, Seen<Made>> {
        let names = declared(stack);
        if names.is_empty() {
            return BTreeMap::new();
        }
        let api = &self.api(stack).await;
        let described = describe(api, &names).await;
        let there: Vec<String> =
            described.iter().filter(|(_, told)| matches!(told, Ok(Some(_)))).map(|(name, _)| name.clone()).collect();
        let marked = &api.marked(&there, &stack.name).await;
        let each = described.into_iter().map(|(name, told)| async move {
            let made = async {
                let Some(told) = told? else { return Ok(Made::default()) };
                let ours = marked.as_ref().map_err(Clone::clone)?.contains(&name);
                let balancer = Some(made(api, &name, &told, ours).await?);
                Ok(Made { balancer, ..Made::default() })
            };
            let seen = made.await.into();
            (name, seen)
        });
        join_all(each).await.into_iter().collect()
    }

    /// What bears the stack's mark and is not declared; looked for every few minutes.
    pub(in crate::aws) async fn leftovers(&self, stack: &Stack) -> Seen<Vec<Leftover>> {
        let api = self.api(stack).await;
        let sift = |listing: Arc<Listing>| async move { Ok(sift(stack, &listing)) };
        self.sweeps.share(&api.place, stack, || list(&api), sift).await.into()
    }
}

impl Api {
    /// Which of these bear the stack's mark.
    pub(super) async fn marked(&self, names: &[String], stack: &str) -> Result<BTreeSet<String>, Trouble> {
        let marks = self.stacks_of(names).await?.into_iter();
        Ok(marks.filter(|(_, of)| of == stack).map(|(name, _)| name).collect())
    }

    /// Of which stack each of these bears the mark, if of any.
    async fn stacks_of(&self, names: &[String]) -> Result<BTreeMap<String, String>, Trouble> {
        let asked = names.chunks(CHUNK).map(|names| async move {
            let on = format!("load balancers {}", names.join(", "));
            let call = self.call("DescribeTags", &on);
            match self.clients.elb.read.describe_tags().set_load_balancer_names(Some(names.to_vec())).send().await {
                Ok(answer) => Ok(answer.tag_descriptions.unwrap_or_default()),
                // One that is absent fails the request, and says nothing about the others.
                Err(error) if error.as_service_error().is_some_and(|e| e.is_access_point_not_found_exception()) => {
                    Err(call.own(Class::Transient, "one of them is not there any more; asked again"))
                }
                Err(error) => Err(call.failed(&error)),
            }
        });
        let described = try_join_all(asked).await?.into_iter().flatten();
        let mark = |described: TagDescription| {
            let tags = described.tags.unwrap_or_default();
            let mark = tags.into_iter().find(|one| one.key == tag::STACK)?;
            Some((described.load_balancer_name?, mark.value?))
        };
        Ok(described.filter_map(mark).collect())
    }
}

async fn made(api: &Api, name: &str, told: &LoadBalancerDescription, ours: bool) -> Result<MadeBalancer, Trouble> {
    Ok(MadeBalancer {
        id: name.to_owned(),
        ours,
        kind: BalancerKind::Classic,
        internal: told.scheme() == Some("internal"),
        state: "active".into(),
        dns_name: told.dns_name.clone().filter(|name| !name.is_empty()),
        vpc_id: told.vpc_id.clone().filter(|id| !id.is_empty()),
        subnet_ids: told.subnets().iter().cloned().collect(),
        security_group_ids: told.security_groups().iter().cloned().collect(),
        listeners: told.listener_descriptions().iter().filter_map(|one| listener(one.listener.as_ref()?)).collect(),
        check: told.health_check.as_ref().map(check),
        draining: draining(api, name).await?,
    })
}

fn listener(told: &aws_sdk_elasticloadbalancing::types::Listener) -> Option<(u16, MadeListener)> {
    let protocol = told.protocol.to_uppercase();
    let spoken = told.instance_protocol.as_ref().map_or_else(|| protocol.clone(), |spoken| spoken.to_uppercase());
    let made = MadeListener {
        id: None,
        protocol,
        forwards_to: format!("{spoken}:{}", told.instance_port),
        certificate_arn: told.ssl_certificate_id.clone().filter(|arn| !arn.is_empty()),
    };
    Some((u16::try_from(told.load_balancer_port).ok()?, made))
}

/// `HTTP:8080/up`, `TCP:8080` (`Target` of `HealthCheck` in the API reference).
fn check(told: &HealthCheck) -> Check {
    let number = |value: i32| u32::try_from(value).unwrap_or_default();
    let (protocol, rest) = told.target.split_once(':').unwrap_or((&told.target, ""));
    let (port, path) = match rest.split_once('/') {
        Some((port, path)) => (port, Some(format!("/{path}"))),
        None => (rest, None),
    };
    Check {
        protocol: protocol.to_uppercase(),
        path,
        port: port.parse().ok(),
        interval: number(told.interval),
        timeout: number(told.timeout),
        healthy: number(told.healthy_threshold),
        unhealthy: number(told.unhealthy_threshold),
    }
}

/// What bears the mark of any stack.
#[derive(Debug)]
pub(super) struct Listing {
    balancers: Vec<LoadBalancerDescription>,
    /// By name.
    marks: BTreeMap<String, String>,
}

/// Everything of the account in the region is listed: a filter by tag this API does not have.
async fn list(api: &Api) -> Result<Listing, Trouble> {
    let mut balancers = match describe_all(api, None).await {
        Ok(found) => found,
        Err(Failed::Otherwise(trouble)) => return Err(trouble),
        Err(Failed::Absent) => Vec::new(),
    };
    let names: Vec<String> = balancers.iter().filter_map(|one| one.load_balancer_name.clone()).collect();
    let marks = api.stacks_of(&names).await?;
    balancers.retain(|one| one.load_balancer_name().is_some_and(|name| marks.contains_key(name)));
    Ok(Listing { balancers, marks })
}

/// What of it bears the stack's mark and is not declared.
fn sift(stack: &Stack, listing: &Listing) -> Vec<Leftover> {
    let declared = declared(stack);
    let leftover = listing.balancers.iter().filter_map(|told| {
        let name = told.load_balancer_name.clone().filter(|name| !declared.contains(name))?;
        let part = Part::Balancer { id: name.clone(), name: name.clone(), kind: BalancerKind::Classic };
        let leftover = Leftover { part, in_use: registered(told.instances().len()) };
        (listing.marks.get(&name) == Some(&stack.name)).then_some(leftover)
    });
    leftover.collect()
}

/// What is registered, in words; nothing when nothing is.
pub(super) fn registered(instances: usize) -> Option<String> {
    match instances {
        0 => None,
        1 => Some("1 instance is registered".into()),
        more => Some(format!("{more} instances are registered")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_read_from_its_target() {
        let told = |target: &str| {
            let check = HealthCheck::builder().target(target).interval(10).timeout(5);
            check.healthy_threshold(2).unhealthy_threshold(3).build().unwrap()
        };
        let http = check(&told("HTTP:8080/up/now"));
        assert_eq!((http.protocol.as_str(), http.port, http.path.as_deref()), ("HTTP", Some(8080), Some("/up/now")));
        let tcp = check(&told("tcp:80"));
        assert_eq!((tcp.protocol.as_str(), tcp.port, tcp.path), ("TCP", Some(80), None));
        assert_eq!((tcp.interval, tcp.timeout, tcp.healthy, tcp.unhealthy), (10, 5, 2, 3));
    }
}
