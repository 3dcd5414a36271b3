//! `deploy`: apps and their containers.

use super::{app, container, declared, printed, refused, told, with};
use crate::spec::{Value, container::Deploy};

#[test]
fn data_volumes_have_two_forms() {
    let volumes = |form: &str| {
        let json = format!(r#"{{"deploy": {{"shop": {{"data_volumes": {form}, "containers": []}}}}}}"#);
        app(&json).0.data_volumes.into_iter().collect::<Vec<_>>()
    };
    let both =
        [("socks".to_owned(), vec!["/run".to_owned(), "/s".to_owned()]), ("www".to_owned(), vec!["/w".to_owned()])];
    for form in [
        r#"[{"socks": {"volumes": ["/run", "/s"]}, "www": {"volumes": ["/w"]}}]"#,
        r#"[{"socks": {"volumes": ["/run", "/s"]}}, {"www": {"volumes": ["/w"]}}]"#,
        r#"{"socks": ["/run", "/s"], "www": ["/w"]}"#,
        r#"[{"socks": ["/run", "/s"]}, {"www": {"volumes": ["/w"]}}]"#,
    ] {
        assert_eq!(volumes(form), both, "{form}");
    }
    assert_eq!(volumes("[]"), []);
}

#[test]
fn a_data_volume_that_is_there_already_is_not_made_again() {
    let json = r#"{"deploy": {"shop": {"data_volumes": [{"a": ["/one"]}, {"a": ["/two"]}], "containers": []}}}"#;
    let (app, notes) = app(json);
    assert_eq!(app.data_volumes["a"], ["/one"]);
    assert!(notes[0].starts_with("left out: the data volume `a` is there already"), "{notes:?}");
}

#[test]
fn a_data_volume_of_the_instance_is_mounted_by_who_takes_it() {
    let json = r#"{"deploy": {"shop": {"data_volumes": {"conf": ["/srv/conf:/etc/app"], "mixed": ["/m", "/srv/m:/n:ro"]},
        "containers": [{"app": {"image": "x", "deploy": "auto", "volumes": ["/v"], "volumes_from": ["conf:ro", "mixed"]}}]}}}"#;
    let (app, notes) = app(json);
    assert_eq!(app.data_volumes.keys().collect::<Vec<_>>(), ["mixed"]);
    assert_eq!(app.containers[0].volumes, ["/v", "/srv/conf:/etc/app:ro", "/srv/m:/n:ro"]);
    assert_eq!(app.containers[0].volumes_from, ["mixed"]);
    assert!(notes[0].starts_with("changed: `/srv/conf:/etc/app` of the data volume `conf`"), "{notes:?}");
}

#[test]
fn a_data_volume_that_several_apps_take_is_mounted_by_its_name() {
    let json = r#"{"deploy": {
        "front": {"data_volumes": {"own": ["/own"]},
                  "containers": [{"nginx": {"image": "x", "deploy": "auto", "volumes_from": ["socks:ro", "own"]}}]},
        "The Shop": {"data_volumes": [{"socks": {"volumes": ["/run", "/s"]}}, {"cache": {"volumes": ["/c"]}}],
                     "containers": [{"app": {"image": "x", "deploy": "auto", "volumes_from": ["socks", "cache"]}}]}}}"#;
    let imported = printed(json);
    let apps = declared(&imported.manifests).apps;
    let [shop, front] = apps.as_slice() else { panic!("{apps:?}") };
    assert_eq!(shop.containers[0].volumes, ["the-shop-socks-0:/run", "the-shop-socks-1:/s"]);
    assert_eq!((shop.containers[0].volumes_from.clone(), shop.data_volumes.len()), (vec!["cache".to_owned()], 1));
    assert_eq!(front.containers[0].volumes, ["the-shop-socks-0:/run:ro", "the-shop-socks-1:/s:ro"]);
    assert_eq!(front.containers[0].volumes_from, ["own"]);
    assert!(told(&imported.notes)[0].starts_with("changed: the data volume `socks` is taken by another app too"));
}

#[test]
fn an_app_has_any_name_and_there_may_be_several() {
    let json = r#"{"deploy": {"my app": {"containers": [{"a": {"image": "x", "deploy": "auto"}}]},
                              "1.10": {"containers": [{"b": {"image": "x", "deploy": "auto"}}]}}}"#;
    let desired = declared(&printed(json).manifests);
    assert_eq!(desired.apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["1.10", "my app"]);
    assert!(desired.apps.iter().all(|app| app.is_docker() && app.layer == "docker"));
}

#[test]
fn what_is_no_app_of_docker_is_left_out_and_told() {
    let json = r#"{"deploy": {"blog": {"rails_env": "production"}, "shop": {"containers": [], "symlinks": {}}}}"#;
    let (app, notes) = app(json);
    assert_eq!(app.name, "shop");
    assert!(notes[0].starts_with("left out: `deploy.blog` has neither"), "{notes:?}");
    assert!(notes[1].starts_with("left out: `deploy.shop.symlinks` is not known"), "{notes:?}");
}

#[test]
fn containers_keep_their_order() {
    let json = with(
        r#"{"z": {"image": "x", "deploy": "auto"}}, {"a": {"image": "x", "deploy": "auto"}, "m": {"image": "x", "deploy": "auto"}}"#,
    );
    assert_eq!(app(&json).0.containers.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["z", "a", "m"]);
}

#[test]
fn an_image_carries_its_tag_has_it_beside_it_or_is_the_latest() {
    let image = |keys: &str| {
        let (app, _) = app(&with(&format!(r#"{{"app": {{"deploy": "auto", {keys}}}}}"#)));
        app.containers[0].image.clone()
    };
    assert_eq!(image(r#""image": "redis""#), "redis:latest");
    assert_eq!(image(r#""image": "redis:7""#), "redis:7");
    assert_eq!(image(r#""image": "redis:7", "tag": "7""#), "redis:7");
    assert_eq!(image(r#""image": "host:5000/a/b", "tag": "1.10""#), "host:5000/a/b:1.10");
    assert_eq!(image(r#""image": "redis", "tag": 7"#), "redis:7");
}

#[test]
fn a_tag_that_was_a_number_is_the_one_that_was_pulled() {
    let (app, notes) = app(&with(r#"{"app": {"deploy": "auto", "image": "x", "tag": 1.10}}"#));
    assert_eq!(app.containers[0].image, "x:1.1");
    assert!(notes[0].starts_with("decide: the tag 1.10 is a number"), "{notes:?}");
}

#[test]
fn deploy_is_auto_manual_or_cron() {
    let json = with(
        r#"{"a": {"image": "x", "deploy": "auto"}}, {"b": {"image": "x", "deploy": "manual"}}, {"c": {"image": "x", "deploy": "cron"}}"#,
    );
    let modes: Vec<Deploy> = app(&json).0.containers.iter().map(|it| it.deploy).collect();
    assert_eq!(modes, [Deploy::Auto, Deploy::Manual, Deploy::Cron]);
    let (app, notes) = app(&with(r#"{"a": {"image": "x"}}"#));
    assert_eq!(app.containers[0].deploy, Deploy::Auto);
    assert!(notes[0].starts_with("decide: the container `a` has no `deploy`"), "{notes:?}");
}

#[test]
fn containers_becomes_replicas() {
    assert_eq!(container("").0.replicas, 1);
    assert_eq!(container(r#", "containers": 3"#).0.replicas, 3);
    assert_eq!(container(r#", "containers": "2""#).0.replicas, 2);
}

#[test]
fn startup_time_is_how_long_a_replica_must_run() {
    let (container, notes) = container(r#", "containers": 2, "startup_time": 60"#);
    assert_eq!(container.startup_time.as_secs(), 60);
    assert!(notes[0].starts_with("changed: `startup_time` was a wait"), "{notes:?}");
}

#[test]
fn env_is_taken_over_as_the_cookbook_passed_it() {
    let keys = r#", "env": {"A": "text", "B": 1, "C": true, "D": null, "E": 1.50, "F": "yes", "G": "1.10", "H": " a: #b ", "I": "one\ntwo",
                            "J": "'%{app_name}' \"100%%\"", "K": "", "L": "\ud83d\ude00"}"#;
    let (container, _) = container(keys);
    let expected = [
        ("A", "text"),
        ("B", "1"),
        ("C", "true"),
        ("D", ""),
        ("E", "1.5"),
        ("F", "yes"),
        ("G", "1.10"),
        ("H", " a: #b "),
        ("I", "one\ntwo"),
        ("J", "'%{app_name}' \"100%%\""),
        ("K", ""),
        ("L", "😀"),
    ];
    for (name, value) in expected {
        assert_eq!(container.env[name], Value::from(value), "{name}");
    }
    assert_eq!(container.env.len(), expected.len());
}

#[test]
fn what_looks_like_a_secret_is_taken_over_and_told_without_its_value() {
    let printed = printed(&with(
        r#"{"app": {"image": "x", "deploy": "auto", "env": {"API_TOKEN": "s3cr3t", "RACK_ENV": "production"}}}"#,
    ));
    let notes = told(&printed.notes);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("`API_TOKEN` of `app`") && notes[0].contains("{ssm: /stack/shop/API_TOKEN}"),
        "{notes:?}"
    );
    assert!(printed.notes.iter().all(|note| !note.to_string().contains("s3cr3t")));
    assert_eq!(printed.manifests.matches("s3cr3t").count(), 1);
}

#[test]
fn env_from_names_the_container_whose_env_is_taken_first() {
    let json = with(
        r#"{"app": {"image": "x", "deploy": "auto", "env": {"A": "1", "B": "1"}}}, {"worker": {"image": "x", "deploy": "auto", "env_from": "app", "env": {"B": "2"}}}"#,
    );
    let (app, _) = app(&json);
    let env = app.env_of(&app.containers[1]);
    assert_eq!(env.into_values().filter_map(Value::text).collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn mounts_links_and_ports_are_taken_over() {
    let json = with(
        r#"{"redis": {"image": "x", "deploy": "auto"}}, {"app": {"image": "x", "deploy": "auto", "volumes": ["/srv:/data:ro", "/cache"],
            "volumes_from": ["socks", "redis0"], "links": ["redis0:redis"], "ports": ["80:8080", 443, "127.0.0.1:53:53/udp"]}}"#,
    );
    let app = app(&json).0.containers.remove(1);
    assert_eq!(app.volumes, ["/srv:/data:ro", "/cache"]);
    assert_eq!(app.volumes_from, ["socks", "redis0"]);
    assert_eq!(app.links, ["redis0:redis"]);
    assert_eq!(app.ports, ["80:8080", "443", "127.0.0.1:53:53/udp"]);
}

#[test]
fn a_hostname_is_taken_over_or_left_to_its_default() {
    assert_eq!(
        container(r#", "hostname": "%{app_name}.%{opsworks}""#).0.hostname.as_deref(),
        Some("%{app_name}.%{opsworks}")
    );
    assert_eq!(container("").0.hostname, None);
}

#[test]
fn an_entrypoint_is_one_word_and_a_command_is_split_as_a_shell_does() {
    let (it, notes) = container(r#", "entrypoint": "/bin/sh", "command": "-c 'echo $HOME && true' a\\ b""#);
    assert_eq!(it.entrypoint.unwrap(), ["/bin/sh"]);
    assert_eq!(it.command.unwrap(), ["-c", "echo $HOME && true", "a b"]);
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(container(r#", "entrypoint": "/my app/run""#).0.entrypoint.unwrap(), ["/my app/run"]);
    assert_eq!(container(r#", "entrypoint": ["sh", "-c"], "command": ["a b"]"#).0.command.unwrap(), ["a b"]);
    assert_eq!(container(r#", "entrypoint": "", "command": """#).0.command, None);
    let (_, notes) = container(r#", "command": "echo $HOME""#);
    assert!(notes[0].starts_with("decide: no shell reads the command"), "{notes:?}");
}

#[test]
fn a_migration_runs_before_anything_stops_and_for_auto_alone() {
    let (it, notes) = container(r#", "migration": "rake db:migrate STAMP=%Y""#);
    assert_eq!(it.migration.unwrap().command, ["rake", "db:migrate", "STAMP=%%Y"]);
    assert!(notes[0].starts_with("changed: the migration runs before anything stops"), "{notes:?}");
    let (app, notes) = app(&with(r#"{"app": {"image": "x", "deploy": "manual", "migration": "m"}}"#));
    assert_eq!(app.containers[0].migration, None);
    assert!(notes[0].starts_with("left out: `migration`: only containers with `deploy: auto`"), "{notes:?}");
}

#[test]
fn rollbar_is_told_with_the_same_three() {
    let keys = r#", "notifications": {"rollbar": {"access_token": "t0k3n", "env_var": "RACK_ENV", "rev_var": "REV"}}"#;
    let (it, notes) = container(keys);
    let rollbar = it.rollbar.unwrap();
    assert_eq!(
        (rollbar.access_token, rollbar.env_var.as_str(), rollbar.rev_var.as_str()),
        ("t0k3n".into(), "RACK_ENV", "REV")
    );
    assert!(notes[0].starts_with("changed: Rollbar is told of `app` once per release"), "{notes:?}");
    assert!(notes[1].starts_with("decide: the access token for Rollbar"), "{notes:?}");
    let (it, notes) = container(
        r#", "notifications": {"rollbar": {"access_token": "", "env_var": "A", "rev_var": "B"}, "slack": {}}"#,
    );
    assert_eq!(it.rollbar, None);
    assert!(notes.iter().any(|note| note.contains("has no `access_token`")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("containers.app.notifications.slack` is not known")), "{notes:?}");
}

#[test]
fn what_is_filled_in_is_taken_over_as_it_is() {
    let keys = r#", "hostname": "%{app_name}", "command": "run %{app_name} 5%%", "env": {"IP": "%{public_ip}", "ME": "%{opsworks}"},
                  "volumes": ["/srv/%{app_name}:/data"], "volumes_from": ["socks"]"#;
    let (it, _) = container(keys);
    assert_eq!(it.command.unwrap(), ["run", "%{app_name}", "5%%"]);
    assert_eq!((it.env["IP"].text(), it.env["ME"].text()), (Some("%{public_ip}"), Some("%{opsworks}")));
    assert_eq!(it.volumes, ["/srv/%{app_name}:/data"]);
    let told = refused(",\n\"env\": {\"A\": \"%{app}\"}");
    assert!(told[0].starts_with("f:2:14: unknown name %{app}"), "{told:?}");
    assert!(refused(r#", "command": "date +%Y""#)[0].contains("must be written %%"));
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_beside_it() {
    let printed = printed(&with("{\"app\": {\"image\": \"x\",\n\"deploy\": \"auto\",\n\"link\": []}}"));
    let note = printed.notes.iter().find(|note| note.at.message.contains("link")).unwrap();
    assert_eq!(
        note.to_string(),
        "stack.json:3:1: left out: `deploy.shop.containers.app.link` is not known, and in no manifest: is `links` meant?"
    );
    assert!(
        printed.manifests.contains("    # left out: `deploy.shop.containers.app.link` is not known"),
        "{}",
        printed.manifests
    );
}
