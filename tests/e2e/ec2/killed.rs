//! The controller is killed between RunInstances and the recording of its answer: no hostname gets a second instance.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{fleet::Fleet, manifest::Manifest};
use crate::{
    controller::Status,
    fleet::{beside_others, until},
    ground::{Fault, GROUND, elements},
    place::Place,
};

/// How often docker1's launch is sent, each time by another controller.
const SENDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_controller_killed_again_and_again_between_a_launch_and_its_answer_launches_no_second_instance() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2killed", "eu-west-2");
    let fleet = Fleet::new(name, region);
    let since = GROUND.last_call();
    let (slow, lag) = answered_late_and_shown_later(region);
    let revision = fleet.commit(&Manifest::new(&fleet, 2).text());
    let mut controller = fleet.start(&["--resync", "2"]);
    let launches = || launches(region, since);
    let sent = |hostname: &str| launches().filter(|request| hostname_of(request) == hostname).count();
    for times in 1..=SENDS {
        until(&format!("docker1's launch is sent for the {times}. time"), 60, || sent("docker1") >= times).await;
        controller.kill();
        controller = fleet.start(&["--resync", "2"]);
    }
    drop((slow, lag));
    controller.until_converged(name, &revision, 240).await;
    assert!(sent("docker1") >= SENDS && sent("docker2") > 0);

    let described = fleet.ec2("DescribeInstances", &[]);
    let mut hostnames: BTreeMap<String, usize> = BTreeMap::new();
    for value in hostnames_of(&described) {
        *hostnames.entry(value).or_default() += 1;
    }
    assert_eq!(hostnames, BTreeMap::from([("docker1".to_owned(), 1), ("docker2".to_owned(), 1)]), "{described}");
    let mut tokens: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in launches() {
        tokens.entry(hostname_of(&request)).or_default().push(request["ClientToken"].as_str().unwrap().to_owned());
    }
    for (hostname, mut tokens) in tokens {
        eprintln!("{hostname}: {} launches sent", tokens.len());
        tokens.dedup();
        assert_eq!(tokens.len(), 1, "{hostname} was launched with several tokens");
    }
    assert_eq!(fleet.volumes().len(), 2, "{:#?}", fleet.volumes());
    let zones: BTreeSet<String> = elements(&described, "availabilityZone").into_iter().collect();
    assert!(zones.len() >= 2, "one that is not seen yet counts where it was sent: {zones:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_sent_before_the_manifest_changed_is_launched_once_as_it_was_sent_and_the_difference_is_told() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2token", "ca-central-1");
    let fleet = Fleet::new(name, region);
    let mut manifest = Manifest::new(&fleet, 1);
    manifest.update = "manual".into();
    let since = GROUND.last_call();
    let launches = || launches(region, since);
    let (slow, lag) = answered_late_and_shown_later(region);
    fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    until("docker1's launch is sent", 60, || launches().count() > 0).await;
    controller.kill();
    drop(slow);

    // Another type is declared while nobody knows what became of the launch: its token can be sent as it was only.
    manifest.instance_type = "t3.medium".into();
    let revision = fleet.commit(&manifest.text());
    controller = fleet.start(&["--resync", "2"]);
    let refused = |status: &Status| {
        let said = status.conditions("ActionFailed");
        said.iter().any(|said| said.contains("docker1") && said.contains("IdempotentParameterMismatch"))
    };
    controller.until(name, "told that it was sent with other settings", 90, refused).await;
    drop(lag);
    let outdated = |status: &Status| {
        let said = status.conditions("Outdated");
        status.revision() == revision && said.iter().any(|said| said.contains("t3.small → t3.medium"))
    };
    let status = controller.until(name, "told that it is not as declared", 240, outdated).await;
    assert!(status.conditions("ActionFailed").is_empty(), "{:?}", status.all_conditions());
    until("it serves", 120, || fleet.in_service().len() == 1).await;

    assert_eq!(hostnames_of(&fleet.ec2("DescribeInstances", &[])), ["docker1"]);
    assert_eq!(fleet.volumes().len(), 1, "{:#?}", fleet.volumes());
    let [tokens, types] = ["ClientToken", "InstanceType"].map(|key| -> BTreeSet<String> {
        launches().map(|request| request[key].as_str().unwrap().to_owned()).collect()
    });
    assert_eq!((tokens.len(), types.len()), (1, 2), "{tokens:?} {types:?}");
}

/// Every launch is carried out at once and answered late. Reads do not show it for longer than a launch is waited for, so
/// that it is sent again.
fn answered_late_and_shown_later(region: &str) -> (Fault, Fault) {
    let slow = json!({"service": "ec2", "operation": "RunInstances", "region": region, "delay": 3, "after": true});
    let lag = json!({"service": "ec2", "region": region, "lag": 120});
    (GROUND.fault(slow), GROUND.fault(lag))
}

/// The launches that EC2 was asked for.
fn launches(region: &str, since: u64) -> impl Iterator<Item = Value> {
    let calls = GROUND.calls(region, since).into_iter();
    calls.filter(|(operation, _)| operation == "RunInstances").map(|(_, request)| request)
}

fn hostname_of(request: &Value) -> String {
    let tags = request["TagSpecifications"][0]["Tags"].as_array().expect("tags");
    let hostname = tags.iter().find(|tag| tag["Key"] == "evenkeel:hostname").expect("the hostname");
    hostname["Value"].as_str().unwrap().to_owned()
}

/// The hostname tags of every instance that EC2 tells of, ended ones included.
fn hostnames_of(described: &str) -> Vec<String> {
    described
        .split("<key>evenkeel:hostname</key>")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("<value>")?.1.split_once("</value>")?.0.to_owned()))
        .collect()
}
