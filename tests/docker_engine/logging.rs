//! What containers write, and where the engine puts it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use evenkeel::{
    action::{EngineAction, Run},
    ports::Engines as _,
    spec::{Options, logging::Logging},
    world::{Class, State},
};
use serde_json::json;

use super::{Corner, OBEDIENT, python_image, run};

fn logging(driver: &str, options: &[(&str, &str)]) -> Options {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let logging = Logging { driver: driver.into(), options: options.collect::<BTreeMap<_, _>>() };
    Options { logging: Some(logging), ..Options::default() }
}

#[tokio::test]
async fn a_log_driver_and_its_options_reach_the_engine() {
    let corner = Corner::new("driver").await;
    let options = logging("local", &[("max-size", "1048576"), ("max-file", "3")]);
    corner.create(&Run { options, ..run("driver0", OBEDIENT) }).await.unwrap();
    let seen = corner.inspect("driver0")["HostConfig"]["LogConfig"].clone();
    assert_eq!(seen, json!({"Type": "local", "Config": {"max-size": "1048576", "max-file": "3"}}));

    let options = logging("carrier-pigeon", &[]);
    let refused = corner.create(&Run { options, ..run("driver1", OBEDIENT) }).await.unwrap_err();
    assert_eq!(refused.class, Class::Terminal);
    assert!(refused.message.contains("cannot create driver1 on docker1"), "{refused:?}");
    assert!(refused.message.contains("carrier-pigeon"), "{refused:?}");
    corner.clear().await;
}

#[tokio::test]
async fn a_log_never_grows_beyond_what_is_declared() {
    let corner = Corner::new("rotate").await;
    let options = logging("json-file", &[("max-size", "10240"), ("max-file", "3")]);
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo \"this is line $i.\"; done; exit 5";
    corner.launch(&Run { options, once: true, ..run("rotate0", script) }).await;
    corner.until("rotate0", |seen| matches!(seen.state, State::Exited { .. })).await;
    let kept = corner.docker(&["logs", "rotate0"]);
    assert!(kept.contains("this is line 3000.") && !kept.contains("this is line 1."), "{} lines", kept.lines().count());
    assert!(kept.len() < 3 * 10240, "{} bytes", kept.len());
    corner.clear().await;
}

/// Prints every line that the containers whose names begin with a word write, as it is told by the engine's socket.
const FORWARDER: &str = r#"
import http.client, json, socket, sys, threading

class Engine(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")

def ask(path):
    engine = Engine("docker")
    engine.request("GET", path)
    return engine.getresponse()

def forward(name):
    log = ask(f"/containers/{name}/logs?follow=1&stdout=1&stderr=1")
    while head := log.read(8):
        print(f"{name}: {log.read(int.from_bytes(head[4:], 'big')).decode()}", end="", flush=True)

for told in json.load(ask("/containers/json")):
    name = told["Names"][0].lstrip("/")
    if name.startswith("forward-"):
        threading.Thread(target=forward, args=[name]).start()
"#;

#[tokio::test]
async fn a_container_with_the_engine_s_socket_forwards_the_logs_of_the_others() {
    let corner = Corner::new("forward").await;
    let script = |word: &str| format!("echo early {word}; sleep 2; echo late {word} >&2; {OBEDIENT}");
    let options = logging("json-file", &[("max-size", "10485760"), ("max-file", "7")]);
    corner.launch(&Run { options, ..run("forward-one0", &script("one")) }).await;
    corner.launch(&Run { options: logging("local", &[]), ..run("forward-two0", &script("two")) }).await;

    let image = python_image();
    let wanted = BTreeSet::from([image.clone()]);
    let there = corner.engines.look(&corner.node, &wanted).await;
    if !there.known().is_some_and(|engine| engine.images.contains_key(&image)) {
        corner.apply(EngineAction::Pull { image: image.clone() }).await.unwrap();
    }
    let forwarder = Run {
        image,
        binds: vec!["/var/run/docker.sock:/var/run/docker.sock:ro".into()],
        entrypoint: Some(vec!["python3".into(), "-c".into()]),
        command: Some(vec![FORWARDER.into()]),
        ..run("forward0", "")
    };
    corner.launch(&forwarder).await;
    let begun = Instant::now();
    let wanted = ["one0: early one", "one0: late one", "two0: early two", "two0: late two"];
    loop {
        let forwarded = corner.docker(&["logs", "forward0"]);
        if wanted.iter().all(|line| forwarded.contains(line)) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{forwarded}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    corner.clear().await;
}
