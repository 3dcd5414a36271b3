//! Trouble of every kind: one clear condition on the stack that has it, the others go on, and nothing that serves is
//! stopped.

use std::{path::PathBuf, process::Command};

use serde_json::json;

use super::{
    controller::{Controller, Status},
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::{GROUND, Instance, SHARED, TURN, run},
    load::Load,
    place::Place,
};

fn stops(mutations: &[String]) -> usize {
    mutations.iter().filter(|call| call.contains("/stop") || call.contains("/kill")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_release_that_cannot_be_pulled_or_ends_or_is_never_healthy_leaves_the_old_one_serving() {
    let _turn = beside_others().await;
    let throttled = [("elb", "Throttling"), ("opsworks", "ThrottlingException")];
    releases_fail(&Fleet::new("releases", "ap-northeast-2"), throttled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_release_that_cannot_be_pulled_or_ends_or_is_never_healthy_leaves_the_old_one_serving() {
    let _turn = beside_others().await;
    let throttled = [("elbv2", "Throttling"), ("ec2", "RequestLimitExceeded")];
    releases_fail(&ec2::fleet::Fleet::new("ec2releases", "ap-northeast-2"), throttled).await;
}

/// `throttled` are the services of the load balancers and of the instances, and what they say when they are asked too often.
async fn releases_fail<P: Place>(place: &P, throttled: [(&str, &str); 2]) {
    let (name, region) = (place.name(), place.region());
    let manifest = place.manifest(2);
    let revision = place.commit(&place.text(&manifest));
    let mut controller = place.start(&[]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    let instances = place.instances();
    let load = Load::on(&place.address());

    // No such image: nothing is stopped for it.
    let marks: Vec<u64> = instances.values().map(Instance::log_mark).collect();
    place.commit(&place.text(&manifest.clone().image("web:nope")));
    let told = |status: &Status| {
        let said = status.conditions("ImageUnavailable");
        said.iter().any(|message| {
            message.contains("shop/web:nope from registry.example.com: ") && message.contains("push that tag")
        })
    };
    controller.until(name, "told that there is no such image", 30, told).await;
    for (instance, mark) in instances.values().zip(&marks) {
        assert_eq!(stops(&instance.mutations(*mark)), 0);
    }
    place.assert_in_service(2);

    // It ends at once.
    let mark = instances["docker2"].log_mark();
    place.commit(&place.text(&manifest.clone().image("app:broken")));
    old_one_is_back(place, &mut controller, "config/shop.ini: no such file").await;
    assert_eq!(stops(&instances["docker2"].mutations(mark)), 0, "the release failed on docker1, docker2 was touched");

    // It runs, and is never healthy.
    let mark = instances["docker2"].log_mark();
    place.commit(&place.text(&manifest.clone().image("app:sick")));
    old_one_is_back(place, &mut controller, "503").await;
    assert_eq!(stops(&instances["docker2"].mutations(mark)), 0, "the release failed on docker1, docker2 was touched");

    // A good one goes through after that, and nothing of the failed ones is left; though AWS throttles now, and what it
    // tells of load balancers is old.
    let _lag = GROUND.fault(json!({"service": throttled[0].0, "region": region, "lag": 1.5}));
    let _faults = throttled.map(|(service, error)| {
        GROUND.fault(json!({"service": service, "region": region, "error": error, "times": 6}))
    });
    let revision = place.commit(&place.text(&manifest.image("web:1.1")));
    let status = controller.until_converged(name, &revision, 90).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
    load.end().await.assert_none_lost(600);
    for instance in instances.values() {
        let containers = instance.containers();
        assert_eq!(containers.keys().collect::<Vec<_>>(), ["web0"]);
        assert!(containers["web0"].image.ends_with("web:1.1"));
    }
}

async fn old_one_is_back(place: &impl Place, controller: &mut Controller, words: &'static str) {
    let what = format!("told that the release failed: {words}");
    // On the instance where it failed it is said when the old container serves again.
    let failed = |status: &Status| {
        let said = status.conditions("ReleaseFailed");
        said.iter().any(|message| message.starts_with("docker1/web0: ") && message.contains(words))
    };
    controller.until(place.name(), &what, 90, failed).await;
    until("both instances are in service", 20, || place.in_service().len() == 2).await;
    for instance in place.instances().values() {
        let web = &instance.containers()["web0"];
        assert!(web.image.ends_with("web:1.0") && web.state == "running", "{}: {web:?}", instance.hostname);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_an_engine_that_refuses_hangs_or_is_out_of_reach_is_said_so_and_the_others_are_looked_after() {
    let _turn = beside_others().await;
    let certify = |engine: &Instance, authority: &str| {
        GROUND.control("POST", &format!("instances/{}/tls", engine.id), Some(json!({"ca": authority})));
    };
    engines_in_trouble(&Fleet::new("engines", "ap-southeast-1"), certify).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_an_engine_that_refuses_hangs_or_is_out_of_reach_is_said_so_and_the_others_are_looked_after() {
    let _turn = beside_others().await;
    let fleet = ec2::fleet::Fleet::new("ec2engines", SHARED);
    // An engine fetches its certificate whenever it starts, so somebody has put another one where it does.
    let certify = |engine: &Instance, authority: &str| {
        fleet.certify_from(&match authority {
            "rogue" => fleet.dir().join("rogue"),
            _ => fleet.certificates(),
        });
        engine.run(&["systemctl", "restart", "docker"]);
    };
    engines_in_trouble(&fleet, certify).await;
}

/// `certify` starts an engine with a certificate of an authority: `evenkeel`, the controller's, or `rogue`, somebody else's.
async fn engines_in_trouble<P: Place>(place: &P, certify: impl Fn(&Instance, &str)) {
    let name = place.name();
    let revision = place.commit(&place.text(&place.manifest(2)));
    let mut controller = place.start(&["--resync", "3"]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    let instances = place.instances();
    let (good, bad) = (&instances["docker1"], &instances["docker2"]);
    let mark = bad.log_mark();
    let load = Load::on(&place.address());

    // The whole controller has a certificate of somebody else's.
    assert!(controller.terminate().await.success());
    let rogue = GROUND.state.join("pki/rogue/client");
    let mut controller = place.start(&["--resync", "3", "--docker-certs", rogue.to_str().unwrap()]);
    let status = controller
        .until(name, "told that both engines refuse the certificate", 30, |status| {
            status.conditions("Unobservable").len() == 2
        })
        .await;
    for message in status.conditions("Unobservable") {
        assert!(message.to_lowercase().contains("certificate"), "{message}");
    }
    assert!(controller.terminate().await.success());
    let mut controller = place.start(&["--resync", "3"]);
    controller.until_converged(name, &revision, 30).await;

    // The engine accepts connections and never answers; its containers go on.
    bad.run(&["pkill", "-STOP", "-x", "dockerd"]);
    troubled(&mut controller, name, "hang").await;
    load.end().await.assert_none_lost(100);
    the_other_is_looked_after(good).await;
    bad.run(&["pkill", "-CONT", "-x", "dockerd"]);
    controller.until_converged(name, &revision, 60).await;

    // One engine has a certificate of another authority.
    certify(bad, "rogue");
    troubled(&mut controller, name, "certificate").await;
    the_other_is_looked_after(good).await;
    certify(bad, "evenkeel");
    controller.until_converged(name, &revision, 60).await;

    // There is no way to it.
    let network =
        run("docker", &["inspect", "-f", "{{range $n, $_ := .NetworkSettings.Networks}}{{$n}}{{end}}", &bad.container]);
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = run("docker", &["inspect", "-f", address, &bad.container]);
    run("docker", &["network", "disconnect", network.trim(), &bad.container]);
    troubled(&mut controller, name, "cannot reach").await;
    the_other_is_looked_after(good).await;
    run("docker", &["network", "connect", "--ip", address.trim(), network.trim(), &bad.container]);
    controller.until_converged(name, &revision, 60).await;
    place.assert_in_service(2);

    // Starting it again is all that the engine in trouble was ever asked for: its restart may have ended the container.
    assert_eq!(stops(&bad.mutations(mark)), 0, "{:#?}", bad.mutations(mark));
}

/// Waits for the condition that says so of docker2, and that there is no other.
async fn troubled(controller: &mut Controller, name: &str, words: &'static str) {
    let said = |status: &Status| {
        let said = status.conditions("Unobservable");
        said.len() == 1 && said[0].starts_with("docker2: ") && said[0].to_lowercase().contains(words)
    };
    controller.until(name, &format!("told of the engine of docker2: {words}"), 60, said).await;
}

async fn the_other_is_looked_after(good: &Instance) {
    good.docker(&["rm", "-f", "web0"]);
    until("the removed container is back on the good instance", 40, || {
        good.containers().get("web0").is_some_and(|web| web.state == "running")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_while_aws_is_away_everything_goes_on_serving_and_when_it_is_back_nothing_is_doubled() {
    let _alone = TURN.write().await;
    aws_is_away(&Fleet::new("away", "ap-southeast-2")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_while_aws_is_away_everything_goes_on_serving_and_when_it_is_back_nothing_is_doubled() {
    let _alone = TURN.write().await;
    aws_is_away(&ec2::fleet::Fleet::new("ec2away", "ap-southeast-2")).await;
}

async fn aws_is_away<P: Place>(place: &P) {
    let name = place.name();
    let revision = place.commit(&place.text(&place.manifest(2)));
    let mut controller = place.start(&["--resync", "2"]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    let (made, instances) = (place.made(), place.instances());
    let instance = instances["docker1"].clone();
    let marks = || -> Vec<u64> { instances.values().map(Instance::log_mark).collect() };
    let before = marks();
    let load = Load::on(&place.address());

    let back = Back;
    script("stop-api");
    let away = |status: &Status| !status.conditions("Unobservable").is_empty();
    let status = controller.until(name, "told that AWS does not answer", 60, away).await;
    assert!(status.conditions("Unobservable").iter().any(|m| m.starts_with("AWS: ")), "{:?}", status.all_conditions());
    let sent = load.so_far().sent;
    until("requests are answered without AWS", 10, || load.so_far().sent > sent + 300).await;
    load.end().await.assert_none_lost(100);
    for (instance, mark) in instances.values().zip(before) {
        assert_eq!(instance.mutations(mark), Vec::<String>::new());
    }
    let before = marks();
    instance.docker(&["rm", "-f", "web0"]);
    until("the removed container is back, though AWS is not", 40, || {
        instance.containers().get("web0").is_some_and(|web| web.state == "running")
    })
    .await;
    drop(back);

    controller.until_converged(name, &revision, 90).await;
    assert_eq!(instance.containers()["web0"].state, "running");
    assert_eq!(place.made(), made);
    until("both instances are in service", 20, || place.in_service().len() == 2).await;
    for (instance, mark) in instances.values().zip(before) {
        assert_eq!(stops(&instance.mutations(mark)), 0, "{:#?}", instance.mutations(mark));
    }
}

/// Brings LocalStack back, even when the test fails in between.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        script("start-api");
    }
}

fn script(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("localstack").join(name);
    let output = Command::new(&path).envs(&GROUND.env).output().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_stack_whose_calls_are_denied_says_so_and_the_one_beside_it_is_fine() {
    let _turn = beside_others().await;
    let (denied, fine) = (Fleet::new("denied", "us-east-1"), Fleet::new("fine", "eu-north-1"));
    one_of_two_is_denied(&denied, &fine, ("opsworks", "AccessDeniedException")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_stack_whose_calls_are_denied_says_so_and_the_one_beside_it_is_fine() {
    let _turn = beside_others().await;
    let denied = ec2::fleet::Fleet::new("ec2refused", "eu-central-1");
    let fine = ec2::fleet::Fleet::new("ec2fine", "ap-northeast-3");
    // Who looks after both has one certificate for both.
    denied.certify_from(&fine.certificates());
    one_of_two_is_denied(&denied, &fine, ("ec2", "UnauthorizedOperation")).await;
}

/// Given are the service that refuses, and its word for it.
async fn one_of_two_is_denied<P: Place>(denied: &P, fine: &P, (service, error): (&str, &str)) {
    fine.commit_file("denied.yaml", &denied.text(&denied.manifest(1)));
    let mut manifest = fine.manifest(1);
    let revision = fine.commit(&fine.text(&manifest));
    let mut controller = fine.start(&["--resync", "3"]);
    controller.until_converged(denied.name(), &revision, P::LIMIT).await;
    controller.until_converged(fine.name(), &revision, P::LIMIT).await;
    let instance = denied.instance("docker1");
    let (before, mark) = (instance.containers(), instance.log_mark());

    let fault = GROUND.fault(json!({"service": service, "region": denied.region(), "error": error}));
    let status = controller
        .until(denied.name(), "told that it is denied", 30, |status| !status.conditions("Unobservable").is_empty());
    let said = status.await.conditions("Unobservable");
    assert!(said.iter().any(|message| message.contains("not authorized")), "{said:?}");
    manifest.others = "    - name: worker\n      image: registry.example.com/shop/busybox:1.0\n      \
                       command: \"sleep 3600\"\n      startupTime: 1s\n"
        .into();
    let revision = fine.commit(&fine.text(&manifest));
    let status = controller.until_converged(fine.name(), &revision, 60).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
    assert!(fine.instance("docker1").containers().contains_key("worker0"));
    assert_eq!(instance.containers(), before);
    assert_eq!(instance.mutations(mark), Vec::<String>::new());

    drop(fault);
    let status = controller.until_converged(denied.name(), &revision, 60).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
}
