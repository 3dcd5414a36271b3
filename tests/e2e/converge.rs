//! The main job: what is declared comes to be, and then there is nothing to do.

use super::{
    controller::{evenkeel, words},
    fleet::{Fleet, beside_others, until},
    ground::GROUND,
    load::Load,
    manifest::shop,
    place::Place,
    rest::passes_ask_once_and_change_nothing,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_declared_shop_comes_to_be_then_nothing_is_done_and_a_new_image_is_swapped_in_without_losing_a_request() {
    let _turn = beside_others().await;
    let fleet = Fleet::new("mainjob", "ap-northeast-3");
    let first = fleet.commit(&shop("mainjob", "ap-northeast-3", "1.0"));
    let mut controller = fleet.start(&["--resync", "2"]);
    controller.until_converged("mainjob", &first, 150).await;

    everything_is_there(&fleet);
    plan_says_that_there_is_nothing_to_do(&fleet);
    passes_ask_once_and_change_nothing(&fleet, &mut controller).await;
    a_new_image_is_swapped_in(&fleet, &mut controller).await;
    passes_ask_once_and_change_nothing(&fleet, &mut controller).await;

    controller.assert_small();
    assert!(controller.terminate().await.success());
}

fn everything_is_there(fleet: &Fleet) {
    let stacks = fleet.stacks();
    assert_eq!(stacks.len(), 1);
    let stack = &stacks[0];
    assert_eq!(stack["VpcId"], "vpc-0a1b2c3d4e5f60718", "{stack:#}");
    assert_eq!(stack["DefaultRootDeviceType"], "ebs");
    assert_eq!(stack["DefaultSshKeyName"], "ops");
    assert_eq!(stack["CustomCookbooksSource"]["Url"], "https://example.com/cookbooks.git");
    assert_eq!(stack["ChefConfiguration"]["ManageBerkshelf"], true);

    let layers = fleet.layers();
    assert_eq!(layers.len(), 1, "{layers:#?}");
    let layer = &layers[0];
    assert_eq!(
        (&layer["Name"], &layer["Shortname"], &layer["Type"]),
        (&"Docker".into(), &"docker".into(), &"custom".into())
    );
    assert_eq!(layer["CustomRecipes"]["Setup"][0], "docker::install");
    let volume = &layer["VolumeConfigurations"][0];
    assert_eq!((&volume["MountPoint"], &volume["Size"]), (&"/var/lib/docker".into(), &120.into()), "{layer:#}");
    assert_eq!(volume["VolumeType"], "gp2");

    let apps = fleet.apps();
    assert_eq!(apps.len(), 1, "{apps:#?}");
    assert_eq!((&apps[0]["Type"], &apps[0]["Name"]), (&"other".into(), &"mainjob".into()));
    let environment = &apps[0]["Environment"][0];
    assert_eq!((&environment["Key"], &environment["Value"]), (&"APP_TYPE".into(), &"docker".into()));

    let mut instances: Vec<(String, String)> = fleet
        .instance_records()
        .iter()
        .map(|i| (i["Hostname"].as_str().unwrap().to_owned(), i["Status"].as_str().unwrap().to_owned()))
        .collect();
    instances.sort();
    assert_eq!(instances, [("docker1".into(), "online".into()), ("docker2".to_owned(), "online".to_owned())]);

    let attached = fleet.described("DescribeElasticLoadBalancers", "ElasticLoadBalancers");
    assert_eq!(attached[0]["ElasticLoadBalancerName"], "mainjob", "{attached:#?}");
    fleet.assert_in_service(2);

    for instance in fleet.instances().values() {
        let disk = instance.run(&["df", "-h", "--output=size", "/var/lib/docker"]);
        assert!(disk.contains("118G"), "{disk}");
        let containers = instance.containers();
        let names: Vec<&String> = containers.keys().collect();
        assert_eq!(names, ["app0", "app1", "haproxy0", "nginx0", "redis0", "worker0"]);
        assert!(containers.values().all(|container| container.state == "running"), "{containers:#?}");
    }
}

fn plan_says_that_there_is_nothing_to_do(fleet: &Fleet) {
    let source = fleet.repository().join("stack.yaml");
    let state = fleet.dir().join("state");
    let plan = evenkeel(&["plan", source.to_str().unwrap(), "--state", state.to_str().unwrap()]);
    assert_eq!(plan.status.code(), Some(0), "{}", words(&plan));
    assert!(String::from_utf8_lossy(&plan.stdout).contains("Nothing to do"), "{}", words(&plan));
}

async fn a_new_image_is_swapped_in(fleet: &Fleet, controller: &mut super::controller::Controller) {
    let text = shop(&fleet.name, &fleet.region, "1.1");
    let file = fleet.dir().join("next.yaml");
    std::fs::write(&file, &text).unwrap();
    let state = fleet.dir().join("state");
    let plan = evenkeel(&["plan", file.to_str().unwrap(), "--state", state.to_str().unwrap()]);
    assert_eq!(plan.status.code(), Some(2), "{}", words(&plan));
    let planned = String::from_utf8_lossy(&plan.stdout).into_owned();
    for step in ["pull", "app0", "app1", "docker1", "docker2", "mainjob"] {
        assert!(planned.contains(step), "the plan does not mention {step}:\n{planned}");
    }

    let instances = fleet.instances();
    let marks: Vec<u64> = instances.values().map(|instance| instance.log_mark()).collect();
    let since = GROUND.last_call();
    let load = Load::on(&fleet.address());
    until("requests are answered", 10, || load.so_far().sent > 200).await;
    let second = fleet.commit(&text);
    let converged = controller.until_converged(&fleet.name, &second, 120).await;
    assert!(converged.all_conditions().is_empty(), "{:?}", converged.all_conditions());
    let before_end = load.so_far().sent;
    until("requests after the swap", 10, || load.so_far().sent > before_end + 200).await;
    let count = load.end().await;
    count.assert_none_lost(300);
    assert!(count.answers.contains_key("1.0") && count.answers.contains_key("1.1"), "{:?}", count.answers);

    fleet.assert_in_service(2);
    for (instance, mark) in instances.values().zip(marks) {
        let containers = instance.containers();
        assert!(containers["app0"].image.ends_with("app:1.1") && containers["app1"].image.ends_with("app:1.1"));
        assert_eq!(containers.len(), 6, "{containers:#?}");
        pulled_before_anything_stopped(&instance.mutations(mark));
        drained_before_the_stop(fleet, instance, since);
    }
}

fn pulled_before_anything_stopped(mutations: &[String]) {
    let at = |what: &str| mutations.iter().position(|call| call.contains(what));
    let (pull, stop) = (at("/images/create"), at("/stop"));
    assert!(pull.is_some() && stop.is_some() && pull < stop, "{mutations:#?}");
}

/// The instance was taken out by a call, and that call came before the first stop on its engine.
fn drained_before_the_stop(fleet: &Fleet, instance: &super::ground::Instance, since: u64) {
    let calls = GROUND.control("GET", &format!("calls?since={since}"), None);
    let at = |operation: &str| {
        let mut calls = calls["calls"].as_array().unwrap().iter();
        let found = calls.find(|call| {
            call["operation"] == operation
                && call["region"] == *fleet.region
                && call["request"].to_string().contains(&instance.ec2_id)
        });
        found.unwrap_or_else(|| panic!("{operation} of {} was never called", instance.hostname))["time"]
            .as_f64()
            .unwrap()
    };
    let (out, back) = (at("DeregisterInstancesFromLoadBalancer"), at("RegisterInstancesWithLoadBalancer"));
    let stops = instance.stops_after(out);
    assert!(stops.len() >= 2, "{stops:?}");
    for stop in &stops {
        // Half a second is the least that the balancer drains in.
        assert!(*stop > out + 0.5 && *stop < back, "out at {out}, stop at {stop}, back at {back}");
    }
}
