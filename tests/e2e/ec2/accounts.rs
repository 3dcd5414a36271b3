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
    assert!(controller.terminate().await.success());
}
