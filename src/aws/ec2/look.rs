//! Everything of one stack, as EC2 tells it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types;
use jiff::Timestamp;

use super::{
    api::Api,
    census::Census,
    image,
    seen::{self, Lacking, tagged, text},
};
use crate::{
    spec::Stack,
    world::{Class, Ec2, Instance, Provided, Rest, Seen, Trouble, tag},
};

pub(super) async fn look(census: &Census, stack: &Stack) -> Provided {
    let layers = stack.layers.iter();
    let wanted: BTreeSet<String> = layers.flat_map(|layer| layer.subnet_ids.iter().cloned()).collect();
    let (instances, statuses, volumes, modifications, subnets, images) = tokio::join!(
        census.instances(),
        census.statuses(),
        census.volumes(),
        census.modifications(),
        census.subnets(&stack.name, wanted.clone()),
        image::images(census, stack),
    );
    let on = format!("stack {}", stack.name);
    let api = &census.api;
    let ours = |tags: &Option<Vec<types::Tag>>| tagged(tags, tag::STACK) == Some(stack.name.as_str());

    let mut spent_tokens = BTreeSet::new();
    if let Ok(all) = &instances {
        let ended = all.iter().filter(|one| ours(&one.tags) && seen::has_ended(one));
        spent_tokens.extend(ended.filter_map(|one| text(&one.client_token)));
    }
    let mut members = instances.and_then(|all| {
        let statuses = statuses?;
        let alive = all.iter().filter(|one| ours(&one.tags) && !seen::has_ended(one));
        members(alive, &statuses).map_err(|lacking| incomplete(api, "DescribeInstances", &on, lacking))
    });
    if let Ok(members) = &mut members {
        census.consoles.ask(api, members, Timestamp::now()).await;
    }
    let volumes = volumes.and_then(|all| {
        let modifications = modifications?;
        let ours = all.iter().filter(|one| ours(&one.tags));
        let told = ours.map(|one| seen::volume(one, one.volume_id.as_ref().and_then(|id| modifications.get(id))));
        told.collect::<Result<_, _>>().map_err(|lacking| incomplete(api, "DescribeVolumes", &on, lacking))
    });
    let subnets = subnets.and_then(|told| {
        let declared = told.found.iter().filter(|(id, _)| wanted.contains(*id));
        let told = declared.map(|(id, subnet)| seen::subnet(subnet).map(|told| (id.clone(), told)));
        told.collect::<Result<_, _>>().map_err(|lacking| incomplete(api, "DescribeSubnets", &on, lacking))
    });
    Provided {
        instances: part(members),
        rest: Rest::Ec2(Ec2 { volumes: part(volumes), subnets: part(subnets), images, spent_tokens }),
    }
}

/// In the order of their hostnames, so that two looks at the same are the same.
fn members<'a>(
    alive: impl Iterator<Item = &'a types::Instance>,
    statuses: &BTreeMap<String, types::InstanceStatus>,
) -> Result<Vec<Instance>, Lacking> {
    let status = |one: &types::Instance| one.instance_id.as_ref().and_then(|id| statuses.get(id));
    let told = alive.filter_map(|one| seen::instance(one, status(one)).transpose());
    let mut members: Vec<Instance> = told.collect::<Result<_, _>>()?;
    members.sort_by(|a, b| (&a.hostname, &a.id).cmp(&(&b.hostname, &b.id)));
    Ok(members)
}

fn part<T>(answer: Result<T, Trouble>) -> Seen<T> {
    match answer {
        Ok(value) => Seen::Known(value),
        Err(trouble) => Seen::Unknown(trouble),
    }
}

fn incomplete(api: &Api, operation: &'static str, on: &str, lacking: Lacking) -> Trouble {
    api.call(operation, on).own(Class::Transient, format!("the answer lacks a {lacking}; asked again later"))
}
