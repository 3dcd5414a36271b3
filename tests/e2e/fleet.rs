//! What one test has for itself: a stack's name, a region, a balancer, a git repository; cleared away at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::RwLockReadGuard, time::Instant};

use super::{
    ground::{GROUND, Instance, TURN, claim},
    manifest::{Manifest, shop},
    place::Place,
    repository::Repository,
};

/// Uses the proving ground beside the other tests.
pub async fn beside_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}

/// See the module.
pub struct Fleet {
    pub name: String,
    pub region: String,
    files: Repository,
}

impl Fleet {
    /// A balancer that listens on port 80 and drains, an empty repository, and nothing of an earlier run.
    pub fn new(name: &str, region: &str) -> Fleet {
        claim("opsworks", region, name);
        let fleet = Fleet { name: name.into(), region: region.into(), files: Repository::empty() };
        fleet.clear();
        let zone = format!("{region}a");
        let steps: [(&str, &[(&str, &str)]); 3] = [
            (
                "CreateLoadBalancer",
                &[
                    ("AvailabilityZones.member.1", &zone),
                    ("Listeners.member.1.Protocol", "HTTP"),
                    ("Listeners.member.1.LoadBalancerPort", "80"),
                    ("Listeners.member.1.InstanceProtocol", "HTTP"),
                    ("Listeners.member.1.InstancePort", "80"),
                ],
            ),
            (
                "ConfigureHealthCheck",
                &[
                    ("HealthCheck.Target", "HTTP:80/"),
                    ("HealthCheck.Interval", "5"),
                    ("HealthCheck.Timeout", "2"),
                    ("HealthCheck.UnhealthyThreshold", "2"),
                    ("HealthCheck.HealthyThreshold", "2"),
                ],
            ),
            (
                "ModifyLoadBalancerAttributes",
                &[
                    ("LoadBalancerAttributes.ConnectionDraining.Enabled", "true"),
                    ("LoadBalancerAttributes.ConnectionDraining.Timeout", "20"),
                ],
            ),
        ];
        for (operation, arguments) in steps {
            let arguments = [&[("LoadBalancerName", name)], arguments].concat();
            GROUND.elb(region, operation, &arguments).unwrap_or_else(|error| panic!("{operation}: {error}"));
        }
        fleet
    }

    fn clear(&self) {
        let stacks = GROUND.try_opsworks(&self.region, "DescribeStacks", json!({})).unwrap_or_default();
        for stack in stacks["Stacks"].as_array().into_iter().flatten().filter(|stack| stack["Name"] == *self.name) {
            let _ = GROUND.try_control("POST", "reset", Some(json!({"stack": stack["StackId"]})));
        }
        let _ = GROUND.elb(&self.region, "DeleteLoadBalancer", &[("LoadBalancerName", &self.name)]);
    }

    /// One call of OpsWorks' API, as anybody with a console could make it.
    pub fn opsworks(&self, operation: &str, request: Value) -> Value {
        GROUND.opsworks(&self.region, operation, request)
    }

    /// The stacks of this name.
    pub fn stacks(&self) -> Vec<Value> {
        let all = self.opsworks("DescribeStacks", json!({}));
        all["Stacks"].as_array().unwrap().iter().filter(|stack| stack["Name"] == *self.name).cloned().collect()
    }

    pub fn stack_id(&self) -> String {
        let stacks = self.stacks();
        assert_eq!(stacks.len(), 1, "{stacks:#?}");
        stacks[0]["StackId"].as_str().unwrap().to_owned()
    }

    /// What `operation` tells of the stack: its layers, apps or instances.
    pub fn described(&self, operation: &str, kind: &str) -> Vec<Value> {
        let answer = self.opsworks(operation, json!({"StackId": self.stack_id()}));
        answer[kind].as_array().unwrap().clone()
    }

    pub fn layers(&self) -> Vec<Value> {
        self.described("DescribeLayers", "Layers")
    }

    pub fn apps(&self) -> Vec<Value> {
        self.described("DescribeApps", "Apps")
    }

    pub fn instance_records(&self) -> Vec<Value> {
        self.described("DescribeInstances", "Instances")
    }
}

impl Place for Fleet {
    const OUT: &'static str = "DeregisterInstancesFromLoadBalancer";
    const IN: &'static str = "RegisterInstancesWithLoadBalancer";
    const ASKED: &'static [&'static str] = &["DescribeStacks", "DescribeInstances", "DescribeInstanceHealth"];
    const LIMIT: u64 = 150;

    fn name(&self) -> &str {
        &self.name
    }

    fn region(&self) -> &str {
        &self.region
    }

    fn files(&self) -> &Repository {
        &self.files
    }

    fn text(&self, manifest: &Manifest) -> String {
        manifest.text()
    }

    fn shop(&self, release: &str) -> String {
        shop(&self.name, &self.region, release)
    }

    fn instances(&self) -> BTreeMap<String, Instance> {
        let id = self.stack_id();
        let all = GROUND.control("GET", "instances", None);
        let ours = all.as_array().unwrap().iter().filter(|seen| seen["stack"] == *id);
        ours.filter_map(Instance::read).map(|instance| (instance.hostname.clone(), instance)).collect()
    }

    fn made(&self) -> BTreeSet<String> {
        let all = [
            (self.stacks(), "StackId"),
            (self.layers(), "LayerId"),
            (self.apps(), "AppId"),
            (self.instance_records(), "InstanceId"),
            (self.instance_records(), "Ec2InstanceId"),
        ];
        let ids = all.iter().flat_map(|(records, key)| records.iter().map(|record| record[*key].as_str().unwrap()));
        ids.map(str::to_owned).collect()
    }

    fn balancer(&self) -> Value {
        GROUND.balancer(&self.region, &self.name)
    }

    fn in_service(&self) -> Vec<String> {
        let balancer = self.balancer();
        let servers = balancer["servers"].as_array().unwrap().iter();
        let up = servers.filter(|server| server["state"] == "registered" && server["status"] == "UP");
        up.map(|server| server["ec2_instance_id"].as_str().unwrap().to_owned()).collect()
    }

    fn take_out(&self, instance: &Instance) {
        let request = [("LoadBalancerName", &*self.name), ("Instances.member.1.InstanceId", &instance.ec2_id)];
        GROUND.elb(&self.region, Fleet::OUT, &request).unwrap_or_else(|error| panic!("{}: {error}", Fleet::OUT));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Waits, bounded, until something is so.
pub async fn until(what: &str, limit: u64, mut good: impl FnMut() -> bool) {
    let began = Instant::now();
    while !good() {
        assert!(began.elapsed() < Duration::from_secs(limit), "after {limit}s it is not so: {what}");
        // What is asked is often a process on an instance.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
