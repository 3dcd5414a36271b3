//! EC2, as far as it concerns one stack: what its API tells of what bears the stack's tags.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::Seen;
use crate::world::Trouble;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ec2 {
    /// The EBS volumes that bear the stack's mark, attached or not.
    pub volumes: Seen<Vec<Volume>>,
    /// The declared subnets by id; one that does not exist is not here.
    pub subnets: Seen<BTreeMap<String, Subnet>>,
    /// The declared images, by the reference as declared: an id, or `resolve:ssm:NAME`.
    pub images: BTreeMap<String, Seen<Image>>,
    /// Client tokens whose instance has come to be and is gone again: EC2 would answer with that one for ever.
    pub spent_tokens: BTreeSet<String>,
}

impl Ec2 {
    /// Nothing is known.
    pub fn unknown(trouble: &Trouble) -> Ec2 {
        Ec2 {
            volumes: Seen::Unknown(trouble.clone()),
            subnets: Seen::Unknown(trouble.clone()),
            images: BTreeMap::new(),
            spent_tokens: BTreeSet::new(),
        }
    }
}

/// What EC2 tells of an instance beyond what every provider does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Launched {
    /// When.
    pub at: Option<Timestamp>,
    /// The availability zone.
    pub zone: String,
    /// The image's id.
    pub image_id: String,
    /// The client token it was launched with.
    pub token: Option<String>,
    /// Security groups, sorted.
    pub security_group_ids: Vec<String>,
    /// Which user-data it was launched with: the tag `evenkeel:user-data`.
    pub user_data: Option<String>,
    /// Which root volume it was launched with: the tag `evenkeel:root-volume`.
    pub root_volume: Option<String>,
    /// True once its engine was reached for the first time: the tag `evenkeel:ready`.
    pub ready: bool,
    /// What EC2's status checks say against it, when they fail.
    pub impaired: Option<String>,
    /// What its console says of a bootstrap that failed; asked for only while its engine does not answer.
    pub bootstrap: Option<String>,
    /// Its volumes: device → volume id.
    pub devices: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// An EBS volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// `vol-…`
    pub id: String,
    /// EC2's word: `creating`, `available`, `in-use`, `deleting`, `error`.
    pub state: String,
    /// The availability zone; it can be attached there and nowhere else.
    pub zone: String,
    /// In GiB.
    pub size_gib: u32,
    /// `gp2`, `gp3`, …
    pub volume_type: String,
    /// Provisioned IOPS, as EC2 tells them.
    pub iops: Option<u32>,
    /// In MiB/s, for gp3.
    pub throughput: Option<u32>,
    /// Encrypted at rest.
    pub encrypted: bool,
    /// The instance that it is attached to.
    pub attached_to: Option<String>,
    /// The hostname that it was made for: the tag `evenkeel:hostname`.
    pub hostname: Option<String>,
    /// Where it is mounted: the tag `evenkeel:mount-point`.
    pub mount_point: Option<String>,
    /// A modification is under way: EC2's word, `modifying` or `optimizing`.
    pub modifying: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Subnet {
    pub zone: String,
    pub vpc_id: String,
    /// Addresses that are free.
    pub free: u32,
}

/// A machine image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// `ami-…`
    pub id: String,
    /// The device of its root volume, `/dev/xvda`.
    pub root_device: String,
}

/// The tags by which Evenkeel knows what is its own.
pub mod tag {
    /// The stack's name.
    pub const STACK: &str = "evenkeel:stack";
    /// The layer's short name.
    pub const LAYER: &str = "evenkeel:layer";
    /// The hostname, unique within the stack.
    pub const HOSTNAME: &str = "evenkeel:hostname";
    /// Where a volume is mounted.
    pub const MOUNT_POINT: &str = "evenkeel:mount-point";
    /// Which user-data an instance was launched with.
    pub const USER_DATA: &str = "evenkeel:user-data";
    /// Which root volume an instance was launched with.
    pub const ROOT_VOLUME: &str = "evenkeel:root-volume";
    /// There once the engine was reached for the first time.
    pub const READY: &str = "evenkeel:ready";
    /// The keys of the tags that a manifest declares.
    pub const TAGS: &str = "evenkeel:tags";
    /// What is between them: OpsWorks takes no comma (API reference of `TagResource`).
    pub const BETWEEN: &str = " / ";
}
