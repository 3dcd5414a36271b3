//! From the SDK's errors to [`Trouble`]: what happened, where, and what to do next.

use std::{error::Error, fmt::Write as _, io};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_opsworks::operation::RequestId;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{
    bucket::Full,
    chain::{chain, find},
    role::NotAssumed,
};
use crate::world::{Class, Fault, Trouble};

/// One API call, as far as an error message tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub service: &'static str,
    pub operation: &'static str,
    /// What it was about: `stack shop`.
    pub on: &'a str,
    pub region: &'a str,
}

/// How a call failed, free of the SDK's types.
#[derive(Debug)]
enum Failure {
    Answer { code: String, status: u16, said: String, request_id: Option<String> },
    Credentials { found: bool, lasting: bool, said: String },
    NotAssumed(NotAssumed),
    HeldBack(String),
    Certificate(String),
    NoConnection(String),
    NoAnswer(String),
    NotSent(String),
}

impl Call<'_> {
    /// The trouble that `error` is.
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> Trouble
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        self.trouble(&Failure::of(error))
    }

    /// What it was answered with.
    pub(super) fn answered<T, E>(&self, answer: Result<T, SdkError<E, HttpResponse>>) -> Result<T, Trouble>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        answer.map_err(|error| self.failed(&error))
    }

    /// That it was done, which is all that most changes tell.
    pub(super) fn done<T, E>(&self, answer: Result<T, SdkError<E, HttpResponse>>) -> Result<(), Trouble>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        self.answered(answer).map(drop)
    }

    /// What it is about was there at the last look.
    pub(super) fn gone(&self) -> Trouble {
        self.own(Class::Transient, "it is gone; the next look tells what to do instead")
    }

    /// The answer lacks what every such answer has.
    pub(super) fn lacks(&self, field: &str) -> Trouble {
        self.own(Class::Transient, format!("the answer lacks a {field}; asked again later"))
    }

    /// True for calls that change nothing.
    fn reads(&self) -> bool {
        ["Describe", "Get"].iter().any(|word| self.operation.starts_with(word))
    }

    /// A trouble of the caller's own making about this call.
    pub(super) fn own(&self, class: Class, said: impl AsRef<str>) -> Trouble {
        Trouble { class, message: format!("{}: {}", self.place(), said.as_ref()) }
    }

    fn place(&self) -> String {
        format!("{}:{} ({}, {})", self.service, self.operation, self.on, self.region)
    }

    fn trouble(&self, failure: &Failure) -> Trouble {
        let class = match failure {
            Failure::Answer { code, status, .. } => Class::of(Fault::Answer { code, status: *status }),
            Failure::Credentials { lasting: true, .. } | Failure::Certificate(_) => Class::of(Fault::Identity),
            Failure::NotAssumed(refusal) => refusal.class,
            Failure::HeldBack(_) => Class::Throttled,
            Failure::Credentials { .. } | Failure::NoConnection(_) => Class::of(Fault::NoConnection),
            // A look that got no answer changed nothing: it is simply looked again.
            Failure::NoAnswer(_) if self.reads() => Class::Transient,
            Failure::NoAnswer(_) => Class::of(Fault::NoAnswer),
            Failure::NotSent(_) => Class::Terminal,
        };
        let mut message = format!("{}: ", self.place());
        match failure {
            Failure::Answer { code, status, said, request_id } => {
                let code = if code.is_empty() { format!("HTTP {status}") } else { code.clone() };
                let _ = write!(message, "{code}: {}", sentence(said, "AWS gave no reason"));
                if let Some(id) = request_id {
                    let _ = write!(message, " (request {id})");
                }
                let _ = write!(message, "; {}", self.next(&code, class));
            }
            Failure::Credentials { found: false, .. } => message.push_str(
                "no AWS credentials; they are looked for in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the \
                 profile AWS_PROFILE of ~/.aws/config and ~/.aws/credentials, in a web identity token, and with the \
                 role of the ECS task or EC2 instance: provide one of them",
            ),
            Failure::HeldBack(said) => {
                let _ = write!(message, "held back here: {said}; nothing was sent, and it is asked again more slowly");
            }
            Failure::NotAssumed(refusal) => message.push_str(&refusal.message),
            Failure::Credentials { said, .. } => {
                let _ = write!(message, "the AWS credentials could not be loaded: {said}; correct their source");
            }
            Failure::Certificate(said) => {
                let _ = write!(
                    message,
                    "the endpoint's certificate is not trusted: {said}; check AWS_ENDPOINT_URL, any proxy in \
                     between, and the certificates installed beside the controller"
                );
            }
            Failure::NoConnection(said) => {
                let _ = write!(
                    message,
                    "no connection: {said}; nothing was sent. Check the region, AWS_ENDPOINT_URL and the way out of \
                     the controller's network"
                );
            }
            Failure::NoAnswer(said) if self.reads() => {
                let _ = write!(message, "no answer: {said}; asked again later");
            }
            Failure::NoAnswer(said) => {
                let _ = write!(
                    message,
                    "no answer: {said}; it may have happened or not, which the next look tells before anything is \
                     sent again"
                );
            }
            Failure::NotSent(said) => {
                let _ = write!(message, "the request could not be made: {said}; correct the manifest");
            }
        }
        Trouble { class, message }
    }

    fn next(&self, code: &str, class: Class) -> String {
        let is = |words: &[&str]| words.iter().any(|word| code.contains(word));
        if is(&["AccessDenied", "UnauthorizedOperation", "NotAuthorized"]) {
            format!("allow {}:{} to the controller's role", self.service, self.operation)
        } else if is(&["ExpiredToken"]) {
            "renew the credentials".into()
        } else if is(&["RequestExpired"]) {
            "check the controller's clock".into()
        } else if is(&["UnrecognizedClient", "InvalidClientTokenId", "Signature", "AuthFailure", "MissingAuth"]) {
            "AWS does not accept the credentials: check the access key, and the controller's clock".into()
        } else if is(&["Insufficient"]) && is(&["Capacity"]) {
            "another subnet's zone is tried where there is one; else declare subnets of other zones, or another type"
                .into()
        } else if is(&["LimitExceeded"]) && class == Class::Terminal {
            "raise this quota of the account (Service Quotas), or declare fewer".into()
        } else if is(&["NotFound"]) {
            "correct the name in the manifest, or let the next look find that it is gone".into()
        } else {
            match class {
                Class::Throttled => "asked again more slowly".into(),
                Class::Terminal => "correct the manifest".into(),
                Class::Transient | Class::UnknownOutcome | Class::TokenSpent | Class::NoRoom => {
                    "tried again later".into()
                }
            }
        }
    }
}

impl Failure {
    fn of<E>(error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        if let Some(refusal) = find::<NotAssumed>(error) {
            return Failure::NotAssumed(refusal.clone());
        }
        if let Some(full) = find::<Full>(error) {
            return Failure::HeldBack(full.to_string());
        }
        if let Some(credentials) = find::<CredentialsError>(error) {
            return Failure::Credentials {
                found: !matches!(credentials, CredentialsError::CredentialsNotLoaded(_)),
                lasting: matches!(
                    credentials,
                    CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)
                ),
                said: root(credentials),
            };
        }
        let said = root(error);
        match error {
            SdkError::ServiceError(answer) => Failure::Answer {
                code: answer.err().code().unwrap_or_default().to_owned(),
                status: answer.raw().status().as_u16(),
                said: answer.err().message().unwrap_or_default().to_owned(),
                request_id: error.request_id().map(str::to_owned),
            },
            // An error page of something in between is an answer, even if the SDK cannot read it.
            SdkError::ResponseError(answer) if !answer.raw().status().is_success() => Failure::Answer {
                code: String::new(),
                status: answer.raw().status().as_u16(),
                said,
                request_id: error.request_id().map(str::to_owned),
            },
            SdkError::DispatchFailure(_) if certificate(error) => Failure::Certificate(said),
            SdkError::DispatchFailure(_) if connecting(error) => Failure::NoConnection(said),
            SdkError::ConstructionFailure(_) => Failure::NotSent(said),
            _ => Failure::NoAnswer(said),
        }
    }
}

/// True when the connection itself did not come about.
fn connecting(error: &(dyn Error + 'static)) -> bool {
    let refused = |error: &io::Error| {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
    };
    find::<hyper_util::client::legacy::Error>(error).is_some_and(|error| error.is_connect())
        || find::<io::Error>(error).is_some_and(refused)
}

fn certificate(error: &(dyn Error + 'static)) -> bool {
    let untrusted = |error: &rustls::Error| matches!(error, rustls::Error::InvalidCertificate(_));
    chain(error).any(|error| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        wrapped.and_then(|error| error.downcast_ref()).or_else(|| error.downcast_ref()).is_some_and(untrusted)
    })
}

/// The innermost cause is the one that says something; those around it only say which layer passed it on.
fn root(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn sentence<'a>(said: &'a str, otherwise: &'a str) -> &'a str {
    let said = said.trim().trim_end_matches('.');
    if said.is_empty() { otherwise } else { said }
}

#[cfg(test)]
mod tests {
    use aws_sdk_opsworks::operation::describe_stacks::DescribeStacksError;
    use aws_smithy_runtime_api::{client::result::ConnectorError, http::StatusCode};
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;
    use crate::aws::service::OPSWORKS;

    type Failed = SdkError<DescribeStacksError, HttpResponse>;

    const LOOK: Call<'_> =
        Call { service: OPSWORKS, operation: "DescribeStacks", on: "stack shop", region: "eu-west-1" };
    const CREATE: Call<'_> = Call { operation: "CreateStack", ..LOOK };

    fn response(status: u16) -> HttpResponse {
        let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        response.headers_mut().insert("x-amzn-requestid", "r-1");
        response
    }

    fn answer(code: &str, message: &str, status: u16) -> Failed {
        let meta = ErrorMetadata::builder().code(code).message(message).custom("aws_request_id", "r-1").build();
        SdkError::service_error(DescribeStacksError::generic(meta), response(status))
    }

    #[test]
    fn access_denied_names_the_action_to_allow_and_the_request() {
        let trouble = LOOK.failed(&answer("AccessDeniedException", "User x is not authorized.", 400));
        assert_eq!(trouble.class, Class::Terminal);
        assert_eq!(
            trouble.message,
            "opsworks:DescribeStacks (stack shop, eu-west-1): AccessDeniedException: User x is not authorized \
             (request r-1); allow opsworks:DescribeStacks to the controller's role"
        );
    }

    #[test]
    fn throttling_shows_as_throttled() {
        assert_eq!(LOOK.failed(&answer("ThrottlingException", "Rate exceeded", 400)).class, Class::Throttled);
        assert_eq!(CREATE.failed(&answer("Throttling", "Rate exceeded", 400)).class, Class::Throttled);
    }

    #[test]
    fn a_refused_connection_is_transient_because_nothing_was_sent() {
        let refused = || {
            let error = io::Error::from(io::ErrorKind::ConnectionRefused);
            Failed::dispatch_failure(ConnectorError::io(error.into()))
        };
        for call in [LOOK, CREATE] {
            let trouble = call.failed(&refused());
            assert_eq!(trouble.class, Class::Transient);
            assert!(trouble.message.contains("nothing was sent"), "{}", trouble.message);
        }
    }

    #[test]
    fn without_an_answer_a_look_is_transient_and_a_mutation_unknown() {
        let silent = [
            || Failed::timeout_error("10 s passed"),
            || Failed::dispatch_failure(ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into())),
            || Failed::response_error("not JSON", response(200)),
        ];
        for error in silent {
            assert_eq!(LOOK.failed(&error()).class, Class::Transient);
            assert_eq!(CREATE.failed(&error()).class, Class::UnknownOutcome);
        }
    }

    #[test]
    fn an_unreadable_error_page_is_an_answer() {
        let trouble = CREATE.failed(&Failed::response_error("not JSON", response(502)));
        assert_eq!(trouble.class, Class::Transient);
        assert!(trouble.message.contains("HTTP 502"), "{}", trouble.message);
    }

    #[test]
    fn missing_credentials_say_where_they_are_looked_for() {
        let missing = CredentialsError::not_loaded("no providers in chain provided credentials");
        let trouble = LOOK.failed(&Failed::dispatch_failure(ConnectorError::other(missing.into(), None)));
        assert_eq!(trouble.class, Class::Terminal);
        assert!(trouble.message.contains("AWS_ACCESS_KEY_ID"), "{}", trouble.message);

        let down = CredentialsError::provider_error("IMDS answered 503");
        let trouble = LOOK.failed(&Failed::dispatch_failure(ConnectorError::other(down.into(), None)));
        assert_eq!(trouble.class, Class::Transient);
        assert!(trouble.message.contains("503"), "{}", trouble.message);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_terminal() {
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = io::Error::new(io::ErrorKind::InvalidData, unknown);
        let trouble = LOOK.failed(&Failed::dispatch_failure(ConnectorError::io(error.into())));
        assert_eq!(trouble.class, Class::Terminal);
        assert!(trouble.message.contains("certificate is not trusted"), "{}", trouble.message);
    }
}
