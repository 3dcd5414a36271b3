//! A value, or `{ssm: …}`, `{secretsManager: …, key: …}`, `{env: …}`, `{file: …}`.

use super::{
    cursor::Report,
    node::{Data, Node},
};
use crate::spec::{Reference, Value};

/// What a reference is told by.
const KINDS: [&str; 4] = ["ssm", "secretsManager", "env", "file"];
/// How they are written.
const FORMS: &str = "a reference is written `{ssm: /path}`, `{secretsManager: name, key: key}`, `{env: NAME}` or \
                     `{file: /path}`";

/// Any scalar as it was written, or a reference.
pub(super) fn value(report: &Report<'_>, node: &Node) -> Option<Value> {
    match &node.data {
        Data::Map(entries) if !entries.iter().any(|entry| KINDS.contains(&entry.key.as_str())) => {
            report.tell(&node.span, "expected a text or a reference to where it is kept", Some(FORMS.to_owned()))
        }
        Data::Map(_) => reference(report, node).map(Value::Reference),
        _ => report.text(node).map(Value::Text),
    }
}

fn reference(report: &Report<'_>, node: &Node) -> Option<Reference> {
    let map = report.map(node, "a reference")?;
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| map.has(kind)).collect();
    if let [first, second, ..] = given.as_slice() {
        report.tell::<()>(map.key_span(second), format!("`{first}` and `{second}` exclude each other"), None);
        return None;
    }
    map.know(&KINDS);
    let found = match given.first().copied() {
        Some("ssm") => map.required("ssm", name).map(|ssm| Reference::Ssm { ssm }),
        Some("secretsManager") => {
            let name = map.required("secretsManager", name);
            let key = map.optional("key", Report::word);
            name.map(|name| Reference::SecretsManager { name, key })
        }
        Some("env") => map.required("env", variable).map(|env| Reference::Env { env }),
        _ => map.required("file", file).map(|file| Reference::File { file }),
    };
    map.finish();
    found
}

/// Of a parameter or a secret, or its ARN.
fn name(report: &Report<'_>, node: &Node) -> Option<String> {
    let name = report.word(node)?;
    match name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => report.tell(&node.span, format!("`{name}` is not a name: it holds blanks"), None),
        false => Some(name),
    }
}

/// Of the controller's environment: whoever writes manifests need not know what the controller signs in with.
fn variable(report: &Report<'_>, node: &Node) -> Option<String> {
    let name = report.word(node)?;
    if name.chars().any(|c| c == '=' || c.is_whitespace() || c.is_control()) {
        return report.tell(&node.span, format!("`{name}` is not the name of a variable"), None);
    }
    if name.starts_with("AWS_") {
        let help = "the controller's own AWS credentials and settings are given to no container".to_owned();
        return report.tell(&node.span, format!("`{name}` cannot be referred to"), Some(help));
    }
    Some(name)
}

fn file(report: &Report<'_>, node: &Node) -> Option<String> {
    let path = report.word(node)?;
    if !path.starts_with('/') || path.contains('\0') {
        return report.expected(node, "an absolute path on the controller's own disk");
    }
    if path.split('/').any(|part| part == "..") || path.starts_with("/proc/") {
        let help = "give the path of a file that holds the value and nothing else".to_owned();
        return report.tell(&node.span, format!("`{path}` cannot be referred to"), Some(help));
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use crate::spec::{File, Reference, Value, decode::decode};

    /// The `env` of an app's only container, and the problems.
    fn env(env: &str) -> (Vec<Value>, Vec<String>) {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: App\nmetadata: {name}\nspec:\n  stack: s\n  layer: l\n  containers:\n  \
             - name: x\n    image: x\n    env: {env}\n",
            name = "{name: a}"
        );
        let (documents, problems) = decode(vec![File::new("f", text.as_str())]);
        let containers = documents.apps.into_iter().flat_map(|app| app.value.containers);
        (containers.flat_map(|it| it.env.into_values()).collect(), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_value_says_what_it_is_or_where_it_is_kept() {
        let (values, problems) =
            env("{A: b, C: {ssm: /c}, D: {secretsManager: d, key: e}, F: {env: F}, G: {file: /run/secrets/g}}");
        assert_eq!(problems, Vec::<String>::new());
        let kept = [
            Reference::Ssm { ssm: "/c".into() },
            Reference::SecretsManager { name: "d".into(), key: Some("e".into()) },
            Reference::Env { env: "F".into() },
            Reference::File { file: "/run/secrets/g".into() },
        ];
        let kept = kept.into_iter().map(Value::Reference);
        assert_eq!(values, std::iter::once(Value::from("b")).chain(kept).collect::<Vec<_>>());
    }

    #[test]
    fn a_reference_that_cannot_be_meant_is_told() {
        let told = |reference: &str| {
            let (_, problems) = env(&format!("{{A: {reference}}}"));
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems[0].clone()
        };
        for (reference, words) in [
            ("{secret: x}", "a reference is written `{ssm: /path}`"),
            ("{ssm: /a, file: /b}", "`ssm` and `file` exclude each other"),
            ("{ssm: /a, key: b}", "unknown key `key`"),
            ("{ssm: a b}", "holds blanks"),
            ("{file: secrets/a}", "expected an absolute path"),
            ("{file: /proc/self/environ}", "cannot be referred to"),
            ("{env: AWS_SECRET_ACCESS_KEY}", "given to no container"),
            ("{env: }", "`env` has no value"),
        ] {
            assert!(told(reference).contains(words), "{reference}: {}", told(reference));
        }
    }
}
