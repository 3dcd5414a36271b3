//! Docker: installed, configured, started.

use serde_json::{Value, json};

use crate::{impatient, machine::Machine, script};

const DROP_IN: &str = "etc/systemd/system/docker.service.d/evenkeel.conf";

#[test]
fn each_distribution_installs_docker_its_own_way_and_its_unit_loses_its_hosts() {
    for (distribution, install, start) in [
        (
            "amzn",
            "dnf install -y docker\n",
            "/usr/bin/dockerd --containerd=/run/containerd/containerd.sock $OPTIONS $DOCKER_STORAGE_OPTIONS $DOCKER_ADD_RUNTIMES",
        ),
        (
            "ubuntu",
            "apt-get -q -y -o DPkg::Lock::Timeout=120 install docker.io\n",
            "/usr/bin/dockerd --containerd=/run/containerd/containerd.sock",
        ),
        (
            "debian",
            "apt-get -q -y -o DPkg::Lock::Timeout=120 install docker.io\n",
            "/usr/sbin/dockerd --containerd=/run/containerd/containerd.sock $DOCKER_OPTS",
        ),
    ] {
        let machine = Machine::of(distribution);
        // Somebody else installs something at first, as unattended upgrades do.
        machine.put("run/locked", "");
        machine.joins(&script(&[]));
        assert!(machine.calls().contains(install), "{distribution}: {}", machine.calls());
        let unit = machine.read(DROP_IN);
        assert_eq!(unit, format!("[Unit]\n[Service]\nExecStart=\nExecStart={start}\n"), "{distribution}");
        let calls = machine.calls();
        let at = |call: &str| calls.find(call).unwrap_or_else(|| panic!("no {call} in {calls}"));
        assert!(at("daemon-reload") < at("restart docker.service"), "{calls}");
        assert!(calls.contains("systemctl enable docker.service\n"), "{calls}");
    }
}

#[test]
fn another_distribution_is_refused_by_name_unless_docker_is_there() {
    let said = Machine::of("arch").fails(&script(&[]), "docker");
    assert!(said.contains("'arch '") && said.contains("Amazon Linux 2023, Ubuntu or Debian"), "{said}");

    let machine = Machine::of("arch");
    machine.put("local/sbin/dockerd", "");
    assert_eq!(machine.run(&script(&[]), "chmod +x /usr/local/sbin/dockerd; user_data").code, Some(0));
}

#[test]
fn a_package_manager_that_keeps_failing_is_quoted() {
    let machine = Machine::of("ubuntu");
    machine.put("run/locked", "");
    let said = machine.fails(&impatient(&script(&[])), "docker");
    assert!(said.contains("Could not get lock") && said.contains("gave up after 0 s: apt-get"), "{said}");
}

#[test]
fn the_settings_of_the_ami_stay_and_ours_are_added() {
    let machine = Machine::new();
    machine.put(
        "etc/docker/daemon.json",
        r#"{"bip": "10.9.0.1/16", "hosts": ["tcp://0.0.0.0:2375"], "log-opts": {"max-size": "1g", "compress": "false"}}"#,
    );
    machine.joins(&script(&[]));
    let settings: Value = serde_json::from_str(&machine.read("etc/docker/daemon.json")).unwrap();
    let expected = json!({
        "bip": "10.9.0.1/16",
        "hosts": ["unix:///var/run/docker.sock"],
        "live-restore": true,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "5", "compress": "false"},
    });
    assert_eq!(settings, expected);

    let machine = Machine::new();
    machine.put("etc/docker/daemon.json", r#"{"log-driver": "awslogs", "log-opts": {"awslogs-group": "shop"}}"#);
    machine.joins(&script(&[]));
    let settings: Value = serde_json::from_str(&machine.read("etc/docker/daemon.json")).unwrap();
    assert_eq!(settings["log-opts"], json!({"max-size": "10m", "max-file": "5"}), "json-file refuses other options");

    let machine = Machine::new();
    machine.put("etc/docker/daemon.json", "{bip:");
    let said = machine.fails(&script(&[]), "configuration");
    assert!(said.contains("/etc/docker/daemon.json of the AMI is not JSON"), "{said}");
    assert_eq!(machine.read("etc/docker/daemon.json"), "{bip:");
}

#[test]
fn a_second_run_restarts_nothing_and_another_configuration_does() {
    let other = "sed -i s/log_max_size=10m/log_max_size=20m/ /run/user-data";
    for (commands, restarts) in
        [("user_data && user_data".to_owned(), 1), (format!("user_data && {other} && user_data && user_data"), 2)]
    {
        let machine = Machine::new();
        assert_eq!(machine.run(&script(&[]), &commands).code, Some(0), "{}", machine.log());
        assert_eq!(machine.calls().matches("restart docker.service").count(), restarts, "{commands}");
        let unit = machine.read(DROP_IN);
        assert_eq!(unit.matches("ExecStart=/usr/sbin/dockerd --containerd").count(), 1, "{unit}");
    }
}

#[test]
fn an_engine_that_does_not_start_is_quoted() {
    let machine = Machine::new();
    machine.put("run/broken", "");
    machine.put("run/journal", "failed to start daemon: Unable to get the TempDir under /var/lib/docker\n");
    let said = machine.fails(&script(&[]), "engine");
    assert!(said.contains("failed to start daemon: Unable to get the TempDir"), "{said}");
}

#[test]
fn the_hostname_is_set_and_can_be_resolved() {
    let machine = Machine::new();
    machine.put("etc/cloud/cloud.cfg.d/05.cfg", "");
    let ran = machine.run(&script(&[]), "user_data && user_data >/dev/null && hostname");
    assert!(ran.stdout.ends_with("\ndocker1\n"), "{}{}", ran.stdout, machine.log());
    assert_eq!(machine.read("etc/hostname"), "docker1\n");
    assert_eq!(machine.read("etc/hosts"), "127.0.0.1 localhost\n127.0.1.1 docker1\n");
    assert_eq!(machine.read("etc/cloud/cloud.cfg.d/99-evenkeel.cfg"), "preserve_hostname: true\n");
}

#[test]
fn whoever_logs_in_by_ssh_may_use_the_engine() {
    let machine = Machine::new();
    let ran = machine.run(&script(&[]), "user_data >/dev/null && user_data >/dev/null && id -nG admin");
    assert!(ran.stdout.split_whitespace().any(|group| group == "docker"), "{}{}", ran.stdout, machine.log());

    let nobody = "sed -i /^admin:/d /etc/passwd; ";
    let machine = Machine::new();
    let ran = machine.run(&script(&[]), &format!("{nobody} user_data"));
    assert!(ran.stdout.contains("FAILED at access: nobody can log in by ssh"), "{}", ran.stdout);

    let root = "mkdir /root/.ssh; echo ssh-ed25519 AAAA >/root/.ssh/authorized_keys; ";
    let ran = machine.run(&script(&[]), &format!("{nobody} {root} user_data"));
    assert_eq!(ran.code, Some(0), "{}", machine.log());
}
