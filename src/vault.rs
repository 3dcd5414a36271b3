//! The places where values are kept that no manifest holds: Parameter Store, Secrets Manager, ECR for its own registries, RDS
//! for its databases,
//! and the controller's own environment and disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    aws::{Aws, Token},
    ports::Vault,
    secret::Secret,
    spec::{Of, Reference, Stack, stack::AssumeRole},
    world::{Class, Seen, Trouble},
};

/// Longer than any value. Source: "Secrets Manager quotas" (65,536 bytes); a parameter has 8 KB at most.
const MOST: u64 = 64 * 1024;

/// All of them.
#[derive(Debug)]
pub struct Vaults {
    aws: Arc<Aws>,
    tokens: Mutex<BTreeMap<Whose, Kept>>,
}

/// Region, role and host of a registry.
type Whose = (String, Option<AssumeRole>, String);

/// A token of ECR, and when it is renewed: once half of its life is over.
#[derive(Debug, Clone)]
struct Kept {
    token: Token,
    renewed: Timestamp,
}

impl Vaults {
    /// Reads nothing yet.
    pub fn new(aws: Arc<Aws>) -> Vaults {
        Vaults { aws, tokens: Mutex::default() }
    }

    async fn parameters(&self, stack: &Stack, wanted: &BTreeSet<Reference>) -> Vec<(Reference, Seen<Secret>)> {
        let name = |it: &Reference| match it {
            Reference::Ssm { ssm } => Some(ssm.clone()),
            _ => None,
        };
        let names: BTreeSet<String> = wanted.iter().filter_map(name).collect();
        if names.is_empty() {
            return Vec::new();
        }
        let found = self.aws.parameters(stack, &names).await;
        found.into_iter().map(|(ssm, seen)| (Reference::Ssm { ssm }, seen)).collect()
    }

    /// Each secret is asked for once, whatever keys of it are wanted.
    async fn secrets(&self, stack: &Stack, wanted: &BTreeSet<Reference>) -> Vec<(Reference, Seen<Secret>)> {
        let mut keys: BTreeMap<&String, Vec<&Option<String>>> = BTreeMap::new();
        for reference in wanted {
            if let Reference::SecretsManager { name, key } = reference {
                keys.entry(name).or_default().push(key);
            }
        }
        let read = keys.into_iter().map(|(name, keys)| async move {
            let text = self.aws.secret(stack, name).await;
            let each = keys.into_iter().map(|key| {
                let reference = Reference::SecretsManager { name: name.clone(), key: key.clone() };
                let value = text.clone().and_then(|text| match key {
                    Some(key) => member(&reference, &text, key),
                    None => Ok(text),
                });
                (reference, value.into())
            });
            each.collect::<Vec<_>>()
        });
        join_all(read).await.into_iter().flatten().collect()
    }

    async fn tokens(&self, stack: &Stack, wanted: &BTreeSet<Reference>) -> Vec<(Reference, Seen<Secret>)> {
        let hosts = wanted.iter().filter_map(|it| match it {
            Reference::Ecr { ecr } => Some(ecr),
            _ => None,
        });
        let read = hosts.map(|host| async move {
            let token = self.token(stack, host, Timestamp::now()).await;
            (Reference::Ecr { ecr: host.clone() }, token.into())
        });
        join_all(read).await
    }

    /// One that is good for a while yet; one that could not be renewed is good to its end.
    async fn token(&self, stack: &Stack, host: &str, now: Timestamp) -> Result<Secret, Trouble> {
        let whose = (stack.region.clone(), stack.assume_role.clone(), host.to_owned());
        let known = self.kept().get(&whose).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.renewed > now) {
            return Ok(known.token.password.clone());
        }
        match self.aws.ecr_token(stack, host).await {
            Ok(token) => {
                let life = token.expires.map_or(SignedDuration::ZERO, |expires| expires.duration_since(now));
                let password = token.password.clone();
                self.kept().insert(whose, Kept { token, renewed: now + life / 2 });
                Ok(password)
            }
            Err(trouble) => match known.filter(|known| known.token.expires.is_some_and(|expires| expires > now)) {
                Some(known) => Ok(known.token.password),
                None => Err(trouble),
            },
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<Whose, Kept>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vaults {
    /// Each instance is asked for once, whatever is asked of it.
    async fn databases(&self, stack: &Stack, wanted: &BTreeSet<Reference>) -> Vec<(Reference, Seen<Secret>)> {
        let mut asked: BTreeMap<&String, Vec<Of>> = BTreeMap::new();
        for reference in wanted {
            if let Reference::Rds { rds, of } = reference {
                asked.entry(rds).or_default().push(*of);
            }
        }
        let read = asked.into_iter().map(|(rds, all)| async move {
            let database = self.aws.database(stack, rds).await;
            let each = all.into_iter().map(|of| {
                let value = database.clone().and_then(|database| database.of(rds, of)).map(Secret::new);
                (Reference::Rds { rds: rds.clone(), of }, value.into())
            });
            each.collect::<Vec<_>>()
        });
        join_all(read).await.into_iter().flatten().collect()
    }
}

#[async_trait]
impl Vault for Vaults {
    async fn read(&self, stack: &Stack, wanted: &BTreeSet<Reference>) -> BTreeMap<Reference, Seen<Secret>> {
        let (parameters, secrets, tokens, databases, own) = tokio::join!(
            self.parameters(stack, wanted),
            self.secrets(stack, wanted),
            self.tokens(stack, wanted),
            self.databases(stack, wanted),
            own(wanted)
        );
        let all = parameters.into_iter().chain(secrets).chain(tokens).chain(databases).chain(own);
        all.map(|(reference, seen)| (reference.clone(), usable(&reference, seen))).collect()
    }
}

/// What is empty, or no environment can hold, is no value.
fn usable(reference: &Reference, seen: Seen<Secret>) -> Seen<Secret> {
    match &seen {
        Seen::Known(secret) if secret.expose().is_empty() => refused(reference, "is empty: give it a value").into(),
        Seen::Known(secret) if secret.expose().contains('\0') => {
            refused(reference, "holds a NUL character, which no variable can hold: give it another value").into()
        }
        _ => seen,
    }
}

fn refused(reference: &Reference, why: &str) -> Result<Secret, Trouble> {
    Err(Trouble { class: Class::Terminal, message: format!("{reference} {why}") })
}

/// One member of a secret that is a JSON object. What is wrong with it is told without a word of it.
fn member(reference: &Reference, text: &Secret, key: &str) -> Result<Secret, Trouble> {
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(text.expose()) else {
        return refused(reference, "is not a JSON object, so that it has no keys: leave `key` out, or store an object");
    };
    match members.get(key) {
        Some(Value::String(value)) => Ok(Secret::new(value.as_str())),
        Some(Value::Number(value)) => Ok(Secret::new(value.to_string())),
        Some(Value::Bool(value)) => Ok(Secret::new(value.to_string())),
        Some(_) => refused(reference, "is not a text or a number: give another key"),
        None => refused(reference, "has no such key: add it to the secret, or correct `key`"),
    }
}

/// The controller's own. A disk can hang as a network can: it is read aside.
async fn own(wanted: &BTreeSet<Reference>) -> Vec<(Reference, Seen<Secret>)> {
    let read = |it: &Reference| match it {
        Reference::Env { .. } | Reference::File { .. } => Some(it.clone()),
        _ => None,
    };
    let wanted: Vec<Reference> = wanted.iter().filter_map(read).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let read = tokio::task::spawn_blocking(move || {
        let each = wanted.into_iter().map(|reference| {
            let value = match &reference {
                Reference::File { file } => of_file(&reference, file),
                Reference::Env { env } => of_environment(&reference, env),
                _ => return (reference.clone(), refused(&reference, "is none of the controller's own").into()),
            };
            (reference, value.into())
        });
        each.collect()
    });
    read.await.unwrap_or_default()
}

fn of_environment(reference: &Reference, name: &str) -> Result<Secret, Trouble> {
    match std::env::var(name) {
        Ok(value) => Ok(Secret::new(value)),
        Err(std::env::VarError::NotPresent) => {
            refused(reference, "is not set in the controller's environment: start the controller with it")
        }
        Err(std::env::VarError::NotUnicode(_)) => refused(reference, "is no UTF-8 text: give it another value"),
    }
}

fn of_file(reference: &Reference, path: &str) -> Result<Secret, Trouble> {
    let cannot = |error: std::io::Error| {
        let why = format!("cannot be read by the controller: {error}; put the file there, readable by its user");
        refused(reference, &why)
    };
    // Before it is opened: a pipe would be waited for.
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => return refused(reference, "is not a file"),
        Ok(found) if found.len() > MOST => return refused(reference, "is longer than 64 KiB, as no value is"),
        Ok(_) => {}
        Err(error) => return cannot(error),
    }
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text)) {
        Ok(_) => {
            let value = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Secret::new(value.strip_suffix('\r').unwrap_or(value)))
        }
        Err(error) => cannot(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::aws::testing::{serve, shop};

    fn file(path: &std::path::Path) -> Reference {
        Reference::File { file: path.to_str().unwrap().to_owned() }
    }

    async fn read(reference: &Reference) -> Result<String, String> {
        let (_, seen) = own(&BTreeSet::from([reference.clone()])).await.remove(0);
        match usable(reference, seen) {
            Seen::Known(secret) => Ok(secret.expose().to_owned()),
            Seen::Unknown(trouble) => {
                assert_eq!(trouble.class, Class::Terminal);
                Err(trouble.message)
            }
        }
    }

    #[tokio::test]
    async fn a_file_is_a_value_without_the_line_break_at_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (text, value) in [("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a", " a")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&file(&path)).await.unwrap(), value);
        }
    }

    #[tokio::test]
    async fn what_is_missing_empty_or_no_file_is_told_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let empty = directory.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        let told = read(&file(&missing)).await.unwrap_err();
        assert!(told.contains("missing cannot be read by the controller: No such file"), "{told}");
        assert!(read(&file(&empty)).await.unwrap_err().contains("empty is empty"));
        assert!(read(&file(directory.path())).await.unwrap_err().ends_with("is not a file"));
        let unset = Reference::Env { env: "EVENKEEL_NEVER_SET".into() };
        let told = read(&unset).await.unwrap_err();
        assert!(told.starts_with("env EVENKEEL_NEVER_SET is not set in the controller's environment"), "{told}");
    }

    #[tokio::test]
    async fn a_variable_of_the_controller_is_a_value() {
        let path = std::env::var("PATH").unwrap();
        assert_eq!(read(&Reference::Env { env: "PATH".into() }).await.unwrap(), path);
    }

    #[tokio::test]
    async fn a_token_of_ecr_is_renewed_after_half_of_its_life_and_good_to_its_end_while_none_is_given() {
        let given = Arc::new(AtomicUsize::new(0));
        let count = given.clone();
        // AWS:pass, for twelve hours from 1970 on; the second time none is given.
        let aws = serve(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let data = r#"{"authorizationToken":"QVdTOnBhc3M=","expiresAt":43200}"#;
                (200, format!(r#"{{"authorizationData":[{data}]}}"#))
            }
            _ => (400, r#"{"__type":"AccessDeniedException","message":"no"}"#.to_owned()),
        })
        .await;
        let vaults = Vaults::new(aws);
        let read = async |hour: i64| {
            let now = Timestamp::from_second(hour * 3600).unwrap();
            vaults.token(&shop(), "123456789012.dkr.ecr.eu-west-1.amazonaws.com", now).await
        };
        for (hour, times) in [(0, 1), (5, 1), (7, 2), (11, 3)] {
            assert_eq!(read(hour).await.unwrap().expose(), "pass");
            assert_eq!(given.load(Ordering::SeqCst), times, "hour {hour}");
        }
        assert_eq!(read(12).await.unwrap_err().class, Class::Terminal);
    }

    #[test]
    fn a_key_is_looked_up_in_the_secret_and_nothing_of_the_secret_is_told() {
        let told = |text: &str, key: &str| {
            let reference = Reference::SecretsManager { name: "db".into(), key: Some(key.into()) };
            member(&reference, &Secret::new(text), key).map(|secret| secret.expose().to_owned())
        };
        let text = r#"{"password": "hunter2", "port": 5432, "hosts": ["hunter3"]}"#;
        assert_eq!((told(text, "password").unwrap(), told(text, "port").unwrap()), ("hunter2".into(), "5432".into()));
        for (text, key) in [(text, "hosts"), (text, "user"), ("hunter2", "a"), (r#"{"hunter2"#, "a")] {
            let message = told(text, key).unwrap_err().message;
            assert!(message.starts_with(&format!("secretsManager db (key {key})")), "{message}");
            assert!(!message.contains("hunter"), "{message}");
        }
    }
}
