//! Ten rollouts in a row under load, with everything that happens in a year of them: the controller killed at a random
//! moment of every second one, a release that never becomes healthy, an engine that hangs for half a minute.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::{Duration, Instant},
};

use super::{
    controller::{Controller, Status},
    ec2,
    fleet::{Fleet, beside_others, until},
    load::Load,
    place::Place,
};

/// How many.
const ROLLOUTS: usize = 10;
/// The one whose release answers 503 to every check.
const SICK: usize = 3;
/// The one during which an engine hangs.
const FROZEN: usize = 6;
/// For how long.
const FREEZE: Duration = Duration::from_secs(30);
/// Within which a controller is killed: as long as a swap of one instance takes here, more or less.
const MOMENT: u64 = 15_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_ten_rollouts_behind_ports_that_nginx_publishes_lose_no_request_whatever_happens_meanwhile() {
    let _turn = beside_others().await;
    ten_rollouts(&Fleet::new("ten", "us-west-1"), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_ten_rollouts_behind_ports_that_nginx_publishes_lose_no_request_whatever_happens_meanwhile() {
    let _turn = beside_others().await;
    ten_rollouts(&ec2::fleet::Fleet::new("ec2ten", "us-west-1"), 2).await;
}

/// Nobody can be drained: the two replicas take turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_ten_rollouts_of_two_replicas_on_one_instance_lose_no_request_whatever_happens_meanwhile() {
    let _turn = beside_others().await;
    ten_rollouts(&Fleet::new("turns", "ap-east-1"), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_ten_rollouts_of_two_replicas_on_one_instance_lose_no_request_whatever_happens_meanwhile() {
    let _turn = beside_others().await;
    ten_rollouts(&ec2::fleet::Fleet::new("ec2turns", "ap-southeast-1"), 1).await;
}

async fn ten_rollouts<P: Place>(place: &P, count: usize) {
    let name = place.name();
    let manifest = |release: &str| place.shop(release).replace("count: 2", &format!("count: {count}"));
    let first = place.commit(&manifest("1.0"));
    let mut controller = place.start(&[]);
    controller.until_converged(name, &first, P::LIMIT).await;
    let last = format!("docker{count}");
    let load = Load::on(&place.address());

    let mut serves = "1.0";
    for number in 0..ROLLOUTS {
        let began = Instant::now();
        let next = if serves == "1.0" { "1.1" } else { "1.0" };
        let release = if number == SICK { "sick" } else { next };
        let revision = place.commit(&manifest(release));
        if number % 2 == 1 {
            let moment = Duration::from_millis(below(MOMENT));
            tokio::time::sleep(moment).await;
            eprintln!("{name}: rollout {number} ({release}): killed after {:.1}s", moment.as_secs_f64());
            controller.kill();
            controller = place.start(&[]);
        }
        if number == FROZEN {
            under_way(&mut controller, name).await;
            let instance = place.instance(&last);
            instance.run(&["pkill", "-STOP", "-x", "dockerd"]);
            tokio::time::sleep(FREEZE).await;
            instance.run(&["pkill", "-CONT", "-x", "dockerd"]);
        }
        if number == SICK {
            goes_back(place, &mut controller, &revision).await;
        } else {
            controller.until_converged(name, &revision, 180).await;
            serves = next;
        }
        every_replica_is(place, serves);
        place.assert_in_service(count);
        eprintln!("{name}: rollout {number} ({release}) took {:.1}s", began.elapsed().as_secs_f64());
        let failed = load.so_far().failed;
        assert!(
            failed.is_empty(),
            "requests failed in rollout {number} ({release}): {failed:#?}\n{}",
            controller.tail()
        );
    }
    load.end().await.assert_none_lost(1600);
}

async fn under_way(controller: &mut Controller, name: &str) {
    let doing = |status: &Status| status.0["doing"].as_array().is_some_and(|doing| !doing.is_empty());
    controller.until(name, "under way", 30, doing).await;
}

/// The release before serves again, everywhere, and nobody had to say so.
async fn goes_back(place: &impl Place, controller: &mut Controller, revision: &str) {
    let back = |status: &Status| {
        status.revision() == revision && status.phase() == "Blocked" && !status.conditions("ReleaseFailed").is_empty()
    };
    let status = controller.until(place.name(), "back on the release before", 180, back).await;
    let said = status.conditions("ReleaseFailed");
    assert!(said.iter().any(|message| message.contains("503")), "what the check answered is told: {said:?}");
    until("every instance is in service", 30, || place.in_service().len() == place.instances().len()).await;
}

fn every_replica_is(place: &impl Place, release: &str) {
    for instance in place.instances().values() {
        let containers = instance.containers();
        for replica in ["app0", "app1"] {
            let found = &containers[replica];
            let good = found.image.ends_with(&format!("app:{release}")) && found.state == "running";
            assert!(good, "{}/{replica} is {found:?}", instance.hostname);
        }
    }
}

/// At random, and told by whoever uses it.
fn below(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish() % limit
}
