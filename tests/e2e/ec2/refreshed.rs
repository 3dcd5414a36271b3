//! What only a new instance can have, declared or moved: another image behind a parameter, another bootstrap, another root
//! volume. Another type is in `converge.rs`.

use serde_json::json;

use super::{
    fleet::Fleet,
    manifest::{AL2023, Manifest},
};
use crate::{
    controller::Status,
    fleet::beside_others,
    ground::{GROUND, SHARED, elements},
    load::Load,
    place::Place,
};

const UBUNTU: &str = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";

impl Fleet {
    fn parameter(&self, operation: &str, request: serde_json::Value) -> serde_json::Value {
        GROUND.json("ssm", &format!("AmazonSSM.{operation}"), &self.region, &self.account, request)
    }

    fn image_of(&self, parameter: &str) -> String {
        let told = self.parameter("GetParameter", json!({"Name": parameter}));
        told["Parameter"]["Value"].as_str().unwrap().to_owned()
    }

    fn put(&self, parameter: &str, image: &str) {
        let request = json!({"Name": parameter, "Value": image, "Type": "String", "Overwrite": true});
        self.parameter("PutParameter", request);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_image_whose_parameter_moves_another_bootstrap_and_root_volume_replace_an_instance_under_load() {
    let _turn = beside_others().await;
    let (name, region, parameter) = ("ec2refreshed", SHARED, "/shop/image");
    let fleet = Fleet::new(name, region);
    let (first, second) = (fleet.image_of(AL2023.trim_start_matches("resolve:ssm:")), fleet.image_of(UBUNTU));
    assert_ne!(first, second);
    fleet.put(parameter, &first);
    let mut manifest = Manifest::new(&fleet, 1);
    manifest.image = format!("resolve:ssm:{parameter}");
    let revision = fleet.commit(&manifest.text());
    let mut controller = fleet.start(&["--resync", "2"]);
    controller.until_converged(name, &revision, 240).await;
    let before = fleet.instance("docker1").ec2_id;
    let load = Load::on(&fleet.address());

    // Nothing of the manifest has changed.
    fleet.put(parameter, &second);
    let outdated = |status: &Status| {
        let said = status.conditions("Outdated");
        said.iter().any(|said| said.starts_with("docker1: ") && said.contains(&format!("image {first} → {second}")))
    };
    controller.until(name, "told that the image is another one", 60, outdated).await;
    controller.until_converged(name, &revision, 240).await;
    let moved = fleet.instances().into_values().next().expect("an instance");
    assert_ne!(moved.ec2_id, before);
    let described =
        |wanted: &str| elements(&fleet.ec2("DescribeInstances", &[("InstanceId.1", &moved.ec2_id)]), wanted);
    assert_eq!(described("imageId"), [second]);

    let more = "update: replace\n      rootVolume: {size: 30GiB}\n      logging: {maxSize: 20m, maxFiles: 3}\n";
    let text = manifest.text().replace("update: replace\n", more);
    let revision = fleet.commit(&text);
    let other = |status: &Status| {
        let said = status.conditions("Outdated");
        said.iter().any(|said| said.contains("user-data ") && said.contains("root volume image → gp3 30GiB"))
    };
    controller.until(name, "told what differs", 60, other).await;
    controller.until_converged(name, &revision, 240).await;
    let last = fleet.instances().into_values().next().expect("an instance");
    assert_ne!(last.ec2_id, moved.ec2_id);
    let daemon = last.run(&["cat", "/etc/docker/daemon.json"]);
    assert!(daemon.contains("\"20m\""), "{daemon}");
    assert_eq!(fleet.states().len(), 1, "{:?}", fleet.states());
    fleet.assert_in_service(1);
    load.end().await.assert_none_lost(600);
}
