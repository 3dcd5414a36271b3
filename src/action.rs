//! What can be done: one variant per mutation, each readable by a person.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

mod balancer;
mod job;
mod migrated;
mod notice;
mod release;
mod scaled;
mod tagged;
mod wish;

pub use crate::spec::port::Port;
pub use balancer::BalancerAction;
pub use job::{Begun, Ended, JobNote, Outcome, Scheduled, Turn, is_run_name, run_name};
pub use migrated::Migrated;
pub use notice::{Delivery, Notice, Receiver, Says};
pub use release::Release;
pub use scaled::Scaled;
pub use tagged::{Tagged, Tags};
pub use wish::{Back, Wish, WishKind};

use crate::{
    secret::Sealed,
    spec::{
        HealthCheck, Options, Reference,
        balancer::words,
        image,
        network::Joined,
        stack::{EbsVolume, RootVolume},
    },
    world::{AppSettings, LayerSettings, LoadScaling, StackSettings},
};

/// One mutation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Action {
    CreateStack {
        settings: StackSettings,
    },
    UpdateStack {
        id: String,
        settings: StackSettings,
        changed: Vec<String>,
    },
    CreateLayer {
        stack_id: String,
        settings: LayerSettings,
    },
    UpdateLayer {
        id: String,
        settings: LayerSettings,
        changed: Vec<String>,
    },
    CreateApp {
        stack_id: String,
        settings: AppSettings,
    },
    UpdateApp {
        id: String,
        settings: AppSettings,
        changed: Vec<String>,
    },
    DeleteApp {
        id: String,
        name: String,
    },
    /// Tells OpsWorks of a database instance of RDS, as it is declared, and how to sign in there.
    RegisterDatabase {
        stack_id: String,
        rds: String,
    },
    /// Tells OpsWorks anew how to sign in there.
    UpdateDatabase {
        rds: String,
        arn: String,
        changed: Vec<String>,
    },
    CreateInstance {
        stack_id: String,
        layer_id: String,
        hostname: String,
        instance_type: String,
    },
    StartInstance {
        id: String,
        hostname: String,
    },
    /// Stops an instance that OpsWorks keeps; `ec2_id` is what load balancers know it by. `drained`: none of them lets it
    /// finish anything any more; otherwise its drain took too long, and what it still has in flight is cut off.
    StopInstance {
        id: String,
        ec2_id: Option<String>,
        hostname: String,
        drained: bool,
    },
    DeleteInstance {
        id: String,
        hostname: String,
    },
    /// Launches an EC2 instance. Sent again with its token it makes no second one.
    LaunchInstance {
        launch: Box<Launch>,
    },
    /// Ends an EC2 instance for good; `drained` as for one that is stopped.
    TerminateInstance {
        id: String,
        hostname: String,
        drained: bool,
    },
    /// Writes tags of an EC2 instance.
    TagInstance {
        id: String,
        hostname: String,
        tags: BTreeMap<String, String>,
        why: String,
    },
    /// Sets the security groups of an EC2 instance that runs.
    SetSecurityGroups {
        id: String,
        hostname: String,
        groups: Vec<String>,
    },
    /// Writes tags of an EBS volume.
    TagVolume {
        id: String,
        hostname: String,
        tags: BTreeMap<String, String>,
    },
    /// Makes the declared tags of something what they should be.
    KeepTags {
        of: Tagged,
        tags: Tags,
    },
    AttachVolume {
        id: String,
        instance_id: String,
        hostname: String,
        device: String,
        mount_point: String,
    },
    /// Changes an EBS volume in place; its size only ever grows.
    ModifyVolume {
        id: String,
        hostname: String,
        volume: EbsVolume,
        changed: Vec<String>,
    },
    AttachBalancer {
        layer_id: String,
        layer: String,
        balancer: String,
    },
    DetachBalancer {
        layer_id: String,
        layer: String,
        balancer: String,
    },
    /// Has OpsWorks know the thresholds of a layer, and leave the scaling alone.
    SetLoadScaling {
        layer_id: String,
        layer: String,
        settings: Box<LoadScaling>,
        changed: Vec<String>,
    },
    Register {
        balancer: String,
        ec2_id: String,
        hostname: String,
    },
    /// `keep` other targets must be in service when it happens; checked just before.
    Deregister {
        balancer: String,
        ec2_id: String,
        hostname: String,
        keep: u32,
    },
    /// Something on a load balancer that Evenkeel makes itself.
    Owned {
        balancer: String,
        what: Box<BalancerAction>,
    },
    /// Writes down which image a container's tag stands for, before any instance runs it.
    Record {
        release: Release,
    },
    /// Writes down that a migration went well.
    RecordMigration {
        migrated: Migrated,
    },
    /// Writes down how many instances a layer is to have.
    Scale {
        scaled: Scaled,
    },
    /// Forgets how many a layer was to have that is not scaled any more.
    ForgetScale {
        layer: String,
    },
    /// Writes down something of what is run by the clock.
    NoteJob {
        note: Box<JobNote>,
    },
    /// Writes down that what an operator asked for has begun.
    BeginWish {
        wish: Wish,
    },
    /// Forgets what an operator asked for: it is done, or means nothing any more.
    EndWish {
        wish: Wish,
        why: String,
    },
    /// Writes down what there is to tell of a release, and to whom.
    Announce {
        notice: Box<Notice>,
    },
    /// Tells one of those whom it concerns.
    Deliver {
        delivery: Box<Delivery>,
    },
    /// Tells it no more.
    EndDelivery {
        delivery: Box<Delivery>,
        why: String,
    },
    /// Something on one instance's engine.
    Engine {
        node: Node,
        what: EngineAction,
    },
}

/// An instance, as far as its engine is concerned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Node {
    /// The instance's hostname.
    pub hostname: String,
    /// `address:port` of what listens there: the engine's TLS listener, or the SSH server beside it.
    pub endpoint: String,
    /// What is spoken there.
    pub access: Access,
}

/// How an engine is reached, and how it proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// Mutual TLS.
    Tls {
        /// What the engine's certificate must be for; left out, the endpoint's address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A forwarded `/var/run/docker.sock`.
    Ssh {
        /// Who logs in.
        user: String,
        /// The name of the private key (`sshKeyName`) in the controller's directory of keys.
        key: String,
        /// What the server's host key is pinned to: the instance's EC2 id, so that a replacement may have a new one.
        pin: String,
    },
}

/// What EC2 is told of a new instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Launch {
    /// Its layer's short name.
    pub layer: String,
    /// Unique within the stack.
    pub hostname: String,
    /// The idempotency token.
    #[serde(skip)]
    pub token: String,
    /// `ami-…`
    pub image_id: String,
    /// `t3.medium`
    pub instance_type: String,
    /// Where.
    pub subnet_id: String,
    /// The subnet's availability zone.
    pub zone: String,
    /// Security groups; none: the VPC's default.
    pub security_group_ids: Vec<String>,
    /// The EC2 key pair.
    pub key_name: Option<String>,
    /// The instance profile.
    pub profile_arn: Option<String>,
    /// The root volume, if not as the image has it, and the device it has there.
    pub root: Option<(String, RootVolume)>,
    /// The volumes that are made with it, by device.
    pub volumes: Vec<(String, EbsVolume)>,
    /// Whether EC2 deletes them with the instance.
    pub delete_volumes: bool,
    /// The bootstrap script.
    #[serde(skip)]
    pub user_data: String,
    /// Tags of the instance.
    pub tags: BTreeMap<String, String>,
    /// Tags of the volumes that are made with it.
    pub volume_tags: BTreeMap<String, String>,
}

/// One mutation of an engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum EngineAction {
    Pull {
        image: String,
    },
    CreateVolume {
        name: String,
        labels: BTreeMap<String, String>,
    },
    CreateNetwork {
        name: String,
        labels: BTreeMap<String, String>,
    },
    /// Removes a network that no container is in.
    RemoveNetwork {
        id: String,
        name: String,
    },
    Create {
        run: Box<Run>,
    },
    Start {
        id: String,
        name: String,
    },
    /// Sends the signal, waits, and only after the timeout lets the engine kill. `guard`: balancers that must not
    /// be sending requests to the instance any more, checked just before.
    Stop {
        id: String,
        name: String,
        stop: StopHow,
        guard: Option<Guard>,
    },
    Rename {
        id: String,
        from: String,
        to: String,
    },
    /// Removes a container that does not run.
    Remove {
        id: String,
        name: String,
    },
    /// Takes a name from an image, and removes it once it has no other. One that a container needs stays.
    RemoveImage {
        image: String,
    },
}

impl EngineAction {
    /// The name of the run of a job that it is about.
    pub fn run(&self) -> Option<&str> {
        let name = match self {
            EngineAction::Create { run } => &run.name,
            EngineAction::Start { name, .. } | EngineAction::Stop { name, .. } | EngineAction::Remove { name, .. } => {
                name
            }
            _ => return None,
        };
        Some(name.as_str()).filter(|name| is_run_name(name))
    }
}

/// How a container is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopHow {
    /// The signal; left out, the container's own.
    pub signal: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// Who must not be sending requests any more when a container that serves is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// The instance's EC2 id.
    pub ec2_id: String,
    /// The balancers.
    pub balancers: Vec<String>,
    /// Every one of them has let it go; else its last requests had their time, and one that still drains it is let be.
    pub drained: bool,
    /// The containers, by name and id, whose published ports must have no connection.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unconnected: BTreeMap<String, String>,
}

/// A container, with everything filled in: what `docker create` is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Its name on the engine, `app0`.
    pub name: String,
    /// The image reference.
    pub image: String,
    /// Environment, in the order of the names.
    pub env: BTreeMap<String, String>,
    /// The variables whose values are kept elsewhere.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Kept>,
    /// `host:container[:mode]`, as `docker run -v`.
    pub binds: Vec<String>,
    /// Paths that get an anonymous volume, as `docker run -v /path`.
    pub anonymous_volumes: Vec<String>,
    /// Named volumes of the app, mounted without copying the image's content into them.
    pub data_volumes: Vec<DataMount>,
    /// Containers whose volumes are taken over, with an optional `:ro`.
    pub volumes_from: Vec<String>,
    /// `container:alias`.
    pub links: Vec<String>,
    /// As `docker run -p`.
    pub ports: Vec<Port>,
    /// Its network.
    #[serde(skip_serializing_if = "Joined::is_default")]
    pub network: Joined,
    /// The hostname inside.
    pub hostname: String,
    /// The entrypoint, if not the image's.
    pub entrypoint: Option<Vec<String>>,
    /// The command, if not the image's.
    pub command: Option<Vec<String>>,
    /// The health check that the engine runs.
    pub health_check: Option<HealthCheck>,
    /// The signal that `docker stop` sends.
    pub stop_signal: Option<String>,
    /// How long `docker stop` waits.
    pub stop_timeout: Duration,
    /// It is run once, and not started again when it ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// What it is given and denied beyond its image.
    #[serde(skip_serializing_if = "Options::is_empty")]
    pub options: Options,
    /// Evenkeel's marks.
    pub labels: BTreeMap<String, String>,
}

/// A value that is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Where.
    #[serde(flatten)]
    pub from: Reference,
    /// Which value, where it was read. Another one is another release, though nothing that was declared has changed.
    #[serde(skip)]
    pub sealed: Option<Sealed>,
}

/// A named volume at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct DataMount {
    pub volume: String,
    pub path: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// What may run beside what: two actions of one lane never do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Lane {
    /// The provider's API.
    Cloud,
    /// One load balancer that Evenkeel makes itself.
    Balancer(String),
    /// One instance: its engine and its place in the balancers.
    Node(String),
    /// Pulls on one instance, and what makes room for them, which disturb nothing that serves.
    Pull(String),
    /// What is recorded of one container, `APP/CONTAINER`, or of one wish.
    Record(String),
    /// One run of a job on one instance, which is in nobody's way.
    Run(String),
    /// What is told to one receiver of one event.
    Notice(String),
}

impl Action {
    /// The lane it belongs to.
    pub fn lane(&self) -> Lane {
        match self {
            Action::Engine { node, what: EngineAction::Pull { .. } | EngineAction::RemoveImage { .. } } => {
                Lane::Pull(node.hostname.clone())
            }
            Action::Engine { node, what } => match what.run() {
                Some(name) => Lane::Run(format!("{}/{name}", node.hostname)),
                None => Lane::Node(node.hostname.clone()),
            },
            Action::Register { hostname, .. } | Action::Deregister { hostname, .. } => Lane::Node(hostname.clone()),
            Action::Owned { balancer, .. } => Lane::Balancer(balancer.clone()),
            Action::Record { release } => Lane::Record(release.subject()),
            Action::RecordMigration { migrated } => Lane::Record(format!("{}/{}", migrated.app, migrated.container)),
            Action::NoteJob { note } => Lane::Record(note.subject()),
            Action::Scale { scaled: Scaled { layer, .. } } | Action::ForgetScale { layer } => {
                Lane::Record(format!("layer {layer}"))
            }
            Action::BeginWish { wish } | Action::EndWish { wish, .. } => Lane::Record(wish.to_string()),
            Action::Announce { notice } => Lane::Notice(notice.subject()),
            Action::Deliver { delivery } | Action::EndDelivery { delivery, .. } => {
                Lane::Notice(format!("{:?} {}", delivery.to, delivery.notice.id))
            }
            _ => Lane::Cloud,
        }
    }

    /// True for what is done of a run of a job that goes as it should: it changes nothing of what is declared, and comes
    /// again with every run.
    pub fn is_routine(&self) -> bool {
        match self {
            Action::Engine { what, .. } => what.run().is_some(),
            Action::NoteJob { note } => !matches!(&**note, JobNote::End(ended) if ended.outcome.has_failed()),
            _ => false,
        }
    }

    /// The time after which it counts as failed with an unknown outcome.
    pub fn deadline(&self) -> Duration {
        match self {
            Action::Engine { what: EngineAction::Pull { .. }, .. } => Duration::from_secs(20 * 60),
            Action::Engine { what: EngineAction::Stop { stop, .. }, .. } => stop.timeout + Duration::from_secs(30),
            Action::Engine { .. } => Duration::from_secs(60),
            _ => Duration::from_secs(60),
        }
    }

    /// The same for the same action on the same thing: the key under which a failure or an intent is remembered.
    pub fn key(&self) -> String {
        self.to_string()
    }

    /// The key of the intent that is recorded before it is sent, for creates that the API could carry out twice.
    ///
    /// A launch has one for its hostname, wherever it goes: a second try in another zone must not be a second
    /// instance.
    pub fn intent(&self) -> Option<String> {
        match self {
            Action::CreateStack { .. }
            | Action::CreateLayer { .. }
            | Action::CreateApp { .. }
            | Action::RegisterDatabase { .. }
            | Action::CreateInstance { .. } => Some(self.key()),
            Action::LaunchInstance { launch } => Some(launch_intent(&launch.hostname)),
            // Made twice it would not be: its name is unique. But a read that misses it is waited for.
            Action::Owned { what, .. } if what.creates() => Some(self.key()),
            _ => None,
        }
    }

    /// Takes what it notes of what operators have asked for for noted; false where it notes nothing.
    pub fn note_in(&self, wishes: &mut Vec<Wish>) -> bool {
        match self {
            Action::BeginWish { wish } => {
                for other in wishes.iter_mut().filter(|other| *other == wish) {
                    *other = wish.begun();
                }
            }
            Action::EndWish { wish, .. } => wishes.retain(|other| other != wish),
            _ => return false,
        }
        true
    }

    /// The idempotency token that it is sent with.
    pub fn token(&self) -> Option<&str> {
        match self {
            Action::LaunchInstance { launch } => Some(&launch.token),
            _ => None,
        }
    }

    /// Where it is to be: the subnet of a launch.
    pub fn place(&self) -> Option<&str> {
        match self {
            Action::LaunchInstance { launch } => Some(&launch.subnet_id),
            _ => None,
        }
    }
}

/// The key of the intent to launch an instance of a hostname.
pub fn launch_intent(hostname: &str) -> String {
    format!("launch {hostname}")
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::CreateStack { settings } => write!(f, "create stack {} in {}", settings.name, settings.region),
            Action::UpdateStack { settings, changed, .. } => {
                write!(f, "update stack {}: {}", settings.name, changed.join(", "))
            }
            Action::CreateLayer { settings, .. } => write!(f, "create layer {}", settings.short_name),
            Action::UpdateLayer { settings, changed, .. } => {
                write!(f, "update layer {}: {}", settings.short_name, changed.join(", "))
            }
            Action::CreateApp { settings, .. } => write!(f, "create app {}", settings.name),
            Action::UpdateApp { settings, changed, .. } => {
                write!(f, "update app {}: {}", settings.name, changed.join(", "))
            }
            Action::DeleteApp { name, .. } => write!(f, "delete app {name}"),
            Action::RegisterDatabase { rds, .. } => write!(f, "register database {rds}"),
            Action::UpdateDatabase { rds, changed, .. } => write!(f, "update database {rds}: {}", changed.join(", ")),
            Action::CreateInstance { hostname, instance_type, .. } => {
                write!(f, "create instance {hostname} ({instance_type})")
            }
            Action::StartInstance { hostname, .. } => write!(f, "start instance {hostname}"),
            Action::StopInstance { hostname, .. } => write!(f, "stop instance {hostname}"),
            Action::DeleteInstance { hostname, .. } => write!(f, "delete instance {hostname}"),
            Action::LaunchInstance { launch } => write!(
                f,
                "launch instance {} ({}, {}) in {} ({})",
                launch.hostname, launch.instance_type, launch.image_id, launch.zone, launch.subnet_id
            ),
            Action::TerminateInstance { hostname, id, .. } => write!(f, "terminate instance {hostname} ({id})"),
            Action::TagInstance { hostname, why, .. } => write!(f, "mark instance {hostname} {why}"),
            Action::SetSecurityGroups { hostname, groups, .. } => {
                write!(f, "set the security groups of {hostname} to {}", groups.join(", "))
            }
            Action::TagVolume { id, hostname, .. } => write!(f, "mark volume {id} of {hostname}"),
            Action::KeepTags { of, tags } => write!(f, "tag {of}: {tags}"),
            Action::AttachVolume { id, hostname, device, mount_point, .. } => {
                write!(f, "attach volume {id} ({mount_point}) to {hostname} as {device}")
            }
            Action::ModifyVolume { id, hostname, volume, changed } => {
                write!(f, "modify volume {id} ({}) of {hostname}: {}", volume.mount_point, changed.join(", "))
            }
            Action::AttachBalancer { layer, balancer, .. } => {
                write!(f, "attach load balancer {balancer} to layer {layer}")
            }
            Action::DetachBalancer { layer, balancer, .. } => {
                write!(f, "detach load balancer {balancer} from layer {layer}")
            }
            Action::Register { balancer, hostname, .. } => {
                write!(f, "register {hostname} with {}", words(balancer))
            }
            Action::Deregister { balancer, hostname, .. } => {
                write!(f, "deregister {hostname} from {}", words(balancer))
            }
            Action::Owned { balancer, what } => write!(f, "load balancer {balancer}: {what}"),
            Action::Record { release } => write!(f, "record release {release}"),
            Action::RecordMigration { migrated } => write!(f, "record migration {migrated}"),
            Action::NoteJob { note } => write!(f, "{note}"),
            Action::SetLoadScaling { layer, changed, .. } => {
                write!(f, "set load-based scaling of layer {layer}: {}", changed.join(", "))
            }
            Action::Scale { scaled } => write!(f, "scale {scaled}"),
            Action::ForgetScale { layer } => write!(f, "scale layer {layer} no more"),
            Action::BeginWish { wish } => write!(f, "begin the {wish}, as was asked for"),
            Action::EndWish { wish, why } => write!(f, "end the {wish}: {why}"),
            Action::Announce { notice } => write!(f, "record that {notice}"),
            Action::Deliver { delivery } => write!(f, "tell {delivery}"),
            Action::EndDelivery { delivery, why } => write!(f, "tell no more {delivery}: {why}"),
            Action::Engine { node, what } => write!(f, "{}: {what}", node.hostname),
        }
    }
}

impl fmt::Display for EngineAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineAction::Pull { image } => write!(f, "pull {}", image::shown(image)),
            EngineAction::CreateVolume { name, .. } => write!(f, "create volume {name}"),
            EngineAction::CreateNetwork { name, .. } => write!(f, "create network {name}"),
            EngineAction::RemoveNetwork { name, .. } => write!(f, "remove network {name}"),
            EngineAction::Create { run } => write!(f, "create {} from {}", run.name, image::shown(&run.image)),
            EngineAction::Start { name, .. } => write!(f, "start {name}"),
            EngineAction::Stop { name, stop, .. } => {
                let signal = stop.signal.as_deref().unwrap_or("its stop signal");
                write!(f, "stop {name} ({signal}, {}s)", stop.timeout.as_secs())
            }
            EngineAction::Rename { from, to, .. } => write!(f, "rename {from} to {to}"),
            EngineAction::Remove { name, .. } => write!(f, "remove {name}"),
            EngineAction::RemoveImage { image } => write!(f, "remove image {}", image::shown(image)),
        }
    }
}
