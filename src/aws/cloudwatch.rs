//! How busy processors are, as the hypervisor sees it: `CPUUtilization` in the namespace `AWS/EC2`, which CloudWatch has of
//! every instance ("CloudWatch metrics that are available for your instances", EC2 User Guide).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy},
};
use futures_util::future::try_join_all;

use super::{Aws, place::Place, service, trouble};
use crate::{
    spec::{Stack, scaling::POINT_GOOD_FOR},
    world::{Figures, Trouble},
};

/// How many metrics one request may ask for ("GetMetricData", CloudWatch API reference).
const AT_ONCE: usize = 500;
/// Seconds that one value is of. A point is new every minute, or every five without detailed monitoring: by the minute each
/// is told as it is, at its own time, with nothing averaged into it that is still to come.
const PERIOD: i32 = 60;
/// More pages than there can be: each tells of one metric at least.
const PAGES: usize = AT_ONCE + 1;

impl Aws {
    /// The last point of each instance, in the stack's account and region; one without a point is not told of. One request
    /// for [`AT_ONCE`] of them, which is paid by the metric asked for ("Amazon CloudWatch Pricing").
    ///
    /// # Errors
    /// When it cannot be told.
    pub(super) async fn metered(
        &self,
        stack: &Stack,
        ec2_ids: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Figures>, Trouble> {
        let ids: Vec<&String> = ec2_ids.iter().collect();
        let told = try_join_all(ids.chunks(AT_ONCE).map(|ids| self.points(stack, ids))).await?;
        Ok(told.into_iter().flatten().collect())
    }

    async fn points(&self, stack: &Stack, ids: &[&String]) -> Result<BTreeMap<String, Figures>, Trouble> {
        let on = format!("CPUUtilization of {} instances of stack {}", ids.len(), stack.name);
        let region = stack.region.as_str();
        let call = trouble::Call { service: service::CLOUDWATCH, operation: "GetMetricData", on: &on, region };
        let clients = self.clients(Place::from(stack)).await;
        let (from, to) = span(SystemTime::now());
        let request = clients.cloudwatch.read.get_metric_data();
        let request = request.start_time(from).end_time(to).scan_by(ScanBy::TimestampDescending);
        let request = request.set_metric_data_queries(Some(ids.iter().enumerate().map(query).collect()));
        let (mut points, mut next) = (BTreeMap::new(), None);
        for _ in 0..PAGES {
            let answer = call.answered(request.clone().set_next_token(next).send().await)?;
            for result in answer.metric_data_results() {
                let Some(id) = result.id().and_then(|name| name.get(1..)?.parse::<usize>().ok()) else { continue };
                // What comes later of the same metric is older.
                if let (Some(id), Some(figures)) = (ids.get(id), last(result, SystemTime::now())) {
                    points.entry((*id).clone()).or_insert(figures);
                }
            }
            next = answer.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(points);
            }
        }
        Err(call.lacks("last page"))
    }
}

/// What can still count. It begins with a minute, for which alone an answer has whole ones ("GetMetricData": times that are
/// aligned with the period are told faster too).
fn span(now: SystemTime) -> (DateTime, DateTime) {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let period = PERIOD.unsigned_abs().into();
    let end = seconds.next_multiple_of(period);
    let begin = end.saturating_sub(POINT_GOOD_FOR.as_secs() + u64::from(PERIOD.unsigned_abs()));
    let at = |seconds: u64| DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    (at(begin), at(end))
}

/// Names of queries begin with a lower-case letter.
fn query((index, id): (usize, &&String)) -> MetricDataQuery {
    let dimension = Dimension::builder().name("InstanceId").value(*id).build();
    let metric = Metric::builder().namespace("AWS/EC2").metric_name("CPUUtilization").dimensions(dimension).build();
    let stat = MetricStat::builder().metric(metric).period(PERIOD).stat("Average").build();
    MetricDataQuery::builder().id(format!("i{index}")).metric_stat(stat).build()
}

/// The newest value, whichever comes first, and how old it is.
fn last(result: &MetricDataResult, now: SystemTime) -> Option<Figures> {
    let points = result.timestamps().iter().zip(result.values());
    let (at, value) = points.filter(|(_, value)| value.is_finite()).max_by_key(|(at, _)| at.as_nanos())?;
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.secs()).ok()?);
    let age = now.duration_since(at).unwrap_or_default();
    Some(Figures { cpu: Some(value.clamp(0.0, 100.0)), age, ..Figures::default() })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use aws_smithy_cbor::Encoder;

    use super::*;
    use crate::{
        aws::testing::{serve, shop},
        world::Class,
    };

    /// What CloudWatch answers: each query with its points, minutes ago and percent.
    fn answer(results: &[(&str, &[(u64, f64)])], next: Option<&str>) -> Vec<u8> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut to = Encoder::new(Vec::new());
        to.begin_map();
        to.str("MetricDataResults").array(results.len());
        for (id, points) in results {
            to.begin_map();
            to.str("Id").str(id).str("StatusCode").str("Complete");
            to.str("Timestamps").array(points.len());
            for (minutes, _) in *points {
                to.timestamp(&DateTime::from_secs(i64::try_from(now - minutes * 60).unwrap()));
            }
            to.str("Values").array(points.len());
            for (_, value) in *points {
                to.double(*value);
            }
            to.end();
        }
        if let Some(next) = next {
            to.str("NextToken").str(next);
        }
        to.end();
        to.into_writer()
    }

    fn ids(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[tokio::test]
    async fn one_request_asks_for_all_and_the_newest_point_of_each_counts_with_its_age() {
        let aws = serve(|request| {
            for part in ["CPUUtilization", "AWS/EC2", "InstanceId", "i-a", "i-b", "i-c", "Average"] {
                assert!(request.contains(part), "{part}: {request}");
            }
            (200, answer(&[("i0", &[(3, 40.0), (8, 90.0)]), ("i1", &[(9, 5.0), (4, 6.5)]), ("i2", &[])], None))
        })
        .await;
        let told = aws.metered(&shop(), &ids(&["i-a", "i-b", "i-c"])).await.unwrap();
        let cpu: Vec<_> = told.iter().map(|(id, figures)| (id.as_str(), figures.cpu.unwrap())).collect();
        assert_eq!(cpu, [("i-a", 40.0), ("i-b", 6.5)], "who has no point is unknown, and not idle");
        assert!((175..185).contains(&told["i-a"].age.as_secs()), "{:?}", told["i-a"].age);
        assert_eq!(aws.calls()["cloudwatch.GetMetricData"], 1);
    }

    #[tokio::test]
    async fn pages_are_followed_and_a_later_page_of_the_same_instance_is_older() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let aws = serve(move |request| match count.fetch_add(1, Ordering::SeqCst) {
            0 => (200, answer(&[("i0", &[(2, 10.0)])], Some("more"))),
            _ => {
                assert!(request.contains("more"), "{request}");
                (200, answer(&[("i0", &[(7, 20.0)]), ("i1", &[(2, 30.0)])], None))
            }
        })
        .await;
        let told = aws.metered(&shop(), &ids(&["i-a", "i-b"])).await.unwrap();
        assert_eq!((told["i-a"].cpu, told["i-b"].cpu), (Some(10.0), Some(30.0)));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn no_request_asks_for_more_than_five_hundred() {
        let aws = serve(|_| (200, answer(&[("i0", &[(2, 10.0)])], None))).await;
        let many: BTreeSet<String> = (0..501).map(|number| format!("i-{number:03}")).collect();
        let told = aws.metered(&shop(), &many).await.unwrap();
        let told: Vec<String> = told.into_keys().collect();
        assert_eq!((told.join(" "), aws.calls()["cloudwatch.GetMetricData"]), ("i-000 i-500".to_owned(), 2));
    }

    #[tokio::test]
    async fn who_may_not_ask_is_told_what_to_allow() {
        let aws = serve(|_| {
            let mut to = Encoder::new(Vec::new());
            to.begin_map();
            to.str("__type").str("com.amazon.coral.service#AccessDeniedException").str("message").str("no").end();
            (400, to.into_writer())
        })
        .await;
        let trouble = aws.metered(&shop(), &ids(&["i-a"])).await.unwrap_err();
        assert_eq!(trouble.class, Class::Terminal);
        let said = "allow cloudwatch:GetMetricData to the controller's role";
        assert!(trouble.message.ends_with(said), "{}", trouble.message);
    }

    #[test]
    fn times_are_whole_minutes_and_reach_back_as_far_as_a_point_can_count() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let (from, to) = span(at(100_000));
        assert_eq!((from.secs() % 60, to.secs()), (0, 100_020));
        assert!(from.secs() <= 100_000 - 15 * 60);
    }
}
