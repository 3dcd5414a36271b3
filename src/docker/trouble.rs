//! What an error of bollard, hyper or rustls means.

use std::{error::Error as StdError, io, time::Duration};

use bollard::errors::Error;

use super::ssh::Failure;
use super::timeouts::CONNECT;
use crate::{
    action::{Access, Node},
    world::{Class, Fault, Trouble},
};

/// The trouble that an error of a call makes, with the engine it came from.
pub(super) fn of(node: &Node, error: &Error) -> Trouble {
    match error {
        Error::DockerResponseServerError { status_code, message } => answer(node, *status_code, message),
        Error::RequestTimeoutError => no_answer(node, CONNECT),
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::APIVersionParseError {} => Trouble {
            class: Class::of(Fault::Answer { code: "", status: 502 }),
            message: format!("{} gave an answer that makes no sense ({error}); is it a Docker engine?", place(node)),
        },
        _ => broken(node, error),
    }
}

/// The name that a certificate should be for is none.
pub(super) fn no_name(node: &Node, name: &str) -> Trouble {
    Trouble {
        class: Class::of(Fault::Identity),
        message: format!(
            "no certificate can be for {name:?}, which {} should show; correct the stack's name",
            place(node)
        ),
    }
}

/// The engine answered with an error.
pub(super) fn answer(node: &Node, status: u16, message: &str) -> Trouble {
    let advice = match status {
        _ if is_full(message) => "; make room on the instance's Docker volume, or declare a larger one",
        401 | 403 => "; check what an authorization plugin of that engine allows the controller",
        500.. => "; it is tried again, see the log of dockerd on that instance if it stays",
        _ => "",
    };
    Trouble {
        class: Class::of(Fault::Answer { code: "", status }),
        message: format!("the Docker engine of {} says: {}{advice}", node.hostname, message.trim()),
    }
}

/// Whether the engine says that a disk is full: in the words of the kernel (`ENOSPC`), whatever the status.
pub(super) fn is_full(message: &str) -> bool {
    message.to_lowercase().contains("no space left on device")
}

/// No answer came within the limit.
pub(super) fn no_answer(node: &Node, limit: Duration) -> Trouble {
    Trouble {
        class: Class::of(Fault::NoAnswer),
        message: format!(
            "{} did not answer within {}s; check whether dockerd hangs or the instance is overloaded",
            place(node),
            limit.as_secs()
        ),
    }
}

/// Something went wrong below HTTP: the causes tell what.
fn broken(node: &Node, error: &Error) -> Trouble {
    let causes: Vec<&(dyn StdError + 'static)> =
        std::iter::successors(Some(error as &(dyn StdError + 'static)), |cause| next(*cause)).collect();
    if let Some(failure) = causes.iter().find_map(|cause| cause.downcast_ref::<Failure>()) {
        return failure.trouble(node);
    }
    if let Some(tls) = causes.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>())
        && let Some(message) = identity(node, tls)
    {
        return Trouble { class: Class::of(Fault::Identity), message };
    }
    let connecting = causes
        .iter()
        .filter_map(|cause| cause.downcast_ref::<hyper_util::client::legacy::Error>())
        .any(hyper_util::client::legacy::Error::is_connect);
    let io = causes.iter().find_map(|cause| cause.downcast_ref::<io::Error>());
    let root = causes.last().map_or_else(String::new, ToString::to_string);
    if connecting {
        let (why, advice) = match io.map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => (
                format!("no connection within {}s", CONNECT.as_secs()),
                "check that the instance runs, that dockerd does not hang, and that the port is open to the controller",
            ),
            Some(io::ErrorKind::ConnectionRefused) => {
                ("connection refused".to_owned(), "check that dockerd runs and that the port is open to the controller")
            }
            _ => (root.to_lowercase(), "check that the instance is reachable and that dockerd speaks TLS on that port"),
        };
        return Trouble {
            class: Class::of(Fault::NoConnection),
            message: format!("cannot reach {}: {why}; {advice}", place(node)),
        };
    }
    Trouble {
        class: Class::of(Fault::NoAnswer),
        message: format!("{} broke off: {root}; check whether dockerd was restarted", place(node)),
    }
}

/// What to do about a certificate, if it is one that is refused.
fn identity(node: &Node, error: &rustls::Error) -> Option<String> {
    use rustls::{AlertDescription as Alert, CertificateError as Bad};
    let place = place(node);
    Some(match error {
        // A bad signature: another authority that goes by the same name, as one made anew does.
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => format!(
            "{place} shows a certificate that the controller's ca.pem did not sign; give both certificates of the \
             same authority"
        ),
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            match &node.access {
                Access::Tls { name: Some(name) } => format!(
                    "{place} shows a certificate that is not for {name}, so it may be no engine of this stack; give it \
                     the one that `evenkeel certs --stack` makes"
                ),
                _ => format!(
                    "{place} shows a certificate for another address; put this one into its subject alternative names"
                ),
            }
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            format!("{place} shows a certificate that has expired; renew it")
        }
        rustls::Error::InvalidCertificate(other) => format!("{place} shows a bad certificate: {other}; renew it"),
        rustls::Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::DecryptError
            | Alert::CertificateRequired
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied),
        ) => format!(
            "{place} refuses the controller's certificate ({alert:?}); sign cert.pem with the authority that its \
             dockerd was given as --tlscacert"
        ),
        _ => return None,
    })
}

/// The next cause. `io::Error::source` skips the error that it wraps, which is often the one that matters.
fn next<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error {
        _ if error.is::<io::Error>() => {
            let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
            Some(inner)
        }
        _ if error.is::<Error>() => match error.downcast_ref::<Error>()? {
            Error::HyperLegacyError { err } => Some(err),
            Error::HyperResponseError { err } => Some(err),
            Error::IOError { err } => Some(err),
            other => other.source(),
        },
        _ => error.source(),
    }
}

fn place(node: &Node) -> String {
    format!("the Docker engine of {} at {}", node.hostname, node.endpoint)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        path::Path,
        sync::Arc,
        thread,
        time::Instant,
    };

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::{
        RootCertStore, ServerConfig, ServerConnection,
        pki_types::{PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    };

    use super::*;
    use crate::{
        docker::{Certs, Engines, Keys},
        ports::Engines as _,
        store,
        world::Seen,
    };

    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new(name: &str) -> Authority {
            let mut params = CertificateParams::new([]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        /// A certificate for a name, and its key.
        fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
            let key = KeyPair::generate().unwrap();
            let cert = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
            (cert, key)
        }

        /// What a controller that trusts `self` and was signed by `signer` has in its directory.
        fn certs(&self, signer: &Authority, dir: &Path) -> Certs {
            let (cert, key) = signer.sign("controller");
            std::fs::write(dir.join("ca.pem"), self.0.pem()).unwrap();
            std::fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
            std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
            Certs { dir: dir.to_owned() }
        }

        /// An engine's TLS listener, whose certificate is for `name`; it demands one signed by the same authority.
        fn serve(&self, name: &str, then: fn(rustls::Stream<'_, ServerConnection, TcpStream>)) -> String {
            let (cert, key) = self.sign(name);
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_client_cert_verifier(verifier)
                .with_single_cert(
                    vec![cert.der().clone()],
                    PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
                )
                .unwrap();
            let config = Arc::new(config);
            listen(move |mut tcp| {
                let mut tls = ServerConnection::new(config.clone()).unwrap();
                then(rustls::Stream::new(&mut tls, &mut tcp));
            })
        }
    }

    fn listen(then: impl Fn(TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        thread::spawn(move || listener.incoming().for_each(|stream| then(stream.unwrap())));
        endpoint
    }

    /// Shakes hands, reads a request, and closes.
    fn hang_up(mut stream: rustls::Stream<'_, ServerConnection, TcpStream>) {
        let _ = stream.read(&mut [0; 1024]);
    }

    /// Shakes hands, reads a request, and never answers.
    fn freeze(mut stream: rustls::Stream<'_, ServerConnection, TcpStream>) {
        let _ = stream.read(&mut [0; 1024]);
        thread::park();
    }

    async fn look(certs: Certs, endpoint: String) -> Trouble {
        look_for(certs, endpoint, None).await
    }

    /// A look at an engine whose certificate should be for a name.
    async fn look_for(certs: Certs, endpoint: String, name: Option<&str>) -> Trouble {
        let access = Access::Tls { name: name.map(Into::into) };
        let node = Node { hostname: "docker1".into(), endpoint, access };
        let engines = Engines::new(certs, Keys { dir: "/nowhere".into() }, Arc::new(store::Unwritten::default()));
        match engines.look(&node, &BTreeSet::new()).await {
            Seen::Unknown(trouble) => trouble,
            Seen::Known(engine) => panic!("{engine:?}"),
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_told_with_the_place_and_what_to_check() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let endpoint = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let trouble = look(ours.certs(&ours, dir.path()), endpoint.clone()).await;
        assert_eq!(trouble.class, Class::Transient);
        assert_eq!(
            trouble.message,
            format!(
                "cannot reach the Docker engine of docker1 at {endpoint}: connection refused; check that dockerd runs \
                 and that the port is open to the controller"
            )
        );
    }

    #[tokio::test]
    async fn an_engine_that_accepts_and_says_nothing_holds_nobody_up() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let begun = Instant::now();
        let trouble = look(ours.certs(&ours, dir.path()), listen(|_stream| thread::park())).await;
        assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
        assert_eq!(trouble.class, Class::Transient);
        assert!(trouble.message.contains("no connection within 5s"), "{trouble:?}");
    }

    #[tokio::test]
    async fn an_engine_that_takes_a_request_and_never_answers_holds_nobody_up() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let begun = Instant::now();
        let trouble = look(ours.certs(&ours, dir.path()), ours.serve("127.0.0.1", freeze)).await;
        assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
        assert_eq!(trouble.class, Class::UnknownOutcome);
        assert!(trouble.message.contains("did not answer within 10s"), "{trouble:?}");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_off_leaves_the_outcome_unknown() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let trouble = look(ours.certs(&ours, dir.path()), ours.serve("127.0.0.1", hang_up)).await;
        assert_eq!(trouble.class, Class::UnknownOutcome, "{trouble:?}");
        assert!(trouble.message.contains("broke off"), "{trouble:?}");
    }

    #[tokio::test]
    async fn something_that_speaks_no_tls_is_not_taken_for_an_engine() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let endpoint = listen(|mut stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
        let trouble = look(ours.certs(&ours, dir.path()), endpoint).await;
        assert_eq!(trouble.class, Class::Transient, "{trouble:?}");
        assert!(trouble.message.contains("speaks TLS on that port"), "{trouble:?}");
    }

    #[tokio::test]
    async fn an_engine_of_another_authority_is_refused_with_advice() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        for name in ["theirs", "ours"] {
            let theirs = Authority::new(name);
            let trouble = look(ours.certs(&ours, dir.path()), theirs.serve("127.0.0.1", hang_up)).await;
            assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
            assert!(trouble.message.contains("ca.pem did not sign"), "{trouble:?}");
        }
    }

    #[tokio::test]
    async fn a_certificate_for_another_address_is_refused_with_advice() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let trouble = look(ours.certs(&ours, dir.path()), ours.serve("10.9.9.9", hang_up)).await;
        assert_eq!(trouble.class, Class::Terminal);
        assert!(trouble.message.contains("subject alternative names"), "{trouble:?}");
    }

    #[tokio::test]
    async fn a_certificate_is_for_the_name_that_is_asked_for_and_the_address_does_not_matter() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let name = "shop.docker.evenkeel";
        // It gets as far as the request, which the test's engine does not answer.
        let right = look_for(ours.certs(&ours, dir.path()), ours.serve(name, hang_up), Some(name)).await;
        assert!(right.message.contains("broke off"), "{right:?}");
        for other in ["blog.docker.evenkeel", "127.0.0.1"] {
            let trouble = look_for(ours.certs(&ours, dir.path()), ours.serve(other, hang_up), Some(name)).await;
            assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
            assert!(trouble.message.contains("not for shop.docker.evenkeel"), "{trouble:?}");
        }
        let trouble = look_for(ours.certs(&ours, dir.path()), ours.serve(name, hang_up), Some("no name!")).await;
        assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
    }

    #[tokio::test]
    async fn an_engine_that_refuses_the_controller_is_told_apart_from_one_that_broke_off() {
        let (dir, ours) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        for name in ["theirs", "ours"] {
            let theirs = Authority::new(name);
            let trouble = look(ours.certs(&theirs, dir.path()), ours.serve("127.0.0.1", hang_up)).await;
            assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
            assert!(trouble.message.contains("refuses the controller's certificate"), "{trouble:?}");
        }
    }
}
