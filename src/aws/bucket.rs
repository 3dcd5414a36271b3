//! How many requests are sent, at most: well below what AWS allows an account, whose other users want to go on too.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use aws_smithy_types::retry::ErrorKind;
use tokio::time::Instant;

use super::service;

/// The longest that a request waits for its turn; well within the time that one attempt has.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// A client that sends no more than allowed, retries included.
pub(super) fn limited(inner: SharedHttpClient, limit: Limit) -> SharedHttpClient {
    let buckets = Arc::new(Buckets { limit, all: Mutex::default() });
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

/// In its header in the JSON protocols, at the beginning of the body in the query protocols.
fn operation(request: &HttpRequest) -> String {
    if let Some((_, operation)) = request.headers().get("x-amz-target").and_then(|target| target.rsplit_once('.')) {
        return operation.to_owned();
    }
    let body = request.body().bytes().and_then(|bytes| bytes.strip_prefix(b"Action="));
    let name = body.and_then(|rest| rest.split(|byte| *byte == b'&').next()).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[derive(Debug)]
struct Buckets {
    limit: Limit,
    all: Mutex<BTreeMap<String, Bucket>>,
}

/// As full as it was at a moment; below zero, so many wait for their turn.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    /// When the request may be sent.
    fn turn(&self, operation: &str, now: Instant) -> Result<Instant, Full> {
        let Limit { burst, per_second, each } = self.limit;
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if each { operation } else { "" };
        let bucket = all.entry(key.to_owned()).or_insert(Bucket { tokens: burst, at: now });
        let filled = bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * per_second;
        *bucket = Bucket { tokens: filled.min(burst), at: now };
        let wait = Duration::from_secs_f64((1.0 - bucket.tokens).max(0.0) / per_second);
        if wait > PATIENCE {
            let operation = if each { operation.to_owned() } else { "requests".to_owned() };
            return Err(Full { operation, per_second, waiting: wait.as_secs() });
        }
        bucket.tokens -= 1.0;
        Ok(now + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_A_SECOND: Limit = Limit { burst: 3.0, per_second: 2.0, each: true };

    fn buckets(limit: Limit) -> Buckets {
        Buckets { limit, all: Mutex::default() }
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

    #[test]
    fn the_operation_is_told_by_header_or_body() {
        let mut json = HttpRequest::empty();
        json.headers_mut().insert("x-amz-target", "AmazonSSM.GetParameters");
        assert_eq!(operation(&json), "GetParameters");
        let query = HttpRequest::new("Action=RunInstances&Version=2016-11-15".into());
        assert_eq!(operation(&query), "RunInstances");
        assert_eq!(operation(&HttpRequest::empty()), "");
    }
}
