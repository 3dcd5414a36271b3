//! From EC2's words to the house's. Pure.
//!
//! An answer that lacks a field which every such thing has is no answer: skipping the thing would make it look
//! absent.

use std::collections::BTreeMap;

use aws_sdk_ec2::types;
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use crate::world::{Instance, Launched, Subnet, Volume, tag};

/// The field that an answer lacks.
pub(super) type Lacking = &'static str;

/// All tags, with their values.
fn tags(tags: &Option<Vec<types::Tag>>) -> BTreeMap<String, String> {
    let tags = tags.iter().flatten();
    tags.filter_map(|tag| Some((tag.key.clone()?, tag.value.clone().unwrap_or_default()))).collect()
}

/// The value of a tag; an empty one says nothing.
pub(super) fn tagged<'t>(tags: &'t Option<Vec<types::Tag>>, key: &str) -> Option<&'t str> {
    let tags = tags.as_deref().unwrap_or_default();
    let value = tags.iter().find(|tag| tag.key.as_deref() == Some(key))?.value.as_deref();
    value.filter(|value| !value.is_empty())
}

/// EC2's word for an instance's state.
pub(super) fn state(seen: &types::Instance) -> Option<&str> {
    seen.state.as_ref()?.name.as_ref().map(types::InstanceStateName::as_str)
}

/// Gone for good. One that shuts down is there still, with its volumes.
pub(super) fn has_ended(seen: &types::Instance) -> bool {
    state(seen) == Some("terminated")
}

/// An instance of a stack; nothing for one that bears the mark of no layer or no hostname.
pub(super) fn instance(
    seen: &types::Instance,
    status: Option<&types::InstanceStatus>,
) -> Result<Option<Instance>, Lacking> {
    let (Some(layer), Some(hostname)) = (tagged(&seen.tags, tag::LAYER), tagged(&seen.tags, tag::HOSTNAME)) else {
        return Ok(None);
    };
    let id = text(&seen.instance_id).ok_or("instanceId")?;
    let mut security_group_ids: Vec<String> =
        seen.security_groups().iter().filter_map(|group| text(&group.group_id)).collect();
    security_group_ids.sort();
    let tag = |key| tagged(&seen.tags, key).map(str::to_owned);
    let launched = Launched {
        at: moment(seen.launch_time.as_ref()),
        zone: seen.placement.as_ref().and_then(|at| text(&at.availability_zone)).ok_or("availabilityZone")?,
        image_id: text(&seen.image_id).ok_or("imageId")?,
        token: text(&seen.client_token),
        security_group_ids,
        user_data: tag(tag::USER_DATA),
        root_volume: tag(tag::ROOT_VOLUME),
        ready: tag(tag::READY).is_some(),
        impaired: status.and_then(impaired),
        bootstrap: None,
        devices: devices(seen)?,
        tags: tags(&seen.tags),
    };
    Ok(Some(Instance {
        ec2_id: Some(id.clone()),
        id,
        hostname: hostname.to_owned(),
        layer_ids: vec![layer.to_owned()],
        instance_type: seen.instance_type.as_ref().ok_or("instanceType")?.as_str().to_owned(),
        status: state(seen).ok_or("instanceState")?.to_owned(),
        private_ip: text(&seen.private_ip_address),
        public_ip: text(&seen.public_ip_address),
        launched: Some(launched),
    }))
}

fn devices(seen: &types::Instance) -> Result<BTreeMap<String, String>, Lacking> {
    let device = |mapping: &types::InstanceBlockDeviceMapping| {
        let volume = text(&mapping.ebs.as_ref()?.volume_id).ok_or("volumeId");
        Some(volume.and_then(|volume| Ok((text(&mapping.device_name).ok_or("deviceName")?, volume))))
    };
    seen.block_device_mappings().iter().filter_map(device).collect()
}

/// What the checks say when one fails. One that has not been made yet (`initializing`), or could not be
/// (`insufficient-data`), says nothing against the instance.
fn impaired(status: &types::InstanceStatus) -> Option<String> {
    let mut said = Vec::new();
    let mut check = |name: &str, summary: Option<&types::SummaryStatus>, since: Option<&DateTime>| {
        if summary.is_some_and(|word| word.as_str() == "impaired") {
            let since = moment(since).map(|since| format!(" since {}", since.strftime("%Y-%m-%dT%H:%M:%SZ")));
            said.push(format!("{name} impaired{}", since.unwrap_or_default()));
        }
    };
    for (name, summary) in [("system status", &status.system_status), ("instance status", &status.instance_status)] {
        let Some(summary) = summary else { continue };
        check(name, summary.status.as_ref(), summary.details().iter().find_map(|one| one.impaired_since.as_ref()));
    }
    if let Some(volumes) = &status.attached_ebs_status {
        let since = volumes.details().iter().find_map(|one| one.impaired_since.as_ref());
        check("attached EBS volumes", volumes.status.as_ref(), since);
    }
    (!said.is_empty()).then(|| said.join(", "))
}

/// A volume, with the state of its modification where one is under way.
pub(super) fn volume(seen: &types::Volume, modifying: Option<&String>) -> Result<Volume, Lacking> {
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    let attached =
        seen.attachments().iter().find(|one| one.state.as_ref().is_none_or(|state| state.as_str() != "detached"));
    Ok(Volume {
        id: text(&seen.volume_id).ok_or("volumeId")?,
        state: seen.state.as_ref().ok_or("status")?.as_str().to_owned(),
        zone: text(&seen.availability_zone).ok_or("availabilityZone")?,
        size_gib: number(seen.size).ok_or("size")?,
        volume_type: seen.volume_type.as_ref().ok_or("volumeType")?.as_str().to_owned(),
        iops: number(seen.iops),
        throughput: number(seen.throughput),
        encrypted: seen.encrypted.unwrap_or(false),
        attached_to: attached.and_then(|one| text(&one.instance_id)),
        hostname: tagged(&seen.tags, tag::HOSTNAME).map(str::to_owned),
        mount_point: tagged(&seen.tags, tag::MOUNT_POINT).map(str::to_owned),
        modifying: modifying.cloned(),
        tags: tags(&seen.tags),
    })
}

pub(super) fn subnet(seen: &types::Subnet) -> Result<Subnet, Lacking> {
    let free = seen.available_ip_address_count.and_then(|count| u32::try_from(count).ok());
    Ok(Subnet {
        zone: text(&seen.availability_zone).ok_or("availabilityZone")?,
        vpc_id: text(&seen.vpc_id).ok_or("vpcId")?,
        free: free.ok_or("availableIpAddressCount")?,
    })
}

/// EC2 tells an unset text as absent or as empty.
pub(super) fn text(value: &Option<String>) -> Option<String> {
    value.clone().filter(|text| !text.is_empty())
}

fn moment(at: Option<&DateTime>) -> Option<Timestamp> {
    let at = at?;
    Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{
        EbsInstanceBlockDevice, InstanceBlockDeviceMapping, InstanceState, InstanceStateName, InstanceStatusDetails,
        InstanceStatusSummary, InstanceType, Placement, SummaryStatus, Tag, VolumeAttachment, VolumeState, VolumeType,
    };

    use super::*;

    fn tags(of: &[(&str, &str)]) -> Option<Vec<Tag>> {
        Some(of.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect())
    }

    fn running() -> types::Instance {
        let device = |name: &str, volume: &str| {
            let ebs = EbsInstanceBlockDevice::builder().volume_id(volume).build();
            InstanceBlockDeviceMapping::builder().device_name(name).ebs(ebs).build()
        };
        types::Instance::builder()
            .instance_id("i-1")
            .state(InstanceState::builder().name(InstanceStateName::Running).build())
            .image_id("ami-1")
            .instance_type(InstanceType::T3Medium)
            .placement(Placement::builder().availability_zone("eu-west-1a").build())
            .client_token("")
            .block_device_mappings(device("/dev/xvda", "vol-1"))
            .block_device_mappings(device("/dev/sdf", "vol-2"))
            .set_tags(tags(&[(tag::STACK, "shop"), (tag::LAYER, "web"), (tag::HOSTNAME, "web1")]))
            .build()
    }

    #[test]
    fn an_instance_is_told_with_its_devices() {
        let seen = instance(&running(), None).unwrap().unwrap();
        assert_eq!((seen.hostname.as_str(), seen.status.as_str()), ("web1", "running"));
        assert_eq!(seen.layer_ids, ["web"]);
        let launched = seen.launched.unwrap();
        assert_eq!(launched.token, None, "an empty one is none");
        assert_eq!(launched.devices["/dev/sdf"], "vol-2");
        assert!(!launched.ready);
    }

    #[test]
    fn an_instance_without_hostname_or_layer_is_no_member() {
        for of in [&[(tag::LAYER, "web")], &[(tag::HOSTNAME, "web1")]] {
            let mut seen = running();
            seen.tags = tags(of);
            assert_eq!(instance(&seen, None), Ok(None));
        }
    }

    #[test]
    fn an_answer_that_lacks_what_every_instance_has_is_none() {
        let without = |change: fn(&mut types::Instance)| {
            let mut seen = running();
            change(&mut seen);
            instance(&seen, None).unwrap_err()
        };
        assert_eq!(without(|seen| seen.instance_id = None), "instanceId");
        assert_eq!(without(|seen| seen.state = None), "instanceState");
        assert_eq!(without(|seen| seen.placement = None), "availabilityZone");
        assert_eq!(volume(&types::Volume::builder().volume_id("vol-1").build(), None), Err("status"));
        assert_eq!(subnet(&types::Subnet::builder().availability_zone("a").build()), Err("vpcId"));
    }

    #[test]
    fn an_impaired_check_is_told_and_one_that_says_nothing_is_not() {
        let summary = |status: SummaryStatus| {
            let since = InstanceStatusDetails::builder().impaired_since(DateTime::from_secs(0)).build();
            InstanceStatusSummary::builder().status(status).details(since).build()
        };
        let told = |system, instance| {
            impaired(&types::InstanceStatus::builder().system_status(system).instance_status(instance).build())
        };
        let initializing = || summary(SummaryStatus::Initializing);
        assert_eq!(told(initializing(), summary(SummaryStatus::InsufficientData)), None);
        assert_eq!(
            told(initializing(), summary(SummaryStatus::Impaired)).as_deref(),
            Some("instance status impaired since 1970-01-01T00:00:00Z")
        );
    }

    #[test]
    fn a_volume_that_is_detached_is_attached_to_nothing() {
        let attachment = |state| VolumeAttachment::builder().instance_id("i-1").state(state).build();
        let seen = |state| {
            let volume = types::Volume::builder().volume_id("vol-1").state(VolumeState::InUse).size(8);
            let volume =
                volume.availability_zone("eu-west-1a").volume_type(VolumeType::Gp3).attachments(attachment(state));
            super::volume(&volume.build(), Some(&"optimizing".to_owned())).unwrap()
        };
        assert_eq!(seen(types::VolumeAttachmentState::Detaching).attached_to.as_deref(), Some("i-1"));
        let detached = seen(types::VolumeAttachmentState::Detached);
        assert_eq!((detached.attached_to, detached.modifying.as_deref()), (None, Some("optimizing")));
    }
}
