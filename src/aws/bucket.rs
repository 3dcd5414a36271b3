//! How many requests are sent, at most: well below what AWS allows an account, whose other users want to go on too.
//!
//! When AWS says all the same that it is too much, the pace of that API is halved, and comes back within seconds once
//! AWS says so no more. The SDK's own adaptive retry is not used: at so few requests a minute as are sent here it held
//! looks back for half a minute and more each, long after a burst of throttling was over.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        interceptors::{Intercept, context::FinalizerInterceptorContextRef},
        orchestrator::{HttpRequest, HttpResponse, Metadata},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{config_bag::ConfigBag, retry::ErrorKind};
use tokio::time::Instant;

use super::service;

/// The longest that a request waits for its turn; well within the time that one attempt has.
const PATIENCE: Duration = Duration::from_secs(5);
/// The slowest pace, as a part of the full one.
const SLOWEST: f64 = 1.0 / 8.0;
/// How long it takes from standstill to the full pace.
const RECOVERY: Duration = Duration::from_secs(20);

/// A token bucket, as AWS itself counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// So many at once,
    pub burst: f64,
    /// and then so many a second.
    pub per_second: f64,
    /// Each operation has a bucket of its own.
    pub each: bool,
}

/// What of a service's requests look, and what change something.
///
/// EC2 allows each operation that looks 100 at once and 20 a second, most others 50 and 5, RunInstances 5 and 2
/// ("Request throttling for the Amazon EC2 API"); Elastic Load Balancing 40 and 10 to all that looks, 20 and 3 to 4 to
/// what changes ("Request throttling for the ELB API"); Systems Manager at least 40 GetParameters and 3 PutParameter a
/// second ("AWS Systems Manager endpoints and quotas"). OpsWorks tells no numbers.
pub(super) fn limits(service: &str) -> (Limit, Limit) {
    let each = |burst, per_second| Limit { burst, per_second, each: true };
    let together = |burst, per_second| Limit { burst, per_second, each: false };
    match service {
        service::EC2 => (each(20.0, 5.0), each(5.0, 1.0)),
        service::ELB => (together(30.0, 8.0), together(15.0, 3.0)),
        service::SSM => (each(10.0, 5.0), each(3.0, 1.0)),
        _ => (each(20.0, 5.0), each(10.0, 2.0)),
    }
}

/// Nothing was sent: too many others wait for their turn.
#[derive(Debug, thiserror::Error)]
#[error("{waiting} s of requests wait for their turn (at most {per_second} {operation} a second are sent)")]
pub(super) struct Full {
    operation: String,
    per_second: f64,
    waiting: u64,
}

/// A client that sends no more than allowed, retries included; [`Slower`] with the same buckets tells it when that is
/// too much still.
pub(super) fn limited(inner: SharedHttpClient, buckets: Arc<Buckets>) -> SharedHttpClient {
    http_client_fn(move |settings, components| {
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(Limited { inner, buckets: buckets.clone() })
    })
}

#[derive(Debug)]
struct Limited {
    inner: SharedHttpConnector,
    buckets: Arc<Buckets>,
}

impl HttpConnector for Limited {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let turn = self.buckets.turn(&operation(&request), Instant::now());
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            match turn {
                Ok(at) => tokio::time::sleep_until(at).await,
                Err(full) => return Err(ConnectorError::other(full.into(), Some(ErrorKind::ThrottlingError))),
            }
            inner.call(request).await
        })
    }
}

/// In its header in the JSON protocols, at the beginning of the body in the query protocols, at the end of the path in
/// Smithy's protocol for CBOR.
fn operation(request: &HttpRequest) -> String {
    if let Some((_, operation)) = request.uri().rsplit_once("/operation/") {
        return operation.to_owned();
    }
    if let Some((_, operation)) = request.headers().get("x-amz-target").and_then(|target| target.rsplit_once('.')) {
        return operation.to_owned();
    }
    let body = request.body().bytes().and_then(|bytes| bytes.strip_prefix(b"Action="));
    let name = body.and_then(|rest| rest.split(|byte| *byte == b'&').next()).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Hears AWS say that it is too much.
#[derive(Debug)]
pub(super) struct Slower(pub(super) Arc<Buckets>);

impl Intercept for Slower {
    fn name(&self) -> &'static str {
        "Slower"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().is_some_and(throttles) {
            let operation = config.load::<Metadata>().map_or("", Metadata::name);
            self.0.slow(operation, Instant::now());
        }
        Ok(())
    }
}

/// Whether an answer is one of the errors by which AWS asks for fewer requests ("Common errors" of the API references).
fn throttles(response: &HttpResponse) -> bool {
    let body = response.body().bytes().unwrap_or_default();
    let says = |word: &str| body.windows(word.len()).any(|part| part == word.as_bytes());
    response.status().as_u16() >= 400 && ["Throttl", "RequestLimitExceeded", "TooManyRequests"].into_iter().any(says)
}

/// The buckets of one client.
#[derive(Debug)]
pub(super) struct Buckets {
    limit: Limit,
    all: Mutex<BTreeMap<String, Bucket>>,
}

/// As full as it was at a moment; below zero, so many wait for their turn.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    /// How fast it fills, as a part of what the limit says.
    pace: f64,
    at: Instant,
}

impl Bucket {
    /// As it is now.
    fn now(&mut self, limit: Limit, now: Instant) {
        let passed = now.duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * limit.per_second * self.pace).min(limit.burst);
        self.pace = (self.pace + passed / RECOVERY.as_secs_f64()).min(1.0);
        self.at = now;
    }
}

impl Buckets {
    pub(super) fn new(limit: Limit) -> Arc<Buckets> {
        Arc::new(Buckets { limit, all: Mutex::default() })
    }

    #[cfg(test)]
    pub(super) fn left(&self, operation: &str) -> f64 {
        self.with(operation, Instant::now(), |bucket| bucket.tokens)
    }

    #[cfg(test)]
    pub(super) fn pace(&self, operation: &str) -> f64 {
        self.with(operation, Instant::now(), |bucket| bucket.pace)
    }

    /// Nothing more at once of what AWS has too much of, and half as many a second.
    fn slow(&self, operation: &str, now: Instant) {
        self.with(operation, now, |bucket| {
            bucket.tokens = bucket.tokens.min(0.0);
            bucket.pace = (bucket.pace / 2.0).max(SLOWEST);
        });
    }

    fn with<T>(&self, operation: &str, now: Instant, work: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if self.limit.each { operation } else { "" };
        let full = || Bucket { tokens: self.limit.burst, pace: 1.0, at: now };
        let bucket = all.entry(key.to_owned()).or_insert_with(full);
        bucket.now(self.limit, now);
        work(bucket)
    }

    /// When the request may be sent.
    fn turn(&self, operation: &str, now: Instant) -> Result<Instant, Full> {
        self.with(operation, now, |bucket| {
            let per_second = self.limit.per_second * bucket.pace;
            let wait = Duration::from_secs_f64((1.0 - bucket.tokens).max(0.0) / per_second);
            if wait > PATIENCE {
                let operation = if self.limit.each { operation.to_owned() } else { "requests".to_owned() };
                return Err(Full { operation, per_second, waiting: wait.as_secs() });
            }
            bucket.tokens -= 1.0;
            Ok(now + wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_opsworks::operation::create_stack::CreateStackError;
    use aws_smithy_runtime_api::client::result::SdkError;

    use super::*;
    use crate::{aws::trouble::Call, world::Class};

    const TWO_A_SECOND: Limit = Limit { burst: 3.0, per_second: 2.0, each: true };

    fn buckets(limit: Limit) -> Arc<Buckets> {
        Buckets::new(limit)
    }

    fn waits(buckets: &Buckets, operation: &str, now: Instant) -> u128 {
        buckets.turn(operation, now).unwrap().duration_since(now).as_millis()
    }

    #[test]
    fn a_burst_goes_at_once_and_the_others_one_after_the_other() {
        let (buckets, now) = (buckets(TWO_A_SECOND), Instant::now());
        let waited: Vec<_> = (0..6).map(|_| waits(&buckets, "DescribeInstances", now)).collect();
        assert_eq!(waited, [0, 0, 0, 500, 1000, 1500]);
        assert_eq!(waits(&buckets, "DescribeVolumes", now), 0, "of its own");
        let later = now + Duration::from_secs(60);
        let waited: Vec<_> = (0..4).map(|_| waits(&buckets, "DescribeInstances", later)).collect();
        assert_eq!(waited, [0, 0, 0, 500], "never fuller than full");
    }

    #[test]
    fn operations_may_have_one_bucket_together() {
        let (buckets, now) = (buckets(Limit { each: false, ..TWO_A_SECOND }), Instant::now());
        for operation in ["DescribeTargetHealth", "DescribeTargetGroups", "DescribeListeners"] {
            assert_eq!(waits(&buckets, operation, now), 0);
        }
        assert_eq!(waits(&buckets, "DescribeTags", now), 500);
    }

    #[test]
    fn whoever_would_wait_too_long_is_sent_away_and_takes_nobodys_turn() {
        let (buckets, now) = (buckets(TWO_A_SECOND), Instant::now());
        let sent = (0..100).filter(|_| buckets.turn("RunInstances", now).is_ok()).count();
        assert_eq!(sent, 13, "3 at once and 2 for each of 5 seconds");
        let full = buckets.turn("RunInstances", now).unwrap_err().to_string();
        assert!(full.contains("RunInstances"), "{full}");
        assert_eq!(waits(&buckets, "RunInstances", now + Duration::from_secs(1)), 4500);
    }

    #[tokio::test]
    async fn what_is_sent_away_is_told_as_never_sent_and_as_throttled() {
        let buckets = buckets(Limit { burst: 0.0, ..TWO_A_SECOND });
        while buckets.turn("CreateStack", Instant::now()).is_ok() {}
        let never = SharedHttpConnector::new(NeverCalled);
        let mut request = HttpRequest::empty();
        request.headers_mut().insert("x-amz-target", "OpsWorks_20130218.CreateStack");
        let error = Limited { inner: never, buckets }.call(request).await.unwrap_err();
        let failed = SdkError::<CreateStackError, HttpResponse>::dispatch_failure(error);
        let call = Call { service: service::OPSWORKS, operation: "CreateStack", on: "stack shop", region: "eu-west-1" };
        let trouble = call.failed(&failed);
        assert_eq!(trouble.class, Class::Throttled, "nothing is unknown of what was never sent");
        for said in ["held back here", "2 CreateStack a second", "nothing was sent"] {
            assert!(trouble.message.contains(said), "{}", trouble.message);
        }
    }

    #[derive(Debug)]
    struct NeverCalled;

    impl HttpConnector for NeverCalled {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            panic!("nothing may be sent")
        }
    }

    #[test]
    fn what_aws_has_too_much_of_is_sent_more_slowly_and_soon_as_fast_as_before() {
        let (buckets, now) = (buckets(TWO_A_SECOND), Instant::now());
        buckets.slow("DescribeInstances", now);
        assert_eq!(waits(&buckets, "DescribeInstances", now), 1000, "half as fast, and nothing at once");
        assert_eq!(waits(&buckets, "DescribeVolumes", now), 0, "of its own");
        for _ in 0..9 {
            buckets.slow("DescribeInstances", now);
        }
        let slowest = waits(&buckets, "DescribeInstances", now + Duration::from_secs(4));
        assert!(slowest < PATIENCE.as_millis(), "never so slow that nothing is sent: {slowest} ms");
        let later = now + Duration::from_secs(4) + 2 * RECOVERY;
        let waited: Vec<_> = (0..5).map(|_| waits(&buckets, "DescribeInstances", later)).collect();
        assert_eq!(waited, [0, 0, 0, 500, 1000]);
    }

    #[test]
    fn an_answer_that_asks_for_fewer_requests_is_known_by_its_error() {
        let answer = |status: u16, body: &'static str| {
            HttpResponse::new(status.try_into().unwrap(), aws_smithy_types::body::SdkBody::from(body))
        };
        assert!(throttles(&answer(503, "<Response><Errors><Error><Code>RequestLimitExceeded</Code></Error></Errors>")));
        assert!(throttles(&answer(400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#)));
        assert!(!throttles(&answer(400, r#"{"__type":"ValidationException"}"#)));
        assert!(!throttles(&answer(200, "<name>Throttle</name>")));
    }

    #[test]
    fn the_operation_is_told_by_header_or_body() {
        let mut json = HttpRequest::empty();
        json.headers_mut().insert("x-amz-target", "AmazonSSM.GetParameters");
        assert_eq!(operation(&json), "GetParameters");
        let query = HttpRequest::new("Action=RunInstances&Version=2016-11-15".into());
        assert_eq!(operation(&query), "RunInstances");
        let mut cbor = HttpRequest::empty();
        cbor.set_uri("https://monitoring.eu-west-1.amazonaws.com/service/Granite/operation/GetMetricData").unwrap();
        assert_eq!(operation(&cbor), "GetMetricData");
        assert_eq!(operation(&HttpRequest::empty()), "");
    }
}
