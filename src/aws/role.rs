//! The role of another account, or a narrower one of the same, that is assumed for a stack.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

use aws_config::{SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use aws_smithy_types::error::ErrorMetadata;

use super::{calls::Calls, chain, service};
use crate::{
    spec::stack::AssumeRole,
    world::{Class, Fault},
};

/// How long a role that was not given is not asked for again: every call of a look would ask.
const AFTER_A_REFUSAL: Duration = Duration::from_secs(10);
/// "RoleSessionName … Length Constraints: Minimum length of 2. Maximum length of 64" (API reference of `AssumeRole`).
const SESSION_NAME: usize = 64;

/// Credentials of an assumed role. The SDK keeps them, and asks for new ones before they expire.
pub(super) struct Role {
    role: AssumeRole,
    sts: AssumeRoleProvider,
    calls: Calls,
    refused: Mutex<Option<(Instant, NotAssumed)>>,
}

/// Why a role was not assumed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(super) struct NotAssumed {
    pub class: Class,
    pub message: String,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Role {
    /// Asked for in the region of `config`, and with its credentials.
    pub(super) async fn new(role: AssumeRole, config: &SdkConfig, calls: &Calls) -> Role {
        let mut sts = AssumeRoleProvider::builder(&role.arn).session_name(session_name(&role)).configure(config);
        if let Some(external_id) = &role.external_id {
            sts = sts.external_id(external_id);
        }
        Role { role, sts: sts.build().await, calls: calls.clone(), refused: Mutex::default() }
    }

    async fn assume(&self) -> Result<Credentials, CredentialsError> {
        if let Some((at, refusal)) = &*self.refused()
            && at.elapsed() < AFTER_A_REFUSAL
        {
            return Err(CredentialsError::provider_error(refusal.clone()));
        }
        self.calls.add(service::STS, "AssumeRole");
        let error = match self.sts.provide_credentials().await {
            Ok(credentials) => {
                *self.refused() = None;
                return Ok(credentials);
            }
            Err(error) => error,
        };
        match chain::find::<ErrorMetadata>(&error) {
            Some(answer) => {
                let refusal = self.not_assumed(answer);
                *self.refused() = Some((Instant::now(), refusal.clone()));
                Err(CredentialsError::provider_error(refusal))
            }
            // The controller's own credentials are what is missing.
            None if chain::chain(&error)
                .skip(1)
                .any(|cause| matches!(cause.downcast_ref(), Some(CredentialsError::CredentialsNotLoaded(_)))) =>
            {
                Err(CredentialsError::not_loaded(error))
            }
            None => Err(error),
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<(Instant, NotAssumed)>> {
        self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn not_assumed(&self, answer: &ErrorMetadata) -> NotAssumed {
        let code = answer.code().unwrap_or_default();
        // STS has no throttling or server's fault that these codes do not tell.
        let class = Class::of(Fault::Answer { code, status: 400 });
        let external_id = match &self.role.external_id {
            Some(id) => format!("with the external id {id}"),
            None => "(no external id is sent: if it asks for one, declare assumeRole.externalId)".to_owned(),
        };
        let next = match class {
            Class::Terminal if code.contains("AccessDenied") => format!(
                "the role's trust policy must allow sts:AssumeRole to that identity {external_id}, and the identity's \
                 own policy must allow it for this role"
            ),
            Class::Terminal => "check assumeRole.arn, and the controller's own credentials".to_owned(),
            _ => "asked again later".to_owned(),
        };
        let said = answer.message().unwrap_or("AWS gave no reason").trim().trim_end_matches('.');
        NotAssumed { class, message: format!("role {} was not assumed: {code}: {said}; {next}", self.role.arn) }
    }
}

impl ProvideCredentials for Role {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

/// What CloudTrail of the other account calls the controller: after the external id, or else the role. The stacks that
/// have the role in common share its credentials.
fn session_name(role: &AssumeRole) -> String {
    let about = role.external_id.as_deref().or_else(|| role.arn.rsplit('/').next()).unwrap_or_default();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' };
    format!("evenkeel-{about}").chars().map(allowed).take(SESSION_NAME).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;
    use crate::{
        aws::{
            Aws, OpsWorks,
            testing::{serve, shop},
        },
        ports::Cloud,
        spec::Stack,
        world::{Seen, Trouble},
    };

    const DENIED: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: \
        arn:aws:iam::1:user/ops is not authorized to perform: sts:AssumeRole on resource: \
        arn:aws:iam::2:role/evenkeel</Message></Error><RequestId>r-1</RequestId></ErrorResponse>";

    fn given(key: &str) -> String {
        given_until(key, "2099-01-01T00:00:00Z")
    }

    fn given_until(key: &str, expiration: impl std::fmt::Display) -> String {
        format!(
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s\
             </SecretAccessKey><SessionToken>t</SessionToken><Expiration>{expiration}</Expiration>\
             </Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )
    }

    fn elsewhere() -> Stack {
        let role = AssumeRole { arn: "arn:aws:iam::2:role/evenkeel".into(), external_id: Some("shop".into()) };
        Stack { assume_role: Some(role), ..shop() }
    }

    async fn trouble(aws: &std::sync::Arc<Aws>, stack: &Stack) -> Option<Trouble> {
        match OpsWorks::new(aws.clone()).look(stack).await.opsworks().unwrap().stack.clone() {
            Seen::Known(_) => None,
            Seen::Unknown(trouble) => Some(trouble),
        }
    }

    #[tokio::test]
    async fn a_role_that_is_denied_is_the_trouble_of_its_stack_alone_and_is_not_asked_for_all_the_time() {
        let aws = serve(|request| match request.contains("Action=AssumeRole") {
            true => (403, DENIED.to_owned()),
            false => (200, r#"{"Stacks":[]}"#.to_owned()),
        })
        .await;
        for _ in 0..3 {
            let trouble = trouble(&aws, &elsewhere()).await.expect("no credentials");
            assert_eq!(trouble.class, Class::Terminal);
            for part in ["arn:aws:iam::2:role/evenkeel", "arn:aws:iam::1:user/ops", "trust policy", "external id shop"]
            {
                assert!(trouble.message.contains(part), "{part}: {}", trouble.message);
            }
        }
        assert_eq!(trouble(&aws, &shop()).await, None);
        assert_eq!(aws.calls()["sts.AssumeRole"], 1);
    }

    #[tokio::test]
    async fn a_role_is_assumed_once_for_all_that_is_done_with_it() {
        let asked_well = std::sync::Arc::new(AtomicBool::new(true));
        let heard = asked_well.clone();
        let aws = serve(move |request| {
            if request.contains("Action=AssumeRole") {
                let well =
                    ["ExternalId=shop", "RoleSessionName=evenkeel-shop"].iter().all(|part| request.contains(part));
                heard.fetch_and(well, SeqCst);
                return (200, given("ASSUMED"));
            }
            heard.fetch_and(request.contains("Credential=ASSUMED/"), SeqCst);
            (200, r#"{"Stacks":[]}"#.to_owned())
        })
        .await;
        for _ in 0..3 {
            assert_eq!(trouble(&aws, &elsewhere()).await, None);
        }
        assert!(asked_well.load(SeqCst));
        assert_eq!(aws.calls()["sts.AssumeRole"], 1);
    }

    #[tokio::test]
    async fn credentials_that_are_about_to_expire_are_renewed_and_the_new_ones_sign() {
        let signed = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = signed.clone();
        let aws = serve(move |request| {
            let mut signed = heard.lock().unwrap();
            if request.contains("Action=AssumeRole") {
                let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(2);
                return match signed.is_empty() {
                    true => (200, given_until("FIRST", soon)),
                    false => (200, given("SECOND")),
                };
            }
            let (_, key) = request.split_once("Credential=").expect("it is signed");
            signed.push(key.split('/').next().unwrap_or_default().to_owned());
            (200, r#"{"Stacks":[]}"#.to_owned())
        })
        .await;
        for _ in 0..3 {
            assert_eq!(trouble(&aws, &elsewhere()).await, None);
        }
        assert_eq!(*signed.lock().unwrap(), ["FIRST", "SECOND", "SECOND"]);
        assert_eq!(aws.calls()["sts.AssumeRole"], 2);
    }

    #[test]
    fn a_session_is_named_with_what_sts_allows() {
        let role = |external_id: Option<&str>| AssumeRole {
            arn: "arn:aws:iam::123456789012:role/ops/evenkeel".into(),
            external_id: external_id.map(str::to_owned),
        };
        assert_eq!(session_name(&role(None)), "evenkeel-evenkeel");
        assert_eq!(session_name(&role(Some("shop: été"))), "evenkeel-shop---t-");
        assert_eq!(session_name(&role(Some(&"x".repeat(200)))).len(), SESSION_NAME);
    }
}
