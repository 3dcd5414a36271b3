//! Instances that break: terminated by hand in the middle of a swap, impaired, silent; and volumes that are taken over.

use serde_json::json;

use super::{fleet::Fleet, manifest::Manifest};
use crate::{
    controller::Controller,
    fleet::{beside_others, until},
    ground::GROUND,
    load::Load,
    place::Place,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instance_terminated_by_hand_in_mid_swap_is_launched_again_with_its_volume_and_the_other_goes_on_serving() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2midswap", "af-south-1");
    let fleet = Fleet::new(name, region);
    let mut manifest = Manifest::new(&fleet, 2);
    manifest.volume_more = ", reuse: true".into();
    let revision = fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    controller.until_converged(name, &revision, 240).await;
    let old = fleet.instance("docker1");
    old.run(&["sh", "-c", "echo kept > /var/lib/docker/evenkeel-was-here"]);
    let volumes = fleet.volumes();

    let load = Load::on(&fleet.address());
    let mark = old.log_mark();
    let revision = fleet.commit(&manifest.clone().image("web:1.1").text());
    let stopped = || old.mutations(mark).iter().any(|call| call.contains("/stop"));
    until("docker1 is out and its container is being swapped", 60, stopped).await;
    fleet.ec2("TerminateInstances", &[("InstanceId.1", &old.ec2_id)]);
    controller.until_converged(name, &revision, 240).await;
    load.end().await.assert_none_lost(300);

    let new = fleet.instance("docker1");
    assert_ne!(new.ec2_id, old.ec2_id);
    assert_eq!(new.run(&["cat", "/var/lib/docker/evenkeel-was-here"]).trim(), "kept");
    assert_eq!(
        fleet.volumes().keys().collect::<Vec<_>>(),
        volumes.keys().collect::<Vec<_>>(),
        "no volume was made or lost"
    );
    for instance in fleet.instances().values() {
        assert!(instance.containers()["web0"].image.ends_with("web:1.1"), "{:?}", instance.containers());
    }
    fleet.assert_in_service(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instance_that_is_impaired_or_whose_engine_is_silent_is_replaced_and_one_that_is_stopped_is_started() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2healed", "eu-south-2");
    let fleet = Fleet::new(name, region);
    let mut manifest = Manifest::new(&fleet, 2);
    manifest.more = "  healAfter: 5s\n".into();
    let revision = fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    controller.until_converged(name, &revision, 240).await;
    let load = Load::on(&fleet.address());

    // EC2 itself says so, and it serves still: it is drained first.
    let impaired = fleet.instance("docker2");
    let path = format!("ec2/instances/{}/status", impaired.ec2_id);
    GROUND.control("POST", &path, Some(json!({"system": "impaired"})));
    let replaced = |hostname: &'static str, old: String| {
        let fleet = &fleet;
        move || fleet.instances().get(hostname).is_some_and(|now| now.ec2_id != old)
    };
    until("docker2 is replaced", 120, replaced("docker2", impaired.ec2_id.clone())).await;
    busy(&mut controller, name).await;
    controller.until_converged(name, &revision, 120).await;

    // Its engine is frozen; its container goes on, and so do the requests.
    let silent = fleet.instance("docker1");
    silent.run(&["pkill", "-STOP", "-x", "dockerd"]);
    until("docker1 is replaced", 180, replaced("docker1", silent.ec2_id.clone())).await;
    busy(&mut controller, name).await;
    controller.until_converged(name, &revision, 120).await;
    load.end().await.assert_none_lost(300);
    fleet.assert_in_service(2);

    let stopped = fleet.instance("docker1");
    fleet.ec2("StopInstances", &[("InstanceId.1", &stopped.ec2_id)]);
    busy(&mut controller, name).await;
    controller.until_converged(name, &revision, 120).await;
    assert_eq!(fleet.instance("docker1").ec2_id, stopped.ec2_id, "it was started, not replaced");
    fleet.assert_in_service(2);
}

/// Waits until the controller has noticed that something is not as declared.
async fn busy(controller: &mut Controller, name: &str) {
    controller.until(name, "at work", 60, |status| status.phase() != "Converged").await;
}
