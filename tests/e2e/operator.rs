//! What operators do by hand: deploy, roll back, look at the history, pause and go on; under load, which loses nothing.

use serde_json::Value;

use super::{
    controller::{Status, words},
    ec2,
    fleet::{Fleet, beside_others, until},
    load::Load,
    place::Place,
    releases::move_tag,
};

/// `evenkeel ARGUMENTS --state …`, which must go well; what it said.
fn operate(place: &impl Place, arguments: &[&str]) -> String {
    let (went_well, said) = attempt(place, arguments);
    assert!(went_well, "{said}");
    said
}

fn attempt(place: &impl Place, arguments: &[&str]) -> (bool, String) {
    let output = place.evenkeel(arguments);
    (output.status.success(), words(&output))
}

const WAIT: [&str; 3] = ["--wait", "--timeout", "150"];

fn images(place: &impl Place, name: &str) -> Vec<String> {
    let instances = place.instances();
    instances.values().map(|instance| instance.containers()[name].digest.clone()).collect()
}

fn has(status: &Status, kind: &str) -> bool {
    !status.conditions(kind).is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_operators_go_back_pause_go_on_and_deploy_by_hand_and_no_request_is_lost() {
    let _turn = beside_others().await;
    is_operated(&Fleet::new("operated", "eu-central-2")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_operators_go_back_pause_go_on_and_deploy_by_hand_and_no_request_is_lost() {
    let _turn = beside_others().await;
    is_operated(&ec2::fleet::Fleet::new("ec2operated", "mx-central-1")).await;
}

async fn is_operated<P: Place>(place: &P) {
    let name = place.name();
    let by_hand = format!("hand-{name}");
    let first = move_tag(&by_hand, "1.0");
    let mut manifest = place.manifest(2);
    manifest.others = format!(
        "    - name: hand\n      image: registry.example.com/shop/web:{by_hand}\n      deploy: manual\n      \
         startupTime: 1s\n      stop: {{timeout: 2s}}\n"
    );
    place.commit(&place.text(&manifest));
    let mut controller = place.start(&[]);
    let [app, web, hand] = ["", "/web", "/hand"].map(|of| format!("{name} app{of}"));
    let [app, web, hand] = [&*app, &web, &hand];
    let converged = |status: &Status| status.phase() == "Converged";
    controller.until(name, "converged", P::LIMIT, converged).await;
    let old = images(place, "web0");
    let load = Load::on(&place.address());
    let revision = place.commit(&place.text(&manifest.clone().image("web:1.1")));
    controller.until_converged(name, &revision, 120).await;
    let new = images(place, "web0");
    assert_ne!(old, new);

    // Back, and it stays so.
    let said = operate(place, &[&["rollback", web][..], &WAIT].concat());
    assert!(said.contains("web: back to registry.example.com/shop/web:1.0 ("), "{said}");
    assert!(said.contains("as declared and asked for, after"), "{said}");
    assert_eq!(images(place, "web0"), old);
    let status = controller.status(name).unwrap();
    assert!(converged(&status) && has(&status, "RolledBack"), "{:?}", status.all_conditions());
    let history: Value = serde_json::from_str(&stdout(place, &["history", web, "--json"])).unwrap();
    let tags: Vec<&str> =
        history["releases"].as_array().unwrap().iter().map(|r| r["image"].as_str().unwrap()).collect();
    assert_eq!(tags, ["1.0", "1.1", "1.0"].map(|tag| format!("registry.example.com/shop/web:{tag}")), "{history:#}");

    // Paused, a change is pulled and waits. A controller that is killed does not forget that.
    operate(place, &["pause", app]);
    controller.kill();
    let mut controller = place.start(&[]);
    let marks: Vec<u64> = place.instances().values().map(|instance| instance.log_mark()).collect();
    manifest.more = "      env: {COLOUR: blue}\n".into();
    let revision = place.commit(&place.text(&manifest.clone().image("web:1.1")));
    let waits = |status: &Status| status.revision() == revision && status.phase() == "Blocked" && has(status, "Paused");
    controller.until(name, "blocked because it is paused", 60, waits).await;
    for (instance, mark) in place.instances().values().zip(marks) {
        assert!(!instance.mutations(mark).iter().any(|call| call.contains("/stop")));
    }
    operate(place, &[&["resume", app][..], &WAIT].concat());
    assert_eq!(images(place, "web0"), old, "what was rolled back is so still");
    let (went_well, said) = attempt(place, &["resume", app]);
    assert!(!went_well && said.contains(&format!("{app} is not paused")), "{said}");

    // Forward again.
    operate(place, &[&["deploy", app][..], &WAIT].concat());
    assert_eq!(images(place, "web0"), new);

    // What is deployed by hand is told of, left alone, and replaced once it is named.
    let second = move_tag(&by_hand, "1.1");
    assert_eq!(images(place, "hand0"), [first.as_str(); 2]);
    let said = operate(place, &[&["deploy", hand][..], &WAIT].concat());
    assert_eq!(images(place, "hand0"), [second.as_str(); 2], "{said}");

    // What failed is tried again when somebody asks for it, and told once more.
    place.commit(&place.text(&manifest.clone().image("app:sick")));
    controller.until(name, "told that the release failed", 90, |status| has(status, "ReleaseFailed")).await;
    let kept = || {
        let instance = place.instance("docker1");
        instance.containers().get("web0.failed").map(|container| container.id.clone())
    };
    until("the failed one is kept", 30, || kept().is_some()).await;
    let before = kept();
    let (went_well, said) = attempt(place, &[&["deploy", web][..], &WAIT].concat());
    assert!(!went_well && said.contains("ReleaseFailed docker1/web0: ") && said.contains("503"), "{said}");
    assert_ne!(kept(), before, "it was tried again");
    assert_eq!(images(place, "web0"), new);

    load.end().await.assert_none_lost(1600);
    place.assert_in_service(2);
}

fn stdout(place: &impl Place, arguments: &[&str]) -> String {
    let output = place.evenkeel(arguments);
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8(output.stdout).unwrap()
}
