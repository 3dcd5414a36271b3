//! The options of every command that reaches AWS and the engines.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::diagnostics::{self, Style};
use crate::{
    aws::{Aws, Clouds, LoadBalancers},
    controller::lease::Lease,
    docker::{Certs, Engines, Keys},
    messenger::Messenger,
    observe::Ports,
    ports::{HostKeys, Records},
    source::{Revision, Source, SourceError},
    store::Store,
    vault::Vaults,
};

/// What opens the engines.
#[derive(Debug, Clone, clap::Args)]
pub struct Opening {
    /// Directory with ca.pem, cert.pem and key.pem: the controller's certificate for the Docker engines.
    #[arg(long, value_name = "DIR", env = "EVENKEEL_DOCKER_CERT_PATH", default_value = "/etc/evenkeel/docker")]
    pub docker_certs: PathBuf,
    /// Directory with the private keys for engines that are reached over SSH, each under the name of its EC2 key
    /// pair: NAME or NAME.pem.
    #[arg(long, value_name = "DIR", env = "EVENKEEL_SSH_KEYS", default_value = "/etc/evenkeel/ssh")]
    pub ssh_keys: PathBuf,
}

/// See the module.
#[derive(Debug, Clone, clap::Args)]
pub struct Reach {
    #[command(flatten)]
    pub opening: Opening,
    /// Directory for what must be remembered: intents, status, events, and the copy of a git repository.
    #[arg(long, value_name = "DIR", env = "EVENKEEL_STATE", default_value = "/var/lib/evenkeel")]
    pub state: PathBuf,
}

/// Where manifests come from.
#[derive(Debug, Clone, clap::Args)]
pub struct From {
    /// Branch of a git source; left out, the repository's default.
    #[arg(long)]
    pub branch: Option<String>,
    /// Directory inside a git source.
    #[arg(long, value_name = "DIR")]
    pub path: Option<String>,
}

/// What a command holds that changes things.
pub struct Tools {
    /// Held until the command ends.
    pub lease: Lease,
    /// What is remembered.
    pub store: Arc<Store>,
    /// The adapters.
    pub ports: Ports,
}

impl Opening {
    /// The engines.
    pub fn engines(&self, host_keys: Arc<dyn HostKeys>) -> Engines {
        let (certs, keys) = (Certs { dir: self.docker_certs.clone() }, Keys { dir: self.ssh_keys.clone() });
        Engines::new(certs, keys, host_keys)
    }
}

impl Reach {
    /// Everything that a command needs which changes things.
    ///
    /// # Errors
    /// One message for the person who called it.
    pub fn tools(&self) -> Result<Tools, String> {
        let lease = Lease::take(&self.state).map_err(|error| error.to_string())?;
        let store = Arc::new(Store::open(&self.state).map_err(|error| error.to_string())?);
        Ok(Tools { lease, ports: self.ports(store.clone(), store.clone()), store })
    }

    /// The adapters.
    pub fn ports(&self, host_keys: Arc<dyn HostKeys>, records: Arc<dyn Records>) -> Ports {
        let aws = Aws::new();
        Ports {
            cloud: Arc::new(Clouds::new(aws.clone())),
            balancers: Arc::new(LoadBalancers::new(aws.clone())),
            vault: Arc::new(Vaults::new(aws)),
            herald: Arc::new(Messenger::new()),
            engines: Arc::new(self.opening.engines(host_keys)),
            records,
        }
    }

    /// The source of the manifests.
    ///
    /// # Errors
    /// When it is neither a directory, a file nor a git URL.
    pub fn source(&self, what: &str, from: &From, poll: Duration) -> Result<Source, String> {
        let cache = self.state.join("git");
        let source = Source::parse(what, from.branch.as_deref(), from.path.as_deref(), cache)?;
        Ok(source.with_poll_interval(poll))
    }
}

/// Loads the manifests once, for a command that cannot do without them; problems are printed.
///
/// # Errors
/// One line that sums up.
pub async fn load(source: &mut Source) -> Result<Revision, String> {
    source.load().await.map_err(|error| match error {
        SourceError::Invalid { problems, .. } => {
            eprint!("{}", diagnostics::render(&problems, Style::of_stderr()));
            "the manifests are not valid; nothing was done".to_owned()
        }
        other => other.to_string(),
    })
}
