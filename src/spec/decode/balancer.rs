//! `loadBalancers`.

use std::time::Duration;

use super::{
    cursor::{Map, Report},
    node::Node,
    quantity::{duration, duration_above_zero},
};
use crate::spec::{
    balancer::{BalancerCheck, BalancerKind, Listener, LoadBalancer, OwnedBalancer},
    problem::list,
};

const FORMS: [&str; 4] = ["classic", "targetGroup", "application", "network"];

/// A load balancer that is joined, or one that is made.
pub(super) enum Declared {
    Joined(LoadBalancer),
    Owned(Box<OwnedBalancer>),
}

/// `{classic: NAME}` and `{targetGroup: NAME|ARN, port: 80}` exist already; with `listeners`, `classic`,
/// `application` and `network` are made.
pub(super) fn read(report: &Report<'_>, node: &Node) -> Option<Declared> {
    let map = report.map(node, "a load balancer")?;
    let given: Vec<&str> = FORMS.into_iter().filter(|form| map.has(form)).collect();
    map.know(&FORMS);
    let declared = match given.as_slice() {
        ["targetGroup"] => {
            let port = map.optional("port", Report::port);
            map.required("targetGroup", group).map(|group| Declared::Joined(LoadBalancer::target_group(group, port)))
        }
        ["classic"] if !map.has("listeners") => {
            map.required("classic", name).map(|name| Declared::Joined(LoadBalancer::Classic(name)))
        }
        ["classic"] => owned(report, &map, "classic", BalancerKind::Classic),
        ["application"] => owned(report, &map, "application", BalancerKind::Application),
        ["network"] => owned(report, &map, "network", BalancerKind::Network),
        [first, second, ..] => {
            report.tell(map.key_span(second), format!("`{first}` and `{second}` exclude each other"), None)
        }
        _ => report.tell(map.span(), format!("a load balancer needs one of {}", list(&FORMS)), None),
    };
    map.finish();
    declared
}

fn name(report: &Report<'_>, node: &Node) -> Option<String> {
    let name = report.word(node)?;
    let fine = name.len() <= 32
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fine {
        return Some(name);
    }
    let help = Some("at most 32 letters, digits and dashes; it is the name, not the DNS name".to_owned());
    report.tell(&node.span, format!("`{name}` is not the name of a load balancer"), help)
}

fn group(report: &Report<'_>, node: &Node) -> Option<String> {
    let group = report.word(node)?;
    let is_arn = group.starts_with("arn:") && group.contains(":targetgroup/");
    if is_arn {
        return Some(group);
    }
    name(report, node)
}

fn owned(report: &Report<'_>, map: &Map<'_>, form: &'static str, kind: BalancerKind) -> Option<Declared> {
    let balancer_name = map.required(form, |report, node| {
        let name = name(report, node)?;
        // Target groups are called after the balancer and a port, and have 32 characters at most themselves.
        if kind != BalancerKind::Classic && name.len() > 26 {
            return report.tell(
                &node.span,
                "a load balancer that Evenkeel makes has a name of at most 26 characters",
                None,
            );
        }
        Some(name)
    });
    let listeners = map.required("listeners", |report, node| {
        report.list(node, "listeners", |report, node| listener(report, node, kind))
    });
    let health_check = map.optional("healthCheck", |report, node| check(report, node, kind));
    let draining = map.optional("draining", |report, node| {
        let draining = duration(report, node)?;
        // "The range is 0-3600 seconds" (deregistration delay); classic connection draining has 1 to 3,600.
        let least = Duration::from_secs(if kind == BalancerKind::Classic { 1 } else { 0 });
        if draining >= least && draining <= Duration::from_secs(3600) {
            Some(draining)
        } else {
            report.tell(&node.span, "a load balancer drains for an hour at most", None)
        }
    });
    let internal = map.optional("internal", Report::boolean).unwrap_or_default();
    let subnet_ids = map.optional("subnetIds", Report::words).unwrap_or_default();
    let security_group_ids = map.optional("securityGroupIds", Report::words).unwrap_or_default();
    if kind == BalancerKind::Network && !security_group_ids.is_empty() {
        let help = Some("leave it out; what a client may reach is decided by the instances' own groups".to_owned());
        report.tell::<()>(
            map.key_span("securityGroupIds"),
            "a network load balancer gets no security groups here",
            help,
        );
    }
    let listeners = listeners?;
    if listeners.is_empty() {
        return report.tell(map.key_span("listeners"), "a load balancer needs at least one listener", None);
    }
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    ports.sort_unstable();
    if let Some(twice) = ports.windows(2).find(|pair| pair[0] == pair[1]) {
        return report.tell(map.key_span("listeners"), format!("port {} has two listeners", twice[0]), None);
    }
    // A target group speaks one protocol, and there is one for each port of the instances.
    let of_group = |listener: &Listener| (listener.instance_port, listener.instance_protocol.clone());
    let told = listeners.iter().map(of_group).collect::<std::collections::BTreeMap<_, _>>();
    let other = listeners.iter().find(|one| told.get(&one.instance_port) != Some(&one.instance_protocol));
    if let Some(other) = other.filter(|_| kind != BalancerKind::Classic) {
        return report.tell(
            map.key_span("listeners"),
            format!("port {} of the instances has two instanceProtocols", other.instance_port),
            Some("give the listeners that forward to it the same one, or another port".to_owned()),
        );
    }
    Some(Declared::Owned(Box::new(OwnedBalancer {
        name: balancer_name?,
        kind,
        internal,
        subnet_ids,
        security_group_ids,
        listeners,
        health_check: health_check.unwrap_or(default_check(kind)),
        draining: draining.unwrap_or(Duration::from_secs(300)),
    })))
}

fn listener(report: &Report<'_>, node: &Node, kind: BalancerKind) -> Option<Listener> {
    let map = report.map(node, "a listener")?;
    let (outside, inside): (&[&'static str], &[&'static str]) = match kind {
        BalancerKind::Classic => (&["HTTP", "HTTPS", "TCP", "SSL"], &["HTTP", "HTTPS", "TCP", "SSL"]),
        BalancerKind::Application => (&["HTTP", "HTTPS"], &["HTTP", "HTTPS"]),
        BalancerKind::Network => (&["TCP", "TLS"], &["TCP", "TLS"]),
    };
    let choices = |words: &[&'static str]| words.iter().map(|word| (*word, *word)).collect::<Vec<_>>();
    let first = if kind == BalancerKind::Network { "TCP" } else { "HTTP" };
    let port = map.required("port", Report::port);
    let protocol =
        map.optional("protocol", |report, node| report.choice(node, &choices(outside), &[])).unwrap_or(first);
    let instance_port = map.optional("instancePort", Report::port).or(port);
    let plain = match protocol {
        "HTTPS" => "HTTP",
        "SSL" | "TLS" => "TCP",
        plain => plain,
    };
    let instance_protocol =
        map.optional("instanceProtocol", |report, node| report.choice(node, &choices(inside), &[])).unwrap_or(plain);
    let certificate_arn = map.optional("certificateArn", Report::word);
    map.finish();
    let secure = matches!(protocol, "HTTPS" | "SSL" | "TLS");
    match (&certificate_arn, secure) {
        (None, true) => report.tell::<()>(map.span(), format!("a listener of {protocol} needs `certificateArn`"), None),
        (Some(_), false) => report.tell::<()>(
            map.key_span("certificateArn"),
            format!("a listener of {protocol} takes no certificate"),
            None,
        ),
        _ => None,
    };
    Some(Listener {
        port: port?,
        protocol: protocol.to_owned(),
        instance_port: instance_port?,
        instance_protocol: instance_protocol.to_owned(),
        certificate_arn,
    })
}

/// AWS's own defaults, but faster: an instance that was put back should not wait for minutes.
fn default_check(kind: BalancerKind) -> BalancerCheck {
    let path = (kind != BalancerKind::Network).then(|| "/".to_owned());
    let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(5));
    BalancerCheck { path, port: None, interval, timeout, healthy: 2, unhealthy: 2 }
}

fn check(report: &Report<'_>, node: &Node, kind: BalancerKind) -> Option<BalancerCheck> {
    let map = report.map(node, "a load balancer's health check")?;
    let defaults = default_check(kind);
    let path = map.optional("http", |report, node| {
        let path = report.word(node)?;
        if path.starts_with('/') { Some(path) } else { report.expected(node, "a path like `/up`") }
    });
    let tcp = map.optional("tcp", Report::boolean).unwrap_or_default();
    let port = map.optional("port", Report::port);
    let interval = map.optional("interval", duration_above_zero).unwrap_or(defaults.interval);
    let timeout = map.optional("timeout", duration_above_zero).unwrap_or(defaults.timeout);
    let healthy = map.optional("healthy", |report, node| report.number(node, 2..=10)).unwrap_or(defaults.healthy);
    let unhealthy = map.optional("unhealthy", |report, node| report.number(node, 2..=10)).unwrap_or(defaults.unhealthy);
    map.finish();
    if interval < Duration::from_secs(5) || interval > Duration::from_secs(300) {
        return report.tell(map.key_span("interval"), "a load balancer checks every 5s to 300s", None);
    }
    if timeout < Duration::from_secs(2) || timeout >= interval {
        return report.tell(
            map.key_span("timeout"),
            "a check's timeout has 2s at least, and less than its interval",
            None,
        );
    }
    if tcp && path.is_some() {
        return report.tell(map.key_span("tcp"), "`http` and `tcp` exclude each other", None);
    }
    let path = if tcp { None } else { path.or(defaults.path) };
    Some(BalancerCheck { path, port, interval, timeout, healthy, unhealthy })
}
