//! One entry of `spec.containers`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    cron,
    cursor::Report,
    health, migration,
    node::{Data, Node},
    notify, options,
    quantity::{duration, duration_above_zero},
    value,
};
use crate::spec::{
    Container, Value,
    container::{Deploy, Stop, Way},
    image,
    network::Network,
};

/// How long a replica without a health check must run, where the manifest does not say.
const STARTUP_TIME: Duration = Duration::from_secs(10);
/// How long a container may take to end, where the manifest does not say.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// More replicas than this on one instance are a slip of the finger.
const MAX_REPLICAS: u32 = 1000;
/// The signals that ask a process to end. SIGKILL does not ask.
const SIGNALS: [&str; 8] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "ABRT"];

/// Reads a container. Nothing only when it is not a mapping.
pub(super) fn read(report: &Report<'_>, node: &Node) -> Option<Container> {
    let map = report.map(node, "a container")?;
    let name = map.required("name", name).unwrap_or_default();
    let modes = [("auto", Deploy::Auto), ("manual", Deploy::Manual), ("cron", Deploy::Cron)];
    let deploy = map.optional("deploy", |report, node| report.choice(node, &modes, &[])).unwrap_or(Deploy::Auto);
    let cron = cron::read(&map, deploy);
    let tag = map.optional("tag", Report::word);
    let image = map.required("image", |report, node| {
        let image = report.word(node)?;
        match image::reference(&image, tag.as_deref()) {
            Ok(reference) => Some(reference),
            Err(problem) => report.tell(&node.span, problem, None),
        }
    });
    let ways = [("drain", Way::Drain), ("inPlace", Way::InPlace), ("startFirst", Way::StartFirst)];
    let container = Container {
        name,
        deploy,
        image: image.unwrap_or_default(),
        replicas: match map.optional("replicas", |report, node| report.number(node, 0..=MAX_REPLICAS)) {
            _ if deploy == Deploy::Cron => 0,
            replicas => replicas.unwrap_or(1),
        },
        startup_time: map.optional("startupTime", duration).unwrap_or(STARTUP_TIME),
        health_check: map.optional("healthCheck", health::read),
        stop: map.optional("stop", stop).unwrap_or(Stop { signal: None, timeout: STOP_TIMEOUT }),
        env: map.optional("env", environment).unwrap_or_default(),
        env_from: map.optional("envFrom", Report::word),
        volumes: map.optional("volumes", Report::words).unwrap_or_default(),
        volumes_from: map.optional("volumesFrom", Report::words).unwrap_or_default(),
        links: map.optional("links", Report::words).unwrap_or_default(),
        ports: map.optional("ports", Report::words).unwrap_or_default(),
        hostname: map.optional("hostname", Report::word),
        entrypoint: map.optional("entrypoint", arguments),
        command: map.optional("command", arguments),
        migration: map.optional("migration", migration::read),
        cron,
        traffic: map.optional("traffic", Report::boolean),
        allow_downtime: map.optional("allowDowntime", Report::boolean).unwrap_or_default(),
        strategy: map.optional("strategy", |report, node| report.choice(node, &ways, &[])),
        network: map.optional("network", network),
        database: map.optional("database", Report::boolean).unwrap_or_default().then(Default::default),
        rollbar: map.optional("notifications", notify::of_container).flatten(),
        options: options::read(&map),
    };
    map.finish();
    Some(container)
}

/// Of a container, or of all of an app's that do not choose.
pub(super) fn network(report: &Report<'_>, node: &Node) -> Option<Network> {
    let networks =
        [("bridge", Network::Bridge), ("host", Network::Host), ("none", Network::None), ("app", Network::App)];
    report.choice(node, &networks, &[])
}

fn name(report: &Report<'_>, node: &Node) -> Option<String> {
    let name = report.word(node)?;
    let fine = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        && name.len() <= 60;
    if fine {
        return Some(name);
    }
    let help = Some("at most 60 letters, digits, dots, dashes and underscores, beginning with a letter".to_owned());
    report.tell(&node.span, format!("`{name}` is not the name of a container"), help)
}

/// Names to values; a value may be any scalar and is taken as it was written, or be kept elsewhere.
pub(super) fn environment(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, Value>> {
    report.table(node, "an environment", |report, entry| {
        let key = &entry.key;
        if key.is_empty() || key.chars().any(|c| c == '=' || c.is_whitespace() || c.is_control()) {
            report.tell::<()>(&entry.key_span, format!("`{key}` is not the name of a variable"), None);
        }
        let value = value::value(report, &entry.value)?;
        if value.text().is_some_and(|text| text.contains('\0')) {
            return report.tell(&entry.value.span, "a variable cannot hold a NUL character", None);
        }
        Some(value)
    })
}

/// A string that is split as a shell would, or a list. `%{…}` is filled in after the split.
pub(super) fn arguments(report: &Report<'_>, node: &Node) -> Option<Vec<String>> {
    if let Data::List(items) = &node.data {
        if items.is_empty() {
            return report.tell(&node.span, "must not be empty", None);
        }
        return report.list(node, "arguments", Report::text);
    }
    if matches!(&node.data, Data::Map(_)) {
        return report.expected(node, "a text or a list of arguments");
    }
    let text = report.word(node)?;
    match shell_words::split(&text) {
        Ok(words) if !words.is_empty() => Some(words),
        Ok(_) => report.tell(&node.span, "must not be empty", None),
        Err(_) => {
            let help = Some("close the quote, or give a list of arguments".to_owned());
            report.tell(&node.span, "a quote is opened and not closed", help)
        }
    }
}

fn stop(report: &Report<'_>, node: &Node) -> Option<Stop> {
    let map = report.map(node, "`stop`")?;
    let signal = map.optional("signal", signal);
    let timeout = map.optional("timeout", duration_above_zero).unwrap_or(STOP_TIMEOUT);
    map.finish();
    Some(Stop { signal, timeout })
}

fn signal(report: &Report<'_>, node: &Node) -> Option<String> {
    let text = report.word(node)?;
    let upper = text.to_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = short.strip_prefix("RTMIN+").is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n <= 30));
    if SIGNALS.contains(&short) || real_time {
        return Some(format!("SIG{short}"));
    }
    if matches!(short, "KILL" | "9") {
        let help = Some("the engine kills what has not ended after `timeout`".to_owned());
        return report.tell(&node.span, "SIGKILL leaves no time to finish requests", help);
    }
    let help = Some("signals are given by name: `SIGTERM`, `SIGINT`, `SIGQUIT`, …".to_owned());
    report.tell(&node.span, format!("unknown signal `{text}`"), help)
}
