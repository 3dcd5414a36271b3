//! Registries that ask who pulls, and those that a private authority vouches for.

use serde::Serialize;

use super::{Desired, Reference, Value, image};

/// One entry of `registries`, by its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Registry {
    /// Who pulls; left out, nobody in particular, or of ECR the account itself.
    pub login: Option<Login>,
    /// The certificates, as PEM, of the authority that signed the registry's.
    pub ca: Option<String>,
}

/// A user of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Login {
    pub username: Value,
    pub password: Value,
}

impl Login {
    /// Both, where they are kept elsewhere.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        [&self.username, &self.password].into_iter().filter_map(Value::reference)
    }
}

/// The region of a private registry of ECR (`123456789012.dkr.ecr.eu-west-1.amazonaws.com`); nothing for any other host.
pub fn ecr_region(host: &str) -> Option<&str> {
    let (account, rest) = host.split_once('.')?;
    let rest = rest.strip_prefix("dkr.ecr.").or_else(|| rest.strip_prefix("dkr.ecr-fips."))?;
    let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    let is_account = account.len() == 12 && account.bytes().all(|digit| digit.is_ascii_digit());
    let is_region = !region.is_empty() && region.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    (is_account && is_region).then_some(region)
}

impl Desired {
    /// Who pulls this image: what the app says of its registry counts before what the stack says, and ECR takes the
    /// account itself.
    pub fn login(&self, image: &str) -> Option<Login> {
        let host = image::registry(image);
        let declares = |name: &String| *name == image || *name == image::tagged(image);
        let apps = self.apps.iter().filter(|app| app.containers.iter().any(|it| declares(&it.image)));
        let all = apps.map(|app| &app.registries).chain([&self.stack.registries]);
        let login = all.filter_map(|registries| registries.get(host)?.login.clone()).next();
        login.or_else(|| {
            ecr_region(host)?;
            let password = Value::Reference(Reference::Ecr { ecr: host.to_owned() });
            Some(Login { username: "AWS".into(), password })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_of_ecr_is_known_by_its_host() {
        for (host, region) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("public.ecr.aws", None),
            ("1234.dkr.ecr.eu-west-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.com", None),
            ("registry.example.com:5443", None),
        ] {
            assert_eq!(ecr_region(host), region, "{host}");
        }
    }
}
