//! What is asked for in confidence: the values that an action needs, and who pulls an image.

use std::collections::BTreeMap;

use super::{Picture, secrets::Secrets};
use crate::{
    action::{Action, Delivery, EngineAction, Kept, Receiver},
    plan::notices,
    ports::{Access, Address, Given, Login},
    secret::Secret,
    spec::{Desired, Reference, Value, app::DataSource},
    world::{Class, Trouble},
};

impl Picture {
    /// What the action needs and no plan tells. Nothing when a value is not the one any more that was planned with: the
    /// next plan is another.
    pub fn given(&self, desired: &Desired, action: &Action) -> Option<Given> {
        let (node, what) = match action {
            Action::Engine { node, what } => (node, what),
            Action::Deliver { delivery } => {
                return Some(Given { address: Some(self.address(desired, delivery)?), ..Given::default() });
            }
            Action::RegisterDatabase { rds, .. } | Action::UpdateDatabase { rds, .. } => {
                return Some(Given { access: Some(access(&self.secrets, desired, rds)?), ..Given::default() });
            }
            _ => return Some(Given::default()),
        };
        match what {
            EngineAction::Create { run } => {
                Some(Given { env: planned(&self.secrets, &run.secrets)?, ..Given::default() })
            }
            EngineAction::Pull { image } => {
                let (login, room) = (self.login(desired, image).ok()?, self.room(desired, &node.hostname));
                Some(Given { login, room, ..Given::default() })
            }
            _ => Some(Given::default()),
        }
    }

    /// Where a notice goes, and what it is told with; nothing while that cannot be read.
    fn address(&self, desired: &Desired, delivery: &Delivery) -> Option<Address> {
        let (app, container) = notices::receiver(desired, delivery)?;
        let mut hidden = Vec::new();
        let mut read = |value: &Value| {
            let secret = self.value(value).ok()?;
            hidden.push(secret.clone());
            Some(secret)
        };
        let address = match delivery.to {
            Receiver::Rollbar => {
                let rollbar = container.rollbar.as_ref()?;
                let env = app.env_of(container);
                let says = delivery.notice.says.clone().unwrap_or_default();
                let mut say = |told: Option<String>, name: &String| match (told, env.get(name)) {
                    (Some(told), _) => Some(Some(Secret::new(told))),
                    (None, Some(kept @ Value::Reference(_))) => Some(Some(read(kept)?)),
                    (None, _) => Some(None),
                };
                let (environment, revision) =
                    (say(says.environment, &rollbar.env_var)?, say(says.revision, &rollbar.rev_var)?);
                let url = Secret::new(rollbar.url.as_str());
                Address { url, key: read(&rollbar.access_token)?, environment, revision, hidden: Vec::new() }
            }
            Receiver::Webhook => {
                let webhook = app.webhook.as_ref()?;
                let (url, key) = (read(&webhook.url)?, read(&webhook.secret)?);
                Address { url, key, environment: None, revision: None, hidden: Vec::new() }
            }
        };
        Some(Address { hidden, ..address })
    }

    /// Who pulls an image, if anybody in particular.
    pub(super) fn login(&self, desired: &Desired, image: &str) -> Result<Option<Login>, Trouble> {
        let Some(login) = desired.login(image) else { return Ok(None) };
        Ok(Some(Login { username: self.value(&login.username)?, password: self.value(&login.password)? }))
    }

    /// A value that is declared, as it was read last where it is kept elsewhere.
    ///
    /// # Errors
    /// When it was not read yet, or cannot be. Only what [`Desired::references`] tells is ever read.
    pub fn value(&self, value: &Value) -> Result<Secret, Trouble> {
        value_of(&self.secrets, value)
    }
}

fn value_of(secrets: &Secrets, value: &Value) -> Result<Secret, Trouble> {
    match value {
        Value::Text(text) => Ok(Secret::new(text.as_str())),
        Value::Reference(reference) => secrets
            .value(reference)
            .ok_or_else(|| Trouble { class: Class::Transient, message: format!("{reference} has to be read first") }),
    }
}

/// How the first app that says so signs in to a database; nothing while that cannot be read.
fn access(secrets: &Secrets, desired: &Desired, rds: &str) -> Option<Access> {
    let sources = desired.apps.iter().filter(|app| app.is_docker()).filter_map(|app| app.data_source.as_ref());
    let mut named = sources.filter(|source| matches!(source, DataSource::Rds { instance, .. } if instance == rds));
    let registration = named.find_map(DataSource::registration)?;
    let read = |value: &Value| value_of(secrets, value).ok();
    let kept = |value: &&Value| matches!(value, Value::Reference(it) if !matches!(it, Reference::Rds { .. }));
    let hidden = [&registration.username, &registration.password].into_iter().filter(kept);
    Some(Access {
        arn: read(&registration.arn)?.expose().to_owned(),
        username: read(&registration.username)?,
        password: read(&registration.password)?,
        hidden: hidden.map(read).collect::<Option<_>>()?,
    })
}

/// Every value, as long as each is the one that was planned with.
fn planned(secrets: &Secrets, kept: &BTreeMap<String, Kept>) -> Option<BTreeMap<String, Secret>> {
    let value = |(name, kept): (&String, &Kept)| {
        let secret = secrets.value(&kept.from).filter(|secret| Some(secret.seal()) == kept.sealed)?;
        Some((name.clone(), secret))
    };
    kept.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc, time::Duration};

    use async_trait::async_trait;

    use super::*;
    use crate::{
        ports::Vault,
        spec::{File, Reference, Stack, validate},
        world::Seen,
    };

    /// Keeps one value of everything.
    struct Fake;

    #[async_trait]
    impl Vault for Fake {
        async fn read(&self, _: &Stack, wanted: &BTreeSet<Reference>) -> BTreeMap<Reference, Seen<Secret>> {
            wanted.iter().map(|it| (it.clone(), Seen::Known(Secret::new("today's")))).collect()
        }
    }

    #[tokio::test]
    async fn a_container_is_made_with_the_very_values_that_were_planned_with_or_not_at_all() {
        let files = vec![File::new("m", include_str!("../../tests/scenarios/manifests/ec2.yaml"))];
        let stack = validate::load("r1", files).unwrap().into_values().next().unwrap().stack;
        let from = Reference::Ssm { ssm: "/token".into() };
        let secrets = Secrets::new(Arc::new(Fake));
        secrets.look(&stack, &BTreeSet::from([from.clone()]), Duration::ZERO, Duration::from_secs(5)).await;
        let with = |value: Option<&str>| {
            let sealed = value.map(|value| Secret::new(value).seal());
            let kept = BTreeMap::from([("TOKEN".to_owned(), Kept { from: from.clone(), sealed })]);
            planned(&secrets, &kept).map(|env| env["TOKEN"].expose().to_owned())
        };
        assert_eq!(with(Some("today's")).as_deref(), Some("today's"));
        assert_eq!((with(Some("yesterday's")), with(None)), (None, None));
    }

    #[tokio::test]
    async fn what_opsworks_is_told_of_a_database_is_what_its_app_declares_and_is_hidden_where_it_goes_wrong() {
        let manifest = include_str!("../../tests/scenarios/manifests/database.yaml");
        let files = vec![File::new("m", manifest)];
        let desired = validate::load("r1", files).unwrap().into_values().next().unwrap();
        let secrets = Secrets::new(Arc::new(Fake));
        assert!(access(&secrets, &desired, "hello-db").is_none());
        secrets.look(&desired.stack, &desired.references(), Duration::ZERO, Duration::from_secs(5)).await;
        let access_to = access(&secrets, &desired, "hello-db").unwrap();
        let told = (access_to.arn.as_str(), access_to.username.expose(), access_to.password.expose());
        assert_eq!(told, ("today's", "today's", "today's"));
        let given = Given { access: Some(access_to), ..Given::default() };
        let trouble = Trouble { class: Class::Terminal, message: "not with today's".into() };
        assert_eq!(given.hide(trouble).message, "not with ***");
        assert!(access(&secrets, &desired, "other-db").is_none());
    }
}
