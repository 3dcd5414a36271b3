//! A load balancer that is declared, and then made and kept.

use super::{fleet::Fleet, manifest::Manifest};
use crate::{
    fleet::beside_others,
    ground::{ACCOUNT, GROUND, elements, is_mutation},
    load::Load,
    place::Place,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_declared_load_balancer_is_made_put_back_as_declared_and_serves_without_losing_a_request() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2owned", "ap-southeast-3");
    let fleet = Fleet::bare(name, region, ACCOUNT);
    fleet.certify();
    let mut manifest = Manifest::new(&fleet, 2);
    manifest.balancers = format!(
        "[{{application: {name}, listeners: [{{port: 80}}], draining: 20s, \
         healthCheck: {{http: /, interval: 5s, timeout: 2s}}}}]"
    );
    let revision = fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    let status = controller.until_converged(name, &revision, 240).await;
    assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
    fleet.assert_in_service(2);
    let told = &status.0["balancers"][0];
    assert_eq!((told["name"].as_str(), told["state"].as_str()), (Some(name), Some("active")), "{told}");
    let dns_names = elements(&fleet.elbv2("DescribeLoadBalancers", &[]), "DNSName");
    assert_eq!(told["dnsName"].as_str(), dns_names.first().map(String::as_str));

    let load = Load::on(&fleet.address());
    let revision = fleet.commit(&manifest.clone().image("web:1.1").text());
    controller.until_converged(name, &revision, 120).await;

    // What somebody changed by hand is put back.
    let group = elements(&fleet.elbv2("DescribeTargetGroups", &[]), "TargetGroupArn").remove(0);
    let by_hand = [
        ("TargetGroupArn", group.as_str()),
        ("Attributes.member.1.Key", "deregistration_delay.timeout_seconds"),
        ("Attributes.member.1.Value", "300"),
    ];
    fleet.elbv2("ModifyTargetGroupAttributes", &by_hand);
    let delay = || fleet.elbv2("DescribeTargetGroupAttributes", &[("TargetGroupArn", &group)]);
    crate::fleet::until("the draining time is put back", 90, || {
        let told = delay();
        let (_, rest) = told.split_once("deregistration_delay.timeout_seconds").expect("the attribute");
        elements(&told, "Value").contains(&"20".to_owned()) || rest.contains("<Value>20</Value>")
    })
    .await;
    load.end().await.assert_none_lost(100);
    controller.until(name, "converged", 60, |status| status.phase() == "Converged").await;
    let since = GROUND.last_call();
    let looks = || GROUND.calls(region, since).iter().filter(|(o, _)| o == "DescribeInstances").count();
    crate::fleet::until("two more full passes", 40, || looks() >= 3).await;
    let changing: Vec<_> = GROUND.calls(region, since).into_iter().filter(|(o, _)| is_mutation(o)).collect();
    assert!(changing.is_empty(), "{changing:#?}");
}
