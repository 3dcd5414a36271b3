//! What an error of bollard, hyper or rustls means.

use std::{error::Error as StdError, io, time::Duration};

use bollard::errors::Error;

use super::transport::CONNECT;
use crate::{
    action::Node,
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

/// The engine answered with an error.
pub(super) fn answer(node: &Node, status: u16, message: &str) -> Trouble {
    let advice = match status {
        401 | 403 => "; check what an authorization plugin of that engine allows the controller",
        500.. => "; it is tried again, see the log of dockerd on that instance if it stays",
        _ => "",
    };
    Trouble {
        class: Class::of(Fault::Answer { code: "", status }),
        message: format!("the Docker engine of {} says: {}{advice}", node.hostname, message.trim()),
    }
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
            Some(io::ErrorKind::ConnectionRefused) => (
                "connection refused".to_owned(),
                "check that dockerd runs and that the port is open to the controller",
            ),
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
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => format!(
            "{place} shows a certificate that the controller's ca.pem did not sign; give both certificates of the \
             same authority"
        ),
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            format!("{place} shows a certificate for another address; put this one into its subject alternative names")
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            format!("{place} shows a certificate that has expired; renew it")
        }
        rustls::Error::InvalidCertificate(other) => format!("{place} shows a bad certificate: {other}; renew it"),
        rustls::Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnknownCA
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
