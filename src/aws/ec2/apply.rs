//! One mutation each of an instance, with its precondition checked just before: it bears this stack's mark still.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{self, EbsInstanceBlockDeviceSpecification, InstanceBlockDeviceMappingSpecification};

use super::{
    api::{Api, is_not_found},
    desk::{Desk, failed},
    launch,
    seen::{state, tagged, text},
    volume,
};
use crate::{
    action::{Action, Tagged, Tags},
    bootstrap,
    spec::{Stack, stack::DeletionPolicy},
    world::{Class, Trouble, tag},
};

pub(super) async fn apply(api: &Api, stack: &Stack, action: &Action) -> Result<(), Trouble> {
    let desk = Desk { api, stack };
    match action {
        Action::LaunchInstance { launch } => launch::launch(api, stack, launch).await,
        Action::StartInstance { id, hostname } => desk.start(id, hostname).await,
        Action::TerminateInstance { id, hostname, .. } => desk.terminate(id, hostname).await,
        Action::TagInstance { id, hostname, tags, .. } => desk.tag(id, hostname, tags).await,
        Action::SetSecurityGroups { id, hostname, groups } => desk.set_security_groups(id, hostname, groups).await,
        Action::KeepTags { of: Tagged::Instance { id, hostname }, tags } => desk.keep_tags(id, hostname, tags).await,
        Action::KeepTags { of: Tagged::Volume { id, hostname }, tags } => {
            volume::keep_tags(&desk, id, hostname, tags).await
        }
        Action::TagVolume { id, hostname, tags } => volume::tag(&desk, id, hostname, tags).await,
        Action::AttachVolume { id, instance_id, hostname, device, .. } => {
            volume::attach(&desk, id, instance_id, hostname, device).await
        }
        Action::ModifyVolume { id, hostname, volume, .. } => volume::modify(&desk, id, hostname, volume).await,
        _ => Err(Trouble { class: Class::Terminal, message: format!("{action}: not an action of EC2") }),
    }
}

impl Desk<'_> {
    async fn start(&self, id: &str, hostname: &str) -> Result<(), Trouble> {
        let on = self.on(hostname, id);
        let call = self.api.call("StartInstances", &on);
        let found = self.instance(&call, id, hostname).await?.ok_or_else(|| call.gone())?;
        match state(&found) {
            Some("pending" | "running") => return Ok(()),
            Some("stopped") => {}
            other => {
                let said = format!("it is {}; it can be started once it is stopped", other.unwrap_or("in no state"));
                return Err(call.own(Class::Transient, said));
            }
        }
        let sent = self.api.write().start_instances().instance_ids(id).send().await;
        sent.map(drop).map_err(|error| failed(&call, &error))
    }

    /// What is gone already, or going, is left to that.
    async fn terminate(&self, id: &str, hostname: &str) -> Result<(), Trouble> {
        let on = self.on(hostname, id);
        let call = self.api.call("TerminateInstances", &on);
        let Some(found) = self.instance(&call, id, hostname).await? else { return Ok(()) };
        if state(&found) == Some("shutting-down") {
            return Ok(());
        }
        self.keep_volumes(&found, id, &on).await?;
        match self.api.write().terminate_instances().instance_ids(id).send().await {
            Err(error) if is_not_found(&error) => Ok(()),
            sent => sent.map(drop).map_err(|error| failed(&call, &error)),
        }
    }

    /// An instance bears what `deletionPolicy` and `reuse` were when it was launched. What is to be kept now must not
    /// be deleted with it for that.
    async fn keep_volumes(&self, found: &types::Instance, id: &str, on: &str) -> Result<(), Trouble> {
        let layer = tagged(&found.tags, tag::LAYER);
        let layer = self.stack.layers.iter().find(|declared| Some(declared.short_name.as_str()) == layer);
        let is_reused = |device: &str| {
            let volumes = layer.map(|layer| layer.volumes.as_slice()).unwrap_or_default();
            let mut at_device = volumes.iter().enumerate();
            at_device.any(|(index, volume)| volume.reuse && bootstrap::device(index).as_deref() == Some(device))
        };
        let is_kept = |device: &str| self.stack.deletion_policy == DeletionPolicy::Retain || is_reused(device);
        let doomed = found.block_device_mappings().iter().filter_map(|mapping| {
            let deleted = mapping.ebs.as_ref()?.delete_on_termination.unwrap_or(false);
            text(&mapping.device_name).filter(|_| deleted)
        });
        let root = found.root_device_name.as_deref();
        let kept: Vec<_> = doomed
            .filter(|device| Some(device.as_str()) != root && is_kept(device))
            .map(|device| {
                let ebs = EbsInstanceBlockDeviceSpecification::builder().delete_on_termination(false).build();
                InstanceBlockDeviceMappingSpecification::builder().device_name(device).ebs(ebs).build()
            })
            .collect();
        if kept.is_empty() {
            return Ok(());
        }
        let request = self.api.write().modify_instance_attribute().instance_id(id);
        let sent = request.set_block_device_mappings(Some(kept)).send().await;
        sent.map(drop).map_err(|error| failed(&self.api.call("ModifyInstanceAttribute", on), &error))
    }

    async fn tag(&self, id: &str, hostname: &str, tags: &BTreeMap<String, String>) -> Result<(), Trouble> {
        let on = self.on(hostname, id);
        let call = self.api.call("CreateTags", &on);
        self.instance(&call, id, hostname).await?.ok_or_else(|| call.gone())?;
        self.create_tags(&call, id, tags).await
    }

    async fn keep_tags(&self, id: &str, hostname: &str, tags: &Tags) -> Result<(), Trouble> {
        let on = self.on(hostname, id);
        let call = self.api.call("CreateTags", &on);
        self.instance(&call, id, hostname).await?.ok_or_else(|| call.gone())?;
        self.change_tags(&on, id, tags).await
    }

    async fn set_security_groups(&self, id: &str, hostname: &str, groups: &[String]) -> Result<(), Trouble> {
        let on = self.on(hostname, id);
        let call = self.api.call("ModifyInstanceAttribute", &on);
        self.instance(&call, id, hostname).await?.ok_or_else(|| call.gone())?;
        let request = self.api.write().modify_instance_attribute().instance_id(id).set_groups(Some(groups.to_vec()));
        request.send().await.map(drop).map_err(|error| failed(&call, &error))
    }
}
