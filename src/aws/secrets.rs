//! Values that Parameter Store and Secrets Manager keep, read in the stack's region and with its role.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::{Aws, place::Place, service, trouble};
use crate::{
    secret::Secret,
    spec::Stack,
    world::{Class, Seen, Trouble},
};

/// How many parameters one call may ask for. Source: `GetParameters` in the SSM API reference.
const BATCH: usize = 10;

impl Aws {
    /// The values of parameters, decrypted, by the name that was asked for.
    pub(crate) async fn parameters(&self, stack: &Stack, names: &BTreeSet<String>) -> BTreeMap<String, Seen<Secret>> {
        let names: Vec<&String> = names.iter().collect();
        let batches = names.chunks(BATCH).map(|batch| async move {
            match self.batch(stack, batch).await {
                // One that is refused takes the others with it: each is asked for by itself.
                Err(trouble) if trouble.class == Class::Terminal && batch.len() > 1 => {
                    join_all(batch.iter().map(|name| self.one(stack, name))).await
                }
                Err(trouble) => batch.iter().map(|name| ((*name).clone(), Seen::Unknown(trouble.clone()))).collect(),
                Ok(found) => found,
            }
        });
        join_all(batches).await.into_iter().flatten().collect()
    }

    async fn one(&self, stack: &Stack, name: &String) -> (String, Seen<Secret>) {
        let found = self.batch(stack, &[name]).await.and_then(|mut found| match found.pop() {
            Some((_, Seen::Known(secret))) => Ok(secret),
            Some((_, Seen::Unknown(trouble))) => Err(trouble),
            None => Err(absent(stack, &format!("ssm {name}"))),
        });
        (name.clone(), found.into())
    }

    async fn batch(&self, stack: &Stack, names: &[&String]) -> Result<Vec<(String, Seen<Secret>)>, Trouble> {
        let on = match names {
            [one] => format!("ssm {one}"),
            many => format!("{} parameters", many.len()),
        };
        let region = stack.region.as_str();
        let call = trouble::Call { service: service::SSM, operation: "GetParameters", on: &on, region };
        let clients = self.clients(Place::from(stack)).await;
        let asked = clients.ssm.read.get_parameters().with_decryption(true);
        let asked = names.iter().fold(asked, |asked, name| asked.names(*name));
        let answer = call.answered(asked.send().await)?;
        let mut values: BTreeMap<String, Secret> = BTreeMap::new();
        for parameter in answer.parameters.unwrap_or_default() {
            let (Some(name), Some(value)) = (parameter.name, parameter.value) else { continue };
            let value = Secret::new(value);
            // Asked for by its ARN, or as `NAME:VERSION`, it is told by its name; the rest stands beside it.
            let arn = parameter.arn.unwrap_or_default();
            let selector = parameter.selector.unwrap_or_default();
            for told in [format!("{arn}{selector}"), format!("{name}{selector}"), arn, name] {
                values.entry(told).or_insert_with(|| value.clone());
            }
        }
        let seen = |name: &&String| match values.get(*name) {
            Some(value) => ((*name).clone(), Seen::Known(value.clone())),
            None => ((*name).clone(), Seen::Unknown(absent(stack, &format!("ssm {name}")))),
        };
        Ok(names.iter().map(seen).collect())
    }

    /// The text of a secret.
    ///
    /// # Errors
    /// When it cannot be told, or is none.
    pub(crate) async fn secret(&self, stack: &Stack, name: &str) -> Result<Secret, Trouble> {
        let on = format!("secretsManager {name}");
        let region = stack.region.as_str();
        let call = trouble::Call { service: service::SECRETS_MANAGER, operation: "GetSecretValue", on: &on, region };
        let clients = self.clients(Place::from(stack)).await;
        let asked = clients.secretsmanager.read.get_secret_value().secret_id(name).send().await;
        let answer = match asked {
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                return Err(absent(stack, &on));
            }
            answer => call.answered(answer)?,
        };
        let binary = "it is binary, and only a text can be a variable's value; keep a text under this name";
        answer.secret_string.map(Secret::new).ok_or_else(|| call.own(Class::Terminal, binary))
    }
}

fn absent(stack: &Stack, what: &str) -> Trouble {
    let message = format!(
        "{what} does not exist in {}, or has no such version: create it there, or correct the reference",
        stack.region
    );
    Trouble { class: Class::Terminal, message }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::aws::testing::{serve, shop};

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn told<'a>(seen: &'a BTreeMap<String, Seen<Secret>>, name: &str) -> Result<&'a str, &'a Trouble> {
        match &seen[name] {
            Seen::Known(secret) => Ok(secret.expose()),
            Seen::Unknown(trouble) => Err(trouble),
        }
    }

    /// Has `/a`, the third version of `/b`, and twenty others; `/denied` is refused.
    async fn store() -> Arc<Aws> {
        serve(|request| {
            if request.contains("/denied") {
                return (400, r#"{"__type":"AccessDeniedException","message":"not authorized"}"#.to_owned());
            }
            let mut found: Vec<String> = (10..30)
                .filter(|number| request.contains(&format!(r#""/n{number}""#)))
                .map(|number| format!(r#"{{"Name":"/n{number}","Value":"{number}"}}"#))
                .collect();
            if request.contains(r#""/a""#) {
                found.push(r#"{"Name":"/a","Value":"1"}"#.to_owned());
            }
            if request.contains(r#""/b:3""#) {
                found.push(r#"{"Name":"/b","Selector":":3","Value":"2"}"#.to_owned());
            }
            (200, format!(r#"{{"Parameters":[{}]}}"#, found.join(",")))
        })
        .await
    }

    #[tokio::test]
    async fn parameters_are_asked_for_ten_at_a_time() {
        let aws = store().await;
        let wanted: BTreeSet<String> = (10..30).map(|number| format!("/n{number}")).collect();
        let seen = aws.parameters(&shop(), &wanted).await;
        assert!(wanted.iter().all(|name| told(&seen, name).unwrap() == &name[2..]));
        assert_eq!(aws.calls()["ssm.GetParameters"], 2);
    }

    #[tokio::test]
    async fn one_that_is_refused_or_absent_takes_no_other_with_it() {
        let aws = store().await;
        let seen = aws.parameters(&shop(), &names(&["/a", "/b:3", "/denied", "/gone"])).await;
        assert_eq!((told(&seen, "/a").unwrap(), told(&seen, "/b:3").unwrap()), ("1", "2"));
        let denied = told(&seen, "/denied").unwrap_err();
        assert_eq!(denied.class, Class::Terminal);
        assert!(denied.message.contains("(ssm /denied, eu-west-1)"), "{}", denied.message);
        assert!(denied.message.ends_with("allow ssm:GetParameters to the controller's role"), "{}", denied.message);
        let gone = told(&seen, "/gone").unwrap_err();
        assert_eq!(gone.class, Class::Terminal);
        assert!(gone.message.starts_with("ssm /gone does not exist in eu-west-1"), "{}", gone.message);
    }

    #[tokio::test]
    async fn a_secret_is_told_with_why_it_cannot_be_read() {
        let aws = serve(|request| match request {
            there if there.contains(r#""SecretId":"db""#) => (200, r#"{"SecretString":"s"}"#.to_owned()),
            binary if binary.contains(r#""SecretId":"bin""#) => (200, r#"{"SecretBinary":"AAAA"}"#.to_owned()),
            busy if busy.contains(r#""SecretId":"busy""#) => (400, r#"{"__type":"ThrottlingException"}"#.to_owned()),
            _ => (400, r#"{"__type":"ResourceNotFoundException"}"#.to_owned()),
        })
        .await;
        let read = async |name: &str| aws.secret(&shop(), name).await.map(|secret| secret.expose().to_owned());
        assert_eq!(read("db").await.unwrap(), "s");
        assert_eq!(read("busy").await.unwrap_err().class, Class::Throttled);
        for (name, words) in [("gone", "secretsManager gone does not exist in eu-west-1"), ("bin", "it is binary")] {
            let trouble = read(name).await.unwrap_err();
            assert_eq!(trouble.class, Class::Terminal);
            assert!(trouble.message.contains(words), "{}", trouble.message);
        }
    }
}
