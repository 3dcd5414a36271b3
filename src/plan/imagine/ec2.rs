//! EC2 in the ideal world.

use std::collections::BTreeMap;

use super::World;
use crate::{
    action::Launch,
    spec::stack::EbsVolume,
    world::{Instance, Launched, Seen, Volume, tag},
};

impl World {
    /// Sent again with its token, it makes no second one.
    pub(super) fn launch(&mut self, launch: Launch) {
        let known = |instance: &Instance| {
            instance.launched.as_ref().is_some_and(|launched| launched.token.as_deref() == Some(&launch.token))
        };
        if self.instances().iter().any(known) {
            return;
        }
        let id = self.id("instance");
        let mut devices = BTreeMap::new();
        for (device, declared) in &launch.volumes {
            let volume_id = self.id("volume");
            devices.insert(device.clone(), volume_id.clone());
            let volume = made(volume_id, &id, &launch, declared);
            if let Some(Seen::Known(volumes)) = self.seen.provided.ec2_mut().map(|cloud| &mut cloud.volumes) {
                volumes.push(volume);
            }
        }
        let mut security_group_ids = launch.security_group_ids.clone();
        security_group_ids.sort();
        let launched = Launched {
            at: Some(self.now),
            zone: launch.zone,
            image_id: launch.image_id,
            token: Some(launch.token),
            security_group_ids,
            user_data: launch.tags.get(tag::USER_DATA).cloned(),
            root_volume: launch.tags.get(tag::ROOT_VOLUME).cloned(),
            ready: false,
            impaired: None,
            bootstrap: None,
            devices,
            tags: launch.tags.clone(),
        };
        self.instances().push(Instance {
            ec2_id: Some(id.clone()),
            id,
            hostname: launch.hostname,
            layer_ids: vec![launch.layer],
            instance_type: launch.instance_type,
            status: "pending".into(),
            private_ip: None,
            public_ip: None,
            launched: Some(launched),
        });
    }

    pub(super) fn launched(&mut self, id: &str) -> Option<&mut Launched> {
        self.instances().iter_mut().find(|instance| instance.id == id)?.launched.as_mut()
    }

    pub(super) fn volume(&mut self, id: &str) -> Option<&mut Volume> {
        self.seen.provided.ec2_mut()?.volumes.known_mut()?.iter_mut().find(|volume| volume.id == id)
    }

    /// What is terminated is no longer told of; its volumes are free, its engine and its targets are gone, and its
    /// token stands for it for ever.
    pub(super) fn bury(&mut self) -> bool {
        let (gone, left): (Vec<_>, Vec<_>) =
            std::mem::take(self.instances()).into_iter().partition(|instance| instance.status == "terminated");
        *self.instances() = left;
        for instance in &gone {
            self.seen.engines.remove(&instance.hostname);
            for balancer in self.seen.balancers.values_mut().filter_map(Seen::known_mut) {
                balancer.targets.remove(&instance.id);
            }
            let Some(cloud) = self.seen.provided.ec2_mut() else { continue };
            cloud.spent_tokens.extend(instance.launched.as_ref().and_then(|launched| launched.token.clone()));
            for volume in cloud.volumes.known_mut().into_iter().flatten() {
                if volume.attached_to.as_ref() == Some(&instance.id) {
                    volume.attached_to = None;
                    volume.state = "available".into();
                }
            }
        }
        !gone.is_empty()
    }
}

fn made(id: String, instance: &str, launch: &Launch, declared: &EbsVolume) -> Volume {
    Volume {
        id,
        state: "in-use".into(),
        zone: launch.zone.clone(),
        size_gib: declared.size_gib,
        volume_type: declared.volume_type.clone(),
        iops: declared.iops,
        throughput: declared.throughput,
        encrypted: declared.encrypted.unwrap_or(true),
        attached_to: Some(instance.to_owned()),
        hostname: Some(launch.hostname.clone()),
        mount_point: None,
        modifying: None,
        tags: launch.volume_tags.clone(),
    }
}
