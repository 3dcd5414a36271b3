//! What had better not stand in a manifest.

/// Parts of the names of variables whose values are nobody's business.
const NAMES: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "LICENSE_KEY",
    "ENCRYPTION_KEY",
];

/// True when a variable looks like a password, a token or a key, by its name or its value.
pub(super) fn looks_secret(name: &str, value: &str) -> bool {
    if value.is_empty() || value.starts_with("%{") {
        return false;
    }
    let name = name.to_uppercase();
    // `TOKEN_URL`, `SECRET_PATH`: where it is, and not what it is.
    let whereabouts = ["_URL", "_HOST", "_PATH", "_FILE", "_DIR", "_NAME", "_ENABLED", "_TTL", "_TIMEOUT"];
    let named = NAMES.iter().any(|part| name.contains(part)) && !whereabouts.iter().any(|end| name.ends_with(end));
    named || value.contains("-----BEGIN ") || is_access_key(value) || has_password(value)
}

/// `AKIAIOSFODNN7EXAMPLE`.
fn is_access_key(value: &str) -> bool {
    (value.starts_with("AKIA") || value.starts_with("ASIA"))
        && value.len() == 20
        && value.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// `postgres://user:password@host/`.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, word)| !word.is_empty()))
}

/// Names of parameters have letters, digits and `._-/` ("Creating Parameter Store parameters", Systems Manager User
/// Guide).
pub(super) fn parameter(parts: &[&str]) -> String {
    let word = |part: &&str| {
        part.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
    };
    let words: Vec<String> = parts.iter().map(word).collect();
    format!("/{}", words.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{looks_secret, parameter};

    #[test]
    fn a_secret_is_known_by_its_name_or_by_what_it_is() {
        for (name, value) in [
            ("SECRET_KEY_BASE", "0123"),
            ("rollbar_access_token", "x"),
            ("DATABASE_URL", "postgres://shop:pa55@db/shop"),
            ("KEY", "AKIAIOSFODNN7EXAMPLE"),
            ("CERT", "-----BEGIN RSA PRIVATE KEY-----\nx"),
        ] {
            assert!(looks_secret(name, value), "{name}");
        }
        for (name, value) in [
            ("RACK_ENV", "production"),
            ("SECRET_PATH", "/run/secret"),
            ("PASSWORD", ""),
            ("REDIS_URL", "redis://redis:6379/0"),
            ("HOME_URL", "https://example.com/a:b@c"),
        ] {
            assert!(!looks_secret(name, value), "{name}");
        }
        assert_eq!(parameter(&["shop", "my app", "DB"]), "/shop/my-app/DB");
    }
}
