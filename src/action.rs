//! What can be done: one variant per mutation, each readable by a person.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

pub use crate::spec::port::Port;

use crate::{
    spec::HealthCheck,
    world::{AppSettings, LayerSettings, StackSettings},
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
    StopInstance {
        id: String,
        hostname: String,
    },
    DeleteInstance {
        id: String,
        hostname: String,
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
    /// Something on one instance's engine.
    Engine {
        node: Node,
        what: EngineAction,
    },
}

/// An instance, as far as its engine is concerned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Node {
    /// The instance's hostname.
    pub hostname: String,
    /// `address:port` of what listens there: the engine's TLS listener, or the SSH server beside it.
    pub endpoint: String,
    /// What is spoken there.
    pub access: Access,
}

/// How an engine is reached, and how it proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// Mutual TLS.
    Tls {
        /// What the engine's certificate must be for; left out, the endpoint's address.
        #[serde(skip_serializing_if = "Option::is_none")]
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
    /// Evenkeel's marks.
    pub labels: BTreeMap<String, String>,
}

/// A named volume at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct DataMount {
    pub volume: String,
    pub path: String,
}

/// What may run beside what: two actions of one lane never do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Lane {
    /// The provider's API.
    Cloud,
    /// One instance: its engine and its place in the balancers.
    Node(String),
    /// Pulls on one instance, which disturb nothing that serves.
    Pull(String),
}

impl Action {
    /// The lane it belongs to.
    pub fn lane(&self) -> Lane {
        match self {
            Action::Engine { node, what: EngineAction::Pull { .. } } => Lane::Pull(node.hostname.clone()),
            Action::Engine { node, .. } => Lane::Node(node.hostname.clone()),
            Action::Register { hostname, .. } | Action::Deregister { hostname, .. } => Lane::Node(hostname.clone()),
            _ => Lane::Cloud,
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

    /// Creates that the API could carry out twice: their intent is recorded before they are sent.
    pub fn needs_intent(&self) -> bool {
        matches!(
            self,
            Action::CreateStack { .. }
                | Action::CreateLayer { .. }
                | Action::CreateApp { .. }
                | Action::CreateInstance { .. }
        )
    }
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
            Action::CreateInstance { hostname, instance_type, .. } => {
                write!(f, "create instance {hostname} ({instance_type})")
            }
            Action::StartInstance { hostname, .. } => write!(f, "start instance {hostname}"),
            Action::StopInstance { hostname, .. } => write!(f, "stop instance {hostname}"),
            Action::DeleteInstance { hostname, .. } => write!(f, "delete instance {hostname}"),
            Action::AttachBalancer { layer, balancer, .. } => {
                write!(f, "attach load balancer {balancer} to layer {layer}")
            }
            Action::DetachBalancer { layer, balancer, .. } => {
                write!(f, "detach load balancer {balancer} from layer {layer}")
            }
            Action::Register { balancer, hostname, .. } => {
                write!(f, "register {hostname} with load balancer {balancer}")
            }
            Action::Deregister { balancer, hostname, .. } => {
                write!(f, "deregister {hostname} from load balancer {balancer}")
            }
            Action::Engine { node, what } => write!(f, "{}: {what}", node.hostname),
        }
    }
}

impl fmt::Display for EngineAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineAction::Pull { image } => write!(f, "pull {image}"),
            EngineAction::CreateVolume { name, .. } => write!(f, "create volume {name}"),
            EngineAction::Create { run } => write!(f, "create {} from {}", run.name, run.image),
            EngineAction::Start { name, .. } => write!(f, "start {name}"),
            EngineAction::Stop { name, stop, .. } => {
                let signal = stop.signal.as_deref().unwrap_or("its stop signal");
                write!(f, "stop {name} ({signal}, {}s)", stop.timeout.as_secs())
            }
            EngineAction::Rename { from, to, .. } => write!(f, "rename {from} to {to}"),
            EngineAction::Remove { name, .. } => write!(f, "remove {name}"),
        }
    }
}
