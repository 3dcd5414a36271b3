//! Who belongs to a layer: the instances that stay, those that leave, and the hostnames that are missing.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Facts, ec2, fleet,
    standing::{Standing, standing},
    surge,
};
use crate::{
    spec::{Desired, Layer, stack::Update},
    world::{Instance, Observed, Rest},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lineup<'a> {
    /// In the order of their numbers.
    pub(super) staying: Vec<&'a Instance>,
    /// The first is the next to leave: one that is launched otherwise than declared, else the newest.
    pub(super) leaving: Vec<&'a Instance>,
    /// Hostnames to be launched.
    pub(super) missing: Vec<String>,
    /// The one whose place another is to take under the same hostname: it is neither rolled out to nor put back.
    pub(super) ailing: Vec<&'a Instance>,
    /// Why one more than declared is there, or is launched: these are to be replaced.
    pub(super) refresh: Vec<&'a Instance>,
}

/// The lineup of a layer; empty while its instances cannot be seen.
pub(super) fn lineup<'a>(
    desired: &Desired,
    layer: &Layer,
    seen: &'a Observed,
    facts: &Facts,
    now: Timestamp,
) -> Lineup<'a> {
    if seen.provided.instances.known().is_none() {
        return Lineup::default();
    }
    let members = fleet::members(layer, seen);
    let count = layer.instances.count as usize;
    let refresh = match &seen.provided.rest {
        Rest::Ec2(cloud) if layer.update == Update::Replace => {
            let outdated = |instance: &&Instance| !ec2::differences(desired, layer, cloud, instance).is_empty();
            members.iter().map(|(_, instance)| *instance).filter(outdated).collect()
        }
        _ => Vec::new(),
    };
    let is_outdated = |instance: &Instance| refresh.iter().any(|other| other.id == instance.id);

    let mut order: Vec<&(u32, &Instance)> = members.iter().collect();
    order.sort_by_key(|(index, instance)| (is_outdated(instance), *index));
    // One more is launched only while everybody serves, and old ones leave only once those serve that stay.
    let all_serve = members.iter().all(|(_, instance)| serves(layer, instance, seen));
    let rest_serves = || order.iter().take(count).all(|(_, instance)| serves(layer, instance, seen));
    // Which of two images is the declared one is not known while that cannot be read: the one too many may be there to take
    // another's place.
    let cannot_tell = match &seen.provided.rest {
        Rest::Ec2(cloud) if layer.update == Update::Replace && !ec2::knows_image(layer, cloud) => {
            let launched = members.iter().filter_map(|(_, instance)| instance.launched.as_ref());
            launched.map(|launched| &launched.image_id).collect::<BTreeSet<_>>().len() > 1
        }
        _ => false,
    };
    let wanted = match (members.len(), refresh.is_empty()) {
        (there, true) if cannot_tell && there > count => there,
        (_, true) => count + usize::from(surge::is_wanted(desired, layer, &members, seen, facts, now)),
        (there, false) if there <= count => count + usize::from(there == count && all_serve && count > 0),
        (there, false) if !rest_serves() => there,
        _ => count,
    };
    let mut staying: Vec<u32> = order.iter().take(wanted).map(|(index, _)| *index).collect();
    let leaving = order.iter().skip(wanted).rev().map(|(_, instance)| *instance).collect();
    let mut missing = Vec::new();
    for number in 1.. {
        if staying.len() >= wanted {
            break;
        }
        let hostname = format!("{}{number}", layer.short_name);
        // One that somebody else keeps, such as OpsWorks by its own hours, has the name all the same.
        let is_taken = |instance: &Instance| instance.hostname == hostname;
        if !seen.provided.instances.known().is_some_and(|all| all.iter().any(is_taken)) {
            staying.push(number);
            missing.push(hostname);
        }
    }
    let stays = |(index, _): &&(u32, &Instance)| staying.contains(index);
    let staying: Vec<&Instance> = members.iter().filter(stays).map(|(_, instance)| *instance).collect();
    let mut lineup = Lineup { staying, leaving, missing, refresh, ailing: Vec::new() };
    if let Rest::Ec2(_) = &seen.provided.rest
        && let Some(at) = ec2::to_be_healed(desired, &lineup, seen, facts, now)
    {
        let ailing = lineup.staying.remove(at);
        lineup.ailing.push(ailing);
    }
    lineup
}

/// It is up, and every balancer sends it requests.
pub(super) fn serves(layer: &Layer, instance: &Instance, seen: &Observed) -> bool {
    if fleet::phase(&instance.status) != fleet::Phase::Online {
        return false;
    }
    match standing(layer, instance, seen) {
        Standing::InService => true,
        Standing::NoBalancers => seen.engines.get(&instance.hostname).is_some_and(|engine| engine.known().is_some()),
        _ => false,
    }
}
