//! One mutation each of an EBS volume, with its precondition checked just before.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{self, VolumeType};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{
    desk::{Desk, failed},
    launch::number,
    seen::{self, state},
};
use crate::{
    action::Tags,
    aws::trouble::Call,
    spec::stack::EbsVolume,
    world::{Class, Trouble, Volume, tag},
};

pub(super) async fn tag(
    desk: &Desk<'_>,
    id: &str,
    hostname: &str,
    tags: &BTreeMap<String, String>,
) -> Result<(), Trouble> {
    let on = on(desk, id, hostname);
    let call = desk.api.call("CreateTags", &on);
    ours(desk, &call, id).await?;
    desk.create_tags(&call, id, tags).await
}

pub(super) async fn keep_tags(desk: &Desk<'_>, id: &str, hostname: &str, tags: &Tags) -> Result<(), Trouble> {
    let on = on(desk, id, hostname);
    ours(desk, &desk.api.call("CreateTags", &on), id).await?;
    desk.change_tags(&on, id, tags).await
}

/// Only one that is free, was made for this hostname, and is in the instance's zone. One that is attached there
/// already is left as it is.
pub(super) async fn attach(
    desk: &Desk<'_>,
    id: &str,
    instance_id: &str,
    hostname: &str,
    device: &str,
) -> Result<(), Trouble> {
    let on = on(desk, id, hostname);
    let call = desk.api.call("AttachVolume", &on);
    let (found, volume) = ours(desk, &call, id).await?;
    if let Some(other) = &volume.attached_to {
        let attachments = found.attachments().iter();
        let mut here = attachments.filter(|one| one.instance_id.as_deref() == Some(instance_id));
        if here.any(|one| one.device.as_deref() == Some(device)) {
            return Ok(());
        }
        return Err(call.own(Class::Transient, format!("it is attached to {other}; it must be detached first")));
    }
    if volume.hostname.as_deref() != Some(hostname) {
        let said = format!("its tag {} is another now; left alone", tag::HOSTNAME);
        return Err(call.own(Class::Transient, said));
    }
    if volume.state != "available" {
        return Err(call.own(Class::Transient, format!("it is {}; attached once it is available", volume.state)));
    }
    let instance = desk.instance(&call, instance_id, hostname).await?.ok_or_else(|| call.gone())?;
    let zone = instance.placement.as_ref().and_then(|at| at.availability_zone.as_deref()).unwrap_or_default();
    if zone != volume.zone {
        let said = format!("it is in {} and {instance_id} in {zone}; move it by a snapshot", volume.zone);
        return Err(call.own(Class::Terminal, said));
    }
    if !matches!(state(&instance), Some("running" | "stopped")) {
        let said = format!("{instance_id} is {}; attached once it runs", state(&instance).unwrap_or("in no state"));
        return Err(call.own(Class::Transient, said));
    }
    let request = desk.api.write().attach_volume().volume_id(id).instance_id(instance_id).device(device);
    request.send().await.map(drop).map_err(|error| failed(&call, &error))
}

/// Only what differs is sent, and never a smaller size.
pub(super) async fn modify(desk: &Desk<'_>, id: &str, hostname: &str, wanted: &EbsVolume) -> Result<(), Trouble> {
    let on = on(desk, id, hostname);
    let call = desk.api.call("ModifyVolume", &on);
    let (_, volume) = ours(desk, &call, id).await?;
    if wanted.size_gib < volume.size_gib {
        let said = format!(
            "it has {} GiB, and {} were to be: EBS cannot shrink a volume; left alone",
            volume.size_gib, wanted.size_gib
        );
        return Err(call.own(Class::Terminal, said));
    }
    let size = (wanted.size_gib > volume.size_gib).then_some(number(wanted.size_gib));
    let kind = (wanted.volume_type != volume.volume_type).then(|| VolumeType::from(wanted.volume_type.as_str()));
    let iops = wanted.iops.filter(|iops| Some(*iops) != volume.iops || kind.is_some()).map(number);
    let throughput = wanted.throughput.filter(|rate| Some(*rate) != volume.throughput || kind.is_some()).map(number);
    if size.is_none() && kind.is_none() && iops.is_none() && throughput.is_none() {
        return Ok(());
    }
    let request = desk.api.write().modify_volume().volume_id(id).set_size(size).set_volume_type(kind);
    match request.set_iops(iops).set_throughput(throughput).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("VolumeModificationRateExceeded") => {
            let said = format!(
                "VolumeModificationRateExceeded: {}; EBS lets a volume be modified again about 6 hours after the last \
                 time, and it is tried until then",
                error.message().unwrap_or("modified too often").trim_end_matches('.')
            );
            Err(call.own(Class::Transient, said))
        }
        Err(error) => Err(failed(&call, &error)),
    }
}

fn on(desk: &Desk<'_>, id: &str, hostname: &str) -> String {
    format!("volume {id} of {hostname}, stack {}", desk.stack.name)
}

/// The volume, as long as it bears this stack's tag.
async fn ours(desk: &Desk<'_>, call: &Call<'_>, id: &str) -> Result<(types::Volume, Volume), Trouble> {
    let found = desk.api.volume(id, call.on).await?.ok_or_else(|| call.gone())?;
    desk.check_mark(call, &found.tags)?;
    let lacking = |field| call.own(Class::Transient, format!("what EC2 tells of it lacks a {field}; left alone"));
    let told = seen::volume(&found, None).map_err(lacking)?;
    Ok((found, told))
}
