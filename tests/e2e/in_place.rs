//! One instance: it cannot be drained, so its replicas are swapped one at a time. The manifests come from a directory.

use std::fs;

use super::{
    ec2,
    fleet::{Fleet, beside_others},
    load::Load,
    place::Place,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_lone_instance_of_opsworks_replicas_are_swapped_one_by_one_and_what_has_only_one_is_refused() {
    let _turn = beside_others().await;
    replicas_take_turns(&Fleet::new("lone", "me-south-1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_lone_instance_of_ec2_replicas_are_swapped_one_by_one_and_what_has_only_one_is_refused() {
    let _turn = beside_others().await;
    replicas_take_turns(&ec2::fleet::Fleet::new("ec2lone", "me-south-1")).await;
}

async fn replicas_take_turns<P: Place>(place: &P) {
    let name = place.name();
    let lone = |release: &str| place.shop(release).replace("count: 2", "count: 1");
    let (source, file) = (place.repository(), place.repository().join("stack.yaml"));
    fs::write(&file, lone("1.0")).unwrap();
    let mut controller = place.start_on(source.to_str().unwrap(), &[], &[]);
    let converged = controller.until(name, "converged", P::LIMIT, |status| status.phase() == "Converged").await;
    let first = converged.revision().to_owned();
    let instance = place.instance("docker1");
    let mark = instance.log_mark();
    let load = Load::on(&place.address());

    fs::write(&file, lone("1.1")).unwrap();
    let second = controller
        .until(name, "converged on the new release", 90, |status| {
            status.phase() == "Converged" && status.revision() != first
        })
        .await;
    assert!(second.all_conditions().is_empty(), "{:?}", second.all_conditions());
    let containers = instance.containers();
    for replica in ["app0", "app1"] {
        assert!(containers[replica].image.ends_with("app:1.1"), "{}", containers[replica].image);
    }
    assert!(instance.mutations(mark).iter().any(|call| call.contains("/stop")), "the swap went through the engine");
    place.assert_in_service(1);

    // nginx has one replica, on the only instance: replacing it would interrupt, and nobody allowed that.
    let mark = instance.log_mark();
    let nginx = "image: registry.example.com/shop/nginx:1.0";
    fs::write(&file, lone("1.1").replace(nginx, &format!("{nginx}\n      env: {{COLOUR: blue}}"))).unwrap();
    let refused = controller
        .until(name, "told that nginx cannot be replaced without an interruption", 30, |status| {
            !status.conditions("Refused").is_empty()
        })
        .await;
    let said = refused.conditions("Refused").remove(0);
    assert!(said.contains("nginx0") && said.contains("allowDowntime"), "{said}");
    let stops = instance.mutations(mark).into_iter().filter(|call| call.contains("/stop")).collect::<Vec<_>>();
    assert!(stops.is_empty(), "{stops:?}");
    load.end().await.assert_none_lost(300);
}
