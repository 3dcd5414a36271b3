//! RunInstances: what a launch tells EC2, and what its answers mean.
//!
//! With its token it could be sent again after any failure, and yet only a throttled one is, as with every mutation:
//! a launch whose outcome is not known is for the plan to send again, after a look, with the same token. And a refusal
//! for want of capacity comes with the status 500, which the SDK would repeat in vain.

use std::collections::BTreeMap;

use aws_sdk_ec2::{
    operation::run_instances::builders::RunInstancesFluentBuilder,
    types::{
        BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification,
        InstanceMetadataOptionsRequest, InstanceType, ResourceType, Tag, TagSpecification, VolumeType,
    },
};
use aws_smithy_types::{base64, error::metadata::ProvideErrorMetadata};

use super::{
    api::{Api, filter},
    seen::{has_ended, state, text},
};
use crate::{
    action::Launch,
    aws::trouble::Call,
    spec::{Stack, stack::EbsVolume},
    world::{Class, Trouble, tag},
};

/// A container on a bridge is one hop further from the metadata service than the instance ("Instance metadata
/// options", EC2 User Guide).
const HOPS: i32 = 2;

/// Launches the instance, unless one of its hostname lives already.
pub(super) async fn launch(api: &Api, stack: &Stack, launch: &Launch) -> Result<(), Trouble> {
    let on = format!("instance {} of stack {} in {}, {}", launch.hostname, stack.name, launch.zone, launch.subnet_id);
    let call = api.call("RunInstances", &on);
    let marks = [(tag::STACK, &stack.name), (tag::HOSTNAME, &launch.hostname)];
    let filters = marks.map(|(key, value)| filter(&format!("tag:{key}"), [value.as_str()]));
    let there = api.instances(filters.into(), &on).await?;
    if let Some(one) = there.iter().find(|one| !has_ended(one)) {
        let id = one.instance_id.as_deref().unwrap_or("without an id");
        return match (one.client_token.as_deref() == Some(&launch.token), state(one)) {
            (true, Some("shutting-down")) => Err(spent(&call, id)),
            (true, _) => Ok(()),
            (false, _) => Err(call.own(Class::Transient, format!("already there ({id}); not launched a second time"))),
        };
    }
    match request(api, launch).send().await {
        Ok(answer) => {
            let Some(made) = answer.instances().first() else {
                let said = "the answer tells of no instance; the next look does";
                return Err(call.own(Class::UnknownOutcome, said));
            };
            match state(made) {
                Some("shutting-down" | "terminated") => {
                    Err(spent(&call, made.instance_id.as_deref().unwrap_or("without an id")))
                }
                _ => Ok(()),
            }
        }
        Err(error) if error.code() == Some("IdempotentParameterMismatch") => {
            launched_otherwise(api, launch, &on, &call).await
        }
        Err(error) => Err(call.failed(&error)),
    }
}

/// The token stands for a launch that was told something else, before the manifest changed for example.
async fn launched_otherwise(api: &Api, launch: &Launch, on: &str, call: &Call<'_>) -> Result<(), Trouble> {
    let launched = api.instances(vec![filter("client-token", [launch.token.as_str()])], on).await?;
    if launched.iter().any(|one| !matches!(state(one), Some("shutting-down" | "terminated"))) {
        // Launched as it was declared then; what differs from what is declared now shows at the next look.
        return Ok(());
    }
    match launched.iter().find_map(|one| text(&one.instance_id)) {
        Some(id) => Err(spent(call, &id)),
        None => {
            let said = "IdempotentParameterMismatch: it was sent before with other settings, and EC2 shows no instance \
                        of that yet; no second one is launched meanwhile. If none shows up within some \
                        minutes, lower the layer's count for a minute and raise it again: that takes another token";
            Err(call.own(Class::Terminal, said))
        }
    }
}

fn spent(call: &Call<'_>, id: &str) -> Trouble {
    let said = format!("the instance that this was sent for, {id}, has ended already; sent anew with another token");
    call.own(Class::TokenSpent, said)
}

fn request(api: &Api, launch: &Launch) -> RunInstancesFluentBuilder {
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(HOPS)
        .build();
    let profile = |arn: &String| IamInstanceProfileSpecification::builder().arn(arn).build();
    let groups = Some(launch.security_group_ids.clone()).filter(|ids| !ids.is_empty());
    api.write()
        .run_instances()
        .client_token(&launch.token)
        .min_count(1)
        .max_count(1)
        .image_id(&launch.image_id)
        .instance_type(InstanceType::from(launch.instance_type.as_str()))
        .subnet_id(&launch.subnet_id)
        .set_security_group_ids(groups)
        .set_key_name(launch.key_name.clone())
        .set_iam_instance_profile(launch.profile_arn.as_ref().map(profile))
        .metadata_options(metadata)
        .set_block_device_mappings(Some(mappings(launch)))
        .tag_specifications(tags_of(ResourceType::Instance, &launch.tags))
        .tag_specifications(tags_of(ResourceType::Volume, &launch.volume_tags))
        .user_data(base64::encode(&launch.user_data))
}

fn mappings(launch: &Launch) -> Vec<BlockDeviceMapping> {
    let mapping = |device: &String, ebs| BlockDeviceMapping::builder().device_name(device).ebs(ebs).build();
    let root = launch.root.iter().map(|(device, root)| {
        let ebs = EbsBlockDevice::builder()
            .volume_size(number(root.size_gib))
            .volume_type(VolumeType::from(root.volume_type.as_str()))
            // Also of an image that is not.
            .encrypted(root.encrypted)
            // It holds what its image and the bootstrap put there: nothing that anybody would miss.
            .delete_on_termination(true);
        mapping(device, ebs.build())
    });
    let others = launch.volumes.iter().map(|(device, volume)| mapping(device, made(volume, launch.delete_volumes)));
    root.chain(others).collect()
}

fn made(volume: &EbsVolume, delete: bool) -> EbsBlockDevice {
    EbsBlockDevice::builder()
        .volume_size(number(volume.size_gib))
        .volume_type(VolumeType::from(volume.volume_type.as_str()))
        .set_iops(volume.iops.map(number))
        .set_throughput(volume.throughput.map(number))
        .encrypted(volume.encrypted.unwrap_or(true))
        .delete_on_termination(delete && !volume.reuse)
        .build()
}

/// The API's numbers have a sign; no size or rate comes near its end.
pub(super) fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn tags_of(kind: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags_from(tags))).build()
}

pub(super) fn tags_from(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}
