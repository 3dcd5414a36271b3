//! `healthCheck`.

use std::time::Duration;

use super::{
    container::arguments,
    cursor::{Map, Report},
    node::{Data, Node},
    quantity::{duration, duration_above_zero},
};
use crate::spec::{
    HealthCheck,
    health::{Probe, Statuses},
    problem::list,
};

const EXAMPLES: &str = "write `{http: /up, port: 8080}`, `{tcp: 6379}`, `{unix: /path.sock, http: /up}`, \
    `{exec: \"command\"}` or `{image: true}`";
const FORMS: [&str; 5] = ["http", "tcp", "unix", "exec", "image"];

/// `{http, port, status}`, `{tcp}`, `{unix, http, status}`, `{exec}` or `{image: true}`, with times.
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
            let status = map.optional("status", statuses).unwrap_or_default();
            Some(Probe::Http { path: path?, port: port?, status })
        }
        ["unix"] | ["http", "unix"] => {
            let (path, socket) = (map.required("http", path), map.required("unix", path_of_socket));
            let status = map.optional("status", statuses).unwrap_or_default();
            Some(Probe::Unix { path: path?, socket: socket?, status })
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
            map.know(&["port", "status"]);
            report.tell(map.key_span(second), format!("`{first}` and `{second}` exclude each other"), None)
        }
        _ => {
            map.know(&["port", "status"]);
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

/// One status code, a range of them, or a list of both.
fn statuses(report: &Report<'_>, node: &Node) -> Option<Statuses> {
    let ranges = match &node.data {
        Data::List(items) if items.is_empty() => return report.tell(&node.span, "must not be empty", None),
        Data::List(_) => report.list(node, "status codes", status)?,
        _ => vec![status(report, node)?],
    };
    Some(Statuses(ranges))
}

fn status(report: &Report<'_>, node: &Node) -> Option<(u16, u16)> {
    let Data::Scalar { text, .. } = &node.data else { return report.expected(node, "a status code like `200`") };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Some((first, last)),
        _ => {
            let help = Some("status codes are 100 to 599: `200`, `200-399` or `[200, 401]`".to_owned());
            report.tell(&node.span, format!("`{text}` is no status code and no range of them"), help)
        }
    }
}
