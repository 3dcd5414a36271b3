//! What operators do by hand: deploy, roll back, look at the history, pause and go on; under load, which loses nothing.

use serde_json::Value;

use super::{
    controller::{Status, evenkeel, words},
    fleet::{Fleet, beside_others, until},
    load::Load,
    manifest::Manifest,
    releases::move_tag,
};

/// `evenkeel ARGUMENTS --state …`, which must go well; what it said.
fn operate(fleet: &Fleet, arguments: &[&str]) -> String {
    let (went_well, said) = attempt(fleet, arguments);
    assert!(went_well, "{said}");
    said
}

fn attempt(fleet: &Fleet, arguments: &[&str]) -> (bool, String) {
    let state = fleet.dir().join("state");
    let output = evenkeel(&[arguments, &["--state", state.to_str().unwrap()]].concat());
    (output.status.success(), words(&output))
}

const WAIT: [&str; 3] = ["--wait", "--timeout", "150"];

fn images(fleet: &Fleet, name: &str) -> Vec<String> {
    let instances = fleet.instances();
    instances.values().map(|instance| instance.containers()[name].digest.clone()).collect()
}

fn has(status: &Status, kind: &str) -> bool {
    !status.conditions(kind).is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operators_go_back_pause_go_on_and_deploy_what_failed_or_is_deployed_by_hand_and_no_request_is_lost() {
    let _turn = beside_others().await;
    let (name, region) = ("operated", "eu-central-2");
    let fleet = Fleet::new(name, region);
    let first = move_tag("hand", "1.0");
    let mut manifest = Manifest::new(name, region, 2);
    manifest.others = "    - name: hand\n      image: registry.example.com/shop/web:hand\n      deploy: manual\n      \
                       startupTime: 1s\n      stop: {timeout: 2s}\n"
        .into();
    fleet.commit(&manifest.text());
    let mut controller = fleet.start(&[]);
    let (app, web) = ("operated app", "operated app/web");
    let converged = |status: &Status| status.phase() == "Converged";
    controller.until(name, "converged", 120, converged).await;
    let old = images(&fleet, "web0");
    let load = Load::on(&fleet.address());
    let revision = fleet.commit(&manifest.clone().image("web:1.1").text());
    controller.until_converged(name, &revision, 120).await;
    let new = images(&fleet, "web0");
    assert_ne!(old, new);

    // Back, and it stays so.
    let said = operate(&fleet, &[&["rollback", web][..], &WAIT].concat());
    assert!(said.contains("web: back to registry.example.com/shop/web:1.0 ("), "{said}");
    assert!(said.contains("as declared and asked for, after"), "{said}");
    assert_eq!(images(&fleet, "web0"), old);
    let status = controller.status(name).unwrap();
    assert!(converged(&status) && has(&status, "RolledBack"), "{:?}", status.all_conditions());
    let history: Value = serde_json::from_str(&stdout(&fleet, &["history", web, "--json"])).unwrap();
    let tags: Vec<&str> =
        history["releases"].as_array().unwrap().iter().map(|r| r["image"].as_str().unwrap()).collect();
    assert_eq!(tags, ["1.0", "1.1", "1.0"].map(|tag| format!("registry.example.com/shop/web:{tag}")), "{history:#}");

    // Paused, a change is pulled and waits. A controller that is killed does not forget that.
    operate(&fleet, &["pause", app]);
    controller.kill();
    let mut controller = fleet.start(&[]);
    let marks: Vec<u64> = fleet.instances().values().map(|instance| instance.log_mark()).collect();
    manifest.more = "      env: {COLOUR: blue}\n".into();
    let revision = fleet.commit(&manifest.clone().image("web:1.1").text());
    let waits = |status: &Status| status.revision() == revision && status.phase() == "Blocked" && has(status, "Paused");
    controller.until(name, "blocked because it is paused", 60, waits).await;
    for (instance, mark) in fleet.instances().values().zip(marks) {
        assert!(!instance.mutations(mark).iter().any(|call| call.contains("/stop")));
    }
    operate(&fleet, &[&["resume", "operated app"][..], &WAIT].concat());
    assert_eq!(images(&fleet, "web0"), old, "what was rolled back is so still");
    let (went_well, said) = attempt(&fleet, &["resume", app]);
    assert!(!went_well && said.contains("operated app is not paused"), "{said}");

    // Forward again.
    operate(&fleet, &[&["deploy", app][..], &WAIT].concat());
    assert_eq!(images(&fleet, "web0"), new);

    // What is deployed by hand is told of, left alone, and replaced once it is named.
    let second = move_tag("hand", "1.1");
    assert_eq!(images(&fleet, "hand0"), [first.as_str(); 2]);
    let said = operate(&fleet, &[&["deploy", "operated app/hand"][..], &WAIT].concat());
    assert_eq!(images(&fleet, "hand0"), [second.as_str(); 2], "{said}");

    // What failed is tried again when somebody asks for it, and told once more.
    fleet.commit(&manifest.clone().image("app:sick").text());
    controller.until(name, "told that the release failed", 90, |status| has(status, "ReleaseFailed")).await;
    let kept = || {
        let instance = fleet.instance("docker1");
        instance.containers().get("web0.failed").map(|container| container.id.clone())
    };
    until("the failed one is kept", 30, || kept().is_some()).await;
    let before = kept();
    let (went_well, said) = attempt(&fleet, &[&["deploy", web][..], &WAIT].concat());
    assert!(!went_well && said.contains("ReleaseFailed docker1/web0: ") && said.contains("503"), "{said}");
    assert_ne!(kept(), before, "it was tried again");
    assert_eq!(images(&fleet, "web0"), new);

    load.end().await.assert_none_lost(1600);
    fleet.assert_in_service(2);
}

fn stdout(fleet: &Fleet, arguments: &[&str]) -> String {
    let state = fleet.dir().join("state");
    let output = evenkeel(&[arguments, &["--state", state.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8(output.stdout).unwrap()
}
