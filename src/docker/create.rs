//! From a [`Run`] to what the Engine API is told.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, Mount, MountType, MountVolumeOptions, NetworkingConfig,
    PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use super::{health, options, options::some};
use crate::{
    action::{DataMount, Port, Run},
    secret::Secret,
    spec::{network::Joined, options::Restart},
};

/// The body of `POST /containers/create`.
pub(super) fn body(run: &Run, secrets: &BTreeMap<String, Secret>) -> ContainerCreateBody {
    ContainerCreateBody {
        hostname: Some(run.hostname.clone()),
        image: Some(run.image.clone()),
        env: Some(env(run, secrets)),
        entrypoint: run.entrypoint.clone(),
        cmd: run.command.clone(),
        volumes: some(run.anonymous_volumes.clone()),
        exposed_ports: some(exposed(&run.ports)),
        healthcheck: run.health_check.as_ref().and_then(health::config),
        labels: Some(run.options.labels.iter().chain(&run.labels).map(owned).collect()),
        user: run.options.user.clone(),
        working_dir: run.options.working_dir.clone(),
        stop_signal: run.stop_signal.clone(),
        stop_timeout: Some(seconds(run.stop_timeout).into()),
        host_config: Some(HostConfig {
            binds: some(run.binds.clone()),
            mounts: some(run.data_volumes.iter().map(mount).collect()),
            volumes_from: some(run.volumes_from.clone()),
            links: some(run.links.clone()),
            port_bindings: Some(bindings(&run.ports)).filter(|bindings| !bindings.is_empty()),
            restart_policy: Some(restart_policy(run)),
            network_mode: network_mode(&run.network),
            ..options::host_config(&run.options)
        }),
        networking_config: endpoint(&run.network),
        ..ContainerCreateBody::default()
    }
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

/// The engine's default needs no saying.
fn network_mode(network: &Joined) -> Option<String> {
    match network {
        Joined::Bridge => None,
        Joined::Host => Some("host".to_owned()),
        Joined::None => Some("none".to_owned()),
        Joined::Own { name, .. } => Some(name.clone()),
    }
}

/// Under which names the others of its network find it.
fn endpoint(network: &Joined) -> Option<NetworkingConfig> {
    let Joined::Own { name, aliases } = network else { return None };
    let settings = EndpointSettings { aliases: some(aliases.clone()), ..EndpointSettings::default() };
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(name.clone(), settings)])) })
}

/// What is run once is never started again, whatever is declared of its service.
fn restart_policy(run: &Run) -> RestartPolicy {
    let (name, maximum_retry_count) = match run.options.restart {
        _ if run.once => (RestartPolicyNameEnum::NO, None),
        None => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        Some(Restart::No) => (RestartPolicyNameEnum::NO, None),
        Some(Restart::Always) => (RestartPolicyNameEnum::ALWAYS, None),
        Some(Restart::OnFailure(times)) => (RestartPolicyNameEnum::ON_FAILURE, times.map(i64::from)),
    };
    RestartPolicy { name: Some(name), maximum_retry_count }
}

/// Every variable with its value, those that are kept elsewhere too.
fn env(run: &Run, secrets: &BTreeMap<String, Secret>) -> Vec<String> {
    let kept = secrets.iter().filter(|(name, _)| run.secrets.contains_key(*name));
    let kept = kept.map(|(name, secret)| (name, secret.expose()));
    let all: BTreeMap<&String, &str> = run.env.iter().map(|(name, value)| (name, value.as_str())).chain(kept).collect();
    all.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Whole seconds, rounded up: what stopping takes.
pub(super) fn seconds(time: std::time::Duration) -> i32 {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

fn mount(data: &DataMount) -> Mount {
    Mount {
        target: Some(data.path.clone()),
        source: Some(data.volume.clone()),
        typ: Some(MountType::VOLUME),
        read_only: data.read_only.then_some(true),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    }
}

fn inside(port: &Port) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}

fn exposed(ports: &[Port]) -> Vec<String> {
    let mut exposed: Vec<_> = ports.iter().map(inside).collect();
    exposed.sort();
    exposed.dedup();
    exposed
}

fn bindings(ports: &[Port]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings = HashMap::<_, Option<Vec<_>>>::new();
    for port in ports {
        bindings.entry(inside(port)).or_default().get_or_insert_default().push(PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: Some(port.host_port.map_or_else(String::new, |port| port.to_string())),
        });
    }
    bindings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::{
        action::Kept,
        spec::{Options, Reference},
    };

    fn run() -> Run {
        Run {
            name: "app0".into(),
            image: "app:1.2".into(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            binds: vec![],
            anonymous_volumes: vec![],
            data_volumes: vec![],
            volumes_from: vec![],
            links: vec![],
            ports: vec![],
            network: Joined::default(),
            hostname: "app0.docker1".into(),
            entrypoint: None,
            command: None,
            health_check: None,
            stop_signal: None,
            stop_timeout: Duration::from_secs(10),
            once: false,
            options: Options::default(),
            labels: BTreeMap::new(),
        }
    }

    fn sent(run: &Run) -> serde_json::Value {
        serde_json::to_value(body(run, &BTreeMap::new())).unwrap()
    }

    #[test]
    fn what_is_not_declared_is_left_to_the_image_and_the_engine() {
        assert_eq!(
            sent(&run()),
            json!({
                "Hostname": "app0.docker1", "Image": "app:1.2", "Env": [], "Labels": {}, "StopTimeout": 10,
                "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
            })
        );
    }

    #[test]
    fn a_value_that_is_kept_elsewhere_arrives_among_the_others_and_only_where_it_is_declared() {
        let kept = Kept { from: Reference::Ssm { ssm: "/b".into() }, sealed: None };
        let run = Run {
            env: [("A".into(), "1".into()), ("C".into(), "3".into())].into(),
            secrets: [("B".into(), kept)].into(),
            ..run()
        };
        let given = BTreeMap::from([("B".into(), Secret::new("2")), ("D".into(), Secret::new("4"))]);
        assert_eq!(body(&run, &given).env.unwrap(), ["A=1", "B=2", "C=3"]);
    }

    #[test]
    fn everything_declared_arrives_in_the_engine_s_own_form() {
        let port = |host_ip: Option<&str>, host_port, container_port, protocol: &str| Port {
            host_ip: host_ip.map(Into::into),
            host_port,
            container_port,
            protocol: protocol.into(),
        };
        let sent = sent(&Run {
            env: [("B".into(), "2=3".into()), ("A".into(), String::new())].into(),
            binds: vec!["/srv/logs:/logs:ro".into()],
            anonymous_volumes: vec!["/cache".into()],
            data_volumes: vec![DataMount { volume: "shop-socks".into(), path: "/var/run".into(), read_only: false }],
            volumes_from: vec!["web0:ro".into()],
            links: vec!["redis0:redis".into()],
            ports: vec![
                port(None, Some(80), 8080, "tcp"),
                port(Some("127.0.0.1"), Some(81), 8080, "tcp"),
                port(None, None, 53, "udp"),
            ],
            entrypoint: Some(vec!["/entry.sh".into()]),
            command: Some(vec!["serve".into(), "a b".into()]),
            stop_signal: Some("SIGQUIT".into()),
            stop_timeout: Duration::from_millis(1500),
            labels: [("evenkeel.stack".into(), "shop".into())].into(),
            ..run()
        });
        assert_eq!(
            sent,
            json!({
                "Hostname": "app0.docker1", "Image": "app:1.2", "Env": ["A=", "B=2=3"],
                "Entrypoint": ["/entry.sh"], "Cmd": ["serve", "a b"],
                "Volumes": {"/cache": {}}, "ExposedPorts": {"53/udp": {}, "8080/tcp": {}},
                "Labels": {"evenkeel.stack": "shop"}, "StopSignal": "SIGQUIT", "StopTimeout": 2,
                "HostConfig": {
                    "Binds": ["/srv/logs:/logs:ro"],
                    "Mounts": [{"Target": "/var/run", "Source": "shop-socks", "Type": "volume",
                                "VolumeOptions": {"NoCopy": true}}],
                    "VolumesFrom": ["web0:ro"], "Links": ["redis0:redis"],
                    "PortBindings": {
                        "8080/tcp": [{"HostPort": "80"}, {"HostIp": "127.0.0.1", "HostPort": "81"}],
                        "53/udp": [{"HostPort": ""}],
                    },
                    "RestartPolicy": {"Name": "unless-stopped"},
                },
            })
        );
    }

    #[test]
    fn the_restart_policy_is_as_declared_and_what_runs_once_has_none() {
        let policy = |once: bool, restart: Option<Restart>| {
            let options = Options { restart, ..Options::default() };
            sent(&Run { once, options, ..run() })["HostConfig"]["RestartPolicy"].clone()
        };
        assert_eq!(policy(false, Some(Restart::No)), json!({"Name": "no"}));
        assert_eq!(policy(false, Some(Restart::Always)), json!({"Name": "always"}));
        assert_eq!(policy(false, Some(Restart::OnFailure(None))), json!({"Name": "on-failure"}));
        let thrice = json!({"Name": "on-failure", "MaximumRetryCount": 3});
        assert_eq!(policy(false, Some(Restart::OnFailure(Some(3)))), thrice);
        assert_eq!(policy(true, Some(Restart::Always)), json!({"Name": "no"}));
    }

    #[test]
    fn a_declared_label_stands_beside_the_marks_and_never_in_their_place() {
        let labels = [("team".into(), "web".into()), ("evenkeel.stack".into(), "other".into())].into();
        let options = Options { labels, user: Some("1000".into()), ..Options::default() };
        let sent = sent(&Run { options, labels: [("evenkeel.stack".into(), "shop".into())].into(), ..run() });
        assert_eq!(sent["Labels"], json!({"evenkeel.stack": "shop", "team": "web"}));
        assert_eq!(sent["User"], "1000");
    }

    #[test]
    fn a_container_is_in_the_network_that_is_declared_under_its_names() {
        let network = |network| {
            let sent = sent(&Run { network, ..run() });
            (sent["HostConfig"]["NetworkMode"].clone(), sent["NetworkingConfig"].clone())
        };
        assert_eq!(network(Joined::Bridge), (json!(null), json!(null)));
        assert_eq!(network(Joined::Host), (json!("host"), json!(null)));
        assert_eq!(network(Joined::None), (json!("none"), json!(null)));
        let own = Joined::Own { name: "shop".into(), aliases: vec!["app0".into(), "app".into()] };
        let endpoints = json!({"EndpointsConfig": {"shop": {"Aliases": ["app0", "app"]}}});
        assert_eq!(network(own), (json!("shop"), endpoints));
    }

    #[test]
    fn what_is_hashed_of_a_container_without_options_is_what_it_always_was() {
        let text = serde_json::to_string(&run()).unwrap();
        assert_eq!(
            text,
            "{\"name\":\"app0\",\"image\":\"app:1.2\",\"env\":{},\"binds\":[],\"anonymous_volumes\":[],\"data_volumes\":[],\
             \"volumes_from\":[],\"links\":[],\"ports\":[],\"hostname\":\"app0.docker1\",\"entrypoint\":null,\
             \"command\":null,\"health_check\":null,\"stop_signal\":null,\"stop_timeout\":{\"secs\":10,\"nanos\":0},\
             \"labels\":{}}",
            "another text would replace every container at an upgrade"
        );
    }
}
