//! The borders: what the controller needs of AWS, of the balancers and of the engines. The adapters implement
//! these, and so does the simulator.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{
    action::{Action, Delivery, EngineAction, JobNote, Migrated, Node, Notice, Release, Scaled, Wish},
    secret::Secret,
    spec::{Reference, Stack, balancer::words},
    world::{Balancer, Class, Disk, Engine, Figures, Owned, Provided, Seen, Target, Trouble},
};

/// The provider of the instances.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// Looks at everything of one stack. A part that fails is unknown; the others are told all the same.
    async fn look(&self, stack: &Stack) -> Provided;

    /// Carries out one action on the provider. Never called with balancer or engine actions.
    ///
    /// # Errors
    /// What went wrong, with its class.
    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble>;

    /// Tells the provider of a database, or anew how to sign in there. One that wants to hear of none has no answer of its
    /// own.
    ///
    /// # Errors
    /// What went wrong, with its class.
    async fn tell_of_database(&self, _stack: &Stack, _action: &Action, _access: &Access) -> Result<(), Trouble> {
        Ok(())
    }

    /// How busy the processors of these instances are, by EC2 id, as CloudWatch tells it: the last point of each, and how
    /// old that is; one without a point is not told of. Bounded in time. A provider that measures nothing has no answer of
    /// its own.
    ///
    /// # Errors
    /// When it cannot be told.
    async fn metered(&self, _stack: &Stack, _ec2_ids: &BTreeSet<String>) -> Result<BTreeMap<String, Figures>, Trouble> {
        Ok(BTreeMap::new())
    }

    /// How many requests were sent to AWS so far, for whatever purpose, by API (`ec2.DescribeInstances`).
    fn calls(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }
}

/// The load balancers of one region.
#[async_trait]
pub trait Balancers: Send + Sync {
    /// Looks at the balancers of these keys ([`LoadBalancer::name`](crate::spec::stack::LoadBalancer::name)) in the
    /// stack's region. One that does not exist is unknown with class `Terminal`.
    async fn look(&self, stack: &Stack, names: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>>;

    /// What one balancer says of one instance right now, also where it no longer lists it; `None` when the instance
    /// is neither registered nor still draining. This is what a stop is checked against.
    async fn target(&self, stack: &Stack, balancer: &str, ec2_id: &str) -> Seen<Option<Target>> {
        match self.look(stack, &BTreeSet::from([balancer.to_owned()])).await.remove(balancer) {
            Some(Seen::Known(mut balancer)) => Seen::Known(balancer.targets.remove(ec2_id)),
            Some(Seen::Unknown(trouble)) => Seen::Unknown(trouble),
            None => {
                Seen::Unknown(Trouble { class: Class::Transient, message: format!("{} was not told", words(balancer)) })
            }
        }
    }

    /// Looks at the load balancers that Evenkeel makes itself: what there is under each declared name, and what bears
    /// the stack's mark and is declared no more. What owns none needs no answer of its own.
    async fn owned(&self, _stack: &Stack) -> Owned {
        Owned::default()
    }

    /// Carries out `Register`, `Deregister`, or what is done to a load balancer that Evenkeel makes itself.
    ///
    /// # Errors
    /// What went wrong, with its class.
    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble>;
}

/// The Docker engines.
#[async_trait]
pub trait Engines: Send + Sync {
    /// Looks at one engine: all containers, the volumes, and which of `images` it has. Bounded in time.
    async fn look(&self, node: &Node, images: &BTreeSet<String>) -> Seen<Engine>;

    /// Asks the registry, through this engine and as it would pull, as whom is given, which digest (`sha256:…`) a reference stands for.
    /// What the registry answers, a refusal included, is the value. Bounded in time.
    ///
    /// # Errors
    /// When the engine itself gives no answer: another one may.
    async fn digest(&self, node: &Node, image: &str, login: Option<&Login>) -> Result<Seen<String>, Trouble>;

    /// How many connections are established to the ports that a container publishes; nothing where that cannot be told.
    /// Bounded in time.
    async fn connections(&self, _node: &Node, _id: &str) -> Option<u32> {
        None
    }

    /// How much room there is on the disk under its images and containers; nothing where none of the stack's containers
    /// on it can tell. Bounded in time.
    async fn disk(&self, _node: &Node) -> Option<Disk> {
        None
    }

    /// What an instance has to do, as its engine tells it; the load average only where it is asked for. The processors'
    /// time is that since this was asked before. Bounded in time. One that measures nothing has no answer of its own.
    ///
    /// # Errors
    /// When the engine gives no answer.
    async fn figures(&self, _node: &Node, _load: bool) -> Result<Figures, Trouble> {
        Ok(Figures::default())
    }

    /// Carries out one action with what no plan tells. `progress` gets a line now and then while it takes long (a pull's percentage).
    ///
    /// # Errors
    /// What went wrong, with its class.
    async fn apply(&self, node: &Node, what: &EngineAction, given: &Given, progress: &Progress) -> Result<(), Trouble>;

    /// Follows the engine's events until the connection ends, sending the hostname for every container that
    /// starts, dies, is renamed, removed, or changes its health. Returns when the stream ends.
    async fn watch(&self, node: &Node, wake: mpsc::Sender<String>);
}

/// Where values are kept that no manifest holds.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Reads each of these, those of AWS in the stack's account and region. What cannot be read is unknown, and of class
    /// `Terminal` where that is the answer: access denied, no such secret. Bounded in time. One that keeps nothing has no
    /// answer of its own.
    async fn read(&self, _stack: &Stack, _wanted: &BTreeSet<Reference>) -> BTreeMap<Reference, Seen<Secret>> {
        BTreeMap::new()
    }
}

/// What an action needs and no plan tells.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The values of the variables that are kept elsewhere, by name.
    pub env: BTreeMap<String, Secret>,
    /// Who pulls the image.
    pub login: Option<Login>,
    /// What a notice is told with.
    pub address: Option<Address>,
    /// How to sign in to a database.
    pub access: Option<Access>,
    /// What a pull may take, where that is known.
    pub room: Option<Room>,
}

/// How to sign in to a database.
#[derive(Debug, Clone)]
pub struct Access {
    /// The ARN of its instance.
    pub arn: String,
    /// Who.
    pub username: Secret,
    /// With what.
    pub password: Secret,
    /// What of this is kept elsewhere, and so told nobody else.
    pub hidden: Vec<Secret>,
}

/// The room for a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that were free when it was begun.
    pub free: u64,
    /// Bytes that must stay free, whatever comes of it.
    pub reserve: u64,
}

/// Where a notice goes, and what only its receiver is to know.
#[derive(Debug, Clone)]
pub struct Address {
    /// Where it listens.
    pub url: Secret,
    /// The token of Rollbar's project, or what a webhook's messages are signed with.
    pub key: Secret,
    /// Of Rollbar: which environment it is.
    pub environment: Option<Secret>,
    /// Of Rollbar: which revision it is.
    pub revision: Option<Secret>,
    /// What of this is kept elsewhere, and so told nobody else.
    pub hidden: Vec<Secret>,
}

/// A user of a registry. It goes with each question, and stays on no instance.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Login {
    pub username: Secret,
    pub password: Secret,
}

impl Given {
    /// What went wrong, in words that hold none of the values.
    pub fn hide(&self, trouble: Trouble) -> Trouble {
        let password = self.login.iter().map(|login| &login.password);
        let address = self.address.iter().flat_map(|address| &address.hidden);
        let access = self.access.iter().flat_map(|access| &access.hidden);
        let message = self
            .env
            .values()
            .chain(password)
            .chain(address)
            .chain(access)
            .fold(trouble.message, |message, secret| secret.hide(&message));
        Trouble { message, ..trouble }
    }
}

/// Who tells others of releases.
#[async_trait]
pub trait Herald: Send + Sync {
    /// Tells one receiver, once. Bounded in time. One that tells nobody has no answer of its own.
    ///
    /// # Errors
    /// When it was not taken: what was answered.
    async fn tell(&self, _stack: &Stack, _delivery: &Delivery, _address: &Address) -> Result<(), Trouble> {
        Ok(())
    }
}

/// Where releases, their migrations, and what operators ask for are recorded.
pub trait Records: Send + Sync {
    /// Records, durably, that a release of a container of this stack has begun. Recorded twice it is one.
    ///
    /// # Errors
    /// When it cannot be written; then nothing must be done for it.
    fn record(&self, stack: &str, release: &Release) -> Result<(), Trouble>;

    /// Records, durably, that a migration went well.
    ///
    /// # Errors
    /// When it cannot be written.
    fn record_migration(&self, stack: &str, migrated: &Migrated) -> Result<(), Trouble>;

    /// Records, durably, what a job came to. A run that is on record is not recorded again.
    ///
    /// # Errors
    /// When it cannot be written; then nothing must be done for it.
    fn note_job(&self, stack: &str, note: &JobNote) -> Result<(), Trouble>;

    /// Records, durably, how many instances a layer is to have. What records none has no answer of its own, as for the
    /// next.
    ///
    /// # Errors
    /// When it cannot be written; then nothing must be done for it.
    fn scale(&self, _stack: &str, _scaled: &Scaled) -> Result<(), Trouble> {
        Ok(())
    }

    /// Forgets how many a layer was to have.
    ///
    /// # Errors
    /// When it cannot be written.
    fn forget_scale(&self, _stack: &str, _layer: &str) -> Result<(), Trouble> {
        Ok(())
    }

    /// Records, durably, that what an operator asked for has begun. What was asked for anew meanwhile stays as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    fn begin_wish(&self, stack: &str, wish: &Wish) -> Result<(), Trouble>;

    /// Forgets what an operator asked for. What was asked for anew meanwhile stays.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end_wish(&self, stack: &str, wish: &Wish) -> Result<(), Trouble>;

    /// Records, durably, what there is to tell of a release, and to whom. Recorded twice it is one. What records none has
    /// no answer of its own, as for the next two.
    ///
    /// # Errors
    /// When it cannot be written; then nobody must be told.
    fn announce(&self, _stack: &str, _notice: &Notice) -> Result<(), Trouble> {
        Ok(())
    }

    /// Records that somebody could not be told, and why.
    ///
    /// # Errors
    /// When it cannot be written.
    fn tried(&self, _stack: &str, _delivery: &Delivery, _trouble: &str) -> Result<(), Trouble> {
        Ok(())
    }

    /// Strikes out what was told, or is given up.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end_delivery(&self, _stack: &str, _delivery: &Delivery) -> Result<(), Trouble> {
        Ok(())
    }
}

/// Where the host keys of instances are remembered that are reached over SSH. An instance keeps its key for life: one
/// that shows another is not trusted.
pub trait HostKeys: Send + Sync {
    /// What an instance is pinned to, if it was seen before.
    ///
    /// # Errors
    /// When that cannot be told.
    fn pinned(&self, instance: &str) -> Result<Option<Pinned>, Trouble>;

    /// Pins an instance to the key that it showed. One that is pinned already stays as it is.
    ///
    /// # Errors
    /// When it cannot be remembered.
    fn pin(&self, instance: &str, fingerprint: &str) -> Result<(), Trouble>;
}

/// The host key that an instance showed first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// As `ssh-keygen -l` prints it: `SHA256:…`.
    pub fingerprint: String,
    /// When that was.
    pub since: Timestamp,
}

/// Where a long action tells how far it is.
pub type Progress = std::sync::Arc<dyn Fn(String) + Send + Sync>;
