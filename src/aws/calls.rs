//! Every request counted, so that "how often do we ask AWS" has an answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef},
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

/// The counts of one [`Aws`](super::Aws), shared by all its clients.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<Mutex<BTreeMap<String, u64>>>);

impl Calls {
    pub(super) fn counted(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The interceptor that counts for one service, under the name that IAM knows it by.
    pub(super) fn of(&self, service: &'static str) -> Count {
        Count { service, calls: self.clone() }
    }

    pub(super) fn add(&self, service: &str, operation: &str) {
        let mut calls = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *calls.entry(format!("{service}.{operation}")).or_default() += 1;
    }
}

#[derive(Debug)]
pub(super) struct Count {
    service: &'static str,
    calls: Calls,
}

impl Intercept for Count {
    fn name(&self) -> &'static str {
        "Count"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("unknown", Metadata::name);
        self.calls.add(self.service, operation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_service_and_operation() {
        let calls = Calls::default();
        calls.of("opsworks").calls.add("opsworks", "DescribeStacks");
        calls.add("opsworks", "DescribeStacks");
        calls.add("elasticloadbalancing", "DescribeLoadBalancers");
        let counted = calls.counted();
        assert_eq!(counted["opsworks.DescribeStacks"], 2);
        assert_eq!(counted["elasticloadbalancing.DescribeLoadBalancers"], 1);
    }
}
