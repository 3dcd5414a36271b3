//! What one test has for itself on EC2: a stack's name, a region, a load balancer with its target group, certificates, a
//! git repository; cleared away at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::manifest::{self, Manifest};
use crate::{
    controller::{self, words},
    ground::{ACCOUNT, GROUND, Instance, claim, elements},
    place::Place,
    repository::Repository,
};

const EC2: (&str, &str) = ("ec2", "2016-11-15");
const ELBV2: (&str, &str) = ("elasticloadbalancing", "2015-12-01");

/// See the module.
pub struct Fleet {
    pub name: String,
    pub region: String,
    pub account: String,
    pub subnets: Vec<String>,
    pub group_id: String,
    vpc: String,
    files: Repository,
}

impl Fleet {
    /// An application load balancer that listens on port 80, its target group, the engines' certificate where instances
    /// fetch it, an empty repository, and nothing of an earlier run.
    pub fn new(name: &str, region: &str) -> Fleet {
        let fleet = Fleet::bare(name, region, ACCOUNT);
        fleet.create_balancer();
        fleet.certify();
        fleet
    }

    /// Without a load balancer and without certificates.
    pub fn bare(name: &str, region: &str, account: &str) -> Fleet {
        claim("ec2", region, name);
        let mut fleet = Fleet {
            name: name.into(),
            region: region.into(),
            account: account.into(),
            subnets: Vec::new(),
            group_id: String::new(),
            vpc: String::new(),
            files: Repository::empty(),
        };
        fleet.clear();
        let subnets = fleet.ec2("DescribeSubnets", &[]);
        fleet.subnets = elements(&subnets, "subnetId");
        fleet.vpc = elements(&subnets, "vpcId").remove(0);
        fleet.group_id = elements(&fleet.ec2("DescribeSecurityGroups", &[]), "groupId").remove(0);
        assert!(fleet.subnets.len() >= 3, "{subnets}");
        fleet
    }

    fn clear(&self) {
        let _ = GROUND.try_control("POST", "reset", Some(json!({"stack": self.name})));
        if let Some(arn) = self.named("DescribeLoadBalancers", "LoadBalancerArn") {
            self.elbv2("DeleteLoadBalancer", &[("LoadBalancerArn", &arn)]);
        }
        if let Some(arn) = self.named("DescribeTargetGroups", "TargetGroupArn") {
            self.elbv2("DeleteTargetGroup", &[("TargetGroupArn", &arn)]);
        }
    }

    /// The ARN of what has the stack's name.
    fn named(&self, operation: &str, wanted: &str) -> Option<String> {
        let answer = self.try_elbv2(operation, &[("Names.member.1", &self.name)]).unwrap_or_default();
        elements(&answer, wanted).into_iter().next()
    }

    fn create_balancer(&self) {
        let subnets: Vec<(String, &String)> =
            self.subnets.iter().enumerate().map(|(i, id)| (format!("Subnets.member.{}", i + 1), id)).collect();
        let mut request: Vec<(&str, &str)> = vec![("Name", &self.name), ("Type", "application")];
        request.extend(subnets.iter().map(|(key, id)| (key.as_str(), id.as_str())));
        let balancer = elements(&self.elbv2("CreateLoadBalancer", &request), "LoadBalancerArn").remove(0);
        let group = self.create_target_group(&self.name, &self.vpc);
        let request = [
            ("LoadBalancerArn", balancer.as_str()),
            ("Protocol", "HTTP"),
            ("Port", "80"),
            ("DefaultActions.member.1.Type", "forward"),
            ("DefaultActions.member.1.TargetGroupArn", &group),
        ];
        self.elbv2("CreateListener", &request);
    }

    /// Checked at `/` on port 80, draining for 20 s at most; its ARN.
    pub fn create_target_group(&self, name: &str, vpc: &str) -> String {
        let request = [
            ("Name", name),
            ("Protocol", "HTTP"),
            ("Port", "80"),
            ("VpcId", vpc),
            ("HealthCheckPath", "/"),
            ("HealthCheckIntervalSeconds", "5"),
            ("HealthCheckTimeoutSeconds", "2"),
            ("HealthyThresholdCount", "2"),
            ("UnhealthyThresholdCount", "2"),
        ];
        let group = elements(&self.elbv2("CreateTargetGroup", &request), "TargetGroupArn").remove(0);
        let request = [
            ("TargetGroupArn", group.as_str()),
            ("Attributes.member.1.Key", "deregistration_delay.timeout_seconds"),
            ("Attributes.member.1.Value", "20"),
        ];
        self.elbv2("ModifyTargetGroupAttributes", &request);
        group
    }

    /// Makes the certificates of controller and engines, and puts the engines' into their SSM parameter, in another account as
    /// a role of it.
    pub fn certify(&self) {
        self.certify_from(&self.certificates());
    }

    /// The same, with the authority of that directory.
    pub fn certify_from(&self, dir: &Path) {
        let arguments =
            ["certs", "--dir", dir.to_str().unwrap(), "--stack", &self.name, "--put", "--region", &self.region];
        let role = format!("arn:aws:iam::{}:role/deployer", self.account);
        let theirs = ["--role", &role, "--external-id", "shop"];
        let more = if self.account == ACCOUNT { &[][..] } else { &theirs };
        let done = controller::evenkeel(&[&arguments[..], more].concat());
        assert!(done.status.success(), "{}", words(&done));
    }

    pub fn certificates(&self) -> PathBuf {
        self.dir().join("certificates")
    }

    /// One call of EC2's API, as anybody with a console could make it.
    pub fn ec2(&self, operation: &str, request: &[(&str, &str)]) -> String {
        GROUND
            .query(EC2, &self.account, &self.region, operation, request)
            .unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    pub fn elbv2(&self, operation: &str, request: &[(&str, &str)]) -> String {
        self.try_elbv2(operation, request).unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    fn try_elbv2(&self, operation: &str, request: &[(&str, &str)]) -> Result<String, String> {
        GROUND.query(ELBV2, &self.account, &self.region, operation, request)
    }

    /// What the proving ground has of the stack, terminated instances left out.
    pub fn records(&self) -> Vec<Value> {
        let all = GROUND.control("GET", "instances", None);
        let ours =
            |seen: &&Value| seen["provider"] == "ec2" && seen["stack"] == *self.name && seen["region"] == *self.region;
        all.as_array().unwrap().iter().filter(ours).cloned().collect()
    }

    /// Hostname and state of each, in order.
    pub fn states(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut all: Vec<_> =
            self.records().iter().map(|seen| (text(&seen["hostname"]), text(&seen["status"]))).collect();
        all.sort();
        all
    }

    /// Its volumes that hold data: id → state, size. Root volumes come and go with their instances.
    pub fn volumes(&self) -> BTreeMap<String, (String, u32)> {
        let request = [("Filter.1.Name", "tag:evenkeel:stack"), ("Filter.1.Value.1", self.name.as_str())];
        let answer = self.ec2("DescribeVolumes", &request);
        let set = elements(&answer, "volumeSet").remove(0);
        let text = |item: &str, name: &str| elements(item, name).into_iter().next().unwrap_or_default();
        set.split("<volumeId>")
            .skip(1)
            .filter(|item| item.contains("<size>"))
            .map(|item| {
                let id = item.split('<').next().unwrap_or_default().to_owned();
                (id, (text(item, "status"), text(item, "size").parse().unwrap_or_default()))
            })
            .filter(|(_, (_, size))| *size >= 100)
            .collect()
    }
}

impl Place for Fleet {
    const OUT: &'static str = "DeregisterTargets";
    const IN: &'static str = "RegisterTargets";
    const ASKED: &'static [&'static str] = &["DescribeInstances", "DescribeVolumes", "DescribeTargetHealth"];
    // Instances boot, and fetch their certificates.
    const LIMIT: u64 = 240;

    fn name(&self) -> &str {
        &self.name
    }

    fn region(&self) -> &str {
        &self.region
    }

    fn files(&self) -> &Repository {
        &self.files
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        vec![("EVENKEEL_DOCKER_CERT_PATH", self.certificates().to_str().unwrap().to_owned())]
    }

    fn text(&self, manifest: &crate::manifest::Manifest) -> String {
        let mut own = Manifest::new(self, manifest.count);
        own.app = manifest.clone();
        own.text()
    }

    fn shop(&self, release: &str) -> String {
        manifest::shop(self, release, "t3.medium")
    }

    fn instances(&self) -> BTreeMap<String, Instance> {
        let records = self.records();
        let running = records.iter().filter(|seen| seen["status"] == "running");
        running.filter_map(Instance::read).map(|instance| (instance.hostname.clone(), instance)).collect()
    }

    fn made(&self) -> BTreeSet<String> {
        let instances = self.records().into_iter().map(|seen| seen["ec2_instance_id"].as_str().unwrap().to_owned());
        instances.chain(self.volumes().into_keys()).collect()
    }

    fn balancer(&self) -> Value {
        GROUND.balancer(&self.region, &self.name)
    }

    fn in_service(&self) -> Vec<String> {
        let balancer = self.balancer();
        let groups = balancer["target_groups"].as_array().unwrap().iter();
        let targets = groups.flat_map(|group| group["targets"].as_array().unwrap());
        let healthy = targets.filter(|target| target["health"] == "healthy");
        healthy.map(|target| target["ec2_instance_id"].as_str().unwrap().to_owned()).collect()
    }

    fn take_out(&self, instance: &Instance) {
        let group = self.named("DescribeTargetGroups", "TargetGroupArn").expect("the target group");
        let request =
            [("TargetGroupArn", &*group), ("Targets.member.1.Id", &instance.ec2_id), ("Targets.member.1.Port", "80")];
        self.elbv2(Fleet::OUT, &request);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.clear();
    }
}
