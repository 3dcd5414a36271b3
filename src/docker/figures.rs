//! What an instance has to do, as its engine tells it.
//!
//! The engine tells of its containers, not of the machine: the processors' time and the memory are those of all of them
//! together, against the machine's. The load average is the machine's own, which every container sees in
//! `/proc/loadavg`; an image without `cat` cannot tell it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bollard::{
    errors::Error,
    models::{ContainerMemoryStats, ContainerStatsResponse, ContainerSummary},
    query_parameters::{ListContainersOptionsBuilder, StatsOptionsBuilder},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    STACK_LABEL, exec,
    transport::{Client, Transport},
    trouble,
};
use crate::{
    action::Node,
    world::{Figures, Trouble},
};

/// How long it may take: the first time the engine measures for a second.
const LIMIT: Duration = Duration::from_secs(20);
/// How many containers are asked about at once.
const AT_ONCE: usize = 8;
/// How many containers are asked for the load average before it counts as not known.
const ASKED: usize = 3;
/// Bytes of a load average that are read at most.
const READ: usize = 1024;
/// What was counted so long ago is of no use.
const OLD: Duration = Duration::from_secs(10 * 60);

/// What the processors had done for each container when it was last asked, by engine.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<BTreeMap<Node, (Instant, Counts)>>);

/// Nanoseconds, and when they were read by the engine's clock, by the container's id.
type Counts = BTreeMap<String, (u64, Timestamp)>;

/// Asks one engine.
pub(super) async fn figures(
    transport: &Transport,
    counted: &Counted,
    node: &Node,
    load: bool,
) -> Result<Figures, Trouble> {
    let before = lock(&counted.0).get(node).filter(|(at, _)| at.elapsed() < OLD).map(|(_, counts)| counts.clone());
    let asked = |client| async move { ask(&client, before, load).await.map_err(|error| trouble::of(node, &error)) };
    let (figures, counts) = transport.within(node, LIMIT, asked).await?;
    let mut counted = lock(&counted.0);
    counted.retain(|_, (at, _)| at.elapsed() < OLD);
    counted.insert(node.clone(), (Instant::now(), counts));
    Ok(figures)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ask(client: &Client, before: Option<Counts>, load: bool) -> Result<(Figures, Counts), Error> {
    let running = ListContainersOptionsBuilder::new().build();
    let (machine, listed) = tokio::try_join!(client.docker.info(), client.docker.list_containers(Some(running)))?;
    // With nothing to compare with, the engine itself compares over a second.
    let options = StatsOptionsBuilder::new().stream(false).one_shot(before.is_some()).build();
    let ids: Vec<String> = listed.iter().filter_map(|container| container.id.clone()).collect();
    let told: Vec<(String, ContainerStatsResponse)> = stream::iter(ids)
        .map(|id| async {
            let mut answers = Box::pin(client.docker.stats(&id, Some(options.clone())));
            let told = answers.next().await.transpose();
            drop(answers);
            match told {
                Ok(told) => Ok(told.map(|told| (id, told))),
                // It has gone meanwhile.
                Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|told| async move { Ok(told) })
        .try_collect()
        .await?;
    let machine = (machine.ncpu.unwrap_or_default(), machine.mem_total.unwrap_or_default());
    let (mut figures, counts) = sums(&told, &before.unwrap_or_default(), machine);
    if load {
        figures.load = load_average(client, &listed).await;
    }
    Ok((figures, counts))
}

/// Percents of a machine with so many processors and bytes.
#[allow(clippy::cast_precision_loss, reason = "percents need no more than 52 bits")]
fn sums(
    told: &[(String, ContainerStatsResponse)],
    before: &Counts,
    (processors, bytes): (i64, i64),
) -> (Figures, Counts) {
    let mut counts = Counts::new();
    let (mut busy, mut used) = (0.0, 0.0);
    let last = before.values().map(|(_, at)| *at).max();
    for (id, stats) in told {
        used += stats.memory_stats.as_ref().map_or(0.0, |memory| in_use(memory) as f64);
        let total = |of: &Option<bollard::models::ContainerCpuStats>| of.as_ref()?.cpu_usage.as_ref()?.total_usage;
        let at = |text: &Option<String>| -> Option<Timestamp> { text.as_deref()?.parse().ok() };
        let (Some(now), Some(read)) = (total(&stats.cpu_stats), at(&stats.read)) else { continue };
        counts.insert(id.clone(), (now, read));
        let measured = total(&stats.precpu_stats).zip(at(&stats.preread)).filter(|(count, _)| *count > 0);
        let earlier = match before.get(id) {
            // Started again, it counts from nothing.
            Some((count, at)) if *count <= now => Some((*count, *at)),
            // All it has done, it has done since the others were asked.
            _ => measured.or(last.map(|at| (0, at))),
        };
        let Some((count, since)) = earlier else { continue };
        let passed = read.duration_since(since).as_nanos();
        if passed > 0 {
            busy += (now.saturating_sub(count)) as f64 / passed as f64;
        }
    }
    let percent = |part: f64, whole: i64| (whole > 0).then(|| (part / whole as f64 * 100.0).clamp(0.0, 100.0));
    let figures = Figures { cpu: percent(busy, processors), memory: percent(used, bytes), ..Figures::default() };
    (figures, counts)
}

/// As `docker stats` has it: without the pages of files that nobody has looked at for a while. Source: "docker container
/// stats" of Docker's reference; the key is another one for each version of cgroups.
fn in_use(memory: &ContainerMemoryStats) -> u64 {
    let stats = memory.stats.as_ref();
    let cache = ["total_inactive_file", "inactive_file"].iter().find_map(|key| stats?.get(*key)).copied();
    memory.usage.unwrap_or_default().saturating_sub(cache.unwrap_or_default())
}

/// The machine's load average of one minute, as a container of ours sees it.
async fn load_average(client: &Client, listed: &[ContainerSummary]) -> Option<f64> {
    let is_ours = |it: &&ContainerSummary| it.labels.as_ref().is_some_and(|labels| labels.contains_key(STACK_LABEL));
    for id in listed.iter().filter(is_ours).filter_map(|it| it.id.as_deref()).take(ASKED) {
        if let Ok(Some(load)) = read_load_average(client, id).await {
            return Some(load);
        }
    }
    None
}

async fn read_load_average(client: &Client, id: &str) -> Result<Option<f64>, Error> {
    let told = exec::answer(client, id, &["cat", "/proc/loadavg"], READ).await?;
    Ok(told.as_deref().and_then(parsed))
}

/// `0.20 0.18 0.12 1/80 11206` (proc_loadavg(5)).
fn parsed(told: &str) -> Option<f64> {
    let mut words = told.split_ascii_whitespace();
    let first: f64 = words.next()?.parse().ok()?;
    (words.count() == 4 && first.is_finite()).then_some(first)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuStats, ContainerCpuUsage};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(id: &str, cpu: u64, read: i64, memory: u64) -> (String, ContainerStatsResponse) {
        let usage = |total| {
            let usage = ContainerCpuUsage { total_usage: Some(total), ..Default::default() };
            Some(ContainerCpuStats { cpu_usage: Some(usage), ..Default::default() })
        };
        let stats = [("inactive_file".to_owned(), 50)].into_iter().collect();
        let memory = ContainerMemoryStats { usage: Some(memory + 50), stats: Some(stats), ..Default::default() };
        let stats = ContainerStatsResponse {
            cpu_stats: usage(cpu),
            precpu_stats: usage(0),
            read: Some(at(read).to_string()),
            preread: Some("0001-01-01T00:00:00Z".to_owned()),
            memory_stats: Some(memory),
            ..Default::default()
        };
        (id.to_owned(), stats)
    }

    #[test]
    fn the_containers_together_are_held_against_the_machine() {
        let (first, before) = sums(&[told("a", SECOND, 100, 100), told("b", 0, 100, 150)], &Counts::new(), (2, 1000));
        assert_eq!((first.cpu, first.memory), (Some(0.0), Some(25.0)));
        // Of 20 processor seconds in 10, `a` took 9 and `b` 3.
        let (figures, _) = sums(&[told("a", 10 * SECOND, 110, 100), told("b", 3 * SECOND, 110, 0)], &before, (2, 1000));
        assert_eq!((figures.cpu, figures.memory), (Some(60.0), Some(10.0)));
    }

    #[test]
    fn what_is_new_or_was_started_again_counts_from_nothing_and_what_has_gone_does_not_count() {
        let (_, before) =
            sums(&[told("a", 50 * SECOND, 100, 0), told("gone", 50 * SECOND, 100, 0)], &Counts::new(), (2, 1));
        let all = [told("a", 4 * SECOND, 110, 0), told("new", SECOND, 110, 0)];
        let (figures, counts) = sums(&all, &before, (2, 1));
        assert_eq!((figures.cpu, counts.len()), (Some(25.0), 2));
    }

    #[test]
    fn with_nothing_before_what_the_engine_measured_itself_counts() {
        let (id, mut first) = told("a", 3 * SECOND, 101, 0);
        first.precpu_stats.as_mut().unwrap().cpu_usage.as_mut().unwrap().total_usage = Some(2 * SECOND);
        first.preread = Some(at(100).to_string());
        assert_eq!(sums(&[(id, first)], &Counts::new(), (2, 1)).0.cpu, Some(50.0));
        // An engine that does not tell how many processors it has tells nothing.
        assert_eq!(sums(&[], &Counts::new(), (0, 0)).0, Figures::default());
        assert_eq!(sums(&[], &Counts::new(), (2, 1)).0.cpu, Some(0.0));
    }

    #[test]
    fn the_load_average_is_the_first_of_five_words() {
        assert_eq!(parsed("0.20 0.18 0.12 1/80 11206\n"), Some(0.2));
        for text in ["", "0.2", "cat: can't open '/proc/loadavg'", "nan 0 0 0 0", "OCI runtime exec failed: exec:"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
