//! What a compose user declares of a container, from the manifest to the engine and back.

use serde_json::{Value, json};

use super::{
    ec2,
    fleet::{Fleet, beside_others},
    ground::Instance,
    load::Load,
    place::Place,
};

fn inspect(instance: &Instance, name: &str) -> Value {
    serde_json::from_str::<Value>(&instance.docker(&["inspect", name])).expect("JSON")[0].clone()
}

fn networks(instance: &Instance) -> Vec<String> {
    let all = instance.docker(&["network", "ls", "--format", "{{.Name}}"]);
    all.lines().filter(|name| name.starts_with("evenkeel.")).map(str::to_owned).collect()
}

/// A web server in a network, and a neighbour that is healthy while it finds it there by its key and its replica's name.
fn declared(place: &impl Place, memory: &str, network: &str) -> String {
    let more = format!(
        "      network: {network}\n      resources: {{memory: {memory}, pids: 200}}\n      labels: {{team: \"%{{app_name}}\"}}\n      \
         logging: {{maxSize: 1MiB}}\n"
    );
    let neighbour = "    - name: neighbour\n      image: registry.example.com/shop/busybox:1.0\n      network: app\n      \
                     traffic: false\n      command: sleep 1000000\n      stop: {timeout: 1s}\n      \
                     healthCheck: {exec: [sh, -c, \"wget -qO /dev/null http://web:8080/up && wget -qO /dev/null http://web0:8080/up\"]}\n";
    let mut manifest = place.manifest(2);
    manifest.more = more;
    manifest.others = if network == "app" { neighbour.to_owned() } else { String::new() };
    place.text(&manifest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_limits_logs_and_an_app_s_network_reach_the_engines_and_a_change_of_them_loses_no_request() {
    let _turn = beside_others().await;
    options_reach_the_engines(&Fleet::new("option", "af-south-1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_limits_logs_and_an_app_s_network_reach_the_engines_and_a_change_of_them_loses_no_request() {
    let _turn = beside_others().await;
    options_reach_the_engines(&ec2::fleet::Fleet::new("ec2option", "ap-east-2")).await;
}

async fn options_reach_the_engines<P: Place>(place: &P) {
    let name = place.name();
    let network = format!("evenkeel.{name}.{name}-app");
    let revision = place.commit(&declared(place, "256MiB", "app"));
    let mut controller = place.start(&[]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    for instance in place.instances().values() {
        assert_eq!(networks(instance), [network.as_str()]);
        let web = inspect(instance, "web0");
        let host = &web["HostConfig"];
        assert_eq!((&host["Memory"], &host["PidsLimit"]), (&json!(256 << 20), &json!(200)));
        let log = json!({"Type": "json-file", "Config": {"max-size": "1048576", "max-file": "7"}});
        assert_eq!((&host["LogConfig"], &host["NetworkMode"]), (&log, &json!(network)));
        assert_eq!(web["Config"]["Labels"]["team"], "web0");
    }

    let load = Load::on(&place.address());
    let revision = place.commit(&declared(place, "192MiB", "app"));
    controller.until_converged(name, &revision, 150).await;
    for instance in place.instances().values() {
        assert_eq!(inspect(instance, "web0")["HostConfig"]["Memory"], json!(192 << 20));
    }

    // Nothing is in the network any more, and nothing declares it.
    let revision = place.commit(&declared(place, "192MiB", "bridge"));
    controller.until_converged(name, &revision, 150).await;
    load.end().await.assert_none_lost(600);
    for instance in place.instances().values() {
        assert_eq!(networks(instance), Vec::<String>::new());
        assert_eq!(instance.containers().keys().collect::<Vec<_>>(), ["web0"]);
    }
    place.assert_in_service(2);
}
