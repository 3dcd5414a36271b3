//! The main job on EC2: the shop of the other provider, to the letter; new releases, new instances, larger volumes.

use std::collections::BTreeSet;

use serde_json::json;

use super::{fleet::Fleet, manifest::shop};
use crate::{
    controller::{Controller, words},
    fleet::{beside_others, until},
    ground::{GROUND, Instance},
    load::Load,
    place::Place,
    rest::passes_ask_once_and_change_nothing,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_shop_comes_to_be_on_ec2_swaps_its_app_replaces_its_instances_and_grows_its_volumes_without_losing_a_request()
 {
    let _turn = beside_others().await;
    let fleet = Fleet::new("ec2main", "eu-west-1");
    let first = fleet.commit(&shop(&fleet, "1.0", "t3.medium"));
    let mut controller = fleet.start(&["--resync", "3"]);
    controller.until_converged("ec2main", &first, 240).await;
    everything_is_there(&fleet);
    passes_ask_once_and_change_nothing(&fleet, &mut controller).await;
    pages_are_asked_for_once(&fleet, &mut controller).await;

    let load = Load::on(&fleet.address());
    until("requests are answered", 10, || load.so_far().sent > 200).await;
    let second = fleet.commit(&shop(&fleet, "1.1", "t3.medium"));
    let status = controller.until_converged("ec2main", &second, 150).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());

    the_instances_are_replaced_one_at_a_time(&fleet, &mut controller).await;
    let count = load.end().await;
    count.assert_none_lost(600);
    assert!(count.answers.contains_key("1.0") && count.answers.contains_key("1.1"), "{:?}", count.answers);

    the_volumes_grow_in_place(&fleet, &mut controller).await;
    passes_ask_once_and_change_nothing(&fleet, &mut controller).await;
    controller.assert_small();
    assert!(controller.terminate().await.success());
}

fn everything_is_there(fleet: &Fleet) {
    let running = |hostname: &str| (hostname.to_owned(), "running".to_owned());
    assert_eq!(fleet.states(), [running("docker1"), running("docker2")]);
    fleet.assert_in_service(2);
    let described = fleet.ec2("DescribeInstances", &[]);
    for told in ["<httpTokens>required</httpTokens>", "<key>evenkeel:hostname</key>", "<key>evenkeel:ready</key>"] {
        assert!(described.contains(told), "no {told} in {described}");
    }
    let zones: BTreeSet<String> = crate::ground::elements(&described, "availabilityZone").into_iter().collect();
    assert!(zones.len() >= 2, "they are all in one zone: {zones:?}");
    for instance in fleet.instances().values() {
        assert_eq!(disk_gib(instance), 120);
        assert_eq!(instance.run(&["hostname"]).trim(), instance.hostname);
        let containers = instance.containers();
        let names: Vec<&String> = containers.keys().collect();
        assert_eq!(names, ["app0", "app1", "haproxy0", "nginx0", "redis0", "worker0"]);
        assert!(containers.values().all(|container| container.state == "running"), "{containers:#?}");
    }
    let volumes = fleet.volumes();
    assert_eq!(
        volumes.values().filter(|(state, size)| (state.as_str(), *size) == ("in-use", 120)).count(),
        2,
        "{volumes:#?}"
    );
    let plan = fleet.evenkeel(&["plan", fleet.repository().join("stack.yaml").to_str().unwrap()]);
    assert_eq!(plan.status.code(), Some(0), "{}", words(&plan));
}

/// Where a page holds but one instance, each page is asked for once.
async fn pages_are_asked_for_once(fleet: &Fleet, controller: &mut Controller) {
    let _short = GROUND.fault(json!({"service": "ec2", "region": fleet.region, "page": 1}));
    let asked = passes_ask_once_and_change_nothing(fleet, controller).await;
    let pages = asked.keys().filter(|(_, operation, _)| operation == "DescribeInstances").count();
    assert!(pages >= fleet.instances().len(), "{asked:#?}");
}

async fn the_instances_are_replaced_one_at_a_time(fleet: &Fleet, controller: &mut Controller) {
    let before: BTreeSet<String> = fleet.instances().into_values().map(|instance| instance.ec2_id).collect();
    let text = shop(fleet, "1.1", "t3.large");
    let file = fleet.dir().join("next.yaml");
    std::fs::write(&file, &text).unwrap();
    let plan = fleet.evenkeel(&["plan", file.to_str().unwrap()]);
    let planned = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert_eq!(plan.status.code(), Some(2), "{}", words(&plan));
    for step in ["launch instance docker3 (t3.large", "only a new instance", "terminate instance docker"] {
        assert!(planned.contains(step), "the plan does not tell of “{step}”:\n{planned}");
    }

    let since = GROUND.last_call();
    let revision = fleet.commit(&text);
    controller.until_converged(&fleet.name, &revision, 240).await;
    let after: BTreeSet<String> = fleet.instances().into_values().map(|instance| instance.ec2_id).collect();
    assert_eq!(after.len(), 2);
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");
    fleet.assert_in_service(2);
    let calls = GROUND.calls(&fleet.region, since);
    let order: Vec<&str> = calls
        .iter()
        .map(|(operation, _)| operation.as_str())
        .filter(|operation| ["RunInstances", "DeregisterTargets", "TerminateInstances"].contains(operation))
        .collect();
    let one = ["RunInstances", "DeregisterTargets", "TerminateInstances"];
    assert_eq!(order, [one, one].concat(), "a new one comes up before an old one leaves, one at a time");
    // The volumes of those that left stay.
    let available = fleet.volumes().values().filter(|(state, _)| state == "available").count();
    assert_eq!(available, 2, "{:#?}", fleet.volumes());
}

async fn the_volumes_grow_in_place(fleet: &Fleet, controller: &mut Controller) {
    let before: BTreeSet<String> = fleet.instances().into_values().map(|instance| instance.ec2_id).collect();
    let text = shop(fleet, "1.1", "t3.large").replace("size: 120GiB", "size: 150GiB");
    let revision = fleet.commit(&text);
    controller.until_converged(&fleet.name, &revision, 60).await;
    let instances = fleet.instances();
    assert_eq!(instances.values().map(|instance| instance.ec2_id.clone()).collect::<BTreeSet<_>>(), before);
    for instance in instances.values() {
        until("the file system is as large as its volume", 60, || disk_gib(instance) == 150).await;
    }
}

/// How large the file system of `/var/lib/docker` is, by its own word.
fn disk_gib(instance: &Instance) -> u64 {
    let said = instance.run(&["df", "-BG", "--output=size", "/var/lib/docker"]);
    said.lines().last().and_then(|line| line.trim().trim_end_matches('G').parse().ok()).expect("a size")
}
