//! The reads that looking and checking before a mutation have in common. A page that fails fails the whole.

use std::{collections::BTreeSet, sync::Arc};

use aws_sdk_ec2::{
    Client,
    types::{self, Filter},
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::{
    aws::{client::Clients, service, trouble},
    world::{Class, Trouble, tag},
};

/// "MaxResults … between 5 and 1000" (API reference of `DescribeInstances` and others; `DescribeVolumes` and
/// `DescribeVolumesModifications` give at most 500 whatever is asked for).
const PAGE: i32 = 500;
/// "Up to 200 values for a filter" ("Filter … the Amazon EC2 API").
const VALUES: usize = 200;
/// "Names … Maximum number of 10 items" (API reference of `GetParameters`).
const NAMES: usize = 10;

/// EC2 in one account's region.
#[derive(Debug, Clone)]
pub(super) struct Api {
    pub clients: Arc<Clients>,
    pub region: String,
}

/// What a call for everybody is about.
const EVERYBODY: &str = "all stacks";

impl Api {
    pub(super) fn read(&self) -> &Client {
        &self.clients.ec2.read
    }

    pub(super) fn write(&self) -> &Client {
        &self.clients.ec2.write
    }

    pub(super) fn call<'c>(&'c self, operation: &'static str, on: &'c str) -> trouble::Call<'c> {
        let service = if operation == "GetParameters" { service::SSM } else { service::EC2 };
        trouble::Call { service, operation, on, region: &self.region }
    }

    /// Every instance that bears the mark of any stack, the terminated ones that EC2 still tells of included.
    pub(super) async fn all_instances(&self) -> Result<Vec<types::Instance>, Trouble> {
        self.instances(vec![filter("tag-key", [tag::STACK])], EVERYBODY).await
    }

    pub(super) async fn instances(&self, filters: Vec<Filter>, on: &str) -> Result<Vec<types::Instance>, Trouble> {
        let pages = self.read().describe_instances().set_filters(Some(filters)).into_paginator().page_size(PAGE);
        let found: Result<Vec<types::Reservation>, _> = pages.items().send().collect().await;
        let found = self.call("DescribeInstances", on).answered(found)?;
        Ok(found.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default()).collect())
    }

    /// One instance by its id, where EC2 knows it.
    pub(super) async fn instance(&self, id: &str, on: &str) -> Result<Option<types::Instance>, Trouble> {
        match self.read().describe_instances().instance_ids(id).send().await {
            Ok(answer) => {
                let reservations = answer.reservations.unwrap_or_default().into_iter();
                Ok(reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()).next())
            }
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.call("DescribeInstances", on).failed(&error)),
        }
    }

    /// The status checks of everything that runs: they cannot be asked for by tag, and one unknown id would fail the
    /// request for all.
    pub(super) async fn all_statuses(&self) -> Result<Vec<types::InstanceStatus>, Trouble> {
        let pages = self.read().describe_instance_status().into_paginator().page_size(PAGE).items().send();
        self.call("DescribeInstanceStatus", EVERYBODY).answered(pages.collect().await)
    }

    /// Every volume that bears the mark of any stack.
    pub(super) async fn all_volumes(&self) -> Result<Vec<types::Volume>, Trouble> {
        let request = self.read().describe_volumes().filters(filter("tag-key", [tag::STACK]));
        let pages = request.into_paginator().page_size(PAGE).items().send();
        self.call("DescribeVolumes", EVERYBODY).answered(pages.collect().await)
    }

    /// One volume by its id, where EC2 knows it.
    pub(super) async fn volume(&self, id: &str, on: &str) -> Result<Option<types::Volume>, Trouble> {
        match self.read().describe_volumes().volume_ids(id).send().await {
            Ok(answer) => Ok(answer.volumes.and_then(|volumes| volumes.into_iter().next())),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.call("DescribeVolumes", on).failed(&error)),
        }
    }

    /// The modifications of volumes that are under way.
    pub(super) async fn all_modifications(&self) -> Result<Vec<types::VolumeModification>, Trouble> {
        let under_way = filter("modification-state", ["modifying", "optimizing"]);
        let pages = self.read().describe_volumes_modifications().filters(under_way).into_paginator().page_size(PAGE);
        self.call("DescribeVolumesModifications", EVERYBODY).answered(pages.items().send().collect().await)
    }

    /// Those of these subnets that exist. By a filter: one unknown id among `SubnetIds` would fail the request for all.
    pub(super) async fn subnets(&self, ids: &BTreeSet<String>) -> Result<Vec<types::Subnet>, Trouble> {
        let mut found = Vec::new();
        for some in chunks(ids, VALUES) {
            let request = self.read().describe_subnets().filters(filter("subnet-id", some));
            let pages = request.into_paginator().page_size(PAGE).items().send();
            let some: Vec<types::Subnet> = self.call("DescribeSubnets", EVERYBODY).answered(pages.collect().await)?;
            found.extend(some);
        }
        Ok(found)
    }

    /// Those of these images that this account may launch; by a filter as well. A deprecated one can be launched still.
    pub(super) async fn images(&self, ids: &BTreeSet<String>) -> Result<Vec<types::Image>, Trouble> {
        let mut found = Vec::new();
        for some in chunks(ids, VALUES) {
            let request = self.read().describe_images().filters(filter("image-id", some)).include_deprecated(true);
            let pages = request.into_paginator().page_size(PAGE).items().send();
            let some: Vec<types::Image> = self.call("DescribeImages", EVERYBODY).answered(pages.collect().await)?;
            found.extend(some);
        }
        Ok(found)
    }

    /// The values of those of these parameters that exist, by the name as it was asked for; or why it is not told.
    pub(super) async fn parameters(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<Vec<(String, Result<String, Trouble>)>, Trouble> {
        let mut found = Vec::new();
        for some in chunks(names, NAMES) {
            match self.some_parameters(&some).await {
                Ok(more) => found.extend(more.into_iter().map(|(name, value)| (name, Ok(value)))),
                Err(trouble) if trouble.class == Class::Terminal && some.len() == 1 => {
                    found.extend(some.into_iter().map(|name| (name, Err(trouble.clone()))));
                }
                // One name that is none, or may not be read, fails the request for all: each is asked for alone.
                Err(trouble) if trouble.class == Class::Terminal => {
                    for name in some {
                        match self.some_parameters(std::slice::from_ref(&name)).await {
                            Ok(told) => found.extend(told.into_iter().map(|(name, value)| (name, Ok(value)))),
                            Err(trouble) => found.push((name, Err(trouble))),
                        }
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(found)
    }

    async fn some_parameters(&self, names: &[String]) -> Result<Vec<(String, String)>, Trouble> {
        let request = self.clients.ssm.read.get_parameters().set_names(Some(names.to_vec()));
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let on = format!("parameters {}", names.join(", "));
                return Err(self.call("GetParameters", &on).failed(&error));
            }
        };
        let told = answer.parameters.unwrap_or_default();
        let named = |name: &String| {
            let parameter = told.iter().find(|parameter| is_called(parameter, name))?;
            Some((name.clone(), parameter.value.clone()?))
        };
        Ok(names.iter().filter_map(named).collect())
    }

    /// What an instance wrote to its console, as far as EC2 has it.
    pub(super) async fn console(&self, id: &str) -> Option<String> {
        let ask = |latest| self.read().get_console_output().instance_id(id).latest(latest).send();
        // The latest output is there "for instance types that use the Nitro hypervisor" only.
        let answer = match ask(true).await {
            Err(error) if error.code().is_some_and(|code| code.contains("Unsupported")) => ask(false).await,
            answer => answer,
        };
        let encoded: String = answer.ok()?.output?.split_whitespace().collect();
        let decoded = aws_smithy_types::base64::decode(encoded).ok()?;
        Some(String::from_utf8_lossy(&decoded).into_owned())
    }
}

/// `NAME`, `NAME:VERSION`, `NAME:LABEL` or an ARN: the answer has the name alone, and the rest in its selector.
fn is_called(parameter: &aws_sdk_ssm::types::Parameter, asked: &str) -> bool {
    let name = parameter.name.as_deref().unwrap_or_default();
    let selector = parameter.selector.as_deref().unwrap_or_default();
    asked == name
        || asked == format!("{name}{selector}")
        || parameter.arn.as_deref() == Some(asked)
        || asked.rsplit_once(':').is_some_and(|(before, _)| before == name && selector.is_empty())
}

pub(super) fn filter(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    let values = values.into_iter().map(Into::into).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

fn chunks(all: &BTreeSet<String>, size: usize) -> Vec<Vec<String>> {
    let all: Vec<String> = all.iter().cloned().collect();
    all.chunks(size).map(<[String]>::to_vec).collect()
}

/// `InvalidInstanceID.NotFound`, `InvalidVolume.NotFound` and their like; a malformed id is one that nothing has.
pub(super) fn is_not_found<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code().is_some_and(|code| code.ends_with(".NotFound") || code.ends_with(".Malformed"))
}
