//! A stack: its AWS side.

use serde::Serialize;

/// `kind: Stack`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stack {
    /// `metadata.name`; also the key by which the controller works.
    pub name: String,
    /// Which AWS service keeps the instances.
    pub provider: Provider,
    /// The AWS region, `eu-west-1`.
    pub region: String,
    /// The role that OpsWorks itself assumes.
    pub service_role_arn: Option<String>,
    /// The instance profile that instances get unless told otherwise.
    pub instance_profile_arn: Option<String>,
    /// The VPC; left out, the account's default.
    pub vpc_id: Option<String>,
    /// Subnets; OpsWorks takes the first as the stack's default.
    pub subnet_ids: Vec<String>,
    /// `ebs` or `instance-store`.
    pub root_device_type: Option<String>,
    /// The EC2 key pair for SSH.
    pub ssh_key_name: Option<String>,
    /// Custom Chef cookbooks (OpsWorks).
    pub cookbooks: Option<Cookbooks>,
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
    /// The load balancers that every instance of the layer serves.
    pub load_balancers: Vec<LoadBalancer>,
    /// Security groups on top of the provider's own.
    pub security_group_ids: Vec<String>,
    /// How the controller reaches the Docker engines.
    pub docker: DockerAccess,
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

/// A fixed number of instances of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instances {
    /// How many.
    pub count: u32,
    /// The EC2 instance type, `t3.medium`.
    #[serde(rename = "type")]
    pub instance_type: String,
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
    /// Encrypted at rest.
    pub encrypted: Option<bool>,
}

/// A load balancer that exists already and is only joined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadBalancer {
    /// A classic ELB, by name.
    Classic(String),
}

impl LoadBalancer {
    /// The name it goes by.
    pub fn name(&self) -> &str {
        match self {
            LoadBalancer::Classic(name) => name,
        }
    }
}

/// How engines are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DockerAccess {
    /// The TCP port of the engine's TLS listener.
    pub port: u16,
    /// Which of an instance's addresses to use.
    pub address: AddressKind,
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
