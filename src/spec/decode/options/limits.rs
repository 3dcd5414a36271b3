//! `resources` and `ulimits`.

use std::collections::BTreeMap;

use super::word_of;
use crate::spec::{
    decode::{
        cursor::Report,
        node::{Data, Node},
        quantity::bytes,
    },
    options::{Resources, Ulimit},
};

/// Docker refuses a container that may use less. Source: the engine's "Minimum memory limit allowed is 6MB".
const LEAST_MEMORY: u64 = 6 * 1024 * 1024;
/// Docker's least share of a CPU, in billionths. Source: "range of CPUs is from 0.01 to …".
const LEAST_CPU: u64 = 10_000_000;
/// No instance has more CPUs.
const MOST_CPU: u64 = 4_096_000_000_000;
/// The kernel's range of `cpu.shares`.
const SHARES: std::ops::RangeInclusive<u32> = 2..=262_144;
/// The kernel's most processes (`PID_MAX_LIMIT`).
const MOST_PIDS: u32 = 4_194_304;
/// What a limit can be of. Source: `getrlimit(2)`, as `docker run --ulimit` calls them.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

pub(super) fn resources(report: &Report<'_>, node: &Node) -> Option<Resources> {
    let map = report.map(node, "`resources`")?;
    let resources = Resources {
        memory: map.optional("memory", memory),
        memory_reservation: map.optional("memoryReservation", memory),
        nano_cpus: map.optional("cpus", cpus),
        cpu_shares: map.optional("cpuShares", |report, node| report.number(node, SHARES)),
        pids: map.optional("pids", |report, node| report.number(node, 1..=MOST_PIDS)),
    };
    if let (Some(limit), Some(reserved)) = (resources.memory, resources.memory_reservation)
        && reserved > limit
    {
        let help = "`memory` is the most that the container may ever use".to_owned();
        report.tell::<()>(map.key_span("memoryReservation"), "it is more than `memory`", Some(help));
    }
    map.finish();
    Some(resources)
}

fn memory(report: &Report<'_>, node: &Node) -> Option<u64> {
    let size = bytes(report, node)?;
    if size < LEAST_MEMORY {
        let message = format!("{size} bytes are too few for a container: Docker's minimum is 6MiB");
        return report.tell(&node.span, message, None);
    }
    Some(size)
}

/// `2`, `0.5`: billionths of a CPU.
fn cpus(report: &Report<'_>, node: &Node) -> Option<u64> {
    let Data::Scalar { text, .. } = &node.data else { return report.expected(node, "a number of CPUs like `0.5`") };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let nano = || {
        let whole = whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
        whole.checked_add(format!("{part:0<9}").parse().ok()?)
    };
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return report.expected(node, "a number of CPUs like `0.5`");
    }
    match nano().filter(|nano| (LEAST_CPU..=MOST_CPU).contains(nano)) {
        Some(nano) => Some(nano),
        None => report.tell(&node.span, format!("`{text}` is out of range: 0.01 to 4096 CPUs are allowed"), None),
    }
}

/// `{nofile: 65536, nproc: {soft: 1024, hard: 2048}}`.
pub(super) fn ulimits(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, Ulimit>> {
    report.table(node, "`ulimits`", |report, entry| {
        word_of(report, &entry.key_span, &entry.key, "limit", &ULIMITS)?;
        let node = &entry.value;
        let Data::Map(_) = &node.data else {
            return limit(report, node).map(|both| Ulimit { soft: both, hard: both });
        };
        let map = report.map(node, "a limit")?;
        let (soft, hard) = (map.required("soft", limit), map.required("hard", limit));
        map.finish();
        let (soft, hard) = (soft?, hard?);
        if hard != -1 && (soft == -1 || soft > hard) {
            let help = "a process may raise the soft limit up to the hard one".to_owned();
            return report.tell(map.key_span("soft"), "`soft` is more than `hard`", Some(help));
        }
        Some(Ulimit { soft, hard })
    })
}

fn limit(report: &Report<'_>, node: &Node) -> Option<i64> {
    match &node.data {
        Data::Scalar { text, plain: true } => match text.parse::<i64>() {
            Ok(limit) if limit >= -1 => Some(limit),
            _ => report.expected(node, "a whole number, or -1 for no limit"),
        },
        _ => report.expected(node, "a whole number, or -1 for no limit"),
    }
}
