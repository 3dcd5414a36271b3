//! One mutation each of an instance, with its precondition checked just before: it bears this stack's mark still.

use std::{collections::BTreeMap, error::Error};

use aws_sdk_ec2::types::{self, EbsInstanceBlockDeviceSpecification, InstanceBlockDeviceMappingSpecification};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{
    api::{Api, is_not_found},
    launch::{self, tags_from},
    seen::{has_ended, state, tagged, text},
    volume,
};
use crate::{
    action::Action,
    aws::trouble::Call,
    bootstrap,
    spec::{Stack, stack::DeletionPolicy},
    world::{Class, Trouble, tag},
};

pub(super) async fn apply(api: &Api, stack: &Stack, action: &Action) -> Result<(), Trouble> {
    let desk = Desk { api, stack };
    match action {
        Action::LaunchInstance { launch } => launch::launch(api, stack, launch).await,
        Action::StartInstance { id, hostname } => desk.start(id, hostname).await,
        Action::TerminateInstance { id, hostname } => desk.terminate(id, hostname).await,
        Action::TagInstance { id, hostname, tags, .. } => desk.tag(id, hostname, tags).await,
        Action::SetSecurityGroups { id, hostname, groups } => desk.set_security_groups(id, hostname, groups).await,
        Action::TagVolume { id, hostname, tags } => volume::tag(&desk, id, hostname, tags).await,
        Action::AttachVolume { id, instance_id, hostname, device, .. } => {
            volume::attach(&desk, id, instance_id, hostname, device).await
        }
        Action::ModifyVolume { id, hostname, volume, .. } => volume::modify(&desk, id, hostname, volume).await,
        _ => Err(Trouble { class: Class::Terminal, message: format!("{action}: not an action of EC2") }),
    }
}

/// What every action needs.
pub(super) struct Desk<'a> {
    pub api: &'a Api,
    pub stack: &'a Stack,
}

impl Desk<'_> {
    pub(super) fn on(&self, hostname: &str, id: &str) -> String {
        format!("instance {hostname} ({id}) of stack {}", self.stack.name)
    }

    /// The instance, as long as it bears this stack's and this hostname's tags; nothing when it has ended.
    pub(super) async fn instance(
        &self,
        call: &Call<'_>,
        id: &str,
        hostname: &str,
    ) -> Result<Option<types::Instance>, Trouble> {
        let Some(found) = self.api.instance(id, call.on).await?.filter(|found| !has_ended(found)) else {
            return Ok(None);
        };
        self.check_mark(call, &found.tags)?;
        if tagged(&found.tags, tag::HOSTNAME) != Some(hostname) {
            return Err(call.own(Class::Transient, format!("its tag {} is another now; left alone", tag::HOSTNAME)));
        }
        Ok(Some(found))
    }

    pub(super) fn check_mark(&self, call: &Call<'_>, tags: &Option<Vec<types::Tag>>) -> Result<(), Trouble> {
        if tagged(tags, tag::STACK) == Some(self.stack.name.as_str()) {
            return Ok(());
        }
        let said = format!("it does not bear the tag {} of this stack; left alone", tag::STACK);
        Err(call.own(Class::Transient, said))
    }

    async fn start(&self, id: &str, hostname: &str) -> Result<(), Trouble> {
        let on = self.on(hostname, id);
        let call = self.api.call("StartInstances", &on);
        let found = self.instance(&call, id, hostname).await?.ok_or_else(|| gone(&call))?;
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
        self.instance(&call, id, hostname).await?.ok_or_else(|| gone(&call))?;
        self.create_tags(&call, id, tags).await
    }

    pub(super) async fn create_tags(
        &self,
        call: &Call<'_>,
        id: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Trouble> {
        let request = self.api.write().create_tags().resources(id).set_tags(Some(tags_from(tags)));
        request.send().await.map(drop).map_err(|error| failed(call, &error))
    }

    async fn set_security_groups(&self, id: &str, hostname: &str, groups: &[String]) -> Result<(), Trouble> {
        let on = self.on(hostname, id);
        let call = self.api.call("ModifyInstanceAttribute", &on);
        self.instance(&call, id, hostname).await?.ok_or_else(|| gone(&call))?;
        let request = self.api.write().modify_instance_attribute().instance_id(id).set_groups(Some(groups.to_vec()));
        request.send().await.map(drop).map_err(|error| failed(&call, &error))
    }
}

pub(super) fn gone(call: &Call<'_>) -> Trouble {
    call.own(Class::Transient, "it is gone; the next look tells what to do instead")
}

/// The trouble of a mutation of something that was looked at just before: that it is gone meanwhile, or in a state
/// that does not allow it yet (`IncorrectInstanceState`, `IncorrectModificationState`, …), is no fault of the manifest.
pub(super) fn failed<E>(call: &Call<'_>, error: &SdkError<E, HttpResponse>) -> Trouble
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let mut trouble = call.failed(error);
    let passing = ["Incorrect", "InvalidInstanceID", "InvalidVolume.NotFound", "VolumeInUse"];
    if error.code().is_some_and(|code| passing.iter().any(|word| code.starts_with(word))) {
        trouble.class = Class::Transient;
    }
    trouble
}
