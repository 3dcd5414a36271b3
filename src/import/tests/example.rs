//! The example, whole.

use super::{Options, declared, import};
use crate::spec::{File, app::DataSource, stack::Provider};

fn example(path: &str) -> File {
    let text = std::fs::read(format!("{}/deploy/examples/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    File::new(format!("deploy/examples/{path}"), text)
}

/// Manifests and notes, as they are printed.
fn shown(aws: bool, provider: Provider) -> String {
    let options = Options { provider: Some(provider), ..Options::default() };
    let imported = import(example("stack.json"), aws.then(|| example("aws.json")), &options);
    let imported = imported.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let notes: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    format!("{}\n== notes ==\n{}\n", imported.manifests, notes.join("\n"))
}

#[test]
fn the_example_for_opsworks() {
    insta::assert_snapshot!(shown(true, Provider::Opsworks));
}

#[test]
fn the_example_for_ec2() {
    insta::assert_snapshot!(shown(true, Provider::Ec2));
}

#[test]
fn the_example_without_the_aws_side() {
    insta::assert_snapshot!(shown(false, Provider::Opsworks));
}

#[test]
fn every_container_of_the_example_is_declared() {
    for provider in [Provider::Opsworks, Provider::Ec2] {
        let text = shown(true, provider);
        let desired = declared(text.split("\n== notes ==").next().unwrap());
        let names: Vec<&str> = desired.apps[0].containers.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["redis", "app", "worker", "nightly", "haproxy", "nginx", "forwarder"]);
        assert!(!desired.stack.suspend);
    }
}

#[test]
fn a_container_that_asks_for_the_database_gets_the_app_s_data_source() {
    let text = shown(true, Provider::Opsworks);
    let text = text.split("\n== notes ==").next().unwrap();
    assert_eq!(text.matches("      database: true\n").count(), 3, "{text}");
    let app = declared(text).apps.remove(0);
    assert!(matches!(&app.data_source, Some(DataSource::Rds { instance, database: Some(database), .. })
        if instance == "arn:aws:rds:eu-west-1:123456789012:db:shop-db" && database == "shop"));
    assert!(
        text.contains("    username: shop\n    password: {ssm: /shop/amazing-application/database-password}\n"),
        "{text}"
    );
}

#[test]
fn a_database_that_nobody_knows_is_made_up_and_suspends_the_stack() {
    let json = r#"{"deploy": {"shop": {"containers": [{"app": {"image": "x", "deploy": "auto", "database": true}},
                                                      {"web": {"image": "x", "deploy": "auto", "database": false}}]}}}"#;
    let imported = import(File::new("f", json), None, &Options::default()).unwrap();
    let text = &imported.manifests;
    assert!(
        text.contains("  dataSource: {rds: FILL-IN, database: shop, password: {ssm: /f/shop/database-password}}\n"),
        "{text}"
    );
    assert!(declared(text).stack.suspend);
    assert_eq!(text.matches("database: true").count(), 1);
    let note = imported.notes.iter().find(|note| note.at.message.starts_with("containers ask for the app's database"));
    let at = &note.unwrap().at;
    assert_eq!((at.line, &json[at.span.clone()]), (1, "\"database\""));
}
