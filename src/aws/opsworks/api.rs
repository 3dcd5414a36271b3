//! The reads that looking and checking before a mutation have in common.
//!
//! None of these operations has pages in the API's model (only `DescribeEcsClusters` and `ListTags` have tokens):
//! an answer is complete or an error.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use aws_sdk_opsworks::{Client, types};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::{
    aws::{client::Clients, service, trouble},
    spec::Stack,
    world::{Class, Trouble},
};

/// OpsWorks in one stack's region, on that stack's behalf.
pub(super) struct Api<'a> {
    pub clients: Arc<Clients>,
    pub stack: &'a Stack,
}

impl Api<'_> {
    fn client(&self) -> &Client {
        &self.clients.opsworks.read
    }

    pub(super) fn call<'c>(&'c self, operation: &'static str, on: &'c str) -> trouble::Call<'c> {
        trouble::Call { service: service::OPSWORKS, operation, on, region: &self.stack.region }
    }

    fn failed<E>(&self, operation: &'static str, error: &SdkError<E, HttpResponse>) -> Trouble
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let on = format!("stack {}", self.stack.name);
        let mut trouble = self.call(operation, &on).failed(error);
        // The stack was there a moment ago; whether it still is, is for DescribeStacks to say.
        if is_not_found(error) {
            trouble.class = Class::Transient;
        }
        trouble
    }

    /// Every stack that this region's endpoint knows.
    pub(super) async fn stacks(&self) -> Result<Vec<types::Stack>, Trouble> {
        match self.client().describe_stacks().send().await {
            Ok(answer) => Ok(answer.stacks.unwrap_or_default()),
            Err(error) => Err(self.failed("DescribeStacks", &error)),
        }
    }

    pub(super) async fn stack(&self, id: &str) -> Result<types::Stack, Trouble> {
        let found = match self.client().describe_stacks().stack_ids(id).send().await {
            Ok(answer) => answer.stacks.and_then(|stacks| stacks.into_iter().next()),
            Err(error) if is_not_found(&error) => None,
            Err(error) => return Err(self.failed("DescribeStacks", &error)),
        };
        found.ok_or_else(|| self.gone("DescribeStacks", "stack", id))
    }

    pub(super) async fn layers(&self, stack_id: &str) -> Result<Vec<types::Layer>, Trouble> {
        match self.client().describe_layers().stack_id(stack_id).send().await {
            Ok(answer) => Ok(answer.layers.unwrap_or_default()),
            Err(error) => Err(self.failed("DescribeLayers", &error)),
        }
    }

    pub(super) async fn layer(&self, id: &str) -> Result<types::Layer, Trouble> {
        let found = match self.client().describe_layers().layer_ids(id).send().await {
            Ok(answer) => answer.layers.and_then(|layers| layers.into_iter().next()),
            Err(error) if is_not_found(&error) => None,
            Err(error) => return Err(self.failed("DescribeLayers", &error)),
        };
        found.ok_or_else(|| self.gone("DescribeLayers", "layer", id))
    }

    /// The tags of a layer.
    pub(super) async fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>, Trouble> {
        match self.client().list_tags().resource_arn(arn).send().await {
            Ok(answer) => Ok(answer.tags.into_iter().flatten().collect()),
            Err(error) => Err(self.failed("ListTags", &error)),
        }
    }

    pub(super) async fn apps(&self, stack_id: &str) -> Result<Vec<types::App>, Trouble> {
        match self.client().describe_apps().stack_id(stack_id).send().await {
            Ok(answer) => Ok(answer.apps.unwrap_or_default()),
            Err(error) => Err(self.failed("DescribeApps", &error)),
        }
    }

    pub(super) async fn app(&self, id: &str) -> Result<Option<types::App>, Trouble> {
        match self.client().describe_apps().app_ids(id).send().await {
            Ok(answer) => Ok(answer.apps.and_then(|apps| apps.into_iter().next())),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.failed("DescribeApps", &error)),
        }
    }

    pub(super) async fn instances(&self, stack_id: &str) -> Result<Vec<types::Instance>, Trouble> {
        match self.client().describe_instances().stack_id(stack_id).send().await {
            Ok(answer) => Ok(answer.instances.unwrap_or_default()),
            Err(error) => Err(self.failed("DescribeInstances", &error)),
        }
    }

    pub(super) async fn instance(&self, id: &str) -> Result<Option<types::Instance>, Trouble> {
        match self.client().describe_instances().instance_ids(id).send().await {
            Ok(answer) => Ok(answer.instances.and_then(|instances| instances.into_iter().next())),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.failed("DescribeInstances", &error)),
        }
    }

    /// The classic load balancers attached to any layer of the stack.
    pub(super) async fn attached(&self, stack_id: &str) -> Result<Vec<types::ElasticLoadBalancer>, Trouble> {
        match self.client().describe_elastic_load_balancers().stack_id(stack_id).send().await {
            Ok(answer) => Ok(answer.elastic_load_balancers.unwrap_or_default()),
            Err(error) => Err(self.failed("DescribeElasticLoadBalancers", &error)),
        }
    }

    /// OpsWorks' own load-based scaling of these layers.
    pub(super) async fn load_scaling(
        &self,
        layers: &[String],
    ) -> Result<Vec<types::LoadBasedAutoScalingConfiguration>, Trouble> {
        let request = self.client().describe_load_based_auto_scaling().set_layer_ids(Some(layers.to_vec()));
        match request.send().await {
            Ok(answer) => Ok(answer.load_based_auto_scaling_configurations.unwrap_or_default()),
            Err(error) => Err(self.failed("DescribeLoadBasedAutoScaling", &error)),
        }
    }

    /// The classic load balancer attached to one layer.
    pub(super) async fn attached_to(&self, layer_id: &str) -> Result<Option<String>, Trouble> {
        match self.client().describe_elastic_load_balancers().layer_ids(layer_id).send().await {
            Ok(answer) => Ok(answer
                .elastic_load_balancers
                .and_then(|balancers| balancers.into_iter().next())
                .and_then(|balancer| balancer.elastic_load_balancer_name)),
            Err(error) => Err(self.failed("DescribeElasticLoadBalancers", &error)),
        }
    }

    /// The database instances that are registered with the stack.
    pub(super) async fn databases(&self, stack_id: &str) -> Result<Vec<types::RdsDbInstance>, Trouble> {
        match self.client().describe_rds_db_instances().stack_id(stack_id).send().await {
            Ok(answer) => Ok(answer.rds_db_instances.unwrap_or_default()),
            Err(error) => Err(self.failed("DescribeRdsDbInstances", &error)),
        }
    }

    fn gone(&self, operation: &'static str, kind: &str, id: &str) -> Trouble {
        let on = format!("{kind} {id}");
        self.call(operation, &on).gone()
    }
}

/// `ResourceNotFoundException`: the thing whose id was asked for is not there.
pub(super) fn is_not_found<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata,
{
    error.code() == Some("ResourceNotFoundException")
}
