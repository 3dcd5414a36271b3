//! What is told to people: conditions, holds and the state of a stack as a whole.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    action::{Ended, Node, Outcome},
    spec::{App, Container, container::Deploy, scaling::Metric},
};

/// Something about a stack that a person should know, set afresh on every pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Condition {
    /// What kind of thing it is; scripts rely on the word.
    pub kind: Kind,
    /// What it is about: `stack`, `layer docker`, `docker1`, `docker1/app0`.
    pub subject: String,
    /// What happened, where, and what to do next.
    pub message: String,
}

/// The kinds of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A look gave no answer; nothing is created or deleted on the strength of it.
    Unobservable,
    /// Something of that name exists and does not bear Evenkeel's mark.
    Conflict,
    /// An action failed; it is tried again at the time named, or when the manifest changes.
    ActionFailed,
    /// A new container did not become healthy and the old one was put back.
    ReleaseFailed,
    /// The registry has no such image, or does not give it out.
    ImageUnavailable,
    /// There is no room for an image on an instance, and nothing more can make way for it.
    NoRoom,
    /// The disk of an instance is nearly full.
    DiskFilling,
    /// A value that is kept elsewhere cannot be read: what needs it is neither made nor replaced.
    SecretUnavailable,
    /// Somebody could not be told of a release; it is tried again for a day.
    NotificationFailed,
    /// RDS does not tell of a database: what needs it is neither made nor replaced.
    DatabaseUnavailable,
    /// The tag of a container that is deployed by hand stands for another image now.
    NewerRelease,
    /// A container was rolled back by an operator, and runs an earlier release than the one declared.
    RolledBack,
    /// An operator has paused the rollouts of an app.
    Paused,
    /// The last run of a job did not go well.
    JobFailed,
    /// A migration did not go well: its release stops before any container does.
    MigrationFailed,
    /// A container cannot stay up or is unhealthy, and there is no older one to put back.
    Failing,
    /// What is declared cannot be done without an interruption that was not allowed.
    Refused,
    /// A drain took longer than `drainTimeout` and the swap went on.
    DrainTimedOut,
    /// A rollout hangs: no other instance was done within `progressDeadline`.
    ProgressDeadlineExceeded,
    /// An instance is in a state that needs a person.
    InstanceTrouble,
    /// What instances have to do is not known: none of them leaves because of it.
    LoadUnknown,
    /// An instance was launched otherwise than is declared now, and only a new one can be as declared.
    Outdated,
    /// A load balancer is in a state that needs a person.
    BalancerTrouble,
    /// Evenkeel made it once, and nobody declares it any more.
    LeftOver,
    /// `suspend: true`.
    Suspended,
    /// The newest revision does not validate; the last good one goes on being reconciled.
    InvalidRevision,
    /// The manifests cannot be read at the moment; the last good revision goes on being reconciled.
    SourceUnavailable,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.kind, self.subject, self.message)
    }
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What waits: `docker2`, `layer docker`.
    pub subject: String,
    /// What it waits for, and why.
    pub on: String,
    /// When the waiting ends at the latest, where that is known.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits for {}", self.subject, self.on)?;
        if let Some(until) = self.until {
            write!(f, " (until {} at the latest)", until.strftime("%H:%M:%S"))?;
        }
        Ok(())
    }
}

/// How a stack is, after one pass; what `evenkeel status` shows and `status --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackStatus {
    /// The stack's name.
    pub stack: String,
    /// The revision that is being reconciled.
    pub revision: String,
    /// In one word.
    pub phase: Phase,
    /// When this was so.
    pub at: Timestamp,
    /// What a person should know.
    pub conditions: Vec<Condition>,
    /// What is waited for.
    pub holds: Vec<Hold>,
    /// What is being done at this moment.
    pub doing: Vec<String>,
    /// The instances.
    pub instances: Vec<InstanceStatus>,
    /// The load balancers that Evenkeel makes itself.
    #[serde(default)]
    pub balancers: Vec<BalancerStatus>,
    /// The apps that are declared.
    #[serde(default)]
    pub apps: Vec<AppStatus>,
    /// What is run by the clock.
    #[serde(default)]
    pub jobs: Vec<JobStatus>,
    /// How many instances the layers are to have whose number is not fixed.
    #[serde(default)]
    pub scaling: Vec<ScalingStatus>,
    /// What operators have asked for and is not over, in words.
    #[serde(default)]
    pub asked: Vec<String>,
    /// Mutations made since the controller started.
    pub mutations: u64,
    /// Mutations made by the last pass.
    pub last_pass_mutations: u64,
}

/// A load balancer that Evenkeel makes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BalancerStatus {
    /// Its name.
    pub name: String,
    /// `classic`, `application` or `network`.
    pub kind: String,
    /// `provisioning`, `active`, …; `missing` while it is not made, `unknown` while nothing can be said.
    pub state: String,
    /// Where clients find it: what a name of one's own is to point to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<String>,
}

impl fmt::Display for BalancerStatus {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} load balancer {}: {}", self.kind, self.name, self.state)?;
        match &self.dns_name {
            Some(name) => write!(f, ", {name}"),
            None => Ok(()),
        }
    }
}

/// How a job is that is run by the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// The app's name.
    pub app: String,
    /// The container's key.
    pub container: String,
    /// Its five fields and their time zone.
    pub schedule: String,
    /// When it is due next; nothing while there is no instance at all.
    pub next: Option<Timestamp>,
    /// The runs that go on.
    pub running: Vec<RunStatus>,
    /// What a run that is due waits for.
    pub waits: Option<String>,
    /// The last run that is over.
    pub last: Option<LastRun>,
}

/// A run that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// When it was due.
    pub due: Timestamp,
    /// Where it is.
    pub hostname: String,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// When it was due.
    pub due: Timestamp,
    /// Where it was.
    pub hostname: String,
    /// How it went.
    pub outcome: Outcome,
    /// Its exit code, where it came to have one.
    pub exit_code: Option<i64>,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// What it said last.
    pub words: String,
}

impl From<Ended> for LastRun {
    fn from(ended: Ended) -> LastRun {
        LastRun {
            due: ended.turn.due,
            hostname: ended.hostname,
            outcome: ended.outcome,
            exit_code: ended.exit_code,
            started: ended.started,
            finished: ended.finished,
            words: ended.words,
        }
    }
}

/// How many instances a layer is to have whose number is not fixed, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingStatus {
    /// The layer's short name.
    pub layer: String,
    /// How many there are to be.
    pub count: u32,
    /// The fewest that may be now: `min`, the schedule's at this hour, or `minInService`.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// Why there are to be so many; nothing until that is on record.
    pub why: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What the instances have to do on average; nothing where the load has nothing to do with it.
    pub load: Option<LoadStatus>,
    /// What the next change waits for.
    pub waits: Option<String>,
    /// When the schedule says something else next.
    pub next: Option<NextHours>,
}

/// What the instances of a layer have to do on average. What is not known is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadStatus {
    /// Percent of the processors' time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Percent of the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// The load average of one minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
}

/// When a schedule says something else next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHours {
    /// When.
    pub at: Timestamp,
    /// How many there are at least from then on.
    pub min: u32,
}

impl fmt::Display for ScalingStatus {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}: {} of {} to {} instances", self.layer, self.count, self.min, self.max)?;
        if let Some(why) = &self.why {
            write!(f, " ({why})")?;
        }
        if let Some(LoadStatus { cpu, memory, load }) = self.load {
            let known = [(Metric::Cpu, cpu), (Metric::Memory, memory), (Metric::Load, load)];
            let known: Vec<String> = known.into_iter().filter_map(|(metric, it)| Some(metric.shown(it?))).collect();
            let known = if known.is_empty() { "no figures".to_owned() } else { known.join(", ") };
            write!(f, "; on average {known}")?;
        }
        if let Some(waits) = &self.waits {
            write!(f, "; waits for {waits}")?;
        }
        if let Some(NextHours { at, min }) = self.next {
            write!(f, "; at least {min} from {} on", at.strftime("%F %H:%M UTC"))?;
        }
        Ok(())
    }
}

/// What is declared of one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// Its containers, in the order declared.
    pub containers: Vec<DeclaredContainer>,
}

/// What is declared of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredContainer {
    /// Its key.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Whether it is replaced only when an operator asks for it (`deploy: manual`).
    pub by_hand: bool,
}

impl From<&App> for AppStatus {
    fn from(app: &App) -> AppStatus {
        let declared = |container: &Container| DeclaredContainer {
            name: container.name.clone(),
            image: container.image.clone(),
            by_hand: container.deploy == Deploy::Manual,
        };
        AppStatus { name: app.name.clone(), containers: app.containers.iter().map(declared).collect() }
    }
}

/// A stack's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// As declared.
    Converged,
    /// On the way.
    Progressing,
    /// Nothing more can be done until something changes; the conditions say what.
    Blocked,
    /// `suspend: true`.
    Suspended,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Converged => "converged",
            Phase::Progressing => "progressing",
            Phase::Blocked => "blocked",
            Phase::Suspended => "suspended",
        })
    }
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its hostname.
    pub hostname: String,
    /// The provider's word for its state.
    pub state: String,
    /// What its balancers say, by name.
    pub balancers: std::collections::BTreeMap<String, String>,
    /// How its engine is reached, while it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    /// Its containers, by name.
    pub containers: std::collections::BTreeMap<String, ContainerStatus>,
    /// The disk under its images and containers; nothing where none of its containers can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskStatus>,
    /// Why nothing is known of its containers, when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// The disk under an instance's images and containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskStatus {
    /// Bytes in use and free.
    pub total_bytes: u64,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// How much of it is in use, in percent.
    pub used_percent: u32,
    /// How many images are on it.
    pub images: usize,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// `healthy`, `running` (no health check), `starting`, `unhealthy`, `ended with exit code 1`, …
    pub state: String,
    /// The image reference it was made from.
    pub image: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The stack's name.
    pub stack: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}
