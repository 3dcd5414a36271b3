//! What becomes of each key, and of what is wrong.

mod apps;
mod around;
mod example;
mod jobs;
mod reference;
mod stack;
mod written;
mod wrong;

use super::{Imported, Note, Options, import};
use crate::spec::{App, Container, Desired, File, validate};

/// What is printed for a Stack JSON alone.
fn printed(json: &str) -> Imported {
    import(File::new("stack.json", json), None, &Options::default()).unwrap_or_else(|problems| {
        panic!("{json}\n{:#?}", problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    })
}

/// The stack that manifests declare.
fn declared(manifests: &str) -> Desired {
    let loaded = validate::load("r", vec![File::new("f", manifests)]);
    loaded.unwrap_or_else(|problems| panic!("{manifests}\n{problems:?}")).into_values().next().unwrap()
}

/// A Stack JSON with an app `shop` and these containers; `{}` stands around them.
fn with(containers: &str) -> String {
    format!(r#"{{"deploy": {{"shop": {{"data_volumes": {{"socks": ["/socks"]}}, "containers": [{containers}]}}}}}}"#)
}

/// The only app of a Stack JSON, and the notes.
fn app(json: &str) -> (App, Vec<String>) {
    let Imported { manifests, notes } = printed(json);
    (declared(&manifests).apps.remove(0), told(&notes))
}

/// A container `app` with these keys beside its image, and the notes.
fn container(keys: &str) -> (Container, Vec<String>) {
    let (mut app, notes) = app(&with(&format!(r#"{{"app": {{"image": "x", "deploy": "auto"{keys}}}}}"#)));
    (app.containers.remove(0), notes)
}

/// The notes without their places, but for that of a stack that is made up.
fn told(notes: &[Note]) -> Vec<String> {
    let all = notes.iter().map(|note| format!("{}: {}", note.kind, note.at.message));
    all.filter(|note| !note.contains("--stack-from")).collect()
}

/// What a container `app` with these keys is refused for.
fn refused(keys: &str) -> Vec<String> {
    problems(&with(&format!(r#"{{"app": {{"image": "x", "deploy": "auto"{keys}}}}}"#)))
}

/// What a Stack JSON is refused for.
fn problems(json: &str) -> Vec<String> {
    match import(File::new("f", json), None, &Options::default()) {
        Ok(imported) => panic!("{}", imported.manifests),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}
