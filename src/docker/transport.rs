//! Connections to engines: one client an engine, with limits on the time that connecting takes.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector};
use hyper_util::{
    client::legacy::{
        Client as HyperClient,
        connect::{Connect, HttpConnector},
    },
    rt::{TokioExecutor, TokioTimer},
};
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tower_service::Service;

use super::{
    certs::{Certs, Pems},
    login,
    ssh::{self, Keys, Link, Login},
    timeouts::CONNECT,
    trouble,
};
use crate::{
    action::{Access, Node},
    ports::HostKeys,
    world::Trouble,
};

/// How long bollard waits for the beginning of an answer. Every caller sets a tighter limit of its own.
const ANSWER: Duration = Duration::from_secs(3600);
/// How long an idle connection is kept; shorter than what a NAT or a firewall between forgets.
const IDLE: Duration = Duration::from_secs(30);
/// A silent connection is probed so often, and given up after three probes: an event stream from an instance
/// that vanished ends by itself.
const PROBE: Duration = Duration::from_secs(10);

/// How long the way to an engine is kept that nobody asks for any more, its SSH session with it.
const UNUSED: Duration = Duration::from_secs(300);
/// How often someone is told that the controller's certificate expires soon.
const REMIND: Duration = Duration::from_secs(24 * 3600);

/// The newest API version that bollard's types describe.
const NEWEST: usize = API_DEFAULT_VERSION.minor_version;

/// One engine, as far as calls to it need it.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) docker: Docker,
    /// The minor part of the API version agreed upon (1.41 → 41); 0 until it is.
    version: Arc<AtomicUsize>,
    /// What its clock said, and when that was.
    clock: Arc<Mutex<Option<(Instant, Timestamp)>>>,
}

/// How long a clock is taken to go on as it should before it is looked at again.
const CLOCK: Duration = Duration::from_secs(60);

impl Client {
    /// The time by the engine's clock; nothing where it does not tell.
    pub(super) async fn clock(&self) -> Result<Option<Timestamp>, bollard::errors::Error> {
        let known = || *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if known().is_none_or(|(at, _)| at.elapsed() > CLOCK) {
            let told = self.docker.info().await?.system_time.and_then(|time| time.parse().ok());
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = told.map(|time| (Instant::now(), time));
        }
        Ok(known().map(|(at, time)| time + at.elapsed()))
    }

    /// The minor part of the API version that requests are sent with.
    pub(super) fn api(&self) -> usize {
        self.version.load(Ordering::Relaxed)
    }

    /// Agrees on an API version: the newest that both sides know. Asks only once a client.
    pub(super) async fn negotiate(&self) -> Result<(), bollard::errors::Error> {
        if self.api() == 0 {
            let answer = self.docker.version().await?;
            let theirs = answer.api_version.as_deref().and_then(|version| version.strip_prefix("1.")?.parse().ok());
            let theirs = theirs.ok_or(bollard::errors::Error::APIVersionParseError {})?;
            self.version.store(NEWEST.min(theirs), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// All ways to engines, and what opens them.
pub(super) struct Transport {
    certs: Certs,
    keys: Keys,
    host_keys: Arc<dyn HostKeys>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The certificates as they last were good; read when an engine first needs them.
    tls: Option<Tls>,
    ways: BTreeMap<(String, Access), Way>,
}

struct Tls {
    pems: Pems,
    config: rustls::ClientConfig,
    /// When someone was last told that the certificate expires soon.
    warned: Option<Instant>,
}

/// The way to one engine.
struct Way {
    client: Option<Client>,
    /// The SSH session below. It outlives a client whose call was only answered with an error.
    link: Option<Arc<Link>>,
    used: Instant,
}

/// What opens one engine.
enum Opening<'a> {
    Tls(Option<&'a str>, Box<rustls::ClientConfig>),
    Ssh(Login<'a>),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("certs", &self.certs).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Transport {
    pub(super) fn new(certs: Certs, keys: Keys, host_keys: Arc<dyn HostKeys>) -> Transport {
        Transport { certs, keys, host_keys, state: Mutex::default() }
    }

    /// The client of an engine.
    pub(super) fn client(&self, node: &Node) -> Result<Client, Trouble> {
        let state = &mut *self.state();
        let opening = match &node.access {
            Access::Tls { name } => Opening::Tls(name.as_deref(), Box::new(self.config(state)?)),
            Access::Ssh { user, key, pin } => Opening::Ssh(Login { user, key, pin }),
        };
        let now = Instant::now();
        state.ways.retain(|_, way| now.duration_since(way.used) < UNUSED);
        let way = state.ways.entry(key(node)).or_insert(Way { client: None, link: None, used: now });
        way.used = now;
        if let Some(client) = &way.client {
            return Ok(client.clone());
        }
        let client = match opening {
            Opening::Tls(name, config) => tls(node, name, *config)?,
            Opening::Ssh(login) => {
                let link = || Arc::new(Link::new(&node.endpoint, login, &self.keys, &self.host_keys));
                let link = way.link.get_or_insert_with(link).clone();
                over(node, "http", ssh::Connector(link))?
            }
        };
        way.client = Some(client.clone());
        Ok(client)
    }

    /// What the controller shows and trusts. Certificates that changed on disk are taken up; ones that cannot be read
    /// just now (they may be half written) are not.
    fn config(&self, state: &mut State) -> Result<rustls::ClientConfig, Trouble> {
        let tls = match (self.certs.read(), state.tls.take()) {
            (Ok(pems), Some(known)) if pems == known.pems => known,
            (Ok(pems), known) => match (self.certs.config(&pems), known) {
                (Ok(config), _) => {
                    state.ways.retain(|(_, access), _| !matches!(access, Access::Tls { .. }));
                    Tls { pems, config, warned: None }
                }
                (Err(_), Some(known)) => known,
                (Err(trouble), None) => return Err(trouble),
            },
            (Err(_), Some(known)) => known,
            (Err(trouble), None) => return Err(trouble),
        };
        let tls = state.tls.insert(tls);
        if tls.warned.is_none_or(|at| at.elapsed() > REMIND)
            && let Some(warning) = self.certs.expiring(&tls.pems, Timestamp::now())
        {
            tracing::warn!("{warning}");
            tls.warned = Some(Instant::now());
        }
        Ok(tls.config.clone())
    }

    /// Drops what is known of an engine, so that the next call connects and negotiates anew.
    pub(super) fn forget(&self, node: &Node) {
        if let Some(way) = self.state().ways.get_mut(&key(node)) {
            way.client = None;
        }
    }

    /// Drops the session as well: it may lead nowhere.
    fn forget_session(&self, node: &Node) {
        self.state().ways.remove(&key(node));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs calls to one engine within a limit of time.
    pub(super) async fn within<T, F>(
        &self,
        node: &Node,
        limit: Duration,
        calls: impl FnOnce(Client) -> F + Send,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>> + Send,
    {
        let client = self.client(node)?;
        let negotiated = client.clone();
        let outcome = tokio::time::timeout(limit, async move {
            negotiated.negotiate().await.map_err(|error| trouble::of(node, &error))?;
            calls(client).await
        })
        .await;
        match outcome {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(trouble)) => {
                // An engine that was upgraded or replaced behind its address may refuse the version agreed upon.
                self.forget(node);
                Err(trouble)
            }
            Err(_) => {
                self.forget_session(node);
                Err(trouble::no_answer(node, limit))
            }
        }
    }
}

fn key(node: &Node) -> (String, Access) {
    (node.endpoint.clone(), node.access.clone())
}

/// A client over TLS, to an engine whose certificate is for a name, or for its address.
fn tls(node: &Node, name: Option<&str>, config: rustls::ClientConfig) -> Result<Client, Trouble> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(PROBE));
    tcp.set_keepalive_interval(Some(PROBE));
    tcp.set_keepalive_retries(Some(3));
    let mut builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_only();
    if let Some(name) = name {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| trouble::no_name(node, name))?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    over(node, "https", Timed { inner: builder.enable_http1().wrap_connector(tcp) })
}

/// A client of something that speaks neither TLS nor SSH.
#[cfg(test)]
pub(super) fn plain(node: &Node) -> Client {
    over(node, "http", HttpConnector::new()).expect("a client")
}

/// A client over whatever connects.
fn over<C>(node: &Node, scheme: &str, connector: C) -> Result<Client, Trouble>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = HyperClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector);
    let version = Arc::new(AtomicUsize::new(0));
    let agreed = version.clone();
    let docker = Docker::connect_with_custom_transport(
        move |mut request: BollardRequest| {
            login::url_safe(request.headers_mut());
            let client = client.clone();
            let request = versioned(request, agreed.load(Ordering::Relaxed));
            async move { Ok(client.request(request?).await?) }
        },
        Some(format!("{scheme}://{}", node.endpoint)),
        ANSWER.as_secs(),
        API_DEFAULT_VERSION,
    )
    .map_err(|error| trouble::of(node, &error))?;
    Ok(Client { docker, version, clock: Arc::default() })
}

/// bollard sends paths without a version, which the engine takes as its own newest; this puts in the version
/// agreed upon, whose answers bollard's types describe.
fn versioned(request: BollardRequest, minor: usize) -> Result<BollardRequest, http::Error> {
    if minor == 0 {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut uri = parts.uri.into_parts();
    uri.path_and_query = Some(format!("/v1.{minor}{path}").parse()?);
    parts.uri = Uri::from_parts(uri)?;
    Ok(BollardRequest::from_parts(parts, body))
}

/// Connecting, handshake included, with a limit: a stopped process still accepts TCP connections.
#[derive(Clone)]
struct Timed {
    inner: HttpsConnector<HttpConnector>,
}

impl Service<Uri> for Timed {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        Box::pin(async move {
            tokio::time::timeout(CONNECT, connecting)
                .await
                .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
        })
    }
}
