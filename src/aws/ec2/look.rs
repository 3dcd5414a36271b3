//! Everything of one stack, as EC2 tells it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types;
use jiff::Timestamp;

use super::{
    census::Census,
    image,
    seen::{self, Lacking, tagged, text},
};
use crate::{
    spec::Stack,
    world::{Ec2, Instance, Provided, Rest, tag},
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
        members(alive, &statuses).map_err(|lacking| api.call("DescribeInstances", &on).lacks(lacking))
    });
    if let Ok(members) = &mut members {
        census.consoles.ask(api, members, Timestamp::now()).await;
    }
    let volumes = volumes.and_then(|all| {
        let modifications = modifications?;
        let ours = all.iter().filter(|one| ours(&one.tags));
        let told = ours.map(|one| seen::volume(one, one.volume_id.as_ref().and_then(|id| modifications.get(id))));
        told.collect::<Result<_, _>>().map_err(|lacking| api.call("DescribeVolumes", &on).lacks(lacking))
    });
    let subnets = subnets.and_then(|told| {
        let declared = told.found.iter().filter(|(id, _)| wanted.contains(*id));
        let told = declared.map(|(id, subnet)| seen::subnet(subnet).map(|told| (id.clone(), told)));
        told.collect::<Result<_, _>>().map_err(|lacking| api.call("DescribeSubnets", &on).lacks(lacking))
    });
    Provided {
        instances: members.into(),
        rest: Rest::Ec2(Ec2 { volumes: volumes.into(), subnets: subnets.into(), images, spent_tokens }),
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
