//! Instances that load balancers of every kind send requests to: one that is there already, named by the ARN of its target
//! group, and two that are made.

use super::{fleet::Fleet, manifest::Manifest};
use crate::{
    fleet::beside_others,
    ground::{GROUND, Instance, elements},
    load::Load,
    place::Place,
};

/// What takes an instance out of each of the three.
const OUT: [&str; 3] = ["DeregisterTargets", "DeregisterTargets", "DeregisterInstancesFromLoadBalancer"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instance_leaves_load_balancers_of_three_kinds_before_anything_on_it_stops_and_no_request_is_lost() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2several", "us-east-1");
    let fleet = Fleet::new(name, region);
    let arn = elements(&fleet.elbv2("DescribeTargetGroups", &[("Names.member.1", name)]), "TargetGroupArn").remove(0);
    let (classic, network) = (format!("{name}-classic"), format!("{name}-net"));
    let forget = || GROUND.elb(region, "DeleteLoadBalancer", &[("LoadBalancerName", &classic)]);
    forget().expect("an earlier run's is gone");
    let mut manifest = Manifest::new(&fleet, 2);
    let made = "listeners: [{port: 80}], draining: 20s";
    let check = "interval: 5s, timeout: 2s";
    manifest.balancers = format!(
        "[{{targetGroup: \"{arn}\", port: 80}}, {{classic: {classic}, {made}, healthCheck: {{http: /, {check}}}}}, \
         {{network: {network}, {made}, healthCheck: {{tcp: true, {check}}}}}]"
    );
    let revision = fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    let status = controller.until_converged(name, &revision, 240).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
    for balancer in [name, &classic, &network] {
        assert_eq!(in_service(region, balancer), 2, "{balancer}");
    }

    let instances = fleet.instances();
    let since = GROUND.last_call();
    // Who keeps a connection to a network load balancer open keeps it with one instance: that is not for this test.
    let loads = [name, &classic].map(|balancer| Load::on(&address(region, balancer)));
    let revision = fleet.commit(&manifest.clone().image("web:1.1").text());
    controller.until_converged(name, &revision, 150).await;
    for load in loads {
        load.end().await.assert_none_lost(300);
    }
    for instance in instances.values() {
        assert!(instance.containers()["web0"].image.ends_with("web:1.1"));
        is_out_of_all_before_the_stop(region, instance, since);
    }
    for balancer in [name, &classic, &network] {
        assert_eq!(in_service(region, balancer), 2, "{balancer}");
    }
    assert!(controller.terminate().await.success());
    forget().expect("it is gone");
}

fn address(region: &str, name: &str) -> String {
    format!("{}:80", GROUND.balancer(region, name)["address"].as_str().unwrap())
}

fn in_service(region: &str, name: &str) -> usize {
    let balancer = GROUND.balancer(region, name);
    balancer["servers"].as_array().unwrap().iter().filter(|server| server["status"] == "UP").count()
}

fn is_out_of_all_before_the_stop(region: &str, instance: &Instance, since: u64) {
    let calls = GROUND.control("GET", &format!("calls?since={since}"), None);
    let calls = calls["calls"].as_array().unwrap().iter();
    let out: Vec<(&str, f64)> = calls
        .filter(|call| call["region"] == *region && call["request"].to_string().contains(&instance.ec2_id))
        .filter_map(|call| Some((call["operation"].as_str()?, call["time"].as_f64()?)))
        .filter(|(operation, _)| OUT.contains(operation))
        .collect();
    let mut operations: Vec<&str> = out.iter().map(|(operation, _)| *operation).collect();
    operations.sort_unstable_by_key(|operation| std::cmp::Reverse(*operation));
    assert_eq!(operations, OUT, "{}", instance.hostname);
    let last = out.iter().map(|(_, at)| *at).fold(0.0, f64::max);
    let before = out.iter().map(|(_, at)| *at).fold(f64::MAX, f64::min);
    let stops = instance.stops_after(before);
    // Half a second is the least that a load balancer drains in.
    assert!(!stops.is_empty() && stops.iter().all(|stop| *stop > last + 0.5), "{out:?} {stops:?}");
}
