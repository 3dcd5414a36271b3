//! The Docker engines of the instances, over mutual TLS or through SSH.
//!
//! A look is bounded in time, whatever the engine does. Mutations can be repeated: what a crash left half done
//! is done again, and what is done already is no error.

mod apply;
pub mod authority;
mod certs;
mod connections;
mod create;
mod disk;
mod events;
mod exec;
mod figures;
mod health;
mod images;
mod login;
mod logs;
mod look;
mod options;
mod pull;
mod registry;
mod ssh;
mod timeouts;
mod transport;
mod trouble;
mod words;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use certs::Certs;
pub use exec::{Command, Said, Session};
pub use logs::{Line, Wanted};
pub use ssh::Keys;

use crate::{
    action::{EngineAction, Node},
    ports::{self, Given, HostKeys, Login, Progress},
    world::{Disk, Engine, Figures, Seen, Trouble},
};

/// The label that marks a container as Evenkeel's; its value is the stack's name.
const STACK_LABEL: &str = "evenkeel.stack";

/// The label that tells which variables were given by reference.
const SECRETS_LABEL: &str = "evenkeel.secrets";
/// The label that tells which variables were given as RDS told them.
const ASKED_LABEL: &str = "evenkeel.asked";
/// Names the variables of a container whose values are told to others.
const SAYS_LABEL: &str = "evenkeel.says";

/// The label of a migration's container.
const MIGRATION_LABEL: &str = "evenkeel.migration";
const JOB_LABEL: &str = "evenkeel.job";

/// Every engine that one set of certificates and one directory of keys open.
///
/// Cheap to share behind an `Arc`. Connections are kept per engine, and made anew when the certificates on disk
/// change. What is missing on disk is told when an engine needs it.
#[derive(Debug)]
pub struct Engines {
    transport: transport::Transport,
    tellers: disk::Tellers,
    counted: figures::Counted,
}

impl Engines {
    /// Reads nothing yet, and connects to nothing.
    pub fn new(certs: Certs, keys: Keys, host_keys: Arc<dyn HostKeys>) -> Engines {
        Engines {
            transport: transport::Transport::new(certs, keys, host_keys),
            tellers: disk::Tellers::default(),
            counted: figures::Counted::default(),
        }
    }
}

#[async_trait]
impl ports::Engines for Engines {
    async fn look(&self, node: &Node, images: &BTreeSet<String>) -> Seen<Engine> {
        look::look(&self.transport, node, images).await.into()
    }

    async fn digest(&self, node: &Node, image: &str, login: Option<&Login>) -> Result<Seen<String>, Trouble> {
        registry::digest(&self.transport, node, image, login).await
    }

    async fn apply(&self, node: &Node, what: &EngineAction, given: &Given, progress: &Progress) -> Result<(), Trouble> {
        apply::apply(&self.transport, &self.tellers, node, what, given, progress).await
    }

    async fn connections(&self, node: &Node, id: &str) -> Option<u32> {
        connections::count(&self.transport, node, id).await
    }

    async fn disk(&self, node: &Node) -> Option<Disk> {
        self.tellers.look(&self.transport, node).await
    }

    async fn figures(&self, node: &Node, load: bool) -> Result<Figures, Trouble> {
        figures::figures(&self.transport, &self.counted, node, load).await
    }

    async fn watch(&self, node: &Node, wake: mpsc::Sender<String>) {
        events::watch(&self.transport, node, wake).await;
    }
}
