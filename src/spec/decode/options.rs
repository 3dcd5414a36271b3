//! The keys of a container that are options of `docker run`.

mod limits;
mod system;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr, ops::Range};

use super::{
    cursor::{Map, Report},
    logging,
    node::{Data, Node},
    quantity,
};
use crate::spec::{Options, options::Restart, problem::suggest};

/// What labels of Evenkeel's own begin with.
const OWN_LABELS: &str = "evenkeel.";
/// What `restart` can be.
const RESTARTS: [&str; 4] = ["no", "always", "unless-stopped", "on-failure"];
/// What a tmpfs can be mounted with. Source: `pkg/mount` of the engine, "validFlags" and the data of tmpfs.
const TMPFS: [&str; 25] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
];

/// Reads the options among the keys of a container.
pub(super) fn read(map: &Map<'_>) -> Options {
    let (cap_add, cap_drop) = map.optional("capabilities", system::capabilities).unwrap_or_default();
    Options {
        resources: map.optional("resources", limits::resources).unwrap_or_default(),
        restart: map.optional("restart", restart).flatten(),
        ulimits: map.optional("ulimits", limits::ulimits).unwrap_or_default(),
        cap_add,
        cap_drop,
        privileged: map.optional("privileged", Report::boolean).unwrap_or_default(),
        read_only: map.optional("readOnly", Report::boolean).unwrap_or_default(),
        tmpfs: map.optional("tmpfs", tmpfs).unwrap_or_default(),
        user: map.optional("user", user),
        working_dir: map.optional("workingDir", |report, node| path(report, node, "an absolute path")),
        extra_hosts: map.optional("extraHosts", extra_hosts).unwrap_or_default(),
        dns: map.optional("dns", |report, node| report.list(node, "addresses", address)).unwrap_or_default(),
        shm_size: map.optional("shmSize", quantity::bytes),
        sysctls: map.optional("sysctls", system::sysctls).unwrap_or_default(),
        devices: map
            .optional("devices", |report, node| report.list(node, "devices", system::device))
            .unwrap_or_default(),
        init: map.optional("init", Report::boolean),
        labels: map.optional("labels", labels).unwrap_or_default(),
        logging: map.optional("logging", logging::read),
    }
}

/// The default is given as nothing, so that declaring it changes nothing.
fn restart(report: &Report<'_>, node: &Node) -> Option<Option<Restart>> {
    let text = report.word(node)?;
    match text.as_str() {
        "no" => return Some(Some(Restart::No)),
        "always" => return Some(Some(Restart::Always)),
        "unless-stopped" => return Some(None),
        "on-failure" => return Some(Some(Restart::OnFailure(None))),
        _ => {}
    }
    let Some(times) = text.strip_prefix("on-failure:") else {
        return report.tell(&node.span, format!("`{text}` is no restart policy"), Some(suggest(&text, &RESTARTS)));
    };
    match times.parse::<u32>() {
        Ok(times) if (1..=i32::MAX as u32).contains(&times) => Some(Some(Restart::OnFailure(Some(times)))),
        _ => {
            let help = "write `on-failure:3` for at most three times, or `on-failure` for any number".to_owned();
            report.tell(&node.span, format!("`{times}` is not how often a container can be started again"), Some(help))
        }
    }
}

fn tmpfs(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    let mounts = report.list(node, "paths", |report, node| {
        let text = report.word(node)?;
        let (path, options) = text.split_once(':').unwrap_or((&text, ""));
        if path.len() < 2 || !path.starts_with('/') {
            return report.expected(node, "an absolute path inside the container, like `/run` or `/tmp:size=64m`");
        }
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let key = option.split('=').next().unwrap_or(option);
            word_of(report, &node.span, key, "option of a tmpfs", &TMPFS)?;
        }
        Some((path.to_owned(), options.to_owned()))
    })?;
    once(report, node, mounts.iter().map(|(path, _)| path));
    Some(mounts.into_iter().collect())
}

/// Tells what stands in a list for the second time.
fn once<'v>(report: &Report<'_>, node: &Node, values: impl Iterator<Item = &'v String>) {
    let mut seen = Vec::new();
    for (at, value) in values.enumerate() {
        if seen.contains(&value) {
            report.tell::<()>(&node.at(&at.to_string()).span, format!("`{value}` is given twice"), None);
        }
        seen.push(value);
    }
}

fn user(report: &Report<'_>, node: &Node) -> Option<String> {
    let user = report.word(node)?;
    let parts: Vec<&str> = user.split(':').collect();
    let fine = parts.len() <= 2
        && parts.iter().all(|part| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control()));
    if fine { Some(user) } else { report.expected(node, "a user like `app`, `1000` or `1000:1000`") }
}

fn path(report: &Report<'_>, node: &Node, what: &str) -> Option<String> {
    let path = report.word(node)?;
    if path.starts_with('/') { Some(path) } else { report.expected(node, what) }
}

fn address(report: &Report<'_>, node: &Node) -> Option<String> {
    let text = report.word(node)?;
    match text.parse::<IpAddr>() {
        Ok(_) => Some(text),
        Err(_) => report.expected(node, "an IP address"),
    }
}

/// `["db.internal:10.0.0.5"]`, as `docker run --add-host`, or `{db.internal: 10.0.0.5}`.
fn extra_hosts(report: &Report<'_>, node: &Node) -> Option<Vec<String>> {
    if let Data::Map(_) = &node.data {
        let hosts = report.table(node, "`extraHosts`", |report, entry| {
            let address = report.word(&entry.value)?;
            host(report, &entry.value, &entry.key, &address)
        })?;
        return Some(hosts.into_values().collect());
    }
    report.list(node, "lines of `/etc/hosts`", |report, node| {
        let text = report.word(node)?;
        match text.split_once(':') {
            Some((name, address)) => host(report, node, name, address),
            None => report.expected(node, "a name with its address, `db.internal:10.0.0.5`"),
        }
    })
}

fn host(report: &Report<'_>, node: &Node, name: &str, address: &str) -> Option<String> {
    let fine = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if !fine {
        return report.tell(&node.span, format!("`{name}` is not the name of a host"), None);
    }
    if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
        let help = "an IP address, or `host-gateway` for the instance itself".to_owned();
        return report.tell(&node.span, format!("`{address}` is not an address"), Some(help));
    }
    Some(format!("{name}:{address}"))
}

fn labels(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    report.table(node, "`labels`", |report, entry| {
        let key = entry.key.as_str();
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return report.tell(&entry.key_span, format!("`{key}` is not the name of a label"), None);
        }
        if key.starts_with(OWN_LABELS) {
            let help = "these labels are how Evenkeel knows what is its own: choose another name".to_owned();
            return report.tell(&entry.key_span, format!("a label must not begin with `{OWN_LABELS}`"), Some(help));
        }
        report.text(&entry.value)
    })
}

/// Tells a word that a closed list does not have.
fn word_of(report: &Report<'_>, span: &Range<usize>, word: &str, what: &str, known: &[&str]) -> Option<()> {
    match known.contains(&word) {
        true => Some(()),
        false => report.tell(span, format!("`{word}` is no {what}"), Some(suggest(word, known))),
    }
}
