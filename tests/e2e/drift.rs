//! What people and accidents change is put back; what is not ours is left alone; instances come and go as declared.

use serde_json::json;

use super::{
    controller::{Controller, words},
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::{GROUND, Instance},
    load::Load,
    place::Place,
};

const WEB: &str = "registry.example.com/shop/web:1.0";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_what_is_changed_by_hand_is_put_back_and_what_is_not_ours_is_never_touched() {
    let _turn = beside_others().await;
    let fleet = Fleet::new("drift", "us-east-2");
    by_hand(&fleet, async || settings_edited_in_the_console_are_put_back(&fleet).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_what_is_changed_by_hand_is_put_back_and_what_is_not_ours_is_never_touched() {
    let _turn = beside_others().await;
    by_hand(&ec2::fleet::Fleet::new("ec2drift", "us-east-2"), async || ()).await;
}

/// What people do on an engine, to a balancer, and whatever the provider alone has that can be edited.
async fn by_hand<P: Place>(place: &P, edit_more: impl AsyncFnOnce()) {
    let name = place.name();
    let revision = place.commit(&place.text(&place.manifest(2)));
    // Nothing below takes anywhere near as long: what is noticed was told by an engine's event.
    let mut controller = place.start(&["--resync", "300"]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    let instance = place.instance("docker1");
    instance.docker(&["run", "-d", "--name", "foreign", WEB]);
    let foreign = instance.containers()["foreign"].clone();

    a_killed_and_a_removed_container_come_back_at_once(&mut controller, &instance, name).await;
    an_undeclared_container_of_ours_is_removed(&instance, name).await;
    controller.until_converged(name, &revision, 30).await;
    assert!(controller.terminate().await.success());

    let controller = a_foreign_container_in_the_way_is_a_conflict(place, &instance, &revision).await;
    assert!(controller.terminate().await.success());

    let mut controller = place.start(&["--resync", "2"]);
    controller.until_converged(name, &revision, 30).await;
    edit_more().await;
    an_instance_that_was_taken_out_is_put_back(place).await;
    controller.until_converged(name, &revision, 30).await;
    assert_eq!(instance.containers()["foreign"], foreign);
    place.assert_in_service(2);
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
    place: &impl Place,
    instance: &Instance,
    revision: &str,
) -> Controller {
    instance.docker(&["rm", "-f", "web0"]);
    instance.docker(&["create", "--name", "web0", WEB]);
    let stranger = instance.containers()["web0"].clone();
    let mut controller = place.start(&["--resync", "300"]);
    let conflicts = |status: &super::controller::Status| !status.conditions("Conflict").is_empty();
    let status = controller.until(place.name(), "in conflict", 30, conflicts).await;
    let said = status.conditions("Conflict");
    assert!(said.len() == 1 && said[0].starts_with("docker1/web0: "), "{said:?}");
    assert_eq!(instance.containers()["web0"], stranger, "what is not ours was touched");
    place.assert_in_service(1);
    instance.docker(&["rm", "-f", "web0"]);
    controller.until_converged(place.name(), revision, 60).await;
    controller
}

async fn an_instance_that_was_taken_out_is_put_back<P: Place>(place: &P) {
    let instance = place.instance("docker2");
    let since = GROUND.last_call();
    place.take_out(&instance);
    until("the instance that was taken out is in service again", 60, || {
        let calls = GROUND.calls(place.region(), since);
        let was_put_back =
            calls.iter().any(|(called, request)| called == P::IN && request.to_string().contains(&instance.ec2_id));
        was_put_back && place.in_service().len() == 2
    })
    .await;
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
async fn on_opsworks_instances_come_as_declared_and_the_newest_leave_drained_without_losing_a_request() {
    let _turn = beside_others().await;
    let fleet = Fleet::new("scale", "ap-south-1");
    instances_come_and_leave(&fleet, &["StopInstance", "DeleteInstance"]).await;
    let left: Vec<_> = fleet.instance_records().into_iter().map(|record| record["Hostname"].clone()).collect();
    assert_eq!(left, ["docker1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_instances_come_as_declared_and_the_newest_leave_drained_without_losing_a_request() {
    let _turn = beside_others().await;
    instances_come_and_leave(&ec2::fleet::Fleet::new("ec2scale", "ap-south-1"), &["TerminateInstances"]).await;
}

/// `end` are the calls by which an instance that is drained ends, in order.
async fn instances_come_and_leave<P: Place>(place: &P, end: &[&str]) {
    let name = place.name();
    let declare = |count: u32| place.commit(&place.text(&place.manifest(count)));
    declare(2);
    let (source, limit) = (place.repository(), P::LIMIT.to_string());
    let apply = || place.evenkeel(&["apply", source.to_str().unwrap(), "--timeout", &limit]);
    let applied = apply();
    assert!(applied.status.success(), "{}", words(&applied));
    place.assert_in_service(2);

    let mut controller = place.start(&[]);
    let load = Load::on(&place.address());
    let revision = declare(3);
    controller.until_converged(name, &revision, P::LIMIT).await;
    place.assert_in_service(3);
    let refused = apply();
    assert!(words(&refused).contains("another controller"), "{}", words(&refused));
    let leaving = place.instances();

    let since = GROUND.last_call();
    let revision = declare(1);
    controller.until_converged(name, &revision, 120).await;
    load.end().await.assert_none_lost(300);

    assert_eq!(place.instances().keys().collect::<Vec<_>>(), ["docker1"]);
    place.assert_in_service(1);
    let calls = GROUND.calls(place.region(), since);
    let at = |operation: &str, instance: &Instance| {
        let is_of = |request: String| [&instance.id, &instance.ec2_id].into_iter().any(|id| request.contains(id));
        let found = calls.iter().position(|(called, request)| called == operation && is_of(request.to_string()));
        found.unwrap_or_else(|| panic!("{operation} of {} was never called: {calls:#?}", instance.hostname))
    };
    let mut order = Vec::new();
    for hostname in ["docker3", "docker2"] {
        order.push(at(P::OUT, &leaving[hostname]));
        order.extend(end.iter().map(|operation| at(operation, &leaving[hostname])));
    }
    assert!(order.is_sorted(), "each is drained and then ended, the newest first: {order:?} of {calls:#?}");
}
