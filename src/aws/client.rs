//! Configuration and clients.

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_elasticloadbalancing as elb;
use aws_sdk_elasticloadbalancingv2 as elbv2;
use aws_sdk_opsworks as opsworks;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};

use super::{calls::Calls, retry::OnlyThrottled, trouble};

const CONNECT: Duration = Duration::from_secs(3);
const ATTEMPT: Duration = Duration::from_secs(10);
/// Of one operation with its retries.
const OPERATION: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 3;

/// The clients of one region.
#[derive(Debug)]
pub(super) struct Clients {
    pub opsworks: Pair<opsworks::Client>,
    pub elb: Pair<elb::Client>,
    pub elbv2: Pair<elbv2::Client>,
}

/// One service's client twice, because what may be repeated differs.
#[derive(Debug)]
pub(super) struct Pair<C> {
    /// For what only looks: retried as the SDK does.
    pub read: C,
    /// For what changes something: see [`OnlyThrottled`].
    pub write: C,
}

/// Endpoint (`AWS_ENDPOINT_URL`), profile and credentials are looked for where every AWS tool looks: environment,
/// profile files, container, instance metadata.
pub(super) fn loader(region: &str) -> ConfigLoader {
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .http_client(https)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT)
                .operation_attempt_timeout(ATTEMPT)
                .operation_timeout(OPERATION)
                .build(),
        )
}

impl Clients {
    pub(super) fn new(config: &SdkConfig, calls: &Calls) -> Clients {
        let ow = || opsworks::config::Builder::from(config).interceptor(calls.of(trouble::OPSWORKS));
        let lb = || elb::config::Builder::from(config).interceptor(calls.of(trouble::ELB));
        let v2 = || elbv2::config::Builder::from(config).interceptor(calls.of(trouble::ELB));
        Clients {
            opsworks: Pair {
                read: opsworks::Client::from_conf(ow().build()),
                write: opsworks::Client::from_conf(ow().retry_classifier(OnlyThrottled).build()),
            },
            elb: Pair {
                read: elb::Client::from_conf(lb().build()),
                write: elb::Client::from_conf(lb().retry_classifier(OnlyThrottled).build()),
            },
            elbv2: Pair {
                read: elbv2::Client::from_conf(v2().build()),
                write: elbv2::Client::from_conf(v2().retry_classifier(OnlyThrottled).build()),
            },
        }
    }
}
