//! Instances come and go with the load and with the hours, and no request is lost on the way. How busy they are tell their
//! engines, or CloudWatch.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use serde_json::json;

use super::{
    controller::{Controller, Status},
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::{ACCOUNT, GROUND, Instance, TURN},
    load::Load,
    manifest::Manifest,
    place::Place,
};

/// What a stack's status tells of how many instances there are to be.
fn scaling(status: &Status) -> &serde_json::Value {
    &status.0["scaling"][0]
}

fn is_at(count: u32) -> impl Fn(&Status) -> bool {
    move |status| status.phase() == "Converged" && scaling(status)["count"] == count
}

/// The processors of an instance are kept busy by a container of it, until it is told that it is enough, or for two
/// minutes.
fn burn(instance: &Instance) {
    let work = "import os,time\nend=time.time()+120\nwhile time.time()<end and not os.path.exists('/tmp/enough'): pass";
    for _ in 0..2 {
        instance.docker(&["exec", "-d", "web0", "python3", "-c", work]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_an_instance_comes_for_the_load_and_goes_after_it_without_losing_a_request() {
    // The load of other tests would be in the way of its own.
    let _alone = TURN.write().await;
    let fleet = ec2::fleet::Fleet::new("busy", "ap-east-1");
    let rules =
        "{min: 1, max: 2, load: {up: {cpu: 25, for: 6s, coolDown: 30s}, down: {cpu: 20, for: 8s, coolDown: 5s}}";
    let manifest = ec2::manifest::Manifest::new(&fleet, 1).image("app:1.0").text();
    let revision = fleet.commit(&manifest.replace("{count: 1", rules));
    let mut controller = fleet.start(&["--resync", "5"]);
    controller.until_converged("busy", &revision, 120).await;
    fleet.assert_in_service(1);

    let load = Load::on(&fleet.address());
    until("requests are answered", 10, || load.so_far().sent > 100).await;
    let first = fleet.instance("docker1");
    burn(&first);
    let status = controller.until("busy", "waiting for the load to last", 60, |status| {
        scaling(status)["waits"].as_str().is_some_and(|waits| waits.contains("to last") && waits.contains("above 25%"))
    });
    assert!(scaling(&status.await)["load"]["cpu"].as_f64().is_some_and(|cpu| cpu > 25.0));
    let status = controller.until("busy", "two instances for the load", 120, is_at(2)).await;
    assert!(scaling(&status)["why"].as_str().is_some_and(|why| why.contains("is above 25%")), "{:#}", status.0);
    fleet.assert_in_service(2);

    // How many there are to be is on record: another controller goes on with it.
    controller.kill();
    let mut controller = fleet.start(&["--resync", "5"]);
    controller.until("busy", "two instances, under another controller", 60, is_at(2)).await;
    fleet.assert_in_service(2);

    first.docker(&["exec", "web0", "touch", "/tmp/enough"]);
    let before_end = load.so_far().sent;
    until("requests to both", 20, || load.so_far().sent > before_end + 100).await;
    let status = controller.until("busy", "one instance for want of load", 120, is_at(1)).await;
    assert!(scaling(&status)["why"].as_str().is_some_and(|why| why.contains("is below 20%")), "{:#}", status.0);
    until("the newest has left", 30, || fleet.states() == [("docker1".to_owned(), "running".to_owned())]).await;
    fleet.assert_in_service(1);
    load.end().await.assert_none_lost(300);
    assert!(controller.terminate().await.success());
}

/// So many seconds from now, as `HH:MM` of that minute's beginning.
fn hour(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.strftime("%H:%M").to_string()
}

/// CloudWatch hears of the instances that run now, as of a hypervisor that finds them all as busy, for as long as this value.
struct Hypervisor(#[allow(dead_code, reason = "its end is what ends the thread")] mpsc::Sender<()>);

impl Hypervisor {
    fn of(fleet: &Fleet, percent: &'static str) -> Hypervisor {
        let ids: Vec<String> = fleet.instances().into_values().map(|instance| instance.ec2_id).collect();
        let region = fleet.region.clone();
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_secs(5)) {
                for id in &ids {
                    let of = "MetricData.member.1";
                    let [name, key, value, told, unit] =
                        ["MetricName", "Dimensions.member.1.Name", "Dimensions.member.1.Value", "Value", "Unit"]
                            .map(|it| format!("{of}.{it}"));
                    let point = [
                        ("Namespace", "AWS/EC2"),
                        (&*name, "CPUUtilization"),
                        (&*key, "InstanceId"),
                        (&*value, id),
                        (&*told, percent),
                        (&*unit, "Percent"),
                    ];
                    let cloudwatch = ("monitoring", "2010-08-01");
                    GROUND.query(cloudwatch, ACCOUNT, &region, "PutMetricData", &point).expect("a point is taken");
                }
            }
        });
        Hypervisor(sender)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_instances_come_and_go_by_the_hours_and_opsworks_itself_scales_nothing() {
    let _turn = beside_others().await;
    let fleet = Fleet::new("hours", "ap-southeast-4");
    let text = Manifest::new("hours", "ap-southeast-4", 1).image("app:1.0").text();
    // Long over, or yet to come for long.
    let far = format!("{{from: \"{}\", to: \"{}\", min: 2}}", hour(6 * 3600), hour(8 * 3600));
    let rules = |hours: &str| {
        let (up, down) = ("{cpu: 100, for: 5m, coolDown: 5s}", "{cpu: 99, for: 1s, coolDown: 0s}");
        let load = format!("load: {{cpuFrom: cloudWatch, up: {up}, down: {down}}}");
        text.replace("{count: 1", &format!("{{min: 1, max: 2, {load}, schedule: {{hours: [{hours}]}}"))
    };
    let revision = fleet.commit(&rules(&far));
    let denied = GROUND.fault(json!({"service": "cloudwatch", "region": fleet.region, "error": "AccessDenied"}));
    let mut controller = fleet.start(&["--resync", "3"]);
    controller.until_converged("hours", &revision, 120).await;
    // Nothing fails with it, and it is told what to do.
    let told = |status: &Status| status.conditions("LoadUnknown").concat().contains("allow cloudwatch:GetMetricData");
    controller.until("hours", "CloudWatch may not be asked", 30, told).await;
    drop(denied);
    somebody_uses_opsworks_own_scaling(&fleet, &mut controller).await;

    let load = Load::on(&fleet.address());
    until("requests are answered", 10, || load.so_far().sent > 100).await;
    let now = format!("{{from: \"{}\", to: \"{}\", min: 2}}", hour(-60), hour(150));
    let revision = fleet.commit(&rules(&now));
    let two = |status: &Status| status.revision() == revision && is_at(2)(status);
    let status = controller.until("hours", "two instances at this hour", 90, two).await;
    assert!(scaling(&status)["why"].as_str().is_some_and(|why| why.contains("at this hour")), "{:#}", status.0);
    fleet.assert_in_service(2);
    let _told = Hypervisor::of(&fleet, "12.5");
    let status = controller.until("hours", "one instance once the hour is over", 200, is_at(1)).await;
    assert!(
        scaling(&status)["why"].as_str().is_some_and(|why| why.contains("cpu 12.5% is below 99%")),
        "{:#}",
        status.0
    );
    until("the newest has left", 60, || fleet.instances().len() == 1).await;
    fleet.assert_in_service(1);
    load.end().await.assert_none_lost(300);

    let timed = fleet.instance_records().into_iter().find(|it| it["AutoScalingType"] == "timer").expect("untouched");
    assert_eq!((&timed["Hostname"], &timed["Status"]), (&json!("docker2"), &json!("stopped")));
    assert!(controller.terminate().await.success());
}

/// A timed instance of the layer, and load-based scaling switched on in the console.
async fn somebody_uses_opsworks_own_scaling(fleet: &Fleet, controller: &mut Controller) {
    let layer = fleet.layers()[0]["LayerId"].clone();
    let timed = json!({"StackId": fleet.stack_id(), "LayerIds": [layer], "InstanceType": "t3.small",
        "Hostname": "docker2", "AutoScalingType": "timer"});
    fleet.opsworks("CreateInstance", timed);
    let told = || {
        let all = fleet.opsworks("DescribeLoadBasedAutoScaling", json!({"LayerIds": [layer]}));
        all["LoadBasedAutoScalingConfigurations"][0].clone()
    };
    let (before, up) = (told(), json!({"CpuThreshold": 50.0}));
    assert_eq!((&before["Enable"], &before["UpScaling"]["CpuThreshold"]), (&json!(false), &json!(100.0)), "{before:#}");
    fleet.opsworks("SetLoadBasedAutoScaling", json!({"LayerId": layer, "Enable": true, "UpScaling": up}));
    until("OpsWorks' own scaling is off, as declared", 30, || told() == before).await;
    controller.until("hours", "converged", 30, |status| status.phase() == "Converged").await;
}
