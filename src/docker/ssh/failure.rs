//! What can go wrong on the way to a socket, and what it means.

use std::{io, path::PathBuf};

use jiff::Timestamp;

use super::SOCKET;
use crate::{
    action::Node,
    docker::timeouts::CONNECT,
    world::{Class, Fault, Trouble},
};

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub(in crate::docker) enum Failure {
    /// The controller's own key cannot be used.
    #[error("{0}")]
    Key(String),
    #[error("{0}")]
    Tcp(io::Error),
    #[error("no connection in time")]
    TimedOut,
    /// The host key is not the one that the instance is pinned to.
    #[error("the host key changed")]
    AnotherHost { pin: String, pinned: String, since: Timestamp, shown: String },
    /// The pins cannot be read or written.
    #[error("{}", .0.message)]
    Pins(Trouble),
    #[error("the login was refused")]
    Refused { user: String, file: PathBuf, fingerprint: String, partial_success: bool },
    #[error("no socket")]
    Socket { user: String, why: Socket },
    #[error("{0}")]
    BrokeOff(String),
    /// What the SSH library says of the handshake or the login.
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

/// Why the engine's socket was not connected to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::docker) enum Socket {
    /// There is none.
    Missing,
    /// The user may not write to it.
    Denied,
    /// Nobody listens.
    Deaf,
    /// The server forwards none.
    Forbidden,
    /// All that the instance said.
    Unknown(String),
}

impl Failure {
    /// With the engine it was about.
    pub(in crate::docker) fn trouble(&self, node: &Node) -> Trouble {
        let host = &node.hostname;
        let place = format!("the Docker engine of {host} by SSH at {}", node.endpoint);
        let unreachable =
            |why: &str, advice: &str| (Fault::NoConnection, format!("cannot reach {place}: {why}; {advice}"));
        let (fault, message) = match self {
            Failure::Key(what) => (Fault::Identity, format!("cannot log in to {host}: {what}")),
            Failure::Pins(trouble) => {
                let message = format!("{place} was not asked: its host key could not be checked: {}", trouble.message);
                return Trouble { class: trouble.class, message };
            }
            Failure::AnotherHost { pin, pinned, since, shown } => (
                Fault::Identity,
                format!(
                    "{place} shows the host key {shown}, but {pin} has been {pinned} since {since:.0}: somebody may be in \
                     between, and nothing was sent; if that instance was meant to change its key, run \
                     `evenkeel forget-host-key {pin}`"
                ),
            ),
            Failure::Refused { user, file, fingerprint, partial_success } => {
                let advice = if *partial_success {
                    "its sshd asks for more than a key; let AuthenticationMethods be publickey for that user".to_owned()
                } else {
                    format!(
                        "check that this is the user, and add the key's public half to its ~{user}/.ssh/authorized_keys"
                    )
                };
                let key = file.display();
                (Fault::Identity, format!("{place} refuses {user} with the key {key} ({fingerprint}); {advice}"))
            }
            Failure::Tcp(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                unreachable("connection refused", "check that sshd runs and that the port is open to the controller")
            }
            Failure::Tcp(error) => unreachable(
                &error.to_string().to_lowercase(),
                "check that the instance is reachable from the controller",
            ),
            Failure::TimedOut => unreachable(
                &format!("no connection within {}s", CONNECT.as_secs()),
                "check that the instance runs, that sshd does not hang, and that the port is open to the controller",
            ),
            Failure::Socket { user, why } => socket(host, user, why),
            Failure::BrokeOff(error) => unreachable(&error.to_lowercase(), "check whether sshd was restarted"),
            Failure::Ssh(russh::Error::NoCommonAlgo { kind, theirs, .. }) => (
                Fault::Identity,
                format!(
                    "{place} offers only {kind:?} algorithms that are not taken ({}); allow newer ones in its \
                     sshd_config",
                    theirs.join(", ")
                ),
            ),
            Failure::Ssh(error) => unreachable(
                &error.to_string().to_lowercase(),
                "check that an SSH server listens on that port, and what its log says of the login",
            ),
        };
        Trouble { class: Class::of(fault), message }
    }
}

/// A login that leads to no socket. What only takes dockerd to come up is no matter of identity.
fn socket<'a>(host: &str, user: &str, why: &Socket) -> (Fault<'a>, String) {
    match why {
        Socket::Missing => (
            Fault::NoConnection,
            format!("there is no {SOCKET} on {host}; check that Docker is installed and that dockerd runs"),
        ),
        Socket::Deaf => (Fault::NoConnection, format!("nobody listens at {SOCKET} on {host}; check that dockerd runs")),
        Socket::Denied => (
            Fault::Identity,
            format!("{user} may not use {SOCKET} on {host}; add it to the group: `usermod -aG docker {user}`"),
        ),
        Socket::Forbidden => (
            Fault::Identity,
            format!(
                "the sshd of {host} forwards no socket for {user}; set `AllowStreamLocalForwarding local` in its \
                 sshd_config, and take `restrict` or `no-port-forwarding` off the key in authorized_keys"
            ),
        ),
        Socket::Unknown(said) => {
            let said = if said.is_empty() { String::new() } else { format!(" (the instance says: {said})") };
            (
                Fault::Identity,
                format!(
                    "the sshd of {host} did not connect {user} with {SOCKET}{said}; check that dockerd runs, that \
                     {user} is in the group docker, and that sshd_config and authorized_keys allow forwarding to \
                     sockets"
                ),
            )
        }
    }
}
