//! The database of an app: which instance of RDS, and how to sign in there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Of, Reference, Value};

/// A database of the provider's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DataSource {
    /// A database instance of RDS, in the stack's account and region.
    Rds {
        /// The DB instance identifier or ARN.
        instance: String,
        /// The database's name.
        database: Option<String>,
        /// Who signs in; left out, its master user.
        username: Option<Value>,
        /// Where the password is kept: none stands in a manifest.
        password: Option<Reference>,
    },
    /// A database server that OpsWorks itself runs in the stack (its MySQL layer).
    Opsworks {
        /// The database's name.
        database: Option<String>,
    },
}

impl DataSource {
    /// The variables that a container is told of it by; nothing where it does not say enough.
    pub fn variables(&self) -> Option<BTreeMap<String, Value>> {
        let DataSource::Rds { instance, database: Some(database), username, password: Some(password) } = self else {
            return None;
        };
        let asked = |of| Value::Reference(Reference::Rds { rds: instance.clone(), of });
        // What stands here is meant as it stands; in `env` a percent sign would begin something.
        let plain = |value: &Value| match value {
            Value::Text(text) => Value::Text(text.replace('%', "%%")),
            kept => kept.clone(),
        };
        let variables = [
            ("DB_ADAPTER", asked(Of::Adapter)),
            ("DB_DATABASE", plain(&Value::Text(database.clone()))),
            ("DB_HOST", asked(Of::Host)),
            ("DB_PASSWORD", Value::Reference(password.clone())),
            ("DB_PORT", asked(Of::Port)),
            ("DB_RECONNECT", "true".into()),
            ("DB_USERNAME", username.as_ref().map_or_else(|| asked(Of::Username), plain)),
        ];
        Some(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// What OpsWorks is told of it when it is registered; nothing where it does not say enough.
    pub fn registration(&self) -> Option<Registration> {
        let DataSource::Rds { instance, username, password: Some(password), .. } = self else { return None };
        let asked = |of| Value::Reference(Reference::Rds { rds: instance.clone(), of });
        Some(Registration {
            arn: if is_arn(instance) { instance.as_str().into() } else { asked(Of::Arn) },
            username: username.clone().unwrap_or_else(|| asked(Of::Username)),
            password: Value::Reference(password.clone()),
        })
    }
}

/// What OpsWorks is told of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its ARN.
    pub arn: Value,
    /// Who signs in.
    pub username: Value,
    /// With what.
    pub password: Value,
}

impl Registration {
    /// What of it is kept elsewhere, or asked of RDS.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        [&self.arn, &self.username, &self.password].into_iter().filter_map(|value| value.reference())
    }
}

/// True for an ARN; an identifier has no colon.
pub fn is_arn(rds: &str) -> bool {
    rds.starts_with("arn:")
}

/// The identifier that is meant, and the region, where an ARN is given: `arn:aws:rds:REGION:ACCOUNT:db:IDENTIFIER`.
///
/// # Errors
/// What is wrong with it, when it is neither. Source: "DBInstanceIdentifier" of `CreateDBInstance`, RDS API reference.
pub fn database_instance(rds: &str) -> Result<(&str, Option<&str>), String> {
    let (identifier, region) = match rds.split(':').collect::<Vec<_>>().as_slice() {
        [identifier] => (*identifier, None),
        ["arn", _, "rds", region, account, "db", identifier]
            if !region.is_empty() && account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (*identifier, Some(*region))
        }
        ["arn", _, "rds", _, _, "cluster", _] => {
            return Err("is the ARN of a cluster: name one of its database instances".into());
        }
        _ => return Err("is no ARN of a database instance: `arn:aws:rds:REGION:ACCOUNT:db:IDENTIFIER`".into()),
    };
    let fine = identifier.starts_with(|c: char| c.is_ascii_alphabetic())
        && identifier.len() <= 63
        && identifier.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !identifier.ends_with('-')
        && !identifier.contains("--");
    match fine {
        true => Ok((identifier, region)),
        false => {
            Err("is no identifier of a database instance: letters, digits and single dashes, a letter first".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{File, validate};

    /// The variables of the first container of an app with this data source, and the problems.
    fn with_database(source: &str, env: &str) -> (Vec<(String, Value)>, Vec<String>) {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  stack: s\n  layer: l\n  \
             environment: {{APP_TYPE: docker}}\n  dataSource: {source}\n  containers:\n  - name: x\n    image: x\n    \
             database: true\n    env: {env}\n---\napiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: s}}\nspec:\n  \
             provider: ec2\n  region: eu-west-1\n  amiId: ami-0123456789abcdef0\n  subnetIds: [subnet-0123456789abcdef0]\n  instanceProfileArn: \
             \"arn:aws:iam::123456789012:instance-profile/p\"\n  layers:\n  - {{name: L, shortName: l, instances: \
             {{count: 1, type: t3.micro}}}}\n"
        );
        match validate::load("r1", vec![File::new("f", text.as_str())]) {
            Ok(manifests) => {
                let app = &manifests["s"].apps[0];
                let env = app.env_of(&app.containers[0]);
                (env.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect(), Vec::new())
            }
            Err(problems) => (Vec::new(), problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_container_that_asks_for_its_database_is_told_of_it_by_seven_variables_that_win() {
        let source = "{rds: shop-db, database: shop, password: {ssm: /db}}";
        let (env, problems) = with_database(source, "{DB_HOST: elsewhere, OTHER: a}");
        assert_eq!(problems, Vec::<String>::new());
        let asked = |of| Value::Reference(Reference::Rds { rds: "shop-db".into(), of });
        let expected: [(&str, Value); 8] = [
            ("DB_ADAPTER", asked(Of::Adapter)),
            ("DB_DATABASE", "shop".into()),
            ("DB_HOST", asked(Of::Host)),
            ("DB_PASSWORD", Value::Reference(Reference::Ssm { ssm: "/db".into() })),
            ("DB_PORT", asked(Of::Port)),
            ("DB_RECONNECT", "true".into()),
            ("DB_USERNAME", asked(Of::Username)),
            ("OTHER", "a".into()),
        ];
        assert_eq!(env, expected.map(|(name, value)| (name.to_owned(), value)));
        let (env, _) = with_database("{rds: d, database: \"50%\", username: u, password: {env: DB}}", "{}");
        assert!(
            env.contains(&("DB_USERNAME".into(), "u".into())) && env.contains(&("DB_DATABASE".into(), "50%%".into()))
        );
    }

    #[test]
    fn a_container_that_asks_for_a_database_that_its_app_does_not_name_is_told_what_is_missing() {
        for (source, words) in [
            ("none", "the app has no `dataSource`"),
            ("{opsworks: true}", "the address of a server of its own"),
            ("{rds: d, password: {env: DB}}", "does not say which `database`"),
            ("{rds: d, database: d}", "has no `password`"),
        ] {
            let (_, problems) = with_database(source, "{}");
            let told = problems.concat();
            assert!(told.starts_with("f:12:15: ") && told.contains(words), "{source}: {problems:?}");
            assert!(told.contains("give the app `dataSource: {rds: IDENTIFIER"), "{problems:?}");
        }
    }

    #[test]
    fn a_database_that_cannot_be_meant_is_told_at_its_place() {
        let arn = |region: &str, rest: &str| format!("\"arn:aws:rds:{region}:{rest}\"");
        for (rds, words) in [
            ("shop_db".to_owned(), "is no identifier of a database instance"),
            ("shop--db".to_owned(), "is no identifier of a database instance"),
            ("1shop".to_owned(), "is no identifier of a database instance"),
            (arn("eu-west-1", "123456789012:cluster:shop"), "is the ARN of a cluster"),
            (arn("eu-west-1", "12:db:shop"), "is no ARN of a database instance"),
            (arn("eu-west-3", "123456789012:db:shop"), "the database is in eu-west-3, and the stack `s` in eu-west-1"),
        ] {
            let source = format!("{{rds: {rds}, database: d, password: {{env: DB}}}}");
            let told = with_database(&source, "{}").1.concat();
            assert!(told.starts_with("f:8:21: ") && told.contains(words), "{rds}: {told}");
        }
        let source =
            format!("{{rds: {}, database: d, password: {{env: DB}}}}", arn("eu-west-1", "123456789012:db:shop"));
        assert_eq!(with_database(&source, "{}").1, Vec::<String>::new());
        let (_, problems) = with_database("{rds: d, database: d, password: hunter2}", "{}");
        assert!(problems[0].starts_with("f:8:47: a database's password does not stand in a manifest"), "{problems:?}");
        assert!(!problems.concat().contains("hunter2"), "{problems:?}");
    }
}
