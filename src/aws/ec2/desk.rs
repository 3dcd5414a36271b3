//! What every mutation on EC2 begins with: its object, as long as that bears this stack's mark.

use std::{collections::BTreeMap, error::Error};

use aws_sdk_ec2::types;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{
    api::Api,
    launch::tags_from,
    seen::{has_ended, tagged},
};
use crate::{
    action::Tags,
    aws::trouble::Call,
    spec::Stack,
    world::{Class, Trouble, tag},
};

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

    /// Takes away first: what is still listed can be taken away again, what is listed no more cannot.
    pub(super) async fn change_tags(&self, on: &str, id: &str, tags: &Tags) -> Result<(), Trouble> {
        if !tags.drop.is_empty() {
            let gone = tags.drop.iter().map(|key| types::Tag::builder().key(key).build()).collect();
            let request = self.api.write().delete_tags().resources(id).set_tags(Some(gone));
            request.send().await.map_err(|error| failed(&self.api.call("DeleteTags", on), &error))?;
        }
        if !tags.put.is_empty() {
            self.create_tags(&self.api.call("CreateTags", on), id, &tags.put).await?;
        }
        Ok(())
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
