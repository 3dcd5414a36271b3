//! What reaches into the host's kernel: capabilities, kernel parameters, devices.

use std::collections::BTreeMap;

use super::word_of;
use crate::spec::{
    decode::{cursor::Report, node::Node},
    options::Device,
};

/// Source: `capabilities(7)`.
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
/// Kernel parameters beside `net.*` and `fs.mqueue.*` that a container has to itself. Source: "Configure namespaced
/// kernel parameters (sysctls) at runtime" in the reference of `docker run`.
const KERNEL: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// `{add: [NET_ADMIN], drop: [ALL]}`: both lists, as the engine calls them.
pub(super) fn capabilities(report: &Report<'_>, node: &Node) -> Option<(Vec<String>, Vec<String>)> {
    let map = report.map(node, "`capabilities`")?;
    let list = |key| {
        map.optional(key, |report: &Report<'_>, node| report.list(node, "capabilities", capability)).unwrap_or_default()
    };
    let (add, drop) = (list("add"), list("drop"));
    if let Some(both) = add.iter().find(|name| drop.contains(name)) {
        report.tell::<()>(map.key_span("drop"), format!("`{both}` is both added and dropped"), None);
    }
    map.finish();
    Some((add, drop))
}

fn capability(report: &Report<'_>, node: &Node) -> Option<String> {
    let text = report.word(node)?.to_uppercase();
    let name = text.strip_prefix("CAP_").unwrap_or(&text);
    word_of(report, &node.span, name, "capability", &CAPABILITIES)?;
    // `ALL` is no capability and has no prefix.
    Some(if name == "ALL" { name.to_owned() } else { format!("CAP_{name}") })
}

pub(super) fn sysctls(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    report.table(node, "`sysctls`", |report, entry| {
        let key = entry.key.as_str();
        if !key.starts_with("net.") && !key.starts_with("fs.mqueue.") && !KERNEL.contains(&key) {
            let help =
                "a container has `net.*`, `fs.mqueue.*`, `kernel.msg*`, `kernel.sem` and `kernel.shm*` to itself; \
                        others are the instance's, and are set there"
                    .to_owned();
            return report.tell(&entry.key_span, format!("`{key}` is not a container's own"), Some(help));
        }
        report.word(&entry.value)
    })
}

/// `/dev/fuse`, `/dev/sda:/dev/xvda`, `/dev/snd:/dev/snd:rw`, as `docker run --device`.
pub(super) fn device(report: &Report<'_>, node: &Node) -> Option<Device> {
    let text = report.word(node)?;
    let parts: Vec<&str> = text.split(':').collect();
    let is_permission = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| "rwm".contains(c))
            && text.chars().all(|c| text.matches(c).count() == 1)
    };
    let (host, path, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, permissions] if is_permission(permissions) => (host, host, permissions),
        [host, path] => (host, path, "rwm"),
        [host, path, permissions] if is_permission(permissions) => (host, path, permissions),
        _ => ("", "", ""),
    };
    if !host.starts_with('/') || !path.starts_with('/') {
        return report.expected(node, "a device like `/dev/fuse`, `/dev/a:/dev/b` or `/dev/a:/dev/b:rwm`");
    }
    Some(Device { host: host.to_owned(), path: path.to_owned(), permissions: permissions.to_owned() })
}
