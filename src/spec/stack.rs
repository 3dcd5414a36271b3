//! A stack: its AWS side.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{Registry, Upkeep, scaling::Scaling};

pub use super::balancer::{LoadBalancer, OwnedBalancer};

/// `kind: Stack`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stack {
    /// `metadata.name`; also the key by which the controller works.
    pub name: String,
    /// Which AWS service keeps the instances.
    pub provider: Provider,
    /// The AWS region, `eu-west-1`.
    pub region: String,
    /// The role that the controller assumes for everything it does for this stack; left out, its own identity.
    pub assume_role: Option<AssumeRole>,
    /// The role that OpsWorks itself assumes.
    pub service_role_arn: Option<String>,
    /// The instance profile that instances get unless told otherwise.
    pub instance_profile_arn: Option<String>,
    /// The VPC; left out, the account's default.
    pub vpc_id: Option<String>,
    /// Subnets; OpsWorks takes the first as the stack's default, on EC2 instances are spread over their zones.
    pub subnet_ids: Vec<String>,
    /// `ebs` or `instance-store`.
    pub root_device_type: Option<String>,
    /// The EC2 key pair for SSH.
    pub ssh_key_name: Option<String>,
    /// Custom Chef cookbooks (OpsWorks).
    pub cookbooks: Option<Cookbooks>,
    /// How long an instance may be out of reach before it is replaced (EC2). Default 5 minutes, as OpsWorks took.
    pub heal_after: Duration,
    /// The registries of its apps' images, by host.
    pub registries: BTreeMap<String, Registry>,
    /// What becomes of the EBS volumes of an instance that leaves, and of load balancers that Evenkeel made and nobody
    /// declares any more (EC2). Default retain.
    pub deletion_policy: DeletionPolicy,
    /// True: observe and report, mutate nothing.
    pub suspend: bool,
    /// Take over things of the same name that do not bear Evenkeel's mark.
    pub adopt: bool,
    /// The layers, in the order written.
    pub layers: Vec<Layer>,
}

/// Who runs the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// AWS OpsWorks Stacks.
    Opsworks,
    /// EC2 itself.
    Ec2,
}

/// A role in another account, or a narrower one in the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// `arn:aws:iam::123456789012:role/evenkeel`
    pub arn: String,
    /// What the role's trust policy asks for, so that nobody else's controller is let in.
    pub external_id: Option<String>,
}

/// What becomes of what is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum DeletionPolicy {
    /// It stays.
    Retain,
    /// EC2 deletes the volumes with their instance; a load balancer goes once nothing is registered with it.
    Delete,
}

/// Where the custom cookbooks come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cookbooks {
    /// A git URL.
    pub url: String,
    /// A branch, tag or commit; left out, the repository's default.
    pub revision: Option<String>,
    /// Whether OpsWorks runs Berkshelf.
    pub manage_berkshelf: bool,
    /// The Berkshelf version, when it is run.
    pub berkshelf_version: Option<String>,
}

/// One layer: instances that are alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// The name people see, `Docker`.
    pub name: String,
    /// The unique short name, `docker`; instances are called after it (`docker1`, `docker2`, …).
    pub short_name: String,
    /// Chef recipes by life-cycle event (OpsWorks).
    pub recipes: Recipes,
    /// How many instances, of what type.
    pub instances: Instances,
    /// EBS volumes that every instance of the layer gets.
    pub volumes: Vec<EbsVolume>,
    /// The root volume; left out, as the image has it (EC2).
    pub root_volume: Option<RootVolume>,
    /// The image, `ami-…` or `resolve:ssm:NAME` (EC2).
    pub image: Option<String>,
    /// The subnets of this layer (EC2).
    pub subnet_ids: Vec<String>,
    /// What happens to instances that were launched otherwise than is declared now (EC2).
    pub update: Update,
    /// The load balancers that every instance of the layer serves.
    pub load_balancers: Vec<LoadBalancer>,
    /// Those among them that Evenkeel makes and keeps (EC2).
    pub owned_balancers: Vec<OwnedBalancer>,
    /// Security groups on top of the provider's own.
    pub security_group_ids: Vec<String>,
    /// How the controller reaches the Docker engines.
    pub docker: DockerAccess,
    /// Tags of its instances and their volumes, those of its stack among them; left out, nobody's tags are touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// How the disks under them are looked after.
    pub upkeep: Upkeep,
}

/// Custom recipes of an OpsWorks layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Recipes {
    pub setup: Vec<String>,
    pub configure: Vec<String>,
    pub deploy: Vec<String>,
    pub undeploy: Vec<String>,
    pub shutdown: Vec<String>,
}

/// The instances of a layer, all of one type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instances {
    /// How many; with `scaling`, the fewest until the planner says how many there should be now.
    pub count: u32,
    /// The EC2 instance type, `t3.medium`.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// What says how many there should be, where the number is not fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
}

/// One EBS volume of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EbsVolume {
    /// Where it is mounted.
    pub mount_point: String,
    /// Size in GiB, as EBS counts.
    pub size_gib: u32,
    /// `gp2`, `gp3`, `io1`, `io2`, `st1`, `sc1` or `standard`.
    #[serde(rename = "type")]
    pub volume_type: String,
    /// Provisioned IOPS, for the types that have them.
    pub iops: Option<u32>,
    /// MiB/s, for gp3.
    pub throughput: Option<u32>,
    /// Encrypted at rest; left out, EC2 encrypts and OpsWorks does as it likes.
    pub encrypted: Option<bool>,
    /// A replaced instance takes over its predecessor's volume (EC2).
    pub reuse: bool,
}

/// The root volume of an EC2 instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootVolume {
    /// Size in GiB.
    pub size_gib: u32,
    /// `gp2`, `gp3`, …
    #[serde(rename = "type")]
    pub volume_type: String,
    /// Whatever the image's is.
    pub encrypted: bool,
}

/// What happens to instances that were launched otherwise than is declared now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// They stay until somebody terminates them; a condition says what differs.
    Manual,
    /// One at a time: a new one up and in service, then an old one drained and terminated.
    Replace,
}

/// How engines are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DockerAccess {
    /// How.
    pub transport: Transport,
    /// The TCP port of the engine's TLS listener, or of sshd.
    pub port: u16,
    /// Which of an instance's addresses to use.
    pub address: AddressKind,
    /// Docker's log files are rotated at this size (EC2).
    pub log_max_size: String,
    /// So many log files are kept for each container (EC2).
    pub log_max_files: u32,
}

/// The way to an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// Mutual TLS.
    Tls {
        /// The SSM parameter that holds the engines' certificate and key (EC2).
        parameter: Option<String>,
        /// Another endpoint of SSM than the region's, as instances see it (EC2).
        ssm_endpoint: Option<String>,
    },
    /// SSH, and the engine's own socket forwarded.
    Ssh {
        /// The user to log in as.
        user: String,
    },
}

/// An instance has two addresses; the controller in the same VPC uses the private one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressKind {
    /// The address inside the VPC.
    Private,
    /// The public address.
    Public,
}
