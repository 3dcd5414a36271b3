//! A container's options in the words of the Engine API.

use std::collections::BTreeMap;

use bollard::models::{DeviceMapping, HostConfig, HostConfigLogConfig, ResourcesUlimits};

use crate::spec::{
    Options,
    logging::Logging,
    options::{Device, Ulimit},
};

/// What is not declared is left to the engine.
pub(super) fn host_config(options: &Options) -> HostConfig {
    let resources = &options.resources;
    HostConfig {
        memory: resources.memory.map(bytes),
        memory_reservation: resources.memory_reservation.map(bytes),
        nano_cpus: resources.nano_cpus.map(bytes),
        cpu_shares: resources.cpu_shares.map(i64::from),
        pids_limit: resources.pids.map(i64::from),
        ulimits: some(options.ulimits.iter().map(ulimit).collect()),
        cap_add: some(options.cap_add.clone()),
        cap_drop: some(options.cap_drop.clone()),
        privileged: Some(true).filter(|_| options.privileged),
        readonly_rootfs: Some(true).filter(|_| options.read_only),
        tmpfs: table(&options.tmpfs),
        extra_hosts: some(options.extra_hosts.clone()),
        dns: some(options.dns.clone()),
        shm_size: options.shm_size.map(bytes),
        sysctls: table(&options.sysctls),
        devices: some(options.devices.iter().map(device).collect()),
        init: options.init,
        log_config: options.logging.as_ref().map(log_config),
        ..HostConfig::default()
    }
}

/// What is read of a manifest fits; what did not would be as good as no limit.
fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn table<M: FromIterator<(String, String)>>(values: &BTreeMap<String, String>) -> Option<M> {
    let owned = || values.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    (!values.is_empty()).then(owned)
}

fn log_config(logging: &Logging) -> HostConfigLogConfig {
    HostConfigLogConfig { typ: Some(logging.driver.clone()), config: table(&logging.options) }
}

fn ulimit((name, limit): (&String, &Ulimit)) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.clone()), soft: Some(limit.soft), hard: Some(limit.hard) }
}

fn device(device: &Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.path.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    }
}

pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::options::Resources;

    #[test]
    fn nothing_is_said_of_what_is_not_declared() {
        assert_eq!(host_config(&Options::default()), HostConfig::default());
    }

    #[test]
    fn every_option_arrives_in_the_engine_s_own_form() {
        let pair = |a: &str, b: &str| BTreeMap::from([(a.to_owned(), b.to_owned())]);
        let options = Options {
            resources: Resources {
                memory: Some(64 << 20),
                memory_reservation: Some(32 << 20),
                nano_cpus: Some(500_000_000),
                cpu_shares: Some(512),
                pids: Some(100),
            },
            ulimits: [("nofile".into(), Ulimit { soft: 1024, hard: -1 })].into(),
            cap_add: vec!["CAP_NET_ADMIN".into()],
            cap_drop: vec!["ALL".into()],
            privileged: true,
            read_only: true,
            tmpfs: pair("/run", "size=1m"),
            extra_hosts: vec!["db:10.0.0.5".into()],
            dns: vec!["10.0.0.2".into()],
            shm_size: Some(1 << 20),
            sysctls: pair("net.core.somaxconn", "512"),
            devices: vec![Device { host: "/dev/a".into(), path: "/dev/b".into(), permissions: "rw".into() }],
            init: Some(false),
            logging: Some(Logging { driver: "syslog".into(), options: pair("tag", "web0") }),
            ..Options::default()
        };
        assert_eq!(
            serde_json::to_value(host_config(&options)).unwrap(),
            json!({
                "Memory": 67_108_864, "MemoryReservation": 33_554_432, "NanoCpus": 500_000_000, "CpuShares": 512,
                "PidsLimit": 100, "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": -1}],
                "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["ALL"], "Privileged": true, "ReadonlyRootfs": true,
                "Tmpfs": {"/run": "size=1m"}, "ExtraHosts": ["db:10.0.0.5"], "Dns": ["10.0.0.2"],
                "ShmSize": 1_048_576, "Sysctls": {"net.core.somaxconn": "512"}, "Init": false,
                "LogConfig": {"Type": "syslog", "Config": {"tag": "web0"}},
                "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rw"}],
            })
        );
    }
}
