//! Trouble of EC2's kind: one clear condition, nothing doubled, nothing leaked, nothing stopped that serves.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use super::{fleet::Fleet, manifest::Manifest};
use crate::{
    controller::Status,
    fleet::{beside_others, until},
    ground::{GROUND, elements},
    load::Load,
    place::Place,
};

fn says(status: &Status, words: &str) -> bool {
    status.all_conditions().iter().any(|condition| condition.contains(words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_launch_needs_and_is_not_there_is_said_and_launching_goes_on_once_it_is() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2launch", "ap-southeast-4");
    let fleet = Fleet::new(name, region);
    let manifest = Manifest::new(&fleet, 2);

    // An image that is gone.
    let mut gone = manifest.clone();
    gone.image = "ami-00000000deadbeef0".into();
    fleet.commit(&gone.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    controller.until(name, "told that the image is gone", 60, |status| says(status, "ami-00000000deadbeef0")).await;

    // A target group of another VPC: told before anything is launched.
    let vpc = elements(&fleet.ec2("CreateVpc", &[("CidrBlock", "10.99.0.0/16")]), "vpcId").remove(0);
    let group = fleet.create_target_group("ec2launch-other", &vpc);
    let mut other = manifest.clone();
    other.balancers = format!("[{{targetGroup: \"{group}\", port: 80}}]");
    fleet.commit(&other.text());
    controller.until(name, "told that the target group is elsewhere", 60, |status| says(status, &vpc)).await;
    fleet.elbv2("DeleteTargetGroup", &[("TargetGroupArn", &group)]);

    // A subnet that does not exist, one without a free address; the third has no capacity at first.
    let mut full = manifest.clone();
    full.subnets = vec!["subnet-00000000deadbeef0".into(), fleet.subnets[0].clone(), fleet.subnets[1].clone()];
    GROUND.control("POST", &format!("ec2/subnets/{}", fleet.subnets[0]), Some(json!({"free": 0})));
    let mut only = manifest.clone();
    only.subnets = vec![fleet.subnets[0].clone()];
    fleet.commit(&only.text());
    let no_address = format!("no address is free in {}", fleet.subnets[0]);
    controller.until(name, "told that no address is free", 60, |status| says(status, &no_address)).await;
    let capacity = GROUND.fault(json!({
        "service": "ec2", "operation": "RunInstances", "region": region, "match": fleet.subnets[1],
        "error": "InsufficientInstanceCapacity",
        "message": "We currently do not have sufficient t3.small capacity in the Availability Zone you requested.",
    }));
    fleet.commit(&full.text());
    controller
        .until(name, "told of the missing subnet and the missing capacity", 60, |status| {
            says(status, "subnet-00000000deadbeef0") && says(status, "sufficient t3.small capacity")
        })
        .await;
    assert_eq!(fleet.states(), []);

    // Another zone has room: it is used at once, and what failed in the first ones is told, an address that somebody else
    // took in between included.
    let taken = GROUND.fault(json!({
        "service": "ec2", "operation": "RunInstances", "region": region, "match": fleet.subnets[0],
        "error": "InsufficientFreeAddressesInSubnet",
        "message": "There are not enough free addresses in subnet to satisfy the requested number of instances.",
    }));
    GROUND.control("POST", &format!("ec2/subnets/{}", fleet.subnets[0]), Some(json!({"free": null})));
    fleet.commit(&manifest.text());
    controller.until(name, "told of the address", 60, |status| says(status, "not enough free addresses")).await;
    let revision = fleet.commit_file("note.txt", "nothing of a manifest");
    controller.until_converged(name, &revision, 240).await;
    let zones: BTreeSet<String> = elements(&fleet.ec2("DescribeInstances", &[]), "subnetId").into_iter().collect();
    assert_eq!(zones, BTreeSet::from([fleet.subnets[2].clone()]));
    drop(taken);
    drop(capacity);
    assert_eq!(fleet.states().len(), 2, "{:?}", fleet.states());
    assert_eq!(fleet.volumes().len(), 2, "{:#?}", fleet.volumes());
    assert!(controller.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_api_that_throttles_fails_and_lags_for_a_minute_delays_a_fleet_and_doubles_nothing() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2storm", "us-west-2");
    let fleet = Fleet::new(name, region);
    let manifest = Manifest::new(&fleet, 1);
    let began = std::time::Instant::now();
    let faults = [
        json!({"service": "ec2", "operation": "Describe*", "region": region, "error": "RequestLimitExceeded", "every": 3}),
        json!({"service": "ec2", "operation": "Describe*", "region": region, "error": "InternalError", "every": 4}),
        json!({"service": "ec2", "operation": "RunInstances", "region": region, "error": "RequestLimitExceeded", "times": 2}),
        json!({"service": "ec2", "operation": "RunInstances", "region": region, "error": "InternalError", "status": 500, "after": true, "times": 1}),
        json!({"service": "elbv2", "region": region, "error": "ServiceUnavailable", "every": 3}),
        json!({"service": "ec2", "region": region, "lag": 30}),
    ]
    .map(|fault| GROUND.fault(fault));
    let revision = fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    let launched = || fleet.states().iter().any(|(_, state)| state == "running");
    until("it is launched for all that", 240, launched).await;
    let rest = 60_u64.saturating_sub(began.elapsed().as_secs());
    controller.until(name, "observed through the storm", rest.max(5), |status| status.phase() != "Converged").await;
    drop(faults);
    controller.until_converged(name, &revision, 240).await;
    assert_eq!(fleet.states(), [("docker1".to_owned(), "running".to_owned())]);
    assert_eq!(fleet.volumes().len(), 1, "{:#?}", fleet.volumes());
    let described = fleet.ec2("DescribeInstances", &[]);
    assert_eq!(elements(&described, "instanceId").len(), 1, "{described}");

    // A minute each in which EC2 and the load balancers answer nothing but that: it is told, and what serves goes on.
    let instance = fleet.instance("docker1");
    let load = Load::on(&fleet.address());
    let mark = instance.log_mark();
    let down = |error: &str| {
        ["ec2", "elbv2"].map(|service| GROUND.fault(json!({"service": service, "region": region, "error": error})))
    };
    for error in ["RequestLimitExceeded", "InternalError"] {
        let (_down, began) = (down(error), std::time::Instant::now());
        controller.until(name, &format!("told of {error}"), 60, |status| says(status, error)).await;
        let rest = Duration::from_secs(60).saturating_sub(began.elapsed());
        tokio::time::sleep(rest).await;
    }
    controller.until_converged(name, &revision, 60).await;
    load.end().await.assert_none_lost(1000);
    assert_eq!(instance.mutations(mark), Vec::<String>::new());
    assert_eq!(fleet.instance("docker1").ec2_id, instance.ec2_id);

    // A volume that somebody detaches from an instance that serves: said, and the instance is left alone.
    let volume = fleet.volumes().into_keys().next().expect("a volume");
    fleet.ec2("DetachVolume", &[("VolumeId", &volume), ("Force", "true")]);
    controller.until(name, "told that the volume was detached", 60, |status| says(status, &volume)).await;
    assert_eq!(fleet.instance("docker1").ec2_id, instance.ec2_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bootstrap_that_fails_is_told_in_its_own_words_and_the_instances_that_serve_go_on() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2boot", "eu-central-2");
    let fleet = Fleet::new(name, region);
    let mut manifest = Manifest::new(&fleet, 1);
    let revision = fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    controller.until_converged(name, &revision, 240).await;
    let load = Load::on(&fleet.address());

    // One more instance, and the certificate is gone from where it fetches it.
    let parameter = format!("/evenkeel/{name}/docker");
    GROUND.json("ssm", "AmazonSSM.DeleteParameter", region, &fleet.account, json!({"Name": parameter}));
    manifest.app.count = 2;
    let revision = fleet.commit(&manifest.text());
    let told = |status: &Status| {
        let said = status.conditions("InstanceTrouble");
        said.iter().any(|said| said.starts_with("docker2: its bootstrap failed") && said.contains(&parameter))
    };
    controller.until(name, "told what its bootstrap says", 240, told).await;
    fleet.assert_in_service(1);
    load.end().await.assert_none_lost(100);
    assert_eq!(fleet.states().len(), 2, "it is not launched again and again: {:?}", fleet.states());

    // The cause is mended, and the instance terminated as the condition says.
    fleet.certify();
    let failed = fleet.instance("docker2");
    fleet.ec2("TerminateInstances", &[("InstanceId.1", &failed.ec2_id)]);
    controller.until_converged(name, &revision, 240).await;
    fleet.assert_in_service(2);
}
