//! Every option that a container can declare, as the engine tells it back, and as a process inside meets it.

use std::collections::BTreeMap;

use evenkeel::{
    action::Run,
    spec::{
        Options,
        options::{Device, Resources, Restart, Ulimit},
    },
    world::Class,
};
use serde_json::{Value, json};

use super::{Corner, OBEDIENT, ground, run};

impl Corner {
    /// `docker inspect`, from outside of Evenkeel.
    pub fn inspect(&self, name: &str) -> Value {
        serde_json::from_str::<Value>(&self.docker(&["inspect", name])).expect("JSON")[0].clone()
    }

    pub fn docker(&self, arguments: &[&str]) -> String {
        let (host, certs) = (format!("tcp://{}", self.node.endpoint), self.shared.certs.display().to_string());
        let [ca, cert, key] = ["ca", "cert", "key"].map(|name| format!("{certs}/{name}.pem"));
        let options = ["-H", &host, "--tlsverify", "--tlscacert", &ca, "--tlscert", &cert, "--tlskey", &key];
        ground::run("docker", &[&options[..], arguments].concat())
    }
}

fn table(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn every_option_reaches_the_engine() {
    let corner = Corner::new("option").await;
    let options = Options {
        resources: Resources {
            memory: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            nano_cpus: Some(500_000_000),
            cpu_shares: Some(512),
            pids: Some(50),
        },
        restart: Some(Restart::OnFailure(Some(3))),
        ulimits: [("nofile".into(), Ulimit { soft: 512, hard: 1024 })].into(),
        cap_add: vec!["CAP_NET_ADMIN".into()],
        cap_drop: vec!["CAP_MKNOD".into()],
        privileged: true,
        read_only: true,
        tmpfs: table(&[("/run", "size=1m")]),
        user: Some("1000:1000".into()),
        working_dir: Some("/tmp".into()),
        extra_hosts: vec!["db:10.0.0.5".into()],
        dns: vec!["10.0.0.2".into()],
        shm_size: Some(2 << 20),
        sysctls: table(&[("net.core.somaxconn", "512")]),
        devices: vec![Device { host: "/dev/null".into(), path: "/dev/nil".into(), permissions: "rw".into() }],
        init: Some(true),
        labels: table(&[("com.example.team", "web")]),
        logging: None,
    };
    corner.create(&Run { options, ..run("option0", OBEDIENT) }).await.unwrap();
    let seen = corner.inspect("option0");
    let host = &seen["HostConfig"];
    for (key, value) in [
        ("Memory", json!(64 << 20)),
        ("MemoryReservation", json!(32 << 20)),
        ("NanoCpus", json!(500_000_000)),
        ("CpuShares", json!(512)),
        ("PidsLimit", json!(50)),
        ("RestartPolicy", json!({"Name": "on-failure", "MaximumRetryCount": 3})),
        ("Ulimits", json!([{"Name": "nofile", "Soft": 512, "Hard": 1024}])),
        ("CapAdd", json!(["CAP_NET_ADMIN"])),
        ("CapDrop", json!(["CAP_MKNOD"])),
        ("Privileged", json!(true)),
        ("ReadonlyRootfs", json!(true)),
        ("Tmpfs", json!({"/run": "size=1m"})),
        ("ExtraHosts", json!(["db:10.0.0.5"])),
        ("Dns", json!(["10.0.0.2"])),
        ("ShmSize", json!(2 << 20)),
        ("Sysctls", json!({"net.core.somaxconn": "512"})),
        ("Devices", json!([{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nil", "CgroupPermissions": "rw"}])),
        ("Init", json!(true)),
    ] {
        assert_eq!(host[key], value, "{key}");
    }
    assert_eq!((&seen["Config"]["User"], &seen["Config"]["WorkingDir"]), (&json!("1000:1000"), &json!("/tmp")));
    let labels = &seen["Config"]["Labels"];
    assert_eq!((&labels["com.example.team"], &labels["evenkeel.stack"]), (&json!("web"), &json!("shop")));
    corner.clear().await;
}

#[tokio::test]
async fn what_is_declared_is_what_a_process_inside_meets() {
    let corner = Corner::new("inside").await;
    let options = Options {
        ulimits: [("nofile".into(), Ulimit { soft: 512, hard: 1024 })].into(),
        cap_drop: vec!["ALL".into()],
        read_only: true,
        tmpfs: table(&[("/scratch", "size=1m,mode=1777")]),
        user: Some("1000:1001".into()),
        working_dir: Some("/etc".into()),
        extra_hosts: vec!["db.internal:10.0.0.5".into()],
        dns: vec!["10.0.0.2".into()],
        shm_size: Some(2 << 20),
        init: Some(true),
        ..Options::default()
    };
    let script = "echo $(id -u):$(id -g) $PWD $(ulimit -n); touch /x 2>&1; touch /scratch/x && echo wrote; \
                  grep db.internal /etc/hosts; grep 10.0.0.2 /etc/resolv.conf; grep CapBnd /proc/self/status; \
                  df -k /dev/shm | tail -n 1 | awk '{print \"shm\", $2}'; echo pid $$; exit 5";
    let inside = Run { options, ..run("inside0", script) };
    corner.launch(&Run { once: true, ..inside }).await;
    let seen = corner.until("inside0", |seen| seen.last_words.is_some()).await;
    let words = seen.last_words.unwrap();
    for said in ["1000:1001 /etc 512", "Read-only file system", "wrote", "10.0.0.5", "nameserver 10.0.0.2", "shm 2048"]
    {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert!(words.contains("CapBnd:\t0000000000000000"), "{words}");
    assert!(!words.contains("pid 1\n") && words.contains("pid "), "an init is process 1: {words}");
    corner.clear().await;
}

#[tokio::test]
async fn one_that_is_always_started_again_stays_down_once_it_was_stopped() {
    let corner = Corner::new("always").await;
    let options = Options { restart: Some(Restart::Always), ..Options::default() };
    let id = corner.launch(&Run { options, ..run("always0", OBEDIENT) }).await;
    assert_eq!(corner.inspect("always0")["HostConfig"]["RestartPolicy"]["Name"], "always");
    corner.stop(&id, None, 5).await.unwrap();
    let policy = corner.inspect("always0")["HostConfig"]["RestartPolicy"]["Name"].clone();
    assert_eq!(policy, "unless-stopped", "with `always` it would come back with the engine, beside its successor");
    corner.clear().await;
}

#[tokio::test]
async fn what_the_engine_refuses_is_told_with_the_container_and_in_its_words() {
    let corner = Corner::new("refuse").await;
    let resources = Resources { memory: Some(1 << 20), ..Resources::default() };
    let options = Options { resources, ..Options::default() };
    let refused = corner.create(&Run { options, ..run("refuse0", OBEDIENT) }).await.unwrap_err();
    assert_eq!(refused.class, Class::Terminal);
    assert!(refused.message.starts_with("cannot create refuse0 on docker1: "), "{refused:?}");
    assert!(refused.message.contains("memory"), "{refused:?}");
}
