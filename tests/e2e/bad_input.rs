//! Manifests with mistakes in them.

use std::fs;

use super::{
    controller::{Status, evenkeel, words},
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::SHARED,
    manifest::Manifest,
    place::Place,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_revision_with_a_mistake_is_refused_whole_while_the_last_good_one_goes_on_being_reconciled() {
    let _turn = beside_others().await;
    a_mistake_is_refused(&Fleet::new("badinput", "ap-northeast-1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_revision_with_a_mistake_is_refused_whole_while_the_last_good_one_goes_on_being_reconciled() {
    let _turn = beside_others().await;
    a_mistake_is_refused(&ec2::fleet::Fleet::new("ec2badinput", SHARED)).await;
}

async fn a_mistake_is_refused<P: Place>(place: &P) {
    let name = place.name();
    let good = place.commit(&place.text(&place.manifest(1)));
    let mut controller = place.start(&["--resync", "300"]);
    controller.until_converged(name, &good, P::LIMIT).await;

    // One mistake, and a change that would be fine by itself.
    let mut bad = place.manifest(1).image("web:1.1");
    bad.more = "      helthCheck: {http: /up, port: 8080}\n".into();
    let refused = place.commit(&place.text(&bad));
    let invalid = |status: &Status| !status.conditions("InvalidRevision").is_empty();
    let status = controller.until(name, "told that the revision is invalid", 30, invalid).await;
    let said = status.conditions("InvalidRevision").remove(0);
    assert!(said.contains(&refused) && said.contains("stack.yaml:") && said.contains("helthCheck"), "{said}");
    assert_eq!(status.revision(), good);

    let instance = place.instance("docker1");
    instance.docker(&["rm", "-f", "web0"]);
    until("the removed container is back", 30, || {
        instance.containers().get("web0").is_some_and(|web| web.state == "running" && web.image.ends_with("web:1.0"))
    })
    .await;

    let better = place.commit(&place.text(&place.manifest(1)));
    let status = controller.until_converged(name, &better, 60).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
}

#[test]
fn validate_names_file_line_and_the_nearest_key_of_every_mistake_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut bad = Manifest::new("badinput", "eu-west-1", 1);
    bad.more = "      helthCheck: {http: /up, port: 8080}\n      replicas: many\n".into();
    let text = bad.text();
    let line = |what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
    fs::write(dir.path().join("stack.yaml"), &text).unwrap();
    let output = evenkeel(&["validate", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in [
        format!("stack.yaml:{}:", line("helthCheck")),
        "healthCheck".to_owned(),
        format!("stack.yaml:{}:", line("replicas")),
    ] {
        assert!(said.contains(&expected), "no {expected} in:\n{said}");
    }
}
