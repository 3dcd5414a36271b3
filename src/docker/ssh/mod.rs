//! Engines behind an SSH server: one session an engine, and in it a channel for each HTTP connection, forwarded to
//! the engine's socket. Source: section 2.4 of OpenSSH's PROTOCOL, `direct-streamlocal@openssh.com`.

mod failure;
mod key;
mod tunnel;

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{
    ChannelMsg, ChannelOpenFailure,
    client::{self, AuthResult, Handle},
    keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg},
};
use tokio::net::TcpStream;

pub use key::Keys;

pub(super) use failure::Failure;
pub(super) use tunnel::Connector;

use failure::Socket;
use tunnel::Tunnel;

use super::timeouts::CONNECT;
use crate::ports::{HostKeys, Pinned};

/// Where a Docker engine listens, unless someone has moved it.
pub(super) const SOCKET: &str = "/var/run/docker.sock";
/// A silent server is asked so often whether it is there, and given up when it did not answer three times.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long the server may take to tell why it does not forward.
const WHY: Duration = Duration::from_secs(2);

/// The kinds of host keys, best first. In an order of our own: the pin is the key that this order finds, and must not
/// change because a library thinks better of it.
const KINDS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// The way to one engine.
pub(super) struct Link {
    endpoint: String,
    user: String,
    key: String,
    pin: String,
    keys: Keys,
    host_keys: Arc<dyn HostKeys>,
    /// The session, once there is one. Channels that are open keep one alive that is no longer here.
    session: Mutex<Option<Arc<Handle<Host>>>>,
    /// Held while logging in: however many ask for a channel, there is one login.
    login: tokio::sync::Mutex<()>,
}

/// Who logs in, and to what.
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) key: &'a str,
    pub(super) pin: &'a str,
}

/// The server, as it shows itself during the handshake.
struct Host {
    pin: String,
    host_keys: Arc<dyn HostKeys>,
    /// The fingerprint of its key.
    shown: Arc<Mutex<String>>,
}

impl client::Handler for Host {
    type Error = Failure;

    /// Called before anything is signed or sent: a server with another key than the pinned one learns nothing.
    async fn check_server_key(&mut self, key: &russh::keys::PublicKeyOrCertificate) -> Result<bool, Failure> {
        let russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        let shown = key.fingerprint(HashAlg::Sha256).to_string();
        compare(&*self.host_keys, &self.pin, &shown)?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(true)
    }
}

/// An error unless the key is the one that the instance is pinned to, or there is no pin yet.
fn compare(host_keys: &dyn HostKeys, pin: &str, shown: &str) -> Result<(), Failure> {
    match host_keys.pinned(pin).map_err(Failure::Pins)? {
        Some(Pinned { fingerprint, since }) if fingerprint != shown => {
            Err(Failure::AnotherHost { pin: pin.to_owned(), pinned: fingerprint, since, shown: shown.to_owned() })
        }
        _ => Ok(()),
    }
}

impl Link {
    pub(super) fn new(endpoint: &str, login: Login<'_>, keys: &Keys, host_keys: &Arc<dyn HostKeys>) -> Link {
        Link {
            endpoint: endpoint.to_owned(),
            user: login.user.to_owned(),
            key: login.key.to_owned(),
            pin: login.pin.to_owned(),
            keys: keys.clone(),
            host_keys: host_keys.clone(),
            session: Mutex::default(),
            login: tokio::sync::Mutex::default(),
        }
    }

    /// A new connection to the engine's socket.
    pub(super) async fn open(&self) -> Result<Tunnel, Failure> {
        let outcome = tokio::time::timeout(CONNECT, self.channel()).await.unwrap_or(Err(Failure::TimedOut));
        if outcome.is_err() {
            // Whatever it was, a new login begins anew: with what groups the user has then, for one.
            self.close();
        }
        outcome
    }

    /// Lets go of the session. It ends with the last of its channels.
    pub(super) fn close(&self) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn channel(&self) -> Result<Tunnel, Failure> {
        loop {
            let (session, fresh) = self.session().await?;
            match session.channel_open_direct_streamlocal(SOCKET).await {
                Ok(channel) => return Ok(Tunnel::new(channel)),
                Err(russh::Error::ChannelOpenFailure(said)) => {
                    return Err(Failure::Socket { user: self.user.clone(), why: why(&session, &said).await });
                }
                // It ended since it was last used, which only using it tells.
                Err(_) if !fresh => self.close(),
                Err(error) => return Err(Failure::BrokeOff(error.to_string())),
            }
        }
    }

    /// The session, and whether it was made just now.
    async fn session(&self) -> Result<(Arc<Handle<Host>>, bool), Failure> {
        let known = || {
            let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            session.clone().filter(|session| !session.is_closed())
        };
        if let Some(session) = known() {
            return Ok((session, false));
        }
        let _turn = self.login.lock().await;
        if let Some(session) = known() {
            return Ok((session, false));
        }
        let session = Arc::new(self.log_in().await?);
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok((session, true))
    }

    async fn log_in(&self) -> Result<Handle<Host>, Failure> {
        let (file, key) = self.keys.load(&self.key).map_err(Failure::Key)?;
        let config = client::Config {
            preferred: russh::Preferred { key: Cow::Borrowed(KINDS), ..russh::Preferred::DEFAULT },
            keepalive_interval: Some(KEEPALIVE),
            keepalive_max: 3,
            ..client::Config::default()
        };
        let tcp = TcpStream::connect(&self.endpoint).await.map_err(Failure::Tcp)?;
        tcp.set_nodelay(true).map_err(Failure::Tcp)?;
        let shown = Arc::default();
        let host = Host { pin: self.pin.clone(), host_keys: self.host_keys.clone(), shown: Arc::clone(&shown) };
        let mut session = client::connect_stream(Arc::new(config), tcp, host).await?;
        // What an RSA key signs is hashed with what the server knows, and never with SHA-1.
        let hash = match key.algorithm().is_rsa() {
            true => session.best_supported_rsa_hash().await?.flatten().or(Some(HashAlg::Sha256)),
            false => None,
        };
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        match session.authenticate_publickey(&self.user, key).await? {
            AuthResult::Success => {}
            AuthResult::Failure { partial_success, .. } => {
                return Err(Failure::Refused { user: self.user.clone(), file, fingerprint, partial_success });
            }
        }
        // Only now: an address that was somebody else's for a moment pins nothing.
        let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.host_keys.pin(&self.pin, &shown).map_err(Failure::Pins)?;
        // Somebody else may have been first.
        compare(&*self.host_keys, &self.pin, &shown)?;
        Ok(session)
    }
}

/// Why a channel was not opened. OpenSSH's server gives the same answer whether it may not, or could not, connect to
/// the socket, so a command on the instance looks.
async fn why(session: &Handle<Host>, said: &ChannelOpenFailure) -> Socket {
    const LOOK: &str = "s=/var/run/docker.sock; \
        if [ ! -S $s ]; then echo missing; \
        elif [ ! -w $s ]; then echo denied; \
        elif grep -q ' 00010000 .*/run/docker.sock$' /proc/net/unix; then echo forbidden; \
        else echo deaf; fi";
    if matches!(said, ChannelOpenFailure::AdministrativelyProhibited) {
        return Socket::Forbidden;
    }
    let looking = async {
        let mut channel = session.channel_open_session().await?;
        channel.exec(true, LOOK).await?;
        let (mut words, mut errors) = (Vec::new(), Vec::new());
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => words.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, .. } => errors.extend_from_slice(&data),
                ChannelMsg::Failure | ChannelMsg::Close => break,
                _ => {}
            }
        }
        Ok::<_, russh::Error>([words, errors].map(|said| String::from_utf8_lossy(&said).trim().to_owned()))
    };
    let said = tokio::time::timeout(WHY, looking).await;
    let [words, errors] = said.unwrap_or_else(|_| Ok(Default::default())).unwrap_or_default();
    // A login may greet before.
    match words.lines().next_back().unwrap_or_default() {
        "missing" => Socket::Missing,
        "denied" => Socket::Denied,
        "forbidden" => Socket::Forbidden,
        "deaf" => Socket::Deaf,
        // A forced command, or a shell that is none.
        _ => {
            let first = words.lines().chain(errors.lines()).next().unwrap_or_default();
            Socket::Unknown(first.chars().take(200).collect())
        }
    }
}
