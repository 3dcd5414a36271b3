//! The EBS volumes of an instance that runs: marked, grown, and never lost.

use crate::{
    action::{Action, Tagged},
    bootstrap,
    plan::Plan,
    spec::stack::EbsVolume,
    status::Kind,
    world::{Instance, Launched, Seen, Volume, tag},
};

use super::Desk;

impl Desk<'_> {
    pub(super) fn volumes(&self, plan: &mut Plan, instance: &Instance, launched: &Launched) {
        let Seen::Known(volumes) = &self.cloud.volumes else { return };
        for (index, declared) in self.layer.volumes.iter().enumerate() {
            let Some(device) = bootstrap::device(index) else { continue };
            let found = launched.devices.get(&device).and_then(|id| volumes.iter().find(|volume| volume.id == *id));
            match found {
                Some(volume) => {
                    self.mark(plan, instance, volume, declared);
                    let of = Tagged::Volume { id: volume.id.clone(), hostname: instance.hostname.clone() };
                    self.keep_tags(plan, &instance.hostname, of, &volume.tags);
                    self.modify(plan, instance, volume, declared);
                }
                None if launched.devices.contains_key(&device) => {
                    plan.hold(&instance.hostname, format!("a look at its volume on {device}"), None);
                }
                None => self.absent(plan, instance, launched, declared, &device, volumes),
            }
        }
    }

    fn mark(&self, plan: &mut Plan, instance: &Instance, volume: &Volume, declared: &EbsVolume) {
        let is = (volume.hostname.as_deref(), volume.mount_point.as_deref());
        if is == (Some(&instance.hostname), Some(&declared.mount_point)) {
            return;
        }
        let tags = [
            (tag::HOSTNAME.to_owned(), instance.hostname.clone()),
            (tag::MOUNT_POINT.to_owned(), declared.mount_point.clone()),
        ];
        let (id, hostname) = (volume.id.clone(), instance.hostname.clone());
        plan.attempt(&instance.hostname, Action::TagVolume { id, hostname, tags: tags.into() }, self.facts, self.now);
    }

    /// In place, while it is in use; the instance itself makes its file system as large.
    fn modify(&self, plan: &mut Plan, instance: &Instance, volume: &Volume, declared: &EbsVolume) {
        let subject = &instance.hostname;
        if declared.size_gib < volume.size_gib {
            let message = format!(
                "volume {} ({}) has {} GiB, declared are {}: EBS cannot shrink a volume. Declare {} GiB or more; for a \
                 smaller one, copy its data to a new volume",
                volume.id, declared.mount_point, volume.size_gib, declared.size_gib, volume.size_gib
            );
            return plan.condition(Kind::Refused, subject, message);
        }
        let mut changed = Vec::new();
        if declared.size_gib > volume.size_gib {
            changed.push(format!("{} → {} GiB", volume.size_gib, declared.size_gib));
        }
        if declared.volume_type != volume.volume_type {
            changed.push(format!("{} → {}", volume.volume_type, declared.volume_type));
        }
        let number = |is: Option<u32>, unit: &str, wanted: Option<u32>, changed: &mut Vec<String>| {
            if wanted.is_some() && wanted != is {
                let word = |value: Option<u32>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
                changed.push(format!("{} → {} {unit}", word(is), word(wanted)));
            }
        };
        number(volume.iops, "IOPS", declared.iops, &mut changed);
        number(volume.throughput, "MiB/s", declared.throughput, &mut changed);
        if changed.is_empty() {
            return;
        }
        if let Some(state) = volume.modifying.as_deref().filter(|state| *state == "modifying") {
            return plan.hold(subject, format!("volume {} to be modified ({state} now)", volume.id), None);
        }
        let (id, hostname) = (volume.id.clone(), instance.hostname.clone());
        let action = Action::ModifyVolume { id, hostname, volume: declared.clone(), changed };
        plan.attempt(subject, action, self.facts, self.now);
    }

    /// A declared volume that is not attached: it is taken over while the instance boots, and was detached by somebody
    /// if it has run before.
    fn absent(
        &self,
        plan: &mut Plan,
        instance: &Instance,
        launched: &Launched,
        declared: &EbsVolume,
        device: &str,
        volumes: &[Volume],
    ) {
        let hostname = &instance.hostname;
        let own = || {
            volumes.iter().filter(|volume| {
                volume.hostname.as_deref() == Some(hostname)
                    && volume.mount_point.as_deref() == Some(declared.mount_point.as_str())
            })
        };
        // A predecessor in another zone has left one that cannot be attached here.
        let own = own().find(|volume| volume.zone == launched.zone).or_else(|| own().next());
        match own {
            Some(volume) if volume.state == "available" && !launched.ready && volume.zone == launched.zone => {
                let action = Action::AttachVolume {
                    id: volume.id.clone(),
                    instance_id: instance.id.clone(),
                    hostname: hostname.clone(),
                    device: device.to_owned(),
                    mount_point: declared.mount_point.clone(),
                };
                plan.attempt(hostname, action, self.facts, self.now);
            }
            Some(volume) if launched.ready => {
                let message = format!(
                    "its volume {} ({}) was detached by somebody ({} now). Attach it again as {device} and reboot the \
                     instance, or terminate the instance: another takes its place. The volume stays",
                    volume.id, declared.mount_point, volume.state
                );
                plan.condition(Kind::InstanceTrouble, hostname, message);
            }
            Some(volume) if volume.zone != launched.zone => {
                let message = format!(
                    "it has no volume for {}: {} is in {}, and the instance in {}. Terminate the instance: another takes \
                     its place. The volume stays",
                    declared.mount_point, volume.id, volume.zone, launched.zone
                );
                plan.condition(Kind::InstanceTrouble, hostname, message);
            }
            Some(volume) => {
                plan.hold(hostname, format!("volume {} to be attached ({} now)", volume.id, volume.state), None);
            }
            // One that was declared after the launch: the user-data differs, and that is told.
            None => {}
        }
    }
}
