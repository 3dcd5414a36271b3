//! `deploy: cron`, and what stands beside it.

use super::{
    cursor::{Map, Report},
    node::{Data, Node},
    quantity::duration_above_zero,
};
use crate::spec::{
    container::Deploy,
    cron::{Concurrency, History, Job, RunOn, STARTING_DEADLINE, Schedule, TIMEOUT, Wrong},
};

/// What is said of a job, and means nothing to a service.
const OF_JOBS: [&str; 7] = ["cron", "timeZone", "runOn", "concurrency", "startingDeadline", "timeout", "history"];
/// What is said of a service, and means nothing to a job, with the reason.
const OF_SERVICES: [(&str, &str); 9] = [
    ("replicas", "one container is run at a time; `runOn: everyInstance` runs one on each instance"),
    ("startupTime", "a run is over when it ends, and nothing waits for it to be up"),
    ("healthCheck", "a run is over when it ends: its exit code tells how it went"),
    ("migration", "it belongs to the container whose release it comes before"),
    ("ports", "nothing is sent to what is not always there"),
    ("traffic", "nothing is sent to what is not always there"),
    ("allowDowntime", "nothing that runs is replaced: the next run has the new release"),
    ("strategy", "nothing that runs is replaced: the next run has the new release"),
    ("restart", "a run that failed is not started again: the next one is at its time"),
];
/// Fewer than runs are on record (`store`): which of them may go is told by how they went.
const MOST_KEPT: u32 = 10;

/// Reads when a container is run by the clock; nothing for a service. What does not belong to the one or the other is
/// told.
pub(super) fn read(map: &Map<'_>, deploy: Deploy) -> Option<Job> {
    if deploy != Deploy::Cron {
        map.know(&OF_JOBS);
        if let Some(key) = OF_JOBS.iter().find(|key| map.has(key)) {
            let help = "add `deploy: cron` to have the container run by the clock, and not as a service".to_owned();
            map.refuse(key, format!("`{key}` means nothing without `deploy: cron`"), help);
        }
        return None;
    }
    for (key, why) in OF_SERVICES.iter().filter(|(key, _)| map.has(key)) {
        map.refuse(key, format!("`{key}` means nothing with `deploy: cron`"), format!("leave it out: {why}"));
    }
    if !map.has("cron") {
        let help = "write when it is run, like `cron: \"0 3 * * *\"` (minute, hour, day, month, weekday)".to_owned();
        map.refuse("deploy", "a container with `deploy: cron` needs `cron`".to_owned(), help);
    }
    let zone = map.optional("timeZone", |report, node| {
        let zone = report.word(node)?;
        // Any schedule will do to see whether there is such a zone.
        match Schedule::parse("* * * * *", &zone) {
            Ok(_) => Some(zone),
            Err(Wrong { message, help }) => report.tell(&node.span, message, help),
        }
    });
    let zone = zone.unwrap_or_else(|| "UTC".to_owned());
    let schedule = map.optional("cron", |report, node| schedule(report, node, &zone));
    let run_on = [("oneInstance", RunOn::OneInstance), ("everyInstance", RunOn::EveryInstance)];
    let concurrency =
        [("Forbid", Concurrency::Forbid), ("Allow", Concurrency::Allow), ("Replace", Concurrency::Replace)];
    let run_on = map.optional("runOn", |report, node| report.choice(node, &run_on, &[]));
    let concurrency = map.optional("concurrency", |report, node| report.choice(node, &concurrency, &[]));
    let starting_deadline = map.optional("startingDeadline", duration_above_zero).unwrap_or(STARTING_DEADLINE);
    let timeout = map.optional("timeout", duration_above_zero).unwrap_or(TIMEOUT);
    let history = map.optional("history", history).unwrap_or_default();
    Some(Job {
        schedule: schedule?,
        run_on: run_on.unwrap_or(RunOn::OneInstance),
        concurrency: concurrency.unwrap_or(Concurrency::Forbid),
        starting_deadline,
        timeout,
        history,
    })
}

/// Five fields, or `{minute, hour, weekday}`.
fn schedule(report: &Report<'_>, node: &Node, zone: &str) -> Option<Schedule> {
    if !matches!(&node.data, Data::Map(_)) {
        let text = report.word(node)?;
        return told(report, node, Schedule::parse(&text, zone));
    }
    let map = report.map(node, "`cron`")?;
    let mut fields = Vec::new();
    for (key, before) in [("minute", ""), ("hour", "* "), ("weekday", "* * * * ")] {
        let field = map.optional(key, |report, node| {
            let field = report.word(node)?;
            if field.contains(char::is_whitespace) {
                let help = "a text has all five fields: `cron: \"0 3 * * *\"`".to_owned();
                return report.tell(&node.span, format!("`{field}` is more than one field"), Some(help));
            }
            let after = "* ".repeat(4 - before.matches('*').count());
            told(report, node, Schedule::parse(format!("{before}{field} {after}").trim(), zone))?;
            Some(field)
        });
        fields.push(if map.has(key) { field? } else { "*".to_owned() });
    }
    map.finish();
    told(report, node, Schedule::parse(&format!("{} {} * * {}", fields[0], fields[1], fields[2]), zone))
}

fn told(report: &Report<'_>, node: &Node, read: Result<Schedule, Wrong>) -> Option<Schedule> {
    read.map_or_else(|Wrong { message, help }| report.tell(&node.span, message, help), Some)
}

fn history(report: &Report<'_>, node: &Node) -> Option<History> {
    let map = report.map(node, "`history`")?;
    let kept = |report: &Report<'_>, node: &Node| report.number(node, 0..=MOST_KEPT);
    let default = History::default();
    let succeeded = map.optional("succeeded", kept).unwrap_or(default.succeeded);
    let failed = map.optional("failed", kept).unwrap_or(default.failed);
    map.finish();
    Some(History { succeeded, failed })
}
