//! `notifications`: `rollbar` of a container, `webhook` of an app.

use std::collections::BTreeSet;

use super::{cursor::Report, node::Node, value::value};
use crate::spec::{
    Value,
    notify::{Occasion, ROLLBAR, Rollbar, Webhook},
};

/// Those of a container.
pub(super) fn of_container(report: &Report<'_>, node: &Node) -> Option<Option<Rollbar>> {
    let map = report.map(node, "`notifications`")?;
    if map.has("webhook") {
        let help = "a webhook is told of all containers of an app: declare it in the app's `spec`".to_owned();
        report.tell::<()>(map.key_span("webhook"), "`webhook` is not of a container", Some(help));
        map.know(&["webhook"]);
    }
    let rollbar = map.optional("rollbar", rollbar);
    map.finish();
    Some(rollbar)
}

/// Those of an app.
pub(super) fn of_app(report: &Report<'_>, node: &Node) -> Option<Option<Webhook>> {
    let map = report.map(node, "`notifications`")?;
    if map.has("rollbar") {
        let help = "it reads variables of one container: declare it there".to_owned();
        report.tell::<()>(map.key_span("rollbar"), "`rollbar` is not of an app", Some(help));
        map.know(&["rollbar"]);
    }
    let webhook = map.optional("webhook", webhook);
    map.finish();
    Some(webhook)
}

fn rollbar(report: &Report<'_>, node: &Node) -> Option<Rollbar> {
    let map = report.map(node, "`rollbar`")?;
    let access_token = map.required("accessToken", word);
    let env_var = map.required("envVar", variable);
    let rev_var = map.required("revVar", variable);
    let url = map.optional("url", url);
    map.finish();
    Some(Rollbar {
        access_token: access_token?,
        env_var: env_var?,
        rev_var: rev_var?,
        url: url.unwrap_or_else(|| ROLLBAR.to_owned()),
    })
}

fn webhook(report: &Report<'_>, node: &Node) -> Option<Webhook> {
    let map = report.map(node, "`webhook`")?;
    let url = map.required("url", |report, node| match value(report, node)? {
        Value::Text(_) => url(report, node).map(Value::Text),
        kept => Some(kept),
    });
    let secret = map.required("secret", word);
    let events = map.optional("events", |report, node| {
        let events = report.list(node, "events", |report, node| report.choice(node, &Occasion::ALL, &[]))?;
        match events.is_empty() {
            true => report.tell(&node.span, "must not be empty", None),
            false => Some(events.into_iter().collect::<BTreeSet<_>>()),
        }
    });
    map.finish();
    let all = || Occasion::ALL.into_iter().map(|(_, one)| one).collect();
    Some(Webhook { url: url?, secret: secret?, events: events.unwrap_or_else(all) })
}

/// A value that is not empty.
fn word(report: &Report<'_>, node: &Node) -> Option<Value> {
    match value(report, node)? {
        Value::Text(text) if text.trim().is_empty() => report.tell(&node.span, "must not be empty", None),
        value => Some(value),
    }
}

fn variable(report: &Report<'_>, node: &Node) -> Option<String> {
    let name = report.word(node)?;
    match name.chars().any(|c| c == '=' || c.is_whitespace() || c.is_control()) {
        true => report.tell(&node.span, format!("`{name}` is not the name of a variable"), None),
        false => Some(name),
    }
}

fn url(report: &Report<'_>, node: &Node) -> Option<String> {
    let text = report.word(node)?;
    let web = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    match web {
        true => Some(text),
        false => report.tell(&node.span, format!("`{text}` is not the URL of a web server"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{App, File, Reference, decode::decode};

    fn app(of_app: &str, of_container: &str) -> (Option<App>, Vec<String>) {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  stack: s\n  layer: l\n  \
             notifications: {of_app}\n  containers:\n  - name: x\n    image: x\n    notifications: {of_container}\n"
        );
        let (documents, problems) = decode(vec![File::new("f", text.as_str())]);
        (documents.apps.into_iter().next().map(|it| it.value), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_app_has_a_webhook_and_a_container_its_rollbar() {
        let (app, problems) = app(
            "{webhook: {url: \"https://ops.example.com/hook\", secret: {ssm: /hook}, events: [done, rolledBack]}}",
            "{rollbar: {accessToken: {env: ROLLBAR}, envVar: RACK_ENV, revVar: GIT_REVISION}}",
        );
        assert_eq!(problems, Vec::<String>::new());
        let app = app.unwrap();
        let webhook = app.webhook.unwrap();
        assert_eq!(webhook.events, BTreeSet::from([Occasion::Done, Occasion::RolledBack]));
        assert_eq!(webhook.secret, Value::Reference(Reference::Ssm { ssm: "/hook".into() }));
        let rollbar = app.containers[0].rollbar.clone().unwrap();
        assert_eq!((rollbar.env_var.as_str(), rollbar.url.as_str()), ("RACK_ENV", ROLLBAR));
    }

    #[test]
    fn a_webhook_that_does_not_choose_is_told_everything() {
        let (app, problems) = app("{webhook: {url: {ssm: /url}, secret: x}}", "{}");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(app.unwrap().webhook.unwrap().events.len(), 4);
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        for (of_app, of_container, words) in [
            ("{}", "{rollbar: {envVar: A, revVar: B}}", "needs `accessToken`"),
            ("{}", "{rollbar: {accessToken: \"\", envVar: A, revVar: B}}", "must not be empty"),
            ("{}", "{rollbar: {accessToken: a, envVar: A B, revVar: B}}", "is not the name of a variable"),
            ("{}", "{rollbar: {accessToken: a, envVar: A, revVar: B, url: nowhere}}", "is not the URL"),
            ("{}", "{webhook: {}}", "declare it in the app's `spec`"),
            ("{rollbar: {}}", "{}", "declare it there"),
            ("{webhook: {url: \"ftp://a/b\", secret: x}}", "{}", "is not the URL"),
            ("{webhook: {url: \"http://a/b\"}}", "{}", "needs `secret`"),
            ("{webhook: {url: \"http://a/b\", secret: x, events: [ended]}}", "{}", "ended"),
            ("{webhook: {url: \"http://a/b\", secret: x, events: []}}", "{}", "must not be empty"),
        ] {
            let (_, problems) = app(of_app, of_container);
            assert!(problems.iter().any(|it| it.contains(words)), "{of_app} {of_container}: {problems:?}");
        }
    }
}
