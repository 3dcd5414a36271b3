//! Logging in to ECR with the account's own credentials.

use aws_smithy_types::base64;
use jiff::Timestamp;

use super::{Aws, place::Place, service, trouble};
use crate::{
    secret::Secret,
    spec::{Stack, registry::ecr_region},
    world::{Class, Trouble},
};

/// A password for ECR's user `AWS`.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) password: Secret,
    /// Twelve hours after it was given. Source: "GetAuthorizationToken" in the ECR API reference.
    pub(crate) expires: Option<Timestamp>,
}

impl Aws {
    /// A password for the registries of a host's region, with the stack's role.
    ///
    /// # Errors
    /// When none is given.
    pub(crate) async fn ecr_token(&self, stack: &Stack, host: &str) -> Result<Token, Trouble> {
        let on = format!("registry {host}");
        let region = ecr_region(host).unwrap_or(&stack.region);
        let call = trouble::Call { service: service::ECR, operation: "GetAuthorizationToken", on: &on, region };
        let place = Place { region: region.to_owned(), ..Place::from(stack) };
        let clients = self.clients(place).await;
        let answer = call.answered(clients.ecr.read.get_authorization_token().send().await)?;
        let given = answer.authorization_data.into_iter().flatten().next();
        let given = given.ok_or_else(|| call.lacks("token"))?;
        let token = given.authorization_token.unwrap_or_default();
        let text = base64::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let password = text.as_deref().and_then(|text| text.strip_prefix("AWS:"));
        let password =
            password.ok_or_else(|| call.own(Class::Transient, "the token cannot be read; asked again later"))?;
        let expires = given.expires_at.and_then(|at| Timestamp::from_second(at.secs()).ok());
        Ok(Token { password: Secret::new(password), expires })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::{
        aws::testing::{serve, shop},
        world::Class,
    };

    const HOST: &str = "123456789012.dkr.ecr.us-east-2.amazonaws.com";

    #[tokio::test]
    async fn a_token_of_the_registry_s_region_is_the_password_of_aws() {
        let asked = Arc::new(Mutex::new(String::new()));
        let heard = asked.clone();
        let aws = serve(move |request| {
            *heard.lock().unwrap() = request.to_owned();
            // AWS:pass
            (200, r#"{"authorizationData":[{"authorizationToken":"QVdTOnBhc3M=","expiresAt":1700043200}]}"#.to_owned())
        })
        .await;
        let token = aws.ecr_token(&shop(), HOST).await.unwrap();
        assert_eq!(token.password.expose(), "pass");
        assert_eq!(token.expires.unwrap().as_second(), 1_700_043_200);
        assert!(asked.lock().unwrap().contains("/us-east-2/ecr/"));
        assert_eq!(aws.calls()["ecr.GetAuthorizationToken"], 1);
    }

    #[tokio::test]
    async fn a_token_that_is_denied_names_the_registry_and_what_to_allow() {
        let aws = serve(|_| (400, r#"{"__type":"AccessDeniedException","message":"not authorized"}"#.to_owned())).await;
        let trouble = aws.ecr_token(&shop(), HOST).await.unwrap_err();
        assert_eq!(trouble.class, Class::Terminal);
        assert!(trouble.message.contains(HOST), "{}", trouble.message);
        assert!(trouble.message.ends_with("allow ecr:GetAuthorizationToken to the controller's role"));
    }
}
