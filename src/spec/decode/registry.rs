//! `registries`: by host, `{username, password}` or `{ecr: true}`, and `ca`.

use std::collections::BTreeMap;

use super::{cursor::Report, node::Node, value::value};
use crate::spec::{
    Registry, Value,
    registry::{Login, ecr_region},
};

/// Those of a stack.
pub(super) fn of_stack(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, Registry>> {
    registries(report, node, true)
}

/// Those of an app: an instance is the stack's, and so is what it trusts.
pub(super) fn of_app(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, Registry>> {
    registries(report, node, false)
}

fn registries(report: &Report<'_>, node: &Node, of_stack: bool) -> Option<BTreeMap<String, Registry>> {
    report.table(node, "`registries`", |report, entry| {
        let host = entry.key.as_str();
        let fine = (host.contains(['.', ':']) || host == "localhost")
            && host.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:".contains(c));
        if !fine {
            let help =
                "the host as it stands in the images, without `https://`: `registry.example.com:5000`".to_owned();
            report.tell::<()>(&entry.key_span, format!("`{host}` is not a registry's host"), Some(help));
        }
        registry(report, &entry.value, host, of_stack)
    })
}

fn registry(report: &Report<'_>, node: &Node, host: &str, of_stack: bool) -> Option<Registry> {
    let map = report.map(node, "a registry")?;
    let named = map.has("username") || map.has("password");
    let ecr = map.optional("ecr", Report::boolean).unwrap_or_default();
    if ecr && named {
        report.tell::<()>(map.key_span("ecr"), "`ecr` and `username` exclude each other", None);
    }
    if ecr && ecr_region(host).is_none() {
        let help = "such a host is written `123456789012.dkr.ecr.eu-west-1.amazonaws.com`".to_owned();
        report.tell::<()>(map.key_span("ecr"), format!("`{host}` is no private registry of ECR"), Some(help));
    }
    map.know(&["username", "password"]);
    let login = match named {
        true => match (map.required("username", word), map.required("password", word)) {
            (Some(username), Some(password)) => Some(Login { username, password }),
            _ => None,
        },
        false => None,
    };
    let ca = match of_stack {
        true => map.optional("ca", certificates),
        false => None,
    };
    map.finish();
    Some(Registry { login, ca })
}

/// A value that is not empty.
pub(super) fn word(report: &Report<'_>, node: &Node) -> Option<Value> {
    match value(report, node)? {
        Value::Text(text) if text.is_empty() => report.tell(&node.span, "must not be empty", None),
        value => Some(value),
    }
}

fn certificates(report: &Report<'_>, node: &Node) -> Option<String> {
    let pem = report.word(node)?;
    let lines = pem.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let fine = lines.starts_with("-----BEGIN CERTIFICATE-----")
        && lines.ends_with("-----END CERTIFICATE-----")
        && lines.chars().all(|c| c.is_ascii_alphanumeric() || "+/=- \n".contains(c));
    match fine {
        true => Some(lines + "\n"),
        false => report.expected(node, "certificates as PEM (`-----BEGIN CERTIFICATE-----` …)"),
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{File, Reference, Value, decode::decode};

    const PEM: &str = "|\n        -----BEGIN CERTIFICATE-----\n        MIIB+/=\n        -----END CERTIFICATE-----\n";

    /// A stack with one registry: its login and authority, and the problems.
    fn stack(host: &str, registry: &str) -> (Option<crate::spec::Registry>, Vec<String>) {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: s}}\nspec:\n  provider: opsworks\n  region: r\n  \
             registries:\n    {host}: {registry}\n"
        );
        let (documents, problems) = decode(vec![File::new("f", text.as_str())]);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let stack = documents.stacks.into_iter().next();
        (stack.and_then(|stack| stack.value.registries.into_values().next()), problems)
    }

    #[test]
    fn a_registry_has_a_login_an_authority_or_both() {
        let (registry, problems) = stack("r.example.com:5000", "{username: shop, password: {ssm: /shop/registry}}");
        assert_eq!(problems, Vec::<String>::new());
        let login = registry.unwrap().login.unwrap();
        let password = Value::Reference(Reference::Ssm { ssm: "/shop/registry".into() });
        assert_eq!((login.username, login.password), ("shop".into(), password));
        let (registry, problems) = stack("r.example.com", &format!("\n      ca: {PEM}"));
        assert_eq!(problems, Vec::<String>::new());
        let ca = "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n";
        assert_eq!(registry.unwrap().ca.as_deref(), Some(ca));
    }

    #[test]
    fn what_cannot_be_a_registry_is_told() {
        for (host, registry, words) in [
            ("https://r.example.com", "{}", "is not a registry's host"),
            ("registry", "{}", "is not a registry's host"),
            ("r.example.com", "{username: a}", "needs `password`"),
            ("r.example.com", "{username: a, password: \"\"}", "must not be empty"),
            ("r.example.com", "{ecr: true}", "is no private registry of ECR"),
            ("r.example.com", "{ca: /etc/ssl/ca.pem}", "expected certificates as PEM"),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "{ecr: true, username: a, password: b}",
                "exclude each other",
            ),
        ] {
            let (_, problems) = stack(host, registry);
            assert!(problems.iter().any(|problem| problem.contains(words)), "{host} {registry}: {problems:?}");
        }
    }
}
