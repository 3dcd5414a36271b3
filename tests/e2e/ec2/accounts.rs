//! Stacks of several accounts and regions in one controller.

use serde_json::json;

use super::{fleet::Fleet, manifest::Manifest};
use crate::{
    controller::Status,
    fleet::beside_others,
    ground::{ACCOUNT, GROUND},
    place::Place,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_controller_holds_stacks_of_several_accounts_and_a_role_that_is_denied_is_one_stacks_condition() {
    let _turn = beside_others().await;
    let theirs = Fleet::bare("ec2theirs", "ap-south-2", "222222222222");
    let denied = Fleet::bare("ec2denied", "me-central-1", ACCOUNT);
    let assume = |account: &str, role: &str| {
        format!("  assumeRole: {{arn: \"arn:aws:iam::{account}:role/{role}\", externalId: shop}}\n")
    };
    let stack = |fleet: &Fleet, more: String| {
        let mut manifest = Manifest::new(fleet, 1);
        manifest.balancers = "[]".into();
        manifest.more = more;
        manifest
    };
    let fault = GROUND.fault(json!({
        "service": "sts", "operation": "AssumeRole", "match": "role/denied", "error": "AccessDenied", "status": 403,
    }));
    // One set of certificates for the controller; each account has the engines' side of it.
    theirs.certify();
    theirs.commit_file("denied.yaml", &stack(&denied, assume("333333333333", "denied")).text());
    let mut beside = stack(&theirs, assume("222222222222", "evenkeel"));
    beside.app.count = 0;
    theirs.commit_file("beside.yaml", &beside.text().replace("ec2theirs", "ec2beside"));
    let revision = theirs.commit(&stack(&theirs, assume("222222222222", "evenkeel")).text());
    // Renewed in good time, so that nobody notices.
    let began = GROUND.last_call();
    let short = Setting::set("assumed_role_seconds", json!(20));
    let mut controller = theirs.start(&["--resync", "2"]);
    let status = controller.until_converged("ec2theirs", &revision, 240).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
    let records = theirs.records();
    assert_eq!(records[0]["account"], "222222222222", "{records:#?}");

    let told = |status: &Status| {
        let said = status.all_conditions();
        said.iter().any(|said| said.contains("arn:aws:iam::333333333333:role/denied"))
    };
    controller.until("ec2denied", "told that its role is denied", 30, told).await;
    assert_eq!(denied.records(), Vec::<serde_json::Value>::new());
    drop(fault);
    let mended = |status: &Status| !status.0.to_string().contains("role/denied");
    controller.until("ec2denied", "told of no denied role any more", 60, mended).await;

    // Those of one account and region are looked at together, and ask once for both.
    controller.until_converged("ec2beside", &revision, 60).await;
    const PASSES: usize = 4;
    controller.passes("ec2theirs", 1, 20).await;
    let (since, before) = (GROUND.last_call(), controller.status("ec2beside").unwrap());
    controller.passes("ec2theirs", PASSES, 20).await;
    let calls = GROUND.calls(&theirs.region, since);
    assert_ne!(controller.status("ec2beside").unwrap().0["at"], before.0["at"], "it was looked at as well");
    for operation in ["DescribeInstances", "DescribeInstanceStatus", "DescribeVolumes", "DescribeSubnets"] {
        let times = calls.iter().filter(|(asked, _)| asked == operation).count();
        assert!((1..=PASSES).contains(&times), "{operation} was asked {times} times in {PASSES} passes: {calls:#?}");
    }
    assert!(controller.status("ec2theirs").unwrap().all_conditions().is_empty());
    let calls = GROUND.control("GET", &format!("calls?since={began}"), None);
    let is_theirs = |call: &&serde_json::Value| {
        call["operation"] == "AssumeRole" && call["request"].to_string().contains("role/evenkeel")
    };
    let times = calls["calls"].as_array().unwrap().iter().filter(is_theirs).count();
    assert!(times >= 2, "their role was assumed {times} times, for 20 s each");
    drop(short);
    assert!(controller.terminate().await.success());
}

/// A setting of the proving ground, for as long as this value lasts.
struct Setting(&'static str);

impl Setting {
    fn set(name: &'static str, value: serde_json::Value) -> Setting {
        GROUND.control("POST", "config", Some(json!({name: value})));
        Setting(name)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = GROUND.try_control("POST", "config", Some(json!({self.0: null})));
    }
}
