//! `kind: App`.

use std::collections::BTreeMap;

use super::{
    container,
    cursor::Report,
    logging,
    node::{Data, Node},
    notify,
    quantity::{duration, duration_above_zero},
    registry, value,
};
use crate::spec::{
    App, Reference, Rollout, Value,
    data_source::{DataSource, database_instance},
    network::Network,
    rollout::{OnFailure, Share},
};

/// Reads `spec`; what is wrong is told, and left at a default.
pub(super) fn read(report: &Report<'_>, name: String, spec: Option<&Node>) -> App {
    let mut app = App {
        name,
        stack: String::new(),
        layer: String::new(),
        environment: BTreeMap::new(),
        data_source: None,
        data_volumes: BTreeMap::new(),
        logging: None,
        network: Network::default(),
        registries: BTreeMap::new(),
        webhook: None,
        rollout: Rollout::default(),
        containers: Vec::new(),
    };
    let Some(map) = spec.and_then(|spec| report.map(spec, "an app's `spec`")) else { return app };
    app.stack = map.required("stack", Report::word).unwrap_or_default();
    app.layer = map.required("layer", Report::word).unwrap_or_default();
    app.environment = map.optional("environment", environment).unwrap_or_default();
    app.data_source = map.optional("dataSource", data_source).flatten();
    app.data_volumes = map.optional("dataVolumes", data_volumes).unwrap_or_default();
    app.registries = map.optional("registries", registry::of_app).unwrap_or_default();
    app.logging = map.optional("logging", logging::read);
    app.network = map.optional("network", container::network).unwrap_or_default();
    app.webhook = map.optional("notifications", notify::of_app).flatten();
    app.rollout = map.optional("rollout", rollout).unwrap_or_default();
    app.containers =
        map.optional("containers", |report, node| report.list(node, "containers", container::read)).unwrap_or_default();
    if let Some(variables) = app.data_source.as_ref().and_then(DataSource::variables) {
        for database in app.containers.iter_mut().filter_map(|container| container.database.as_mut()) {
            database.clone_from(&variables);
        }
    }
    map.finish();
    app
}

/// Every variable as it stands: OpsWorks keeps them, and no container gets them.
fn environment(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    let values = container::environment(report, node)?;
    let texts = values.into_iter().filter_map(|(name, value)| match value {
        Value::Text(text) => Some((name, text)),
        Value::Reference(_) => {
            let help = "give it in `env` of the containers: what stands here reaches none of them".to_owned();
            let span = &node.at(&name).span;
            report.tell(span, "an app's `environment` takes no value by reference", Some(help))
        }
    });
    Some(texts.collect())
}

/// `{rds: …, database: …}`, `{opsworks: true, database: …}` or `none`.
fn data_source(report: &Report<'_>, node: &Node) -> Option<Option<DataSource>> {
    if matches!(&node.data, Data::Scalar { text, .. } if text == "none") {
        return Some(None);
    }
    let map = report.map(node, "`dataSource`")?;
    let database = map.optional("database", Report::word);
    if map.has("opsworks") {
        let own = map.optional("opsworks", Report::boolean);
        if map.has("rds") {
            report.tell::<()>(map.key_span("rds"), "`rds` and `opsworks` exclude each other", None);
        }
        map.know(&["rds"]);
        map.finish();
        return match own? {
            true => Some(Some(DataSource::Opsworks { database })),
            false => Some(None),
        };
    }
    let instance = map.required("rds", |report, node| {
        let rds = report.word(node)?;
        match database_instance(&rds) {
            Ok(_) => Some(rds),
            Err(problem) => report.tell(&node.span, format!("`{rds}` {problem}"), None),
        }
    });
    let username = map.optional("username", registry::word);
    let password = map.optional("password", password);
    map.know(&["opsworks"]);
    map.finish();
    Some(Some(DataSource::Rds { instance: instance?, database, username, password }))
}

fn password(report: &Report<'_>, node: &Node) -> Option<Reference> {
    match value::value(report, node)? {
        Value::Reference(reference) => Some(reference),
        Value::Text(_) => {
            let help =
                "put it into Parameter Store or Secrets Manager, and refer to it: `password: {ssm: /path}`".to_owned();
            report.tell(&node.span, "a database's password does not stand in a manifest", Some(help))
        }
    }
}

fn data_volumes(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, Vec<String>>> {
    report.table(node, "`dataVolumes`", |report, entry| {
        let fine = entry.key.starts_with(|c: char| c.is_ascii_alphanumeric())
            && entry.key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !fine {
            report.tell::<()>(&entry.key_span, format!("`{}` is not the name of a data volume", entry.key), None);
        }
        let paths = report.list(&entry.value, "paths", |report, node| {
            let path = report.word(node)?;
            if path.len() > 1 && path.starts_with('/') && !path.contains(':') {
                Some(path)
            } else {
                report.expected(node, "an absolute path inside the container")
            }
        })?;
        if let Some((at, path)) = paths.iter().enumerate().find(|(at, path)| paths[..*at].contains(path)) {
            report.tell::<()>(&entry.value.at(&at.to_string()).span, format!("`{path}` is given twice"), None);
        }
        Some(paths)
    })
}

fn rollout(report: &Report<'_>, node: &Node) -> Option<Rollout> {
    let map = report.map(node, "`rollout`")?;
    let default = Rollout::default();
    let on_failure = [("rollback", OnFailure::Rollback), ("pause", OnFailure::Pause)];
    let stay = map.optional("minInService", |report, node| amount(report, node, 0)).unwrap_or_default();
    let leave = map.optional("maxUnavailable", |report, node| amount(report, node, 1)).unwrap_or_default();
    let rollout = Rollout {
        min_in_service: stay.number.unwrap_or(default.min_in_service),
        max_unavailable: leave.number.unwrap_or(default.max_unavailable),
        share: Share { min_in_service: stay.percent, max_unavailable: leave.percent },
        drain_timeout: map.optional("drainTimeout", duration_above_zero).unwrap_or(default.drain_timeout),
        settle: map.optional("settle", duration).unwrap_or(default.settle),
        soak: map.optional("soak", duration).unwrap_or(default.soak),
        progress_deadline: map.optional("progressDeadline", duration_above_zero).unwrap_or(default.progress_deadline),
        surge: map.optional("surge", Report::boolean).unwrap_or(default.surge),
        on_failure: map
            .optional("onFailure", |report, node| report.choice(node, &on_failure, &[]))
            .unwrap_or(default.on_failure),
    };
    map.finish();
    Some(rollout)
}

/// A number of instances, or a percentage of the layer's.
#[derive(Default)]
struct Amount {
    number: Option<u32>,
    percent: Option<u32>,
}

fn amount(report: &Report<'_>, node: &Node, least: u32) -> Option<Amount> {
    let Data::Scalar { text, .. } = &node.data else { return report.expected(node, "a number like `1`, or `25%`") };
    let Some(percent) = text.strip_suffix('%') else {
        return report.number(node, least..=1000).map(|number| Amount { number: Some(number), percent: None });
    };
    match percent.trim_end().parse::<u32>() {
        Ok(percent) if (least..=100).contains(&percent) => Some(Amount { number: None, percent: Some(percent) }),
        _ => report.tell(&node.span, format!("`{text}` is out of range: {least}% to 100% are allowed"), None),
    }
}
