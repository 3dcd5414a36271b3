//! `healthCheck`.

use std::time::Duration;

use super::{
    container::arguments,
    cursor::{Map, Report},
    node::Node,
    quantity::{duration, duration_above_zero},
};
use crate::spec::{HealthCheck, health::Probe, problem::list};

const EXAMPLES: &str = "write `{http: /up, port: 8080}`, `{tcp: 6379}`, `{unix: /path.sock, http: /up}`, \
    `{exec: \"command\"}` or `{image: true}`";
const FORMS: [&str; 5] = ["http", "tcp", "unix", "exec", "image"];

/// `{http, port}`, `{tcp}`, `{unix, http}`, `{exec}` or `{image: true}`, with times.
pub(super) fn read(report: &Report<'_>, node: &Node) -> Option<HealthCheck> {
    let map = report.map(node, "a health check")?;
    let interval = map.optional("interval", duration_above_zero);
    let timeout = map.optional("timeout", duration_above_zero);
    let retries = map.optional("retries", |report, node| report.number(node, 1..=1000));
    let start_period = map.optional("startPeriod", duration);
    let probe = probe(report, &map);
    map.finish();
    Some(HealthCheck {
        probe: probe?,
        interval: interval.unwrap_or(Duration::from_secs(2)),
        timeout: timeout.unwrap_or(Duration::from_secs(2)),
        retries: retries.unwrap_or(3),
        start_period: start_period.unwrap_or(Duration::from_secs(30)),
    })
}

fn probe(report: &Report<'_>, map: &Map<'_>) -> Option<Probe> {
    let given: Vec<&str> = FORMS.into_iter().filter(|form| map.has(form)).collect();
    map.know(&FORMS);
    match given.as_slice() {
        ["http"] => {
            let (path, port) = (map.required("http", path), map.required("port", Report::port));
            Some(Probe::Http { path: path?, port: port? })
        }
        ["unix"] | ["http", "unix"] => {
            let (path, socket) = (map.required("http", path), map.required("unix", path_of_socket));
            Some(Probe::Unix { path: path?, socket: socket? })
        }
        ["tcp"] => Some(Probe::Tcp { port: map.required("tcp", Report::port)? }),
        ["exec"] => Some(Probe::Exec(map.required("exec", arguments)?)),
        ["image"] => match map.required("image", Report::boolean)? {
            true => Some(Probe::Image),
            false => {
                let help = Some("leave `healthCheck` out instead".to_owned());
                report.tell(map.key_span("image"), "`image: false` checks nothing", help)
            }
        },
        [first, second, ..] => {
            map.know(&["port"]);
            report.tell(map.key_span(second), format!("`{first}` and `{second}` exclude each other"), None)
        }
        _ => {
            map.know(&["port"]);
            let help = Some(EXAMPLES.to_owned());
            report.tell(map.span(), format!("a health check needs one of {}", list(&FORMS)), help)
        }
    }
}

fn path(report: &Report<'_>, node: &Node) -> Option<String> {
    let path = report.word(node)?;
    let fine = path.starts_with('/') && !path.chars().any(|c| c.is_whitespace() || c.is_control());
    if fine { Some(path) } else { report.expected(node, "a path like `/up`") }
}

fn path_of_socket(report: &Report<'_>, node: &Node) -> Option<String> {
    let path = report.word(node)?;
    if path.len() > 1 && path.starts_with('/') {
        Some(path)
    } else {
        report.expected(node, "the absolute path of a socket inside the container")
    }
}
