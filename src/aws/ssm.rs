//! Parameters of Systems Manager: what names an AMI, and what an engine shows to the controller.

use aws_sdk_ssm::types::ParameterType;

use super::{Aws, service, trouble};
use crate::world::Trouble;

impl Aws {
    /// The value of a parameter, decrypted; nothing when there is none of that name.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn parameter(&self, region: &str, name: &str) -> Result<Option<String>, Trouble> {
        let on = format!("parameter {name}");
        let call = trouble::Call { service: service::SSM, operation: "GetParameter", on: &on, region };
        let clients = self.clients(region).await;
        match clients.ssm.read.get_parameter().name(name).with_decryption(true).send().await {
            Ok(answer) => Ok(answer.parameter.and_then(|parameter| parameter.value)),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_parameter_not_found()) => Ok(None),
            Err(error) => Err(call.failed(&error)),
        }
    }

    /// Puts a secret where instances whose profile allows it can read it, in place of one that is there. Encrypted with
    /// the account's own key for parameters.
    ///
    /// # Errors
    /// When it was not put, or may not have been.
    pub async fn put_secure(&self, region: &str, name: &str, value: &str) -> Result<(), Trouble> {
        let on = format!("parameter {name}");
        let call = trouble::Call { service: service::SSM, operation: "PutParameter", on: &on, region };
        let clients = self.clients(region).await;
        let put = clients.ssm.write.put_parameter().name(name).value(value).r#type(ParameterType::SecureString);
        put.overwrite(true).send().await.map(drop).map_err(|error| call.failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::{aws::testing::serve, world::Class};

    #[tokio::test]
    async fn a_parameter_that_does_not_exist_is_nothing_and_one_that_may_not_be_read_is_trouble() {
        let aws = serve(|request| match request {
            there if there.contains(r#""Name":"/ami""#) => (200, r#"{"Parameter":{"Value":"ami-1"}}"#.to_owned()),
            gone if gone.contains(r#""Name":"/gone""#) => (400, r#"{"__type":"ParameterNotFound"}"#.to_owned()),
            _ => (400, r#"{"__type":"AccessDeniedException","message":"not authorized"}"#.to_owned()),
        })
        .await;
        assert_eq!(aws.parameter("eu-west-1", "/ami").await.unwrap().as_deref(), Some("ami-1"));
        assert_eq!(aws.parameter("eu-west-1", "/gone").await.unwrap(), None);
        let trouble = aws.parameter("eu-west-1", "/secret").await.unwrap_err();
        assert_eq!(trouble.class, Class::Terminal);
        assert!(trouble.message.contains("allow ssm:GetParameter"), "{}", trouble.message);
    }

    #[tokio::test]
    async fn a_secret_is_put_encrypted_and_in_place_of_the_old_one() {
        let asked = Arc::new(Mutex::new(String::new()));
        let heard = asked.clone();
        let aws = serve(move |request| {
            *heard.lock().unwrap() = request.to_owned();
            (200, r#"{"Version":2}"#.to_owned())
        })
        .await;
        aws.put_secure("eu-west-1", "/evenkeel/shop/docker", "secret").await.unwrap();
        let asked = asked.lock().unwrap();
        for part in [r#""Type":"SecureString""#, r#""Overwrite":true"#, r#""Value":"secret""#, "AmazonSSM.PutParameter"]
        {
            assert!(asked.to_lowercase().contains(&part.to_lowercase()), "{part}: {asked}");
        }
    }
}
