//! The table of the reference: a row for each key, and a test for each row.

use std::{fs, path::Path};

const HEADING: &str = "## Coming from a Stack JSON";

/// Every key that is documented.
const KEYS: [&str; 45] = [
    "Stack",
    "Layer",
    "EBS volume",
    "Custom recipes",
    "App",
    "`APP_TYPE`",
    "`deploy.<app>`",
    "`data_volumes`",
    "`containers` (of an app)",
    "`image`, `tag`",
    "`deploy: auto`",
    "`deploy: manual`",
    "`deploy: cron`",
    "`containers` (of a container)",
    "`startup_time`",
    "`database`",
    "`env`",
    "`env_from`",
    "`volumes`, `volumes_from`",
    "`links`",
    "`ports`",
    "`hostname`",
    "`entrypoint`, `command`",
    "`migration`",
    "`cron`",
    "`notifications.rollbar`",
    "`%{public_ip}`",
    "`%{app_name}`",
    "`%{opsworks}`",
    "`%%`",
    "`RELEASE_TAG`",
    "`docker.registries.<host>`",
    "`logrotate.forwarder`",
    "`manual`",
    "`docker::install`",
    "`docker::registries`",
    "`docker::data_volumes`",
    "`docker::deploy`",
    "`docker::logrotate`",
    "`docker::cleanup`",
    "`docker::exec`",
    "`docker::cron`",
    "`docker::notify_rollbar`",
    "`docker::tag`",
    "`docker kill`",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table: key, where it went, tests.
fn rows() -> Vec<Vec<String>> {
    let reference = fs::read_to_string(root().join("deploy/reference.md")).unwrap();
    let section = reference.split(HEADING).nth(1).expect("the reference has the section");
    let section = section.split("\n## ").next().unwrap().split("| then |").nth(1).expect("the table");
    let lines = section.lines().filter(|line| line.starts_with("| "));
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Every test of the repository: functions, and scenarios by their files' names.
fn tests() -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root().join("src"), root().join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if extension == "scenario" {
                found.push(path.file_stem().unwrap().to_string_lossy().into_owned());
            } else if extension == "rs" {
                let text = fs::read_to_string(&path).unwrap();
                let mut lines = text.lines().map(str::trim);
                while let Some(line) = lines.next() {
                    if ["#[test]", "#[tokio::test"].iter().any(|mark| line.starts_with(mark)) {
                        let function = lines.by_ref().find(|line| line.contains("fn ")).unwrap_or_default();
                        let name = function.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                        found.extend(name.map(str::to_owned));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn every_documented_key_has_a_row_and_every_row_a_test_that_exists() {
    let (rows, tests) = (rows(), tests());
    for key in KEYS {
        assert!(rows.iter().any(|row| row[0].split("; ").any(|own| own == key)), "no row for {key}");
    }
    for row in &rows {
        assert_eq!(row.len(), 3, "{row:?}");
        let named: Vec<&str> = row[2].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test holds {}", row[0]);
        for name in named {
            assert!(tests.iter().any(|test| test == name), "{}: there is no test {name}", row[0]);
        }
    }
    assert!(
        fs::read_to_string(root().join("README.md")).unwrap().contains("deploy/reference.md#coming-from-a-stack-json")
    );
}
