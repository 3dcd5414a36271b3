//! Releases: a tag is resolved once, and every instance runs what it stood for.

use std::fs;

use super::{
    controller::{Status, words},
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::run,
    load::Load,
    place::Place,
};

/// Where this machine pushes to.
const REGISTRY: &str = "http://127.0.0.1:5000/v2/shop/web/manifests";
const KIND: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Lets a tag stand for what another one stands for, and tells its digest.
pub fn move_tag(tag: &str, to: &str) -> String {
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

fn digests(place: &impl Place) -> Vec<String> {
    place.instances().values().map(|instance| instance.containers()["web0"].digest.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_tag_that_moves_is_rolled_out_once_and_a_lost_store_touches_nothing() {
    let _turn = beside_others().await;
    a_tag_moves(&Fleet::new("moving", "sa-east-1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_tag_that_moves_is_rolled_out_once_and_a_lost_store_touches_nothing() {
    let _turn = beside_others().await;
    a_tag_moves(&ec2::fleet::Fleet::new("ec2moving", "sa-east-1")).await;
}

async fn a_tag_moves<P: Place>(place: &P) {
    let name = place.name();
    // The registry is everybody's: its tag is called as the stack.
    let tag = name;
    let first = move_tag(tag, "1.0");
    let revision = place.commit(&place.text(&place.manifest(2).image(&format!("web:{tag}"))));
    let mut controller = place.start(&[]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    assert_eq!(digests(place), [first.as_str(); 2]);

    let load = Load::on(&place.address());
    let second = move_tag(tag, "1.1");
    assert_ne!(first, second);
    let moved = |status: &Status| status.phase() == "Converged" && digests(place) == [second.as_str(); 2];
    controller.until(name, "converged on what the tag stands for now", 150, moved).await;
    load.end().await.assert_none_lost(600);
    place.assert_in_service(2);

    // What is on record is gone, and the tag has moved on meanwhile for those who ask: what runs is asked first.
    controller.kill();
    for file in fs::read_dir(place.state()).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("evenkeel.db") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let marks: Vec<u64> = place.instances().values().map(|instance| instance.log_mark()).collect();
    let mut controller = place.start(&[]);
    controller.until_converged(name, &revision, 60).await;
    for (instance, mark) in place.instances().values().zip(marks) {
        assert_eq!(instance.mutations(mark), Vec::<String>::new());
    }
    assert_eq!(digests(place), [second.as_str(); 2]);
    let (source, no_state) = (place.repository(), place.dir().join("no-state"));
    let plan = ["plan", source.to_str().unwrap(), "--state", no_state.to_str().unwrap()];
    let plan = place.command(&plan).output().unwrap();
    assert!(plan.status.success(), "{}", words(&plan));
}

/// What the migrations wrote: one line for each that was run, on whatever instance.
fn migrations(place: &impl Place) -> Vec<String> {
    let wrote = |host: &str| {
        let said = place.instance(host).run(&["sh", "-c", "cat /srv/migrations/log 2>/dev/null || true"]);
        said.lines().map(|line| format!("{host}: {line}")).collect::<Vec<_>>()
    };
    ["docker1", "docker2"].iter().flat_map(|host| wrote(host)).collect()
}

fn migrating(command: &str) -> String {
    format!("      volumes: [\"/srv/migrations:/migrations\"]\n      migration: [sh, -c, \"{command}\"]\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_migration_runs_once_though_the_controller_is_killed_in_it_and_a_failed_one_stops_nothing() {
    let _turn = beside_others().await;
    a_migration_runs(&Fleet::new("migrating", "ca-west-1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_migration_runs_once_though_the_controller_is_killed_in_it_and_a_failed_one_stops_nothing() {
    let _turn = beside_others().await;
    a_migration_runs(&ec2::fleet::Fleet::new("ec2migrating", "ca-west-1")).await;
}

async fn a_migration_runs<P: Place>(place: &P) {
    let name = place.name();
    let mut manifest = place.manifest(2);
    manifest.more = migrating("echo first >> /migrations/log");
    let revision = place.commit(&place.text(&manifest));
    let mut controller = place.start(&[]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    assert_eq!(migrations(place), ["docker1: first"]);
    let load = Load::on(&place.address());

    // It says why, nothing is stopped, and it is not tried again.
    let marks: Vec<u64> = place.instances().values().map(|instance| instance.log_mark()).collect();
    manifest.more = migrating("echo failed >> /migrations/log; echo no such table: users; exit 4");
    place.commit(&place.text(&manifest.clone().image("web:1.1")));
    let failed = |status: &Status| {
        let said = status.conditions("MigrationFailed");
        said.iter().any(|message| message.contains("exit code 4: no such table: users"))
    };
    controller.until(name, "told that the migration failed", 60, failed).await;
    let blocked = |status: &Status| status.phase() == "Blocked";
    controller.until(name, "blocked", 60, blocked).await;
    for (instance, mark) in place.instances().values().zip(marks) {
        assert!(!instance.mutations(mark).iter().any(|call| call.contains("/stop")));
    }
    place.assert_in_service(2);

    // Killed in the middle, the controller finds it and waits for it.
    manifest.more = migrating("echo second >> /migrations/log; sleep 6");
    let revision = place.commit(&place.text(&manifest.image("web:1.1")));
    let begun = || migrations(place).iter().any(|line| line.ends_with("second"));
    until("the migration has begun", 60, begun).await;
    controller.kill();
    let mut controller = place.start(&[]);
    controller.until_converged(name, &revision, 120).await;
    assert_eq!(migrations(place), ["docker1: first", "docker1: failed", "docker1: second"]);
    for instance in place.instances().values() {
        let containers = instance.containers();
        assert_eq!(containers.keys().collect::<Vec<_>>(), ["web0"]);
        assert!(containers["web0"].image.ends_with("web:1.1"));
    }
    load.end().await.assert_none_lost(600);
}
