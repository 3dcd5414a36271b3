//! What was seen: AWS, the balancers and the engines, as plain types.
//!
//! [`Seen::Unknown`] is not absence: an observation that failed leads to no create and no delete.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    secret::Sealed,
    spec::{
        Reference,
        stack::{Cookbooks, EbsVolume, Recipes},
    },
};

mod ec2;
mod figures;
mod owned;

pub use ec2::{Ec2, Image, Launched, Subnet, Volume, tag};
pub use figures::{Figures, LoadScaling, Thresholds};
pub use owned::{Check, Leftover, Made, MadeBalancer, MadeGroup, MadeListener, Owned, Part};

/// The answer to one look.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Seen<T> {
    /// A clear answer.
    Known(T),
    /// No clear answer, and why.
    Unknown(Trouble),
}

impl<T> Seen<T> {
    /// What is known, seen as something else.
    pub fn map<U>(self, as_what: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Seen::Known(known) => Seen::Known(as_what(known)),
            Seen::Unknown(trouble) => Seen::Unknown(trouble),
        }
    }

    /// The answer, where there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Seen::Known(value) => Some(value),
            Seen::Unknown(_) => None,
        }
    }

    /// The same, to change it.
    pub fn known_mut(&mut self) -> Option<&mut T> {
        match self {
            Seen::Known(value) => Some(value),
            Seen::Unknown(_) => None,
        }
    }

    /// Why it is not known.
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Seen::Known(_) => None,
            Seen::Unknown(trouble) => Some(trouble),
        }
    }
}

impl<T> From<Result<T, Trouble>> for Seen<T> {
    fn from(answer: Result<T, Trouble>) -> Seen<T> {
        answer.map_or_else(Seen::Unknown, Seen::Known)
    }
}

/// Why a look gave no answer, or an action did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// What to do about it.
    pub class: Class,
    /// What happened, where, and what to do next; for people.
    pub message: String,
}

/// What an error means for what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Class {
    /// Trying again will not help until something changes: access denied, an image that does not exist.
    Terminal,
    /// The API asks for fewer calls.
    Throttled,
    /// It may go well the next time.
    Transient,
    /// It may or may not have happened: look before doing anything else.
    UnknownOutcome,
    /// What it was sent with is used up: the instance that its idempotency token stands for has ended. It is sent
    /// anew with another.
    TokenSpent,
    /// There is no space left where it belongs: room is made before it is tried again.
    NoRoom,
}

/// All that was seen of one stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observed {
    /// The provider's side.
    pub provided: Provided,
    /// Set when the provider gave no clear answer and its side is told as it was at the last one: why.
    pub stale: Option<Trouble>,
    /// Load balancers by their key, as declared by any layer of the stack.
    pub balancers: BTreeMap<String, Seen<Balancer>>,
    /// The load balancers that Evenkeel makes itself (EC2).
    pub owned: Owned,
    /// Engines by the instance's hostname, for every instance that has an address and should answer.
    pub engines: BTreeMap<String, Seen<Engine>>,
    /// What the tags stand for in their registries, by image reference: the digest. What is not here was not asked yet.
    pub registry: BTreeMap<String, Seen<String>>,
    /// The values that are kept elsewhere. What is not here was not asked yet.
    #[serde(skip)]
    pub secrets: BTreeMap<Reference, Seen<Sealed>>,
    /// What the instances have to do, by hostname, as their engines tell it, of the layers that are scaled by that. What is
    /// not here was not asked yet.
    #[serde(skip)]
    pub figures: BTreeMap<String, Seen<Figures>>,
    /// How busy their processors are as CloudWatch tells it, likewise.
    #[serde(skip)]
    pub metered: BTreeMap<String, Seen<Figures>>,
}

/// What the provider tells of one stack: its instances, which every provider has, and the rest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Provided {
    /// The instances.
    pub instances: Seen<Vec<Instance>>,
    /// What only this provider has.
    pub rest: Rest,
}

/// What only one provider has.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
#[allow(clippy::large_enum_variant, reason = "there is one to a stack and look, never many")]
pub enum Rest {
    OpsWorks(OpsWorks),
    Ec2(Ec2),
}

impl Provided {
    /// Nothing is known, for one reason.
    pub fn unknown(rest: impl FnOnce(&Trouble) -> Rest, trouble: Trouble) -> Provided {
        Provided { rest: rest(&trouble), instances: Seen::Unknown(trouble) }
    }

    /// OpsWorks' own part, when it is the provider.
    pub fn opsworks(&self) -> Option<&OpsWorks> {
        match &self.rest {
            Rest::OpsWorks(rest) => Some(rest),
            Rest::Ec2(_) => None,
        }
    }

    /// The same, to change it.
    pub fn opsworks_mut(&mut self) -> Option<&mut OpsWorks> {
        match &mut self.rest {
            Rest::OpsWorks(rest) => Some(rest),
            Rest::Ec2(_) => None,
        }
    }

    /// EC2's own part, when it is the provider.
    pub fn ec2(&self) -> Option<&Ec2> {
        match &self.rest {
            Rest::Ec2(rest) => Some(rest),
            Rest::OpsWorks(_) => None,
        }
    }

    /// The same, to change it.
    pub fn ec2_mut(&mut self) -> Option<&mut Ec2> {
        match &mut self.rest {
            Rest::Ec2(rest) => Some(rest),
            Rest::OpsWorks(_) => None,
        }
    }

    /// Why some part of it is not known; nothing when every part is.
    pub fn unanswered(&self) -> Option<&Trouble> {
        let instances = || self.instances.trouble();
        match &self.rest {
            Rest::OpsWorks(rest) => rest
                .stack
                .trouble()
                .or_else(|| rest.layers.trouble())
                .or_else(instances)
                .or_else(|| rest.apps.trouble())
                .or_else(|| rest.attached.trouble()),
            Rest::Ec2(rest) => instances().or_else(|| rest.volumes.trouble()),
        }
    }
}

/// OpsWorks, as far as it concerns one stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpsWorks {
    /// The stack of that name in that region.
    pub stack: Seen<Option<OwStack>>,
    /// Its layers.
    pub layers: Seen<Vec<OwLayer>>,
    /// Its apps.
    pub apps: Seen<Vec<OwApp>>,
    /// The classic load balancers attached to its layers: layer id → balancer name.
    pub attached: Seen<BTreeMap<String, String>>,
    /// The database instances of RDS that are registered with it. Nothing but an app's data source needs to know.
    pub databases: Seen<Vec<OwDatabase>>,
    /// OpsWorks' own load-based scaling, by layer id; asked for only where Evenkeel scales a layer itself.
    pub load_scaling: Seen<BTreeMap<String, LoadScaling>>,
}

/// A database instance of RDS that is registered with an OpsWorks stack. Its password is never told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwDatabase {
    /// Its ARN, which is what apps refer to it by.
    pub arn: String,
    /// Who signs in.
    pub username: Option<String>,
    /// OpsWorks looked for it, once, and did not find it.
    pub missing: bool,
}

/// A stack as OpsWorks tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwStack {
    /// OpsWorks' id.
    pub id: String,
    /// True when it bears Evenkeel's mark (`CustomJson` → `evenkeel.stack`) with this stack's name.
    pub ours: bool,
    /// What can be declared.
    pub settings: StackSettings,
}

/// What Evenkeel declares of an OpsWorks stack. `None` is left to OpsWorks and never compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct StackSettings {
    pub name: String,
    pub region: String,
    pub service_role_arn: Option<String>,
    pub instance_profile_arn: Option<String>,
    pub vpc_id: Option<String>,
    pub subnet_id: Option<String>,
    pub root_device_type: Option<String>,
    pub ssh_key_name: Option<String>,
    pub cookbooks: Option<Cookbooks>,
}

/// A layer as OpsWorks tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwLayer {
    /// OpsWorks' id.
    pub id: String,
    /// True when it bears Evenkeel's mark (`CustomJson` → `evenkeel.layer`).
    pub ours: bool,
    /// What can be declared.
    pub settings: LayerSettings,
    /// Its tags, where they were asked for.
    pub tags: Option<Seen<BTreeMap<String, String>>>,
}

/// What Evenkeel declares of an OpsWorks layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct LayerSettings {
    pub name: String,
    pub short_name: String,
    pub recipes: Recipes,
    pub security_group_ids: Vec<String>,
    pub volumes: Vec<EbsVolume>,
}

/// An app as OpsWorks tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwApp {
    /// OpsWorks' id.
    pub id: String,
    /// True when it bears Evenkeel's mark (in its description).
    pub ours: bool,
    /// What can be declared.
    pub settings: AppSettings,
}

/// What Evenkeel declares of an OpsWorks app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct AppSettings {
    pub name: String,
    pub short_name: String,
    pub environment: BTreeMap<String, String>,
    pub data_source: Option<OwDataSource>,
}

/// What OpsWorks tells in place of a protected environment variable's value. Such a value cannot be compared: it
/// counts as equal to whatever is declared. Source: `Secure` of `EnvironmentVariable` in the OpsWorks API reference.
pub const FILTERED: &str = "*****FILTERED*****";

/// An app's data source in OpsWorks' own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct OwDataSource {
    /// `RdsDbInstance`, `OpsworksMysqlInstance` or `AutoSelectOpsworksMysqlInstance`.
    pub kind: String,
    pub arn: Option<String>,
    pub database: Option<String>,
}

/// An instance, whoever keeps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instance {
    /// The provider's id: OpsWorks' own, or EC2's.
    pub id: String,
    /// The EC2 instance id, once there is one.
    pub ec2_id: Option<String>,
    /// Unique within the stack.
    pub hostname: String,
    /// The layers it belongs to: OpsWorks' ids, or on EC2 the layer's short name.
    pub layer_ids: Vec<String>,
    /// The EC2 instance type.
    pub instance_type: String,
    /// The provider's own word: `requested`, `booting`, `online`, `stopping`, … or EC2's `pending`, `running`, ….
    pub status: String,
    /// The address inside the VPC.
    pub private_ip: Option<String>,
    /// The public address.
    pub public_ip: Option<String>,
    /// What EC2 tells beyond that, of an instance that Evenkeel launched itself.
    pub launched: Option<Launched>,
}

/// A load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balancer {
    /// Whether it lets requests in flight finish when an instance is deregistered, and for how many seconds.
    pub draining: Option<u32>,
    /// The VPC that its targets must be in, where it says so.
    pub vpc_id: Option<String>,
    /// Its targets, by EC2 instance id. What is not here is not registered.
    pub targets: BTreeMap<String, Target>,
}

/// What a balancer says of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Target {
    /// Gets requests.
    InService,
    /// Registered, gets none, and why.
    OutOfService(String),
    /// Being deregistered: finishes what it has.
    Draining,
}

/// One instance's Docker engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Engine {
    /// Every container on it, ours or not, running or not, by name (without the leading slash).
    pub containers: BTreeMap<String, ContainerSeen>,
    /// Image references that are wanted and present → image id (`sha256:…`).
    pub images: BTreeMap<String, String>,
    /// Names of the volumes on it.
    pub volumes: BTreeSet<String>,
    /// The networks on it that somebody made, by name.
    pub networks: BTreeMap<String, NetworkSeen>,
    /// How many connections are established to the ports that a container publishes, by its name. What is not here was
    /// not asked, publishes none, or cannot tell.
    pub connections: BTreeMap<String, u32>,
    /// What its clock says, where that is known.
    pub clock: Option<Timestamp>,
    /// Every image on it, wanted or not, ours or not, by its id.
    pub stored: BTreeMap<String, ImageSeen>,
    /// The file system under its images and containers. What is not here was not asked, or no container can tell.
    pub disk: Option<Disk>,
}

impl Observed {
    /// Tells every time by the clock at which it is `now`.
    pub fn by_clock(&mut self, now: Timestamp) {
        self.engines.values_mut().filter_map(Seen::known_mut).for_each(|engine| engine.by_clock(now));
        let figures = self.figures.values_mut().chain(self.metered.values_mut());
        figures.filter_map(Seen::known_mut).for_each(|figures| figures.at = now - figures.age);
    }
}

impl Engine {
    /// Tells when its containers were started and ended by another clock, at which it is `now`: an engine's may be
    /// minutes off, and a container be judged before it has had its time.
    pub fn by_clock(&mut self, now: Timestamp) {
        let Some(own) = self.clock else { return };
        self.clock = Some(now);
        for container in self.containers.values_mut() {
            for at in [&mut container.started_at, &mut container.finished_at].into_iter().flatten() {
                *at = now - own.duration_since(*at);
            }
        }
    }
}

impl Engine {
    /// True while a container that is there, running or not, is in a network.
    pub fn is_used(&self, network: &NetworkSeen) -> bool {
        self.containers.values().any(|container| network.users.contains(&container.id))
    }
}

/// An image on an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImageSeen {
    /// Every name that it goes by: `app:1.2`, and by its digest `app@sha256:…`
    /// ([`familiar`](crate::spec::image::familiar)).
    pub names: BTreeSet<String>,
    /// Bytes, unpacked; what it shares with other images is counted for each of them.
    pub size: u64,
}

/// A file system, as `df` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Bytes in use and free: what is kept back for the superuser is neither.
    pub total: u64,
    /// Bytes that are free.
    pub free: u64,
}

impl Disk {
    /// How much of it is in use, in percent, rounded up as `df` does.
    pub fn used_percent(&self) -> u32 {
        let used = u128::from(self.total.saturating_sub(self.free));
        u32::try_from((used * 100).div_ceil(u128::from(self.total.max(1)))).unwrap_or(100)
    }
}

/// A network on an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetworkSeen {
    /// The engine's id of it.
    pub id: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// The ids of the containers that are in it.
    pub users: BTreeSet<String>,
}

/// So many connections, in words.
pub fn connections(count: u32) -> String {
    format!("{count} connection{}", if count == 1 { "" } else { "s" })
}

/// A container on an engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerSeen {
    /// The engine's id of it.
    pub id: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// What it is doing.
    pub state: State,
    /// The image reference it was made from.
    pub image: String,
    /// That image's id.
    pub image_id: String,
    /// How often the engine's restart policy has started it again.
    pub restarts: u32,
    /// The engine's health check, where there is one.
    pub health: Option<Health>,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
    /// The variables that it was given by reference, as its engine tells them.
    #[serde(skip)]
    pub secrets: BTreeMap<String, Sealed>,
    /// What the variables say that others are told of, as its engine tells them: the image's own among them.
    #[serde(skip)]
    pub says: BTreeMap<String, String>,
    /// For one that is not running well: the last lines it wrote, or what its health check said.
    pub last_words: Option<String>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum State {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running,
    /// Frozen by `docker pause`.
    Paused,
    /// It ended, and the engine is about to start it again.
    Restarting {
        /// The exit code of the last run.
        exit_code: i64,
    },
    /// It ended.
    Exited {
        /// Its exit code.
        exit_code: i64,
    },
    /// The engine failed to remove it, or is removing it.
    Dead,
}

/// What the engine's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Health {
    /// Not decided yet.
    Starting,
    /// It passed.
    Healthy,
    /// It failed as often as is allowed.
    Unhealthy,
}

/// "Insufficient Storage" (RFC 4918, section 11.5): how an engine's "no space left on device" is told here, which it
/// tells as a fault of any kind.
pub const NO_ROOM: u16 = 507;

/// How a call failed, as far as its class depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault<'a> {
    /// The other side answered with an error.
    Answer {
        /// The API's error code (`ThrottlingException`); empty where it has none (Docker).
        code: &'a str,
        /// The HTTP status.
        status: u16,
    },
    /// No connection came about: nothing was sent.
    NoConnection,
    /// The certificates do not fit.
    Identity,
    /// It was sent, and no answer came in time, or the connection broke before one.
    NoAnswer,
}

impl Class {
    /// The one place where the class of an error is decided.
    ///
    /// Sources: the "Common errors" of the AWS API references (throttling and authorization codes), and the
    /// status codes of the Docker Engine API.
    pub fn of(fault: Fault<'_>) -> Class {
        match fault {
            Fault::NoConnection => Class::Transient,
            Fault::Identity => Class::Terminal,
            Fault::NoAnswer => Class::UnknownOutcome,
            Fault::Answer { code, status } => {
                let throttled = ["Throttl", "RequestLimitExceeded", "TooManyRequests", "SlowDown", "BandwidthLimit"];
                // EC2 answers these with the status of a server's fault, and yet it is certain that nothing was made.
                let refused =
                    ["InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientVolumeCapacity"];
                if refused.contains(&code) {
                    Class::Terminal
                } else if status == NO_ROOM {
                    Class::NoRoom
                } else if status == 429 || throttled.iter().any(|word| code.contains(word)) {
                    Class::Throttled
                } else if status >= 500
                    || ["ExpiredToken", "RequestExpired", "InternalFailure", "ServiceUnavailable"]
                        .iter()
                        .any(|word| code.contains(word))
                {
                    Class::Transient
                } else {
                    Class::Terminal
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_tells_by_a_clock_that_is_off_is_told_by_the_one_of_who_looks() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let container = ContainerSeen { started_at: at(1_000), finished_at: None, ..container() };
        let mut engine = Engine {
            containers: BTreeMap::from([("web0".to_owned(), container)]),
            clock: at(1_005),
            ..Engine::default()
        };
        engine.by_clock(Timestamp::from_second(50).unwrap());
        assert_eq!(engine.containers["web0"].started_at, at(45));
        // Told again by the same clock, it is the same; and one whose clock is not known is left as it is.
        engine.by_clock(Timestamp::from_second(50).unwrap());
        assert_eq!((engine.containers["web0"].started_at, engine.clock), (at(45), at(50)));
        let mut unknown = Engine { clock: None, ..engine.clone() };
        unknown.by_clock(Timestamp::from_second(90).unwrap());
        assert_eq!(unknown.containers["web0"].started_at, at(45));
    }

    fn container() -> ContainerSeen {
        ContainerSeen {
            id: "1".into(),
            labels: BTreeMap::new(),
            state: State::Running,
            image: "web:1".into(),
            image_id: "sha256:1".into(),
            restarts: 0,
            health: None,
            started_at: None,
            finished_at: None,
            says: BTreeMap::new(),
            secrets: BTreeMap::new(),
            last_words: None,
        }
    }

    #[test]
    fn the_share_of_a_disk_that_is_in_use_is_rounded_up() {
        let used = |total, free| Disk { total, free }.used_percent();
        assert_eq!((used(1000, 145), used(1000, 1000), used(1000, 0), used(0, 0)), (86, 0, 100, 0));
        assert_eq!(used(u64::MAX, 1), 100);
    }

    #[test]
    fn every_fault_has_the_class_that_tells_what_to_do() {
        let answer = |code, status| Class::of(Fault::Answer { code, status });
        assert_eq!(answer("ThrottlingException", 400), Class::Throttled);
        assert_eq!(answer("RequestLimitExceeded", 503), Class::Throttled);
        assert_eq!(answer("AccessDeniedException", 400), Class::Terminal);
        assert_eq!(answer("ValidationException", 400), Class::Terminal);
        assert_eq!(answer("InsufficientInstanceCapacity", 500), Class::Terminal);
        assert_eq!(answer("ExpiredTokenException", 403), Class::Transient);
        assert_eq!(answer("", 404), Class::Terminal);
        assert_eq!(answer("", 500), Class::Transient);
        assert_eq!(answer("", NO_ROOM), Class::NoRoom);
        assert_eq!(Class::of(Fault::NoConnection), Class::Transient);
        assert_eq!(Class::of(Fault::NoAnswer), Class::UnknownOutcome);
        assert_eq!(Class::of(Fault::Identity), Class::Terminal);
    }
}
