//! The database instances of RDS that apps name: each is registered with the stack before an app has it as its data source.
//!
//! A registration bears no mark, so nobody can tell whose it is: one that is there is used, and none is ever taken back.
//! OpsWorks tells who signs in and never the password: who is declared is compared, and a password alone is not sent
//! again, as it could be no more than guessed whether it is another.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    action::Action,
    plan::{Facts, Plan, secrets},
    secret::Secret,
    spec::{
        App, Desired, Value,
        data_source::{DataSource, Registration, database_instance, is_arn},
    },
    status::Kind,
    world::{Observed, OpsWorks, OwDatabase, Seen},
};

pub(super) fn plan(
    plan: &mut Plan,
    desired: &Desired,
    stack_id: &str,
    cloud: &OpsWorks,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) {
    let wanted = wanted(desired);
    let registered = match &cloud.databases {
        _ if wanted.is_empty() => return,
        Seen::Unknown(trouble) => return plan.unobservable("databases", trouble),
        Seen::Known(registered) => registered,
    };
    for Wanted { rds, username, registration } in wanted.into_values() {
        let subject = format!("rds {rds}");
        let found = find(registered, rds, &desired.stack.region);
        if found.is_some_and(|found| found.missing) {
            let again = if registration.is_some() { "; it is registered again" } else { " and register it again" };
            let message = format!(
                "OpsWorks did not find {subject} when it was registered with the stack, and looks for it once: \
                 deregister it there{again}"
            );
            plan.condition(Kind::DatabaseUnavailable, &subject, message);
        }
        let action = match (found, &registration) {
            (Some(found), Some(_)) if username.is_some_and(|it| differs(it, found, seen)) => {
                Action::UpdateDatabase { rds: rds.to_owned(), arn: found.arn.clone(), changed: vec!["username".into()] }
            }
            (Some(_), _) => continue,
            (None, Some(_)) => Action::RegisterDatabase { stack_id: stack_id.to_owned(), rds: rds.to_owned() },
            (None, None) => {
                let message = format!(
                    "{subject} is not registered with the stack, and the app's `dataSource` has no `password` to \
                     register it with: give it one (`password: {{ssm: /path}}`), or register it yourself in OpsWorks"
                );
                plan.condition(Kind::DatabaseUnavailable, &subject, message);
                continue;
            }
        };
        let references = || registration.iter().flat_map(Registration::references);
        let unread = |it: &&_| seen.secrets.get(*it).and_then(Seen::known).is_none();
        let Some(reference) = references().find(unread) else {
            plan.attempt(&subject, action, facts, now);
            continue;
        };
        plan.hold(&subject, format!("{reference} to be read"), None);
        if let Some(Seen::Unknown(trouble)) = seen.secrets.get(reference) {
            let (kind, on) = secrets::subject(reference);
            let message = format!("{}. OpsWorks is told of the database once it can be read", trouble.message);
            plan.condition(kind, on, message);
        }
    }
}

/// A database that apps name. Of several that say how to sign in, the first one's word counts.
struct Wanted<'a> {
    rds: &'a str,
    username: Option<&'a Value>,
    registration: Option<Registration>,
}

/// By identifier: an app may name by its ARN what another names by its identifier.
fn wanted(desired: &Desired) -> BTreeMap<String, Wanted<'_>> {
    let mut all: BTreeMap<String, Wanted<'_>> = BTreeMap::new();
    for source in desired.apps.iter().filter(|app| app.is_docker()).filter_map(|app| app.data_source.as_ref()) {
        let DataSource::Rds { instance, username, .. } = source else { continue };
        let identifier = database_instance(instance).map_or(instance.as_str(), |(identifier, _)| identifier);
        let wanted = Wanted { rds: instance, username: username.as_ref(), registration: source.registration() };
        match all.get(&identifier.to_lowercase()) {
            Some(before) if before.registration.is_some() || wanted.registration.is_none() => {}
            _ => drop(all.insert(identifier.to_lowercase(), wanted)),
        }
    }
    all
}

/// RDS keeps identifiers in lower case, whatever they were given as.
fn find<'a>(registered: &'a [OwDatabase], rds: &str, region: &str) -> Option<&'a OwDatabase> {
    let same = |arn: &str| match is_arn(rds) {
        true => arn.eq_ignore_ascii_case(rds),
        false => match arn.split(':').collect::<Vec<_>>().as_slice() {
            [_, _, _, there, _, _, identifier] => *there == region && identifier.eq_ignore_ascii_case(rds),
            _ => false,
        },
    };
    registered.iter().find(|database| same(&database.arn))
}

/// True where somebody else signs in than is declared. Who that is may be kept elsewhere, and is not told by a plan.
fn differs(declared: &Value, found: &OwDatabase, seen: &Observed) -> bool {
    let Some(username) = &found.username else { return false };
    match declared {
        Value::Text(declared) => declared != username,
        Value::Reference(reference) => match seen.secrets.get(reference) {
            Some(Seen::Known(sealed)) => Secret::new(username.as_str()).seal() != *sealed,
            _ => false,
        },
    }
}

/// The ARN of an app's database, if it has one.
///
/// # Errors
/// What is waited for, where it is not registered yet: OpsWorks refuses an app whose data source it does not know.
pub(super) fn arn(app: &App, desired: &Desired, cloud: &OpsWorks) -> Result<Option<String>, String> {
    let Some(DataSource::Rds { instance, .. }) = &app.data_source else { return Ok(None) };
    let registered = cloud.databases.known().and_then(|all| find(all, instance, &desired.stack.region));
    registered.map(|found| Some(found.arn.clone())).ok_or_else(|| format!("rds {instance} to be registered"))
}
