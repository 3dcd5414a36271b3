//! What stands beside `deploy`.

use super::{app, declared, printed, told};
use crate::spec::{logging::Logging, registry::Login};

fn with(keys: &str) -> String {
    format!(
        r#"{{{keys}, "deploy": {{"my shop": {{"containers": [{{"app": {{"image": "quay.io/x", "deploy": "manual"}}}}]}}}}}}"#
    )
}

#[test]
fn a_registry_login_is_the_stack_s_and_its_password_a_decision() {
    let printed = printed(&with(r#""docker": {"registries": {"quay.io": {"username": "shop", "password": "p: #1"}}}"#));
    let desired = declared(&printed.manifests);
    let login = Login { username: "shop".into(), password: "p: #1".into() };
    assert_eq!(desired.login("quay.io/x:latest"), Some(login));
    let notes = told(&printed.notes);
    assert!(notes[0].starts_with("decide: the password for quay.io stands here in plain text"), "{notes:?}");
    assert!(!notes.concat().contains("p: #1"), "{notes:?}");
}

#[test]
fn empty_credentials_are_no_login() {
    for login in [r#"{"username": "", "password": ""}"#, "{}", r#"{"username": null, "password": ""}"#] {
        let printed = printed(&with(&format!(r#""docker": {{"registries": {{"quay.io": {login}, "": {login}}}}}"#)));
        let desired = declared(&printed.manifests);
        assert!(desired.stack.registries.is_empty() && desired.apps[0].registries.is_empty());
        assert!(told(&printed.notes)[0].starts_with("left out: `docker.registries.quay.io` has neither"), "{login}");
    }
    let (_, notes) = app(&with(r#""docker": {"registries": {"quay.io": {"username": "shop", "password": ""}}}"#));
    assert!(notes[0].starts_with("decide: `docker.registries.quay.io` has no `password`"), "{notes:?}");
}

#[test]
fn a_registry_of_ecr_needs_no_login() {
    let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let printed = printed(&with(&format!(
        r#""docker": {{"registries": {{"https://{host}": {{"username": "AWS", "password": "x"}}}}}}"#
    )));
    assert!(declared(&printed.manifests).stack.registries.is_empty());
    assert!(told(&printed.notes)[0].contains("is a registry of ECR"));
}

#[test]
fn the_forwarder_is_not_restarted_and_docker_rotates_its_logs() {
    let (app, notes) = app(&with(r#""logrotate": {"forwarder": "logspout0"}"#));
    assert!(
        matches!(&app.logging, Some(Logging { options, .. }) if options.get("max-file").is_some_and(|it| it == "7")),
        "{:?}",
        app.logging
    );
    assert!(notes[0].starts_with("replaced: `logrotate.forwarder`") && notes[0].contains("`logspout0`"), "{notes:?}");
}

#[test]
fn manual_is_what_an_operator_asks_for() {
    let (_, notes) = app(&with(r#""manual": ["app", "nobody"]"#));
    assert!(notes[0].contains("`evenkeel deploy 'my shop/app'`"), "{notes:?}");
    assert_eq!(notes[1], "left out: `manual`: no app has a container `nobody`");
}

#[test]
fn what_was_for_one_run_of_a_recipe_is_told() {
    let (_, notes) = app(&with(r#""docker": {"exec": {"container": "app0", "command": "date"}}"#));
    assert!(notes[0].starts_with("replaced: `docker.exec`"), "{notes:?}");
}

#[test]
fn the_tags_of_the_instances_are_the_stack_s() {
    let printed = printed(&with(r#""aws-tag": {"tags": {"team": "shop", "cost centre": 42}}"#));
    assert!(printed.manifests.contains("  tags: {team: shop, \"cost centre\": \"42\"}\n"), "{}", printed.manifests);
    let notes = told(&printed.notes);
    assert!(notes[0].starts_with("changed: `aws-tag.tags` were put on instances"), "{notes:?}");
}

#[test]
fn what_is_for_other_cookbooks_is_told_and_left_out() {
    let printed = printed(&with(r#""nginx": {"worker": 4}, "dockre": {}"#));
    let notes = told(&printed.notes);
    assert!(notes[0].starts_with("left out: `nginx` is not known"), "{notes:?}");
    assert!(notes[1].ends_with("is `docker` meant?"), "{notes:?}");
    assert!(printed.manifests.contains("# left out: `nginx` is not known"));
}
