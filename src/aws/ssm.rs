//! The parameter of Systems Manager from which instances take what their engine shows to the controller.

use aws_sdk_ssm::types::ParameterType;

use super::{Aws, place::Place, service, trouble};
use crate::{spec::stack::AssumeRole, world::Trouble};

impl Aws {
    /// Puts a secret where instances whose profile allows it can read it, in place of one that is there. Encrypted with
    /// the account's own key for parameters; with a role, it is the role's account.
    ///
    /// # Errors
    /// When it was not put, or may not have been.
    pub async fn put_secure(
        &self,
        region: &str,
        role: Option<AssumeRole>,
        name: &str,
        value: &str,
    ) -> Result<(), Trouble> {
        let on = format!("parameter {name}");
        let call = trouble::Call { service: service::SSM, operation: "PutParameter", on: &on, region };
        let clients = self.clients(Place { region: region.to_owned(), role }).await;
        let put = clients.ssm.write.put_parameter().name(name).value(value).r#type(ParameterType::SecureString);
        put.overwrite(true).send().await.map(drop).map_err(|error| call.failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::aws::testing::serve;

    #[tokio::test]
    async fn a_secret_is_put_encrypted_and_in_place_of_the_old_one() {
        let asked = Arc::new(Mutex::new(String::new()));
        let heard = asked.clone();
        let aws = serve(move |request| {
            *heard.lock().unwrap() = request.to_owned();
            (200, r#"{"Version":2}"#.to_owned())
        })
        .await;
        aws.put_secure("eu-west-1", None, "/evenkeel/shop/docker", "secret").await.unwrap();
        let asked = asked.lock().unwrap();
        for part in [r#""Type":"SecureString""#, r#""Overwrite":true"#, r#""Value":"secret""#, "AmazonSSM.PutParameter"]
        {
            assert!(asked.to_lowercase().contains(&part.to_lowercase()), "{part}: {asked}");
        }
    }
}
