//! What people and accidents change is put back; what is not ours is left alone; instances come and go as declared.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    controller::{Controller, evenkeel, words},
    fleet::{Fleet, beside_others, until},
    ground::{GROUND, Instance},
    load::Load,
    manifest::Manifest,
};

const WEB: &str = "registry.example.com/shop/web:1.0";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_changed_by_hand_is_put_back_and_what_is_not_ours_is_never_touched() {
    let _turn = beside_others().await;
    let (name, region) = ("drift", "us-east-2");
    let fleet = Fleet::new(name, region);
    let revision = fleet.commit(&Manifest::new(name, region, 2).text());
    // Nothing below takes anywhere near as long: what is noticed was told by an engine's event.
    let mut controller = fleet.start(&["--resync", "300"]);
    controller.until_converged(name, &revision, 120).await;
    let instance = fleet.instance("docker1");
    instance.docker(&["run", "-d", "--name", "foreign", WEB]);
    let foreign = instance.containers()["foreign"].clone();

    a_killed_and_a_removed_container_come_back_at_once(&mut controller, &instance, name).await;
    an_undeclared_container_of_ours_is_removed(&instance, name).await;
    controller.until_converged(name, &revision, 30).await;
    assert!(controller.terminate().await.success());

    let controller = a_foreign_container_in_the_way_is_a_conflict(&fleet, &instance, &revision).await;
    assert!(controller.terminate().await.success());

    let mut controller = fleet.start(&["--resync", "2"]);
    controller.until_converged(name, &revision, 30).await;
    settings_edited_in_the_console_are_put_back(&fleet).await;
    controller.until_converged(name, &revision, 30).await;
    assert_eq!(instance.containers()["foreign"], foreign);
    fleet.assert_in_service(2);
}

async fn a_killed_and_a_removed_container_come_back_at_once(
    controller: &mut Controller,
    instance: &Instance,
    name: &str,
) {
    let before = instance.containers()["web0"].clone();
    instance.docker(&["kill", "web0"]);
    until("the killed container runs again", 20, || instance.containers()["web0"].state == "running").await;
    assert_eq!(instance.containers()["web0"].id, before.id, "started again, not made anew");
    controller.until(name, "converged", 30, |status| status.phase() == "Converged").await;

    instance.docker(&["rm", "-f", "web0"]);
    until("the removed container is back", 20, || {
        instance.containers().get("web0").is_some_and(|web| web.state == "running")
    })
    .await;
    assert_ne!(instance.containers()["web0"].id, before.id);
    controller.until(name, "converged", 30, |status| status.phase() == "Converged").await;
}

async fn an_undeclared_container_of_ours_is_removed(instance: &Instance, name: &str) {
    let stack = format!("evenkeel.stack={name}");
    let app = format!("evenkeel.app={name} app");
    instance.docker(&["run", "-d", "--name", "gone0", "--label", &stack, "--label", &app, WEB]);
    until("the undeclared container is gone", 40, || !instance.containers().contains_key("gone0")).await;
    assert!(instance.containers().contains_key("foreign"));
}

async fn a_foreign_container_in_the_way_is_a_conflict(
    fleet: &Fleet,
    instance: &Instance,
    revision: &str,
) -> Controller {
    instance.docker(&["rm", "-f", "web0"]);
    instance.docker(&["create", "--name", "web0", WEB]);
    let stranger = instance.containers()["web0"].clone();
    let mut controller = fleet.start(&["--resync", "300"]);
    let conflicts = |status: &super::controller::Status| !status.conditions("Conflict").is_empty();
    let status = controller.until(&fleet.name, "in conflict", 30, conflicts).await;
    let said = status.conditions("Conflict");
    assert!(said.len() == 1 && said[0].starts_with("docker1/web0: "), "{said:?}");
    assert_eq!(instance.containers()["web0"], stranger, "what is not ours was touched");
    fleet.assert_in_service(1);
    instance.docker(&["rm", "-f", "web0"]);
    controller.until_converged(&fleet.name, revision, 60).await;
    controller
}

async fn settings_edited_in_the_console_are_put_back(fleet: &Fleet) {
    let stack_id = fleet.stack_id();
    let layer = &fleet.layers()[0];
    let app = &fleet.apps()[0];
    fleet.opsworks("UpdateStack", json!({"StackId": stack_id, "DefaultRootDeviceType": "instance-store"}));
    fleet.opsworks("UpdateLayer", json!({"LayerId": layer["LayerId"], "Name": "By hand"}));
    let environment = json!([{"Key": "APP_TYPE", "Value": "php"}]);
    fleet.opsworks("UpdateApp", json!({"AppId": app["AppId"], "Environment": environment}));
    until("stack, layer and app are as declared", 30, || {
        fleet.stacks()[0]["DefaultRootDeviceType"] == "ebs"
            && fleet.layers()[0]["Name"] == "Docker"
            && fleet.apps()[0]["Environment"][0]["Value"] == "docker"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_come_as_declared_and_the_newest_leave_drained_without_losing_a_request() {
    let _turn = beside_others().await;
    let (name, region) = ("scale", "ap-south-1");
    let fleet = Fleet::new(name, region);
    fleet.commit(&Manifest::new(name, region, 2).text());
    let (source, state) = (fleet.repository(), fleet.dir().join("state"));
    let apply = ["apply", source.to_str().unwrap(), "--timeout", "120", "--state", state.to_str().unwrap()];
    let applied = evenkeel(&apply);
    assert!(applied.status.success(), "{}", words(&applied));
    fleet.assert_in_service(2);

    let mut controller = fleet.start(&[]);
    let load = Load::on(&fleet.address());
    let revision = fleet.commit(&Manifest::new(name, region, 3).text());
    controller.until_converged(name, &revision, 120).await;
    fleet.assert_in_service(3);
    let refused = evenkeel(&apply);
    assert!(words(&refused).contains("another controller"), "{}", words(&refused));
    let leaving = fleet.instances();

    let since = GROUND.last_call();
    let revision = fleet.commit(&Manifest::new(name, region, 1).text());
    controller.until_converged(name, &revision, 120).await;
    load.end().await.assert_none_lost(300);

    let left: BTreeSet<String> =
        fleet.instance_records().iter().map(|i| i["Hostname"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left, BTreeSet::from(["docker1".to_owned()]));
    fleet.assert_in_service(1);
    let calls = GROUND.calls(region, since);
    let at = |operation: &str, id: &str| {
        let found = calls.iter().position(|(called, request)| called == operation && request.to_string().contains(id));
        found.unwrap_or_else(|| panic!("{operation} of {id} was never called: {calls:#?}"))
    };
    let order: Vec<usize> = ["docker3", "docker2"]
        .iter()
        .flat_map(|hostname| {
            let instance = &leaving[*hostname];
            [
                at("DeregisterInstancesFromLoadBalancer", &instance.ec2_id),
                at("StopInstance", &instance.id),
                at("DeleteInstance", &instance.id),
            ]
        })
        .collect();
    assert!(order.is_sorted(), "each is drained, stopped and deleted, the newest first: {order:?} of {calls:#?}");
}
