//! Configuration and clients.

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_cloudwatch as cloudwatch;
use aws_sdk_ec2 as ec2;
use aws_sdk_ecr as ecr;
use aws_sdk_elasticloadbalancing as elb;
use aws_sdk_elasticloadbalancingv2 as elbv2;
use aws_sdk_opsworks as opsworks;
use aws_sdk_rds as rds;
use aws_sdk_secretsmanager as secretsmanager;
use aws_sdk_ssm as ssm;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime::client::retries::RetryPartition;
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};

use super::{
    bucket::{Slower, limited, limits},
    budget::{Budget, Use},
    calls::Calls,
    retry::OnlyThrottled,
    service,
};

const CONNECT: Duration = Duration::from_secs(3);
const ATTEMPT: Duration = Duration::from_secs(10);
/// Of one operation with its retries.
const OPERATION: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 3;

/// The clients of one place.
#[derive(Debug)]
pub(super) struct Clients {
    pub opsworks: Pair<opsworks::Client>,
    pub elb: Pair<elb::Client>,
    pub elbv2: Pair<elbv2::Client>,
    pub ec2: Pair<ec2::Client>,
    pub ecr: Pair<ecr::Client>,
    pub rds: Pair<rds::Client>,
    pub cloudwatch: Pair<cloudwatch::Client>,
    pub ssm: Pair<ssm::Client>,
    pub secretsmanager: Pair<secretsmanager::Client>,
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

/// The pair of one SDK crate's clients.
macro_rules! pair {
    ($sdk:ident, $service:expr, $config:expr, $calls:expr, $budget:expr) => {{
        // Of its own: the SDK would let all accounts of a region have one budget of retries.
        let partition = RetryPartition::custom($service).build();
        let conf = |what_for, limit| {
            let buckets = $budget.buckets(stringify!($sdk), what_for, limit);
            let mut conf = $sdk::config::Builder::from($config)
                .interceptor($calls.of($service))
                .interceptor(Slower(buckets.clone()))
                .retry_partition(partition.clone());
            conf.set_http_client($config.http_client().map(|client| limited(client, buckets)));
            conf
        };
        let (reads, writes) = limits($service);
        Pair {
            read: $sdk::Client::from_conf(conf(Use::Read, reads).build()),
            write: $sdk::Client::from_conf(conf(Use::Write, writes).retry_classifier(OnlyThrottled).build()),
        }
    }};
}

impl Clients {
    pub(super) fn new(config: &SdkConfig, calls: &Calls, budget: &Budget<'_>) -> Clients {
        Clients {
            opsworks: pair!(opsworks, service::OPSWORKS, config, calls, budget),
            elb: pair!(elb, service::ELB, config, calls, budget),
            elbv2: pair!(elbv2, service::ELB, config, calls, budget),
            ec2: pair!(ec2, service::EC2, config, calls, budget),
            ecr: pair!(ecr, service::ECR, config, calls, budget),
            rds: pair!(rds, service::RDS, config, calls, budget),
            cloudwatch: pair!(cloudwatch, service::CLOUDWATCH, config, calls, budget),
            ssm: pair!(ssm, service::SSM, config, calls, budget),
            secretsmanager: pair!(secretsmanager, service::SECRETS_MANAGER, config, calls, budget),
        }
    }
}
