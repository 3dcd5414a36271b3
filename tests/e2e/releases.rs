//! Releases: a tag is resolved once, and every instance runs what it stood for.

use std::{fs, process::Command};

use super::{
    controller::Status,
    fleet::{Fleet, beside_others},
    ground::run,
    load::Load,
    manifest::Manifest,
};

/// Where this machine pushes to.
const REGISTRY: &str = "http://127.0.0.1:5000/v2/shop/web/manifests";
const KIND: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Lets a tag stand for what another one stands for, and tells its digest.
fn move_tag(tag: &str, to: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("manifest");
    let (accept, body) = (format!("Accept: {KIND}"), format!("@{}", file.display()));
    let quiet = ["-fsS", "--noproxy", "*"];
    run("curl", &[&quiet[..], &["-H", &accept, "-o", file.to_str().unwrap(), &format!("{REGISTRY}/{to}")]].concat());
    let kind = format!("Content-Type: {KIND}");
    let put = ["-X", "PUT", "-H", &kind, "--data-binary", &body, &format!("{REGISTRY}/{tag}")];
    run("curl", &[&quiet[..], &put].concat());
    let sum = run("sha256sum", &[file.to_str().unwrap()]);
    format!("sha256:{}", sum.split_whitespace().next().unwrap())
}

fn digests(fleet: &Fleet) -> Vec<String> {
    fleet.instances().values().map(|instance| instance.containers()["web0"].digest.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tag_that_moves_is_rolled_out_once_and_a_lost_store_touches_nothing() {
    let _turn = beside_others().await;
    let (name, region) = ("moving", "sa-east-1");
    let fleet = Fleet::new(name, region);
    let first = move_tag("moving", "1.0");
    let revision = fleet.commit(&Manifest::new(name, region, 2).image("web:moving").text());
    let mut controller = fleet.start(&[]);
    controller.until_converged(name, &revision, 120).await;
    assert_eq!(digests(&fleet), [first.as_str(); 2]);

    let load = Load::on(&fleet.address());
    let second = move_tag("moving", "1.1");
    assert_ne!(first, second);
    let moved = |status: &Status| status.phase() == "Converged" && digests(&fleet) == [second.as_str(); 2];
    controller.until(name, "converged on what the tag stands for now", 150, moved).await;
    load.end().await.assert_none_lost(2000);
    fleet.assert_in_service(2);

    // What is on record is gone, and the tag has moved on meanwhile for those who ask: what runs is asked first.
    controller.kill();
    for file in fs::read_dir(fleet.dir().join("state")).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("evenkeel.db") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let marks: Vec<u64> = fleet.instances().values().map(|instance| instance.log_mark()).collect();
    let mut controller = fleet.start(&[]);
    controller.until_converged(name, &revision, 60).await;
    for (instance, mark) in fleet.instances().values().zip(marks) {
        assert_eq!(instance.mutations(mark), Vec::<String>::new());
    }
    assert_eq!(digests(&fleet), [second.as_str(); 2]);
    let plan = Command::new(super::controller::program())
        .args(["plan", fleet.repository().to_str().unwrap(), "--state", fleet.dir().join("no-state").to_str().unwrap()])
        .envs(&super::ground::GROUND.env)
        .output()
        .unwrap();
    assert!(plan.status.success(), "{}", super::controller::words(&plan));
}
