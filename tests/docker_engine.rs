//! The adapter against a real Docker engine: an instance of the proving ground, which these tests start for themselves
//! (`localstack/up` first, then `cargo test --features e2e --test docker_engine`). Another engine can be named:
//!
//! - `EVENKEEL_TEST_ENGINE`: `address:port` of an engine that listens with `--tlsverify`;
//! - `EVENKEEL_DOCKER_CERT_PATH`: a directory with `ca.pem`, `cert.pem` and `key.pem` for it;
//! - `EVENKEEL_TEST_IMAGE`: an image on that engine with BusyBox in it; `busybox:latest` if left out;
//! - `EVENKEEL_TEST_PYTHON_IMAGE`: one that it can pull, with Python in it; `python:3-alpine` if left out.

#[path = "docker_engine/disk.rs"]
mod disk;
#[path = "docker_engine/figures.rs"]
mod figures;
// Shared with the end-to-end tests, which use more of it.
#[allow(dead_code)]
#[path = "e2e/ground.rs"]
mod ground;
#[path = "docker_engine/hands.rs"]
mod hands;
#[path = "docker_engine/logging.rs"]
mod logging;
#[path = "docker_engine/network.rs"]
mod network;
#[path = "docker_engine/options.rs"]
mod options;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use evenkeel::{
    action::{Access, DataMount, EngineAction, Node, Port, Run, StopHow},
    docker::{Certs, Engines, Keys},
    ports::{Engines as _, Given, Progress},
    spec::{
        HealthCheck, Options,
        health::{Probe, Statuses},
        network::Joined,
    },
    store::Unwritten,
    world::{Class, ContainerSeen, Engine, Health, Seen, State, Trouble},
};
use ground::{GROUND, Instance};
use serde_json::json;
use tokio::sync::mpsc;

/// The engine that all tests share; an instance that was started for them goes with the last of them.
struct Shared {
    endpoint: String,
    certs: PathBuf,
    image: String,
    python: String,
    stack: Option<String>,
}

impl Shared {
    fn get() -> Arc<Shared> {
        static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(shared) = shared.upgrade() {
            return shared;
        }
        let new = Arc::new(Shared::named().unwrap_or_else(Shared::started));
        *shared = Arc::downgrade(&new);
        new
    }

    fn named() -> Option<Shared> {
        let certs = || env::var("EVENKEEL_DOCKER_CERT_PATH").expect("EVENKEEL_DOCKER_CERT_PATH goes with the engine");
        Some(Shared {
            endpoint: env::var("EVENKEEL_TEST_ENGINE").ok()?,
            certs: certs().into(),
            image: env::var("EVENKEEL_TEST_IMAGE").unwrap_or_else(|_| "busybox:latest".into()),
            python: env::var("EVENKEEL_TEST_PYTHON_IMAGE").unwrap_or_else(|_| "python:3-alpine".into()),
            stack: None,
        })
    }

    fn started() -> Shared {
        const REGION: &str = "us-west-1";
        const NAME: &str = "docker-engine";
        const IMAGE: &str = "registry.example.com/shop/busybox:1.0";
        let made = |operation: &str, request: serde_json::Value, id: &str| {
            GROUND.opsworks(REGION, operation, request)[id].as_str().expect("an id").to_owned()
        };
        // Also what an earlier run that was killed has left; the last user before this one may be clearing it away now.
        let stacks = GROUND.opsworks(REGION, "DescribeStacks", json!({}));
        for left in stacks["Stacks"].as_array().into_iter().flatten().filter(|stack| stack["Name"] == NAME) {
            let _ = GROUND.try_control("POST", "reset", Some(json!({"stack": left["StackId"]})));
        }
        let stack = json!({
            "Name": NAME, "Region": REGION, "DefaultRootDeviceType": "ebs",
            "ServiceRoleArn": "arn:aws:iam::123456789012:role/aws-opsworks-service-role",
            "DefaultInstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/aws-opsworks-ec2-role",
        });
        let stack = made("CreateStack", stack, "StackId");
        let layer = json!({"StackId": stack, "Type": "custom", "Name": "Docker", "Shortname": "docker"});
        let layer = made("CreateLayer", layer, "LayerId");
        let instance = json!({"StackId": stack, "LayerIds": [layer], "InstanceType": "t3.small"});
        let instance = made("CreateInstance", instance, "InstanceId");
        GROUND.opsworks(REGION, "StartInstance", json!({"InstanceId": instance}));
        let begun = Instant::now();
        let record = loop {
            let answer = GROUND.opsworks(REGION, "DescribeInstances", json!({"InstanceIds": [instance]}));
            let record = answer["Instances"][0].clone();
            if record["Status"] == "online" {
                break record;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the instance is not online: {record:#}");
            std::thread::sleep(Duration::from_millis(100));
        };
        let all = GROUND.control("GET", "instances", None);
        let seen = all.as_array().and_then(|all| all.iter().find(|seen| seen["instance_id"] == *instance));
        Instance::read(seen.expect("the instance")).expect("its container").docker(&["pull", "-q", IMAGE]);
        let endpoint = format!("{}:2376", record["PrivateIp"].as_str().expect("its address"));
        Shared {
            endpoint,
            certs: GROUND.env["EVENKEEL_DOCKER_CERT_PATH"].clone().into(),
            image: IMAGE.into(),
            python: "registry.example.com/shop/worker:1.0".into(),
            stack: Some(stack),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(stack) = &self.stack {
            let _ = GROUND.try_control("POST", "reset", Some(json!({"stack": stack})));
        }
    }
}

fn image() -> String {
    Shared::get().image.clone()
}

fn python_image() -> String {
    Shared::get().python.clone()
}

/// One test's corner of the engine: its containers' names begin with a word of its own.
struct Corner {
    engines: Engines,
    node: Node,
    word: &'static str,
    shared: Arc<Shared>,
}

impl Corner {
    /// Begins with nothing of an earlier run left over.
    async fn new(word: &'static str) -> Corner {
        let shared = Shared::get();
        let (certs, keys) = (Certs { dir: shared.certs.clone() }, Keys { dir: "/nowhere".into() });
        let engines = Engines::new(certs, keys, Arc::new(Unwritten::default()));
        let (hostname, endpoint) = ("docker1".into(), shared.endpoint.clone());
        let node = Node { hostname, endpoint, access: Access::Tls { name: None } };
        let corner = Corner { engines, node, word, shared };
        corner.clear().await;
        corner
    }

    async fn clear(&self) {
        for (name, container) in self.see().await.containers {
            if name.starts_with(self.word) {
                self.stop_for_good(&container.id).await;
                self.remove(&container.id).await.unwrap();
            }
        }
    }

    async fn see(&self) -> Engine {
        let wanted = BTreeSet::from([image(), "evenkeel-test/never-pulled:1".into()]);
        match self.engines.look(&self.node, &wanted).await {
            Seen::Known(engine) => engine,
            Seen::Unknown(trouble) => panic!("{}", trouble.message),
        }
    }

    async fn container(&self, name: &str) -> ContainerSeen {
        self.see().await.containers.remove(name).unwrap_or_else(|| panic!("no container {name}"))
    }

    /// Looks until a container is as it should be.
    async fn until(&self, name: &str, good: impl Fn(&ContainerSeen) -> bool) -> ContainerSeen {
        let begun = Instant::now();
        loop {
            let seen = self.container(name).await;
            if good(&seen) {
                return seen;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "still {seen:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn apply(&self, what: EngineAction) -> Result<(), Trouble> {
        let progress: Progress = Arc::new(|_| {});
        self.engines.apply(&self.node, &what, &Given::default(), &progress).await
    }

    async fn create(&self, run: &Run) -> Result<(), Trouble> {
        self.apply(EngineAction::Create { run: Box::new(run.clone()) }).await
    }

    async fn start(&self, id: &str) -> Result<(), Trouble> {
        self.apply(EngineAction::Start { id: id.into(), name: "it".into() }).await
    }

    async fn stop(&self, id: &str, signal: Option<&str>, seconds: u64) -> Result<(), Trouble> {
        let stop = StopHow { signal: signal.map(Into::into), timeout: Duration::from_secs(seconds) };
        self.apply(EngineAction::Stop { id: id.into(), name: "it".into(), stop, guard: None }).await
    }

    /// The engine refuses to stop a container that ends at that very moment, which those that keep ending often do.
    async fn stop_for_good(&self, id: &str) {
        for _ in 0..20 {
            match self.stop(id, None, 0).await {
                Err(trouble) if trouble.class == Class::Transient => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                outcome => return outcome.unwrap(),
            }
        }
        panic!("{id} could not be stopped");
    }

    async fn rename(&self, id: &str, to: &str) -> Result<(), Trouble> {
        self.apply(EngineAction::Rename { id: id.into(), from: "it".into(), to: to.into() }).await
    }

    async fn remove(&self, id: &str) -> Result<(), Trouble> {
        self.apply(EngineAction::Remove { id: id.into(), name: "it".into() }).await
    }

    /// Creates and starts a container; gives its id.
    async fn launch(&self, run: &Run) -> String {
        self.create(run).await.unwrap();
        let id = self.container(&run.name).await.id;
        self.start(&id).await.unwrap();
        id
    }
}

fn run(name: &str, script: &str) -> Run {
    Run {
        name: name.into(),
        image: image(),
        env: BTreeMap::from([("GREETING".into(), "hello = world".into())]),
        secrets: BTreeMap::new(),
        binds: vec![],
        anonymous_volumes: vec![],
        data_volumes: vec![],
        volumes_from: vec![],
        links: vec![],
        ports: vec![],
        network: Joined::default(),
        hostname: format!("{name}.docker1"),
        entrypoint: Some(vec!["/bin/sh".into(), "-c".into()]),
        command: Some(vec![script.into()]),
        health_check: None,
        stop_signal: None,
        stop_timeout: Duration::from_secs(10),
        once: false,
        options: Options::default(),
        labels: BTreeMap::from([("evenkeel.stack".into(), "shop".into()), ("evenkeel.spec-hash".into(), "1".into())]),
    }
}

fn check(probe: Probe) -> Option<HealthCheck> {
    Some(HealthCheck {
        probe,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(2),
        retries: 2,
        start_period: Duration::ZERO,
    })
}

/// Ends at once on SIGTERM, and says so.
const OBEDIENT: &str =
    "trap 'echo got TERM; exit 0' TERM; trap 'echo got QUIT; exit 7' QUIT; while :; do sleep 0.1; done";

#[tokio::test]
async fn a_container_goes_through_its_whole_life() {
    let corner = Corner::new("life").await;
    let life = run("life0", OBEDIENT);
    corner.create(&life).await.unwrap();
    let made = corner.container("life0").await;
    assert_eq!(made.state, State::Created);
    assert_eq!(made.started_at, None);
    assert!(life.labels.iter().all(|label| made.labels.get(label.0) == Some(label.1)));
    assert_eq!(corner.see().await.images, BTreeMap::from([(image(), made.image_id.clone())]));

    corner.start(&made.id).await.unwrap();
    corner.start(&made.id).await.unwrap();
    let running = corner.container("life0").await;
    assert_eq!((running.state, running.health, running.restarts), (State::Running, None, 0));
    assert!(running.started_at.is_some());
    assert_eq!(corner.remove(&made.id).await.unwrap_err().class, Class::Terminal);

    corner.rename(&made.id, "life0-old").await.unwrap();
    corner.rename(&made.id, "life0-old").await.unwrap();
    corner.stop(&made.id, None, 10).await.unwrap();
    corner.stop(&made.id, None, 10).await.unwrap();
    assert_eq!(corner.container("life0-old").await.state, State::Exited { exit_code: 0 });

    corner.remove(&made.id).await.unwrap();
    corner.remove(&made.id).await.unwrap();
    corner.stop(&made.id, Some("SIGQUIT"), 10).await.unwrap();
    assert!(!corner.see().await.containers.contains_key("life0-old"));
}

#[tokio::test]
async fn a_create_that_is_repeated_is_no_error_and_one_in_the_way_is_named() {
    let corner = Corner::new("twice").await;
    let mut twice = run("twice0", OBEDIENT);
    corner.create(&twice).await.unwrap();
    corner.create(&twice).await.unwrap();

    twice.labels.insert("evenkeel.spec-hash".into(), "2".into());
    let trouble = corner.create(&twice).await.unwrap_err();
    let id = corner.container("twice0").await.id;
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains(&id[..12]) && trouble.message.contains("twice0 on docker1"), "{trouble:?}");
    corner.clear().await;
}

#[tokio::test]
async fn an_image_that_is_not_on_the_instance_is_named() {
    let corner = Corner::new("lack").await;
    let lack = Run { image: "evenkeel-test/never-pulled:1".into(), ..run("lack0", "true") };
    let trouble = corner.create(&lack).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains("evenkeel-test/never-pulled:1 is not on the instance"), "{trouble:?}");
}

#[tokio::test]
async fn a_registry_tells_through_the_engine_what_a_tag_stands_for_or_why_not() {
    let corner = Corner::new("digest").await;
    let ask = async |image: &str| corner.engines.digest(&corner.node, image, None).await.expect("the engine answers");
    let image = image();
    let Seen::Known(digest) = ask(&image).await else { panic!("{image} is in its registry") };
    let fixed = format!("{image}@{digest}");
    corner.apply(EngineAction::Pull { image: fixed.clone() }).await.unwrap();
    let wanted = BTreeSet::from([fixed.clone(), image.clone()]);
    let Seen::Known(seen) = corner.engines.look(&corner.node, &wanted).await else { panic!("it can be looked at") };
    assert_eq!(seen.images.get(&fixed), seen.images.get(&image));
    let missing = image.replace(":1.0", ":never-pushed");
    let class = async |image: &str| match ask(image).await {
        Seen::Unknown(trouble) => trouble.class,
        Seen::Known(digest) => panic!("{image} is {digest}"),
    };
    assert_eq!(class(&missing).await, Class::Terminal);
    assert_eq!(class("127.0.0.1:9/app:1").await, Class::Transient);
}

#[tokio::test]
async fn a_pull_from_a_registry_that_does_not_answer_may_go_well_later() {
    let corner = Corner::new("pull").await;
    let trouble = corner.apply(EngineAction::Pull { image: "127.0.0.1:9/app:1".into() }).await.unwrap_err();
    assert_eq!(trouble.class, Class::Transient, "{trouble:?}");
    assert!(trouble.message.contains("cannot pull 127.0.0.1:9/app:1 on docker1"), "{trouble:?}");
}

#[tokio::test]
async fn a_stop_sends_the_signal_it_is_told_and_gives_time() {
    let corner = Corner::new("stop").await;
    let id = corner.launch(&run("stop0", OBEDIENT)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    corner.stop(&id, Some("SIGQUIT"), 10).await.unwrap();
    let stopped = corner.container("stop0").await;
    assert_eq!(stopped.state, State::Exited { exit_code: 7 });
    assert_eq!(stopped.last_words.as_deref(), Some("got QUIT"));

    let deaf = "trap '' TERM QUIT; while :; do sleep 0.1; done";
    let id = corner.launch(&run("stop1", deaf)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    corner.stop(&id, Some("QUIT"), 2).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(2), "killed after {:?}", begun.elapsed());
    assert_eq!(corner.container("stop1").await.state, State::Exited { exit_code: 137 });
    corner.clear().await;
}

#[tokio::test]
async fn a_container_that_ends_at_once_leaves_its_last_words() {
    let corner = Corner::new("dying").await;
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; echo no database >&2; exit 3";
    corner.launch(&run("dying0", script)).await;
    let said = |seen: &ContainerSeen| seen.last_words.as_deref().is_some_and(|words| words.contains("no database"));
    let seen = corner.until("dying0", |seen| seen.restarts > 1 && said(seen)).await;
    assert!(matches!(seen.state, State::Restarting { exit_code: 3 } | State::Running), "{seen:?}");
    assert!(seen.last_words.is_some_and(|words| words.lines().count() <= 10));

    let lost = Run { entrypoint: Some(vec!["/no/such/program".into()]), ..run("dying1", "") };
    corner.create(&lost).await.unwrap();
    let id = corner.container("dying1").await.id;
    let trouble = corner.start(&id).await.unwrap_err();
    assert!(trouble.message.contains("/no/such/program"), "{trouble:?}");
    let words = corner.container("dying1").await.last_words.unwrap();
    assert!(words.contains("/no/such/program"), "{words}");
    corner.clear().await;
}

#[tokio::test]
async fn health_is_seen_with_what_the_check_said() {
    let corner = Corner::new("health").await;
    let up = "mkdir -p /tmp/w && echo ok > /tmp/w/up && exec httpd -f -p 8080 -h /tmp/w";
    let http = |path: &str| check(Probe::Http { path: path.into(), port: 8080, status: Statuses::default() });
    let missing = check(Probe::Http { path: "/nothing".into(), port: 8080, status: Statuses(vec![(404, 404)]) });
    corner.launch(&Run { health_check: http("/up"), ..run("health-good0", up) }).await;
    corner.launch(&Run { health_check: http("/nothing"), ..run("health-bad0", up) }).await;
    corner.launch(&Run { health_check: missing, ..run("health-good1", up) }).await;
    corner.launch(&Run { health_check: check(Probe::Tcp { port: 8080 }), ..run("health-tcp0", up) }).await;
    corner.launch(&Run { health_check: check(Probe::Tcp { port: 9 }), ..run("health-tcp1", up) }).await;
    for (name, script) in [("health-exec0", "echo not yet; exit 3"), ("health-exec1", "echo stuck; sleep 60")] {
        let exec = ["/bin/sh", "-c", script].map(Into::into).to_vec();
        corner.launch(&Run { health_check: check(Probe::Exec(exec)), ..run(name, OBEDIENT) }).await;
    }
    let exec = check(Probe::Exec(vec!["no-such-check".into()]));
    corner.launch(&Run { health_check: exec, ..run("health-exec2", OBEDIENT) }).await;

    assert_eq!(corner.until("health-good0", |seen| seen.health == Some(Health::Healthy)).await.last_words, None);
    corner.until("health-good1", |seen| seen.health == Some(Health::Healthy)).await;
    corner.until("health-tcp0", |seen| seen.health == Some(Health::Healthy)).await;
    for (name, said) in [
        ("health-bad0", "(exit code 1): /nothing answered HTTP/1.1 404 Not Found, expected is 200-399"),
        ("health-tcp1", "no connection to port 9"),
        ("health-exec0", "health check (exit code 3): not yet"),
        ("health-exec1", "health check: Health check exceeded timeout (2s)"),
        ("health-exec2", "no-such-check"),
    ] {
        let seen = corner.until(name, |seen| seen.health == Some(Health::Unhealthy)).await;
        assert!(seen.last_words.as_deref().is_some_and(|words| words.contains(said)), "{seen:?}");
        corner.stop(&seen.id, None, 1).await.unwrap();
        let stopped = corner.container(name).await;
        assert!(stopped.last_words.as_deref().is_some_and(|words| words.contains(said)), "{stopped:?}");
    }
    corner.clear().await;
}

#[tokio::test]
async fn what_a_check_answers_in_the_start_period_is_seen_too() {
    let corner = Corner::new("early").await;
    let exec = ["/bin/sh", "-c", "echo migrating; exit 5"].map(Into::into).to_vec();
    let patient = check(Probe::Exec(exec)).map(|it| HealthCheck { start_period: Duration::from_secs(60), ..it });
    corner.launch(&Run { health_check: patient, ..run("early0", OBEDIENT) }).await;
    let seen = corner.until("early0", |seen| seen.last_words.is_some()).await;
    assert_eq!(seen.health, Some(Health::Starting));
    assert_eq!(seen.last_words.as_deref(), Some("health check (exit code 5): migrating"));
    corner.stop(&seen.id, None, 1).await.unwrap();
    let words = corner.container("early0").await.last_words.unwrap_or_default();
    assert!(words.contains("health check (exit code 5): migrating"), "{words}");
    corner.clear().await;
}

/// Held by the tests that make anonymous volumes: one of them counts what is on the engine.
static VOLUMES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_data_volume_outlives_its_container_and_is_not_filled_from_the_image() {
    let _turn = VOLUMES.lock().await;
    let corner = Corner::new("data").await;
    let labels = BTreeMap::from([("evenkeel.stack".into(), "shop".into())]);
    let volume = EngineAction::CreateVolume { name: "evenkeel-test-data".into(), labels };
    corner.apply(volume.clone()).await.unwrap();
    corner.apply(volume).await.unwrap();
    assert!(corner.see().await.volumes.contains("evenkeel-test-data"));

    // Were it filled from the image at creation, it would hold a shell.
    let mount =
        |path: &str| vec![DataMount { volume: "evenkeel-test-data".into(), path: path.into(), read_only: false }];
    corner.create(&Run { data_volumes: mount("/bin"), ..run("data-bin0", "") }).await.unwrap();

    let kept = Run {
        data_volumes: mount("/data"),
        anonymous_volumes: vec!["/cache".into()],
        ..run("data0", "echo $GREETING from $(cat /proc/sys/kernel/hostname) > /data/kept; exit 0")
    };
    let id = corner.launch(&kept).await;
    corner.until("data0", |seen| seen.state != State::Running).await;
    corner.stop(&id, None, 1).await.unwrap();
    let anonymous = corner.see().await.volumes;
    corner.remove(&id).await.unwrap();
    let left = corner.see().await.volumes;
    assert!(left.contains("evenkeel-test-data"));
    assert!(anonymous.len() > left.len(), "the anonymous volume is still there");

    let reader = Run { data_volumes: mount("/data"), ..run("data1", "cat /data/kept; ls /data; exit 1") };
    corner.launch(&reader).await;
    let seen = corner.until("data1", |seen| seen.last_words.is_some()).await;
    let words = seen.last_words.unwrap();
    assert!(
        words.contains("hello = world from data0.docker1\nkept") && !words.lines().any(|line| line == "sh"),
        "{words}"
    );
    corner.clear().await;
}

#[tokio::test]
async fn a_published_port_answers_and_links_andshared_volumes_reach_the_other_container() {
    let _turn = VOLUMES.lock().await;
    let corner = Corner::new("share").await;
    let port = Port { host_ip: None, host_port: None, container_port: 8080, protocol: "tcp".into() };
    let server = Run {
        ports: vec![Port { host_port: Some(28080), ..port }],
        anonymous_volumes: vec!["/shared".into()],
        ..run("share0", "echo here > /shared/word; exec httpd -f -p 8080 -h /shared")
    };
    corner.launch(&server).await;
    let client = Run {
        links: vec!["share0:web".into()],
        volumes_from: vec!["share0:ro".into()],
        ..run("share1", "sleep 1; cat /etc/hosts /shared/word; echo x > /shared/x; exit 4")
    };
    corner.launch(&client).await;
    let seen = corner.until("share1", |seen| seen.last_words.is_some()).await;
    let words = seen.last_words.unwrap();
    assert!(words.contains("Read-only file system"), "{words}");
    assert!(words.contains("web share0.docker1") && words.contains("\nhere"), "{words}");
    let host = corner.node.endpoint.rsplit_once(':').unwrap().0;
    tokio::net::TcpStream::connect((host, 28080)).await.unwrap();
    corner.clear().await;
}

#[tokio::test]
async fn whoever_is_connected_to_a_published_port_is_counted_and_a_container_s_own_checks_are_not() {
    let corner = &Corner::new("conn").await;
    let port = Port { host_ip: None, host_port: Some(28090), container_port: 8080, protocol: "tcp".into() };
    // It talks to itself as well, as a health check does.
    let script = "httpd -f -p 8080 -h /tmp & sleep 1; sleep 600 | nc 127.0.0.1 8080 & wait";
    let id = corner.launch(&Run { ports: vec![port.clone()], ..run("conn0", script) }).await;
    let alone = corner.launch(&run("conn1", OBEDIENT)).await;
    let count = |id: String| async move { corner.engines.connections(&corner.node, &id).await };
    assert_eq!(count(id.clone()).await, Some(0));
    assert_eq!(count(alone).await, None, "it publishes nothing");

    let host = corner.node.endpoint.rsplit_once(':').unwrap().0;
    let begun = Instant::now();
    let connect = || tokio::net::TcpStream::connect((host, 28090));
    let (one, other) = (connect().await.unwrap(), connect().await.unwrap());
    while count(id.clone()).await != Some(2) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", count(id.clone()).await);
    }
    drop(one);
    while count(id.clone()).await != Some(1) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", count(id.clone()).await);
    }
    drop(other);

    let bare = Run { env: BTreeMap::from([("PATH".into(), "/nowhere".into())]), ..run("conn2", OBEDIENT) };
    let port = Port { host_port: Some(28091), ..port };
    let script = OBEDIENT.replace("sleep", "/bin/sleep");
    let id = corner.launch(&Run { ports: vec![port], command: Some(vec![script]), ..bare }).await;
    assert_eq!(count(id.clone()).await, None, "it has no cat to tell with");
    corner.stop(&id, None, 1).await.unwrap();
    assert_eq!(count(id).await, None, "it does not run");
    corner.clear().await;
}

#[tokio::test]
async fn what_happens_on_the_engine_wakes_the_watcher_and_health_checks_do_not() {
    let corner = Arc::new(Corner::new("event").await);
    let (wake, mut woken) = mpsc::channel(64);
    let watcher = corner.clone();
    let watching = tokio::spawn(async move { watcher.engines.watch(&watcher.node, wake).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let exec = vec!["/bin/true".into()];
    let id = corner.launch(&Run { health_check: check(Probe::Exec(exec)), ..run("event0", OBEDIENT) }).await;
    for _ in ["create", "start", "health_status: healthy"] {
        let host = tokio::time::timeout(Duration::from_secs(10), woken.recv()).await.unwrap();
        assert_eq!(host.as_deref(), Some("docker1"));
    }
    corner.stop(&id, None, 5).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(10), woken.recv()).await.unwrap().is_some());
    corner.clear().await;
    drop(woken);
    tokio::time::timeout(Duration::from_secs(10), watching).await.expect("ends with its listener").unwrap();
}
