//! `deploy: cron`.

use super::{app, with};
use crate::spec::{
    Job,
    cron::{Concurrency, RunOn},
};

fn job(keys: &str) -> (Job, Vec<String>) {
    let (mut app, notes) = app(&with(&format!(r#"{{"tidy": {{"image": "x", "deploy": "cron"{keys}}}}}"#)));
    (app.containers.remove(0).cron.unwrap(), notes)
}

#[test]
fn a_cron_task_keeps_its_three_fields_and_runs_once_per_stack() {
    let (it, notes) = job(r#", "cron": {"minute": "*/5", "hour": 3, "weekday": "mon-fri"}"#);
    assert_eq!(it.schedule.to_string(), "*/5 3 * * mon-fri (UTC)");
    assert_eq!((it.run_on, it.concurrency), (RunOn::OneInstance, Concurrency::Forbid));
    assert!(notes[0].starts_with("changed: `tidy` ran on every instance"), "{notes:?}");
}

#[test]
fn a_field_that_is_left_out_is_any() {
    for (keys, schedule) in [
        (r#", "cron": {"hour": "3"}"#, "* 3 * * * (UTC)"),
        (r#", "cron": {"minute": null}"#, "* * * * * (UTC)"),
        (r#", "cron": {}"#, "* * * * * (UTC)"),
        ("", "* * * * * (UTC)"),
    ] {
        assert_eq!(job(keys).0.schedule.to_string(), schedule, "{keys}");
    }
}

#[test]
fn what_meant_nothing_to_a_cron_task_is_left_out_and_told() {
    let keys = r#", "containers": 2, "startup_time": 5, "ports": ["80"], "hostname": "a", "migration": "m",
                  "notifications": {"rollbar": {"access_token": "a", "env_var": "A", "rev_var": "B"}}, "cron": {"day": 1}"#;
    let (_, notes) = job(keys);
    for key in ["`containers`", "`startup_time`", "`ports`", "`hostname`", "`migration`", "`rollbar`", "cron.day`"] {
        assert!(notes.iter().any(|note| note.starts_with("left out: ") && note.contains(key)), "{key}: {notes:?}");
    }
}

#[test]
fn cron_of_a_service_means_nothing() {
    let (app, notes) = app(&with(r#"{"app": {"image": "x", "deploy": "auto", "cron": {"minute": 1}}}"#));
    assert_eq!(app.containers[0].cron, None);
    assert!(notes[0].starts_with("left out: `cron`: it means nothing without `deploy: cron`"), "{notes:?}");
}
