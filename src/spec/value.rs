//! A value as it stands in a manifest, or a reference to where it is kept.

use std::fmt;

use serde::Serialize;

/// What a variable, a password or a token is declared as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// As it stands in the manifest; it may hold `%{…}`.
    Text(String),
    /// Kept elsewhere, and taken as it is found there.
    Reference(Reference),
}

/// Where a value is kept that no manifest holds. Two references that are equal stand for one value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Reference {
    /// A parameter of SSM's Parameter Store, of the stack's account and region.
    Ssm {
        /// Its name, which may end with `:VERSION` or `:LABEL`.
        ssm: String,
    },
    /// A secret of AWS Secrets Manager, of the stack's account and region.
    SecretsManager {
        /// Its name or ARN.
        #[serde(rename = "secretsManager")]
        name: String,
        /// The key whose value is meant, of a secret that is a JSON object; left out, the whole text.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// What ECR gives the account to pull with; no manifest says so, the registry's host does.
    Ecr {
        /// The registry's host.
        ecr: String,
    },
    /// What RDS tells of a database instance; no manifest says so, an app's `dataSource` does.
    Rds {
        /// The instance's identifier or ARN.
        rds: String,
        /// What is asked.
        of: Of,
    },
    /// A variable of the controller's own environment.
    Env {
        /// Its name.
        env: String,
    },
    /// A file that the controller can read; a line break at its end is not part of the value.
    File {
        /// Its absolute path.
        file: String,
    },
}

/// What is asked of a database instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Of {
    /// The name that frameworks have for its engine: `mysql2`, `postgresql`.
    Adapter,
    /// Its ARN.
    Arn,
    /// Its address.
    Host,
    /// Its port.
    Port,
    /// Its master user.
    Username,
}

impl Value {
    /// What stands in the manifest, if it does.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Reference(_) => None,
        }
    }

    /// Where it is kept, if not in the manifest.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Value::Text(_) => None,
            Value::Reference(reference) => Some(reference),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Ssm { ssm } => write!(f, "ssm {ssm}"),
            Reference::SecretsManager { name, key: None } => write!(f, "secretsManager {name}"),
            Reference::SecretsManager { name, key: Some(key) } => write!(f, "secretsManager {name} (key {key})"),
            Reference::Ecr { ecr } => write!(f, "ecr {ecr}"),
            Reference::Rds { rds, of } => {
                let of = match of {
                    Of::Adapter => "engine",
                    Of::Arn => "ARN",
                    Of::Host => "address",
                    Of::Port => "port",
                    Of::Username => "master user",
                };
                write!(f, "rds {rds} ({of})")
            }
            Reference::Env { env } => write!(f, "env {env}"),
            Reference::File { file } => write!(f, "file {file}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_written_as_in_a_manifest() {
        let json = |value: Value| serde_json::to_string(&value).unwrap();
        assert_eq!(json("a".into()), r#""a""#);
        assert_eq!(json(Value::Reference(Reference::Ssm { ssm: "/a".into() })), r#"{"ssm":"/a"}"#);
        let secret = Reference::SecretsManager { name: "shop/db".into(), key: Some("password".into()) };
        assert_eq!(secret.to_string(), "secretsManager shop/db (key password)");
        assert_eq!(json(Value::Reference(secret)), r#"{"secretsManager":"shop/db","key":"password"}"#);
    }
}
