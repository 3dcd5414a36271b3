//! Launching an instance: where, with which token, and with which of its predecessor's volumes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    Desk,
    settings::{bootstrap, image, root_volume},
};
use crate::{
    action::{Action, Launch, launch_intent},
    bootstrap::{self, Bootstrap},
    plan::{Intent, Plan, failure_message, lineup::Lineup, subject, tags::with_list},
    spec::stack::{DeletionPolicy, EbsVolume},
    status::Kind,
    world::{Image, Seen, Subnet, Volume, tag},
};

impl Desk<'_> {
    /// Launches the instance of a hostname that is missing, or says what stands in the way.
    pub(super) fn launch(&self, plan: &mut Plan, lineup: &Lineup<'_>, hostname: &str) {
        // What was sent is not forgotten while it is wanted, whatever stands in the way for now.
        plan.wanted.insert(launch_intent(hostname));
        let Some(image) = self.image(plan, hostname) else { return };
        let Some(subnets) = self.subnets(plan) else { return };
        if self.another_vpc(plan, &subnets) {
            return;
        }
        let sent_to = self.sent(hostname).and_then(|intent| intent.place.as_deref());
        let told = bootstrap(self.desired, self.layer, hostname);
        let script = match bootstrap::user_data(&told) {
            Ok(script) => script,
            Err(error) => return plan.condition(Kind::Refused, hostname, error.to_string()),
        };
        let Seen::Known(volumes) = &self.cloud.volumes else { return };
        let Some(taken_over) = self.taken_over(plan, hostname, volumes) else { return };
        // What may be there already is asked for where it would be; anywhere else it would be a second one.
        let asked_for = subnets.iter().find(|(id, _)| Some(*id) == sent_to).copied();
        let spread = self.spread(lineup, &subnets, &taken_over);
        let launches: Vec<Action> = asked_for
            .map_or(spread, |place| vec![place])
            .into_iter()
            .map(|(subnet_id, subnet)| {
                let launch = self.told(&told, &image, subnet_id, &subnet.zone, &script, &taken_over);
                Action::LaunchInstance { launch: Box::new(launch) }
            })
            .collect();
        if launches.is_empty() {
            return self.nowhere(plan, hostname, &subnets, &taken_over);
        }
        if asked_for.is_none() {
            passed_over(plan, hostname, &subnets);
        }
        let held_back = |action: &&Action| {
            self.facts.failures.get(&action.key()).is_some_and(|failure| failure.retry_at > self.now)
        };
        // Where it failed a moment ago another zone is tried; that it failed is told and remembered.
        for action in launches.iter().filter(held_back) {
            let key = action.key();
            if let Some(failure) = self.facts.failures.get(&key) {
                plan.condition(Kind::ActionFailed, hostname, failure_message(&key, failure));
            }
            plan.wanted.insert(key);
        }
        let soonest = |action: &&Action| self.facts.failures.get(&action.key()).map(|failure| failure.retry_at);
        let next = launches.iter().find(|action| !held_back(action)).or_else(|| launches.iter().min_by_key(soonest));
        if let Some(action) = next {
            plan.make(hostname, hostname, action.clone(), self.facts, self.now);
            plan.hold(hostname, "the instance to be launched", None);
        }
    }

    /// What a launch would need and is not there is told whether or not there is one to launch.
    pub(super) fn ingredients(&self, plan: &mut Plan) {
        let subject = format!("layer {}", self.layer.short_name);
        if let Some(Seen::Unknown(trouble)) = image(self.layer, self.cloud) {
            plan.condition(Kind::Unobservable, &subject, &trouble.message);
        }
        let Seen::Known(known) = &self.cloud.subnets else { return };
        for id in self.layer.subnet_ids.iter().filter(|id| !known.contains_key(*id)) {
            let region = &self.desired.stack.region;
            let message = format!("there is no subnet {id} in {region}; correct subnetIds in the manifest");
            plan.condition(Kind::Refused, &subject, message);
        }
    }

    fn image(&self, plan: &mut Plan, hostname: &str) -> Option<Image> {
        let known = image(self.layer, self.cloud).and_then(Seen::known).cloned();
        if known.is_none() {
            plan.hold(hostname, "a clear answer about its image", None);
        }
        known
    }

    /// The declared subnets that exist, in the order in which they are declared.
    fn subnets(&self, plan: &mut Plan) -> Option<Vec<(&str, &Subnet)>> {
        let known = match &self.cloud.subnets {
            Seen::Known(known) => known,
            Seen::Unknown(trouble) => {
                plan.unobservable("subnets", trouble);
                return None;
            }
        };
        let there = self.layer.subnet_ids.iter().filter_map(|id| Some((id.as_str(), known.get(id)?)));
        Some(there.collect::<Vec<_>>()).filter(|there| !there.is_empty())
    }

    /// An instance can be registered only with target groups of its own VPC ("Register targets with your target group").
    fn another_vpc(&self, plan: &mut Plan, subnets: &[(&str, &Subnet)]) -> bool {
        let mut found = false;
        for balancer in &self.layer.load_balancers {
            let Some(Seen::Known(known)) = self.seen.balancers.get(balancer.name()) else { continue };
            let Some(vpc) = &known.vpc_id else { continue };
            for (id, subnet) in subnets.iter().filter(|(_, subnet)| subnet.vpc_id != *vpc) {
                let message = format!(
                    "{} is in {vpc}, and subnet {id} in {}: its instances could not be registered. Name subnets of \
                     {vpc}, or another target group",
                    crate::spec::balancer::words(balancer.name()),
                    subnet.vpc_id
                );
                plan.condition(Kind::Refused, format!("layer {}", self.layer.short_name), message);
                found = true;
            }
        }
        found
    }

    /// The predecessor's volumes that the new instance takes over, by mount point; nothing while one of them is not
    /// free yet, or was not told a moment ago: launched without it, the instance would get an empty one for good.
    fn taken_over<'v>(
        &self,
        plan: &mut Plan,
        hostname: &str,
        volumes: &'v [Volume],
    ) -> Option<BTreeMap<String, &'v Volume>> {
        let mut taken_over = BTreeMap::new();
        let mut missing = false;
        for declared in self.layer.volumes.iter().filter(|volume| volume.reuse) {
            let mount_point = &declared.mount_point;
            let left = || {
                volumes.iter().filter(|found| {
                    found.hostname.as_deref() == Some(hostname) && found.mount_point.as_ref() == Some(mount_point)
                })
            };
            if let Some(free) = left().find(|volume| volume.state == "available") {
                taken_over.insert(mount_point.clone(), free);
            } else if let Some(held) = left().find(|volume| volume.state == "in-use") {
                let by = held.attached_to.as_deref().unwrap_or("its predecessor");
                plan.hold(hostname, format!("volume {} ({mount_point}) to be free of {by}", held.id), None);
                missing = true;
            } else if let Some(doubt) = self.facts.doubt(&subject::volume(hostname, mount_point), self.now) {
                plan.hold(hostname, format!("its volume ({mount_point}): {}", doubt.on), doubt.until);
                missing = true;
            }
        }
        Some(taken_over).filter(|_| !missing)
    }

    /// Where it can go, the best place first: the zone with the fewest instances of the layer, those on their way included.
    fn spread<'s>(
        &self,
        lineup: &Lineup<'_>,
        subnets: &[(&'s str, &'s Subnet)],
        taken_over: &BTreeMap<String, &Volume>,
    ) -> Vec<(&'s str, &'s Subnet)> {
        let launched = lineup.staying.iter().filter_map(|instance| instance.launched.as_ref());
        let launched = launched.map(|launched| launched.zone.as_str());
        // What was sent and is not seen yet is on its way to where it was sent.
        let sent = lineup.missing.iter().filter_map(|hostname| self.sent(hostname)?.place.as_deref());
        let sent = sent.filter_map(|id| subnets.iter().find(|(known, _)| *known == id));
        let zones: Vec<&str> = launched.chain(sent.map(|(_, subnet)| subnet.zone.as_str())).collect();
        let in_zone = |zone: &str| zones.iter().filter(|other| **other == zone).count();
        let mut candidates: Vec<(&str, &Subnet)> = subnets
            .iter()
            .copied()
            .filter(|(_, subnet)| subnet.free > 0)
            .filter(|(_, subnet)| taken_over.values().all(|volume| volume.zone == subnet.zone))
            .collect();
        candidates.sort_by_key(|(_, subnet)| in_zone(&subnet.zone));
        candidates
    }

    fn nowhere(
        &self,
        plan: &mut Plan,
        hostname: &str,
        subnets: &[(&str, &Subnet)],
        taken_over: &BTreeMap<String, &Volume>,
    ) {
        let ids = |there: &dyn Fn(&Subnet) -> bool| -> String {
            subnets.iter().filter(|(_, subnet)| there(subnet)).map(|(id, _)| *id).collect::<Vec<_>>().join(", ")
        };
        let (all, left): (String, Vec<&Volume>) = (ids(&|_| true), taken_over.values().copied().collect());
        let of = |volume: &Volume| format!("volume {} in {}", volume.id, volume.zone);
        let message = match left.as_slice() {
            [] => format!("no address is free in {all}; name another subnet, or free some addresses"),
            [first, others @ ..] if others.iter().any(|other| other.zone != first.zone) => format!(
                "it takes over {}, and no instance can be in several zones; move all of them to one by snapshots",
                left.iter().map(|volume| of(volume)).collect::<Vec<_>>().join(" and ")
            ),
            [first, ..] if subnets.iter().all(|(_, subnet)| subnet.zone != first.zone) => format!(
                "it takes over {}, and none of its subnets ({all}) is there; name one of that zone, or move the volume \
                 by a snapshot",
                of(first)
            ),
            [first, ..] => format!(
                "it takes over {}, and no address is free in {}; name another subnet of that zone, or free some \
                 addresses",
                of(first),
                ids(&|subnet| subnet.zone == first.zone)
            ),
        };
        plan.condition(Kind::Refused, hostname, message);
        plan.hold(hostname, "a subnet that can take it", None);
    }

    fn told(
        &self,
        told: &Bootstrap,
        image: &Image,
        subnet_id: &str,
        zone: &str,
        script: &str,
        taken_over: &BTreeMap<String, &Volume>,
    ) -> Launch {
        let (stack, layer, hostname) = (&self.desired.stack, self.layer, &told.hostname);
        let mark = |more: &[(&str, String)]| {
            let own = [(tag::STACK, &stack.name), (tag::LAYER, &layer.short_name), (tag::HOSTNAME, hostname)];
            let own = own.into_iter().map(|(key, value)| (key.to_owned(), value.clone()));
            let declared = layer.tags.iter().flat_map(with_list);
            let own = declared.chain(own);
            own.chain(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone()))).collect::<BTreeMap<_, _>>()
        };
        let name = ("Name", format!("{} {hostname}", stack.name));
        let made: Vec<(String, EbsVolume)> = layer
            .volumes
            .iter()
            .enumerate()
            .filter(|(_, volume)| !taken_over.contains_key(&volume.mount_point))
            .filter_map(|(index, volume)| Some((bootstrap::device(index)?, volume.clone())))
            .collect();
        Launch {
            layer: layer.short_name.clone(),
            hostname: hostname.clone(),
            token: self.token(hostname),
            image_id: image.id.clone(),
            instance_type: layer.instances.instance_type.clone(),
            subnet_id: subnet_id.to_owned(),
            zone: zone.to_owned(),
            security_group_ids: layer.security_group_ids.clone(),
            key_name: stack.ssh_key_name.clone(),
            profile_arn: stack.instance_profile_arn.clone(),
            root: layer.root_volume.clone().map(|root| (image.root_device.clone(), root)),
            volumes: made,
            delete_volumes: stack.deletion_policy == DeletionPolicy::Delete,
            user_data: script.to_owned(),
            tags: mark(&[
                name.clone(),
                (tag::USER_DATA, bootstrap::fingerprint(told)),
                (tag::ROOT_VOLUME, root_volume(layer)),
            ]),
            volume_tags: mark(&[name]),
        }
    }

    /// The token of what was sent already, as long as it can still come to be; else a new one.
    fn token(&self, hostname: &str) -> String {
        match self.sent(hostname).and_then(|intent| intent.token.as_ref()) {
            Some(token) => token.clone(),
            None => new_token(&self.desired.stack.name, &self.desired.stack.region, hostname, self.now),
        }
    }

    /// What was sent for the hostname and can still come to be.
    fn sent(&self, hostname: &str) -> Option<&Intent> {
        let intent = self.facts.intents.get(&launch_intent(hostname))?;
        let spent = intent.token.as_ref().is_some_and(|token| self.cloud.spent_tokens.contains(token));
        Some(intent).filter(|_| !spent)
    }
}

/// Subnets that would do but for an address: how its layer is spread suffers.
fn passed_over(plan: &mut Plan, hostname: &str, subnets: &[(&str, &Subnet)]) {
    for (id, subnet) in subnets.iter().filter(|(_, subnet)| subnet.free == 0) {
        let message = format!(
            "no address is free in {id} ({}): it goes to another subnet; free some addresses, or name another one",
            subnet.zone
        );
        plan.condition(Kind::Refused, hostname, message);
    }
}

/// A token that nothing was sent with yet: no two launches of a hostname are planned at one moment.
fn new_token(stack: &str, region: &str, hostname: &str, now: Timestamp) -> String {
    let text = format!("{stack}\u{0}{region}\u{0}{hostname}\u{0}{}", now.as_nanosecond());
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
