//! Connections to engines: one client per endpoint, with limits on the time that connecting takes.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tower_service::Service;

use super::{
    certs::{Certs, Pems},
    trouble::{self, CONNECT},
};
use crate::{action::Node, world::Trouble};

/// How long bollard waits for the beginning of an answer. Every caller sets a tighter limit of its own.
const ANSWER: Duration = Duration::from_secs(3600);
/// How long an idle connection is kept; shorter than what a NAT or a firewall between forgets.
const IDLE: Duration = Duration::from_secs(30);
/// A silent connection is probed so often, and given up after three probes: an event stream from an instance
/// that vanished ends by itself.
const PROBE: Duration = Duration::from_secs(10);

/// The newest API version that bollard's types describe.
const NEWEST: usize = API_DEFAULT_VERSION.minor_version;

/// One engine, as far as calls to it need it.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) docker: Docker,
    /// The minor part of the API version agreed upon (1.41 → 41); 0 until it is.
    version: Arc<AtomicUsize>,
}

impl Client {
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

/// All clients, and the certificates they use.
pub(super) struct Transport {
    certs: Certs,
    state: Mutex<State>,
}

struct State {
    pems: Pems,
    config: rustls::ClientConfig,
    /// By endpoint.
    clients: HashMap<String, Client>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("certs", &self.certs).finish_non_exhaustive()
    }
}

impl Transport {
    pub(super) fn new(certs: Certs) -> Result<Transport, Trouble> {
        let pems = certs.read()?;
        let config = certs.config(&pems)?;
        Ok(Transport { certs, state: Mutex::new(State { pems, config, clients: HashMap::new() }) })
    }

    /// The client of an engine. Certificates that changed on disk are taken up; ones that cannot be read just now
    /// (they may be half written) are not.
    pub(super) fn client(&self, node: &Node) -> Result<Client, Trouble> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(pems) = self.certs.read()
            && pems != state.pems
            && let Ok(config) = self.certs.config(&pems)
        {
            *state = State { pems, config, clients: HashMap::new() };
        }
        if let Some(client) = state.clients.get(&node.endpoint) {
            return Ok(client.clone());
        }
        let client = connect(&node.endpoint, state.config.clone()).map_err(|error| trouble::of(node, &error))?;
        state.clients.insert(node.endpoint.clone(), client.clone());
        Ok(client)
    }

    /// Drops what is known of an engine, so that the next call connects and negotiates anew.
    pub(super) fn forget(&self, node: &Node) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clients.remove(&node.endpoint);
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
        .await
        .unwrap_or_else(|_| Err(trouble::no_answer(node, limit)));
        if outcome.is_err() {
            // An engine that was upgraded or replaced behind its address may refuse the version agreed upon.
            self.forget(node);
        }
        outcome
    }
}

fn connect(endpoint: &str, config: rustls::ClientConfig) -> Result<Client, bollard::errors::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(PROBE));
    tcp.set_keepalive_interval(Some(PROBE));
    tcp.set_keepalive_retries(Some(3));
    let tls = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .wrap_connector(tcp);
    let client = HyperClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(Timed { inner: tls });
    let version = Arc::new(AtomicUsize::new(0));
    let agreed = version.clone();
    let docker = Docker::connect_with_custom_transport(
        move |request: BollardRequest| {
            let client = client.clone();
            let request = versioned(request, agreed.load(Ordering::Relaxed));
            async move { Ok(client.request(request?).await?) }
        },
        Some(format!("https://{endpoint}")),
        ANSWER.as_secs(),
        API_DEFAULT_VERSION,
    )?;
    Ok(Client { docker, version })
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
