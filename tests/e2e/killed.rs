//! The controller is killed, and started again: what was under way is finished, and nothing is made twice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    controller::Controller,
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::{GROUND, Instance},
    load::Load,
    manifest::Manifest,
    place::Place,
};

/// A moment of a swap: what has just happened when the controller is killed (`kill -9`), or told to stop.
struct Moment {
    what: &'static str,
    on: &'static str,
    sign: Sign,
    gently: bool,
}

enum Sign {
    /// The engine was asked this, so many times since the swap began.
    Asked(&'static str, usize),
    /// LocalStack was asked this about the instance since the swap began.
    Called(&'static str),
}

/// What has been asked for since the swap began.
struct Since<'a> {
    region: &'a str,
    instances: Vec<(Instance, u64)>,
    call: u64,
}

impl Since<'_> {
    fn now(place: &impl Place) -> Since<'_> {
        let instances = place.instances().into_values().map(|i| (i.clone(), i.log_mark())).collect();
        Since { region: place.region(), instances, call: GROUND.last_call() }
    }

    fn has_come(&self, moment: &Moment) -> bool {
        let (instance, mark) = self.instances.iter().find(|(i, _)| i.hostname == moment.on).expect("the instance");
        match moment.sign {
            Sign::Asked(what, times) => {
                instance.mutations(*mark).iter().filter(|call| call.contains(what)).count() >= times
            }
            Sign::Called(operation) => GROUND
                .calls(self.region, self.call)
                .iter()
                .any(|(called, request)| called == operation && request.to_string().contains(&instance.ec2_id)),
        }
    }
}

fn moment(what: &'static str, on: &'static str, sign: Sign) -> Moment {
    Moment { what, on, sign, gently: false }
}

fn gently(moment: Moment) -> Moment {
    Moment { gently: true, ..moment }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_controller_killed_at_any_moment_of_a_swap_finishes_it_when_it_is_back_and_no_request_is_lost() {
    let _turn = beside_others().await;
    swaps_with_kills(&Fleet::new("killed", "eu-west-3")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_controller_killed_at_any_moment_of_a_swap_finishes_it_when_it_is_back_and_no_request_is_lost() {
    let _turn = beside_others().await;
    swaps_with_kills(&ec2::fleet::Fleet::new("ec2swapped", "eu-west-3")).await;
}

async fn swaps_with_kills<P: Place>(place: &P) {
    let first = place.commit(&place.shop("1.0"));
    let mut controller = place.start(&[]);
    controller.until_converged(place.name(), &first, P::LIMIT).await;
    let load = Load::on(&place.address());

    let moments = [
        moment("the image is being pulled", "docker2", Sign::Asked("images/create", 1)),
        moment("the instance is being drained", "docker1", Sign::Called(P::OUT)),
        moment("app0 was told to stop", "docker1", Sign::Asked("/stop", 1)),
        moment("the new app0 was created", "docker1", Sign::Asked("create?name=app0", 1)),
        moment("app1 was put aside", "docker1", Sign::Asked("/rename", 2)),
        moment("the instance is about to be in service again", "docker1", Sign::Called(P::IN)),
        moment("the second instance is being drained", "docker2", Sign::Called(P::OUT)),
        moment("app1 of the second instance was told to stop", "docker2", Sign::Asked("/stop", 2)),
    ];
    controller = swap_with_kills(place, controller, "1.1", &load, &moments).await;
    let moments = [
        moment("app0 was put aside", "docker1", Sign::Asked("/rename", 1)),
        moment("the new app0 was started", "docker1", Sign::Asked("/start", 1)),
        moment("the new app1 was started, all is done but registering", "docker1", Sign::Asked("/start", 2)),
        moment("app0 of the second instance was created", "docker2", Sign::Asked("create?name=app0", 1)),
        gently(moment("app1 of the second instance was told to stop", "docker2", Sign::Asked("/stop", 2))),
        moment("the second instance is about to be in service again", "docker2", Sign::Called(P::IN)),
        moment("what was kept is being removed", "docker1", Sign::Asked("DELETE", 1)),
    ];
    let controller = swap_with_kills(place, controller, "1.0", &load, &moments).await;

    load.end().await.assert_none_lost(1000);
    drop(controller);
}

async fn swap_with_kills(
    place: &impl Place,
    controller: Controller,
    release: &str,
    load: &Load,
    moments: &[Moment],
) -> Controller {
    let since = Since::now(place);
    let began = Instant::now();
    let revision = place.commit(&place.shop(release));
    let mut controller = controller;
    for moment in moments {
        // Some moments pass while the controller is away: then it is killed at once, which is as good a moment.
        until_soon(&controller, moment, || since.has_come(moment)).await;
        let how = if moment.gently { "told to stop" } else { "killed" };
        eprintln!("{:5.1}s {how}: {} ({})", began.elapsed().as_secs_f64(), moment.what, moment.on);
        if moment.gently {
            assert!(controller.terminate().await.success());
        } else {
            controller.kill();
        }
        controller = place.start(&[]);
    }
    controller.until_converged(place.name(), &revision, 120).await;
    place.assert_in_service(2);
    for instance in place.instances().values() {
        let containers = instance.containers();
        let names: Vec<&String> = containers.keys().collect();
        assert_eq!(names, ["app0", "app1", "haproxy0", "nginx0", "redis0", "worker0"], "{}", instance.hostname);
        assert!(containers["app0"].image.ends_with(release) && containers["app1"].image.ends_with(release));
    }
    let failed = load.so_far().failed;
    assert!(failed.is_empty(), "requests failed in the swap to {release}: {failed:#?}");
    controller
}

async fn until_soon(controller: &Controller, moment: &Moment, mut come: impl FnMut() -> bool) {
    let began = Instant::now();
    while !come() {
        let late = began.elapsed() > Duration::from_secs(60);
        assert!(!late, "the moment never came: {} ({})\n{}", moment.what, moment.on, controller.tail());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_controller_killed_before_a_create_is_answered_makes_no_second_stack_layer_app_or_instance() {
    let _turn = beside_others().await;
    let (name, region) = ("creates", "ca-central-1");
    let fleet = Fleet::new(name, region);
    let since = GROUND.last_call();
    // Half of them are carried out at once and answered late; the others are carried out late, when the controller
    // that asked for them is gone and its successor has looked already.
    let creates = [
        ("CreateStack", "", false),
        ("CreateLayer", "", true),
        ("CreateApp", "", false),
        ("CreateInstance", "docker1", true),
        ("CreateInstance", "docker2", false),
    ];
    let faults: Vec<_> = creates
        .iter()
        .map(|(operation, of, after)| {
            GROUND.fault(json!({
                "service": "opsworks", "operation": operation, "region": region, "match": of, "delay": 4, "after": after,
                "times": 1,
            }))
        })
        .collect();
    let revision = fleet.commit(&Manifest::new(name, region, 2).text());
    let mut controller = fleet.start(&[]);
    for (operation, of, _) in creates {
        until(&format!("{operation} {of} is called"), 60, || {
            let calls = GROUND.calls(region, since);
            calls.iter().any(|(called, request)| called == operation && mentions(request, of))
        })
        .await;
        controller.kill();
        controller = fleet.start(&[]);
    }
    controller.until_converged(name, &revision, 120).await;
    drop(faults);

    assert_eq!(fleet.stacks().len(), 1);
    assert_eq!(fleet.layers().len(), 1);
    assert_eq!(fleet.apps().len(), 1);
    let mut hostnames: Vec<String> =
        fleet.instance_records().iter().map(|i| i["Hostname"].as_str().unwrap().to_owned()).collect();
    hostnames.sort();
    assert_eq!(hostnames, ["docker1", "docker2"]);
    let calls = GROUND.calls(region, since);
    for (operation, of, _) in creates {
        let times = calls.iter().filter(|(called, request)| called == operation && mentions(request, of)).count();
        assert_eq!(times, 1, "{operation} {of} was called {times} times\n{}", controller.tail());
    }
}

fn mentions(request: &Value, what: &str) -> bool {
    request.to_string().contains(what)
}
