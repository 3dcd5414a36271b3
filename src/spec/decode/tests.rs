use std::time::Duration;

use super::*;
use crate::spec::{
    app::DataSource,
    container::Deploy,
    cron::{Concurrency, History, Job, RunOn},
    health::{Probe, Statuses},
    network::Network,
    rollout::OnFailure,
    stack::{AddressKind, LoadBalancer},
};

const SHOP: &str = include_str!("shop.yaml");

fn decoded(text: &str) -> (Documents, Vec<String>) {
    let (documents, problems) = decode(vec![File::new("f", text)]);
    (documents, problems.iter().map(ToString::to_string).collect())
}

/// The problems of an app with one container of these lines.
fn container(lines: &str) -> Vec<String> {
    let lines: String = lines.lines().map(|line| format!("      {line}\n")).collect();
    decoded(&format!(
        "apiVersion: evenkeel/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  stack: s\n  layer: l\n  containers:\n    - name: x\n{lines}"
    ))
    .1
}

fn stack(lines: &str) -> Vec<String> {
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    decoded(&format!(
        "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: s}}\nspec:\n  provider: opsworks\n  region: r\n{lines}"
    ))
    .1
}

#[test]
fn every_supported_key_is_taken_over() {
    let (documents, problems) = decoded(SHOP);
    assert!(problems.is_empty(), "{problems:#?}");
    let stack = &documents.stacks[0].value;
    assert_eq!((stack.name.as_str(), stack.region.as_str()), ("shop", "eu-west-1"));
    assert!(stack.cookbooks.as_ref().unwrap().manage_berkshelf);
    let layer = &stack.layers[0];
    assert_eq!((layer.instances.count, layer.instances.instance_type.as_str()), (2, "t3.medium"));
    assert_eq!((layer.volumes[0].size_gib, layer.volumes[0].volume_type.as_str()), (120, "gp2"));
    assert_eq!(layer.load_balancers, [LoadBalancer::Classic("shop".into())]);
    assert_eq!(layer.security_group_ids, ["sg-1"]);
    assert_eq!((layer.docker.port, layer.docker.address), (2376, AddressKind::Private));

    let app = &documents.apps[0].value;
    assert!(app.is_docker());
    assert_eq!(app.name, "amazing application");
    assert_eq!(
        app.data_source,
        Some(DataSource::Rds {
            instance: "shop-db".into(),
            database: Some("shop".into()),
            username: None,
            password: None,
        })
    );
    assert_eq!(app.data_volumes["socks"], ["/var/run", "/var/lib/haproxy/socks"]);
    assert_eq!((app.rollout.drain_timeout, app.rollout.on_failure), (Duration::from_secs(300), OnFailure::Rollback));
    let container = &app.containers[1];
    assert_eq!((container.name.as_str(), container.replicas, container.deploy), ("app", 2, Deploy::Auto));
    assert_eq!(container.startup_time, Duration::from_secs(60));
    assert_eq!(
        container.health_check.as_ref().unwrap().probe,
        Probe::Http { path: "/up".into(), port: 8080, status: Statuses::default() }
    );
    assert_eq!(container.stop.signal.as_deref(), Some("SIGTERM"));
    assert_eq!(container.entrypoint.as_deref(), Some(["/app/bin/entrypoint.sh".to_owned()].as_slice()));
    assert_eq!(
        container.command.as_deref().unwrap(),
        ["bundle", "exec", "unicorn", "-l", "/var/lib/haproxy/socks/%{app_name}.sock"]
    );
    assert_eq!(app.containers[0].image, "redis:latest");
}

#[test]
fn a_network_is_one_of_four_for_an_app_or_a_container() {
    let (documents, problems) = decoded(SHOP);
    assert!(problems.is_empty(), "{problems:#?}");
    let app = &documents.apps[0].value;
    let networks: Vec<Network> = app.containers.iter().map(|container| app.network_of(container)).collect();
    assert_eq!(networks, [Network::Bridge, Network::Bridge, Network::Bridge, Network::App]);
    let (documents, _) = decoded(&SHOP.replace("dataVolumes:", "network: none\n  dataVolumes:"));
    let app = &documents.apps[0].value;
    assert_eq!((app.network_of(&app.containers[0]), app.network_of(&app.containers[3])), (Network::None, Network::App));
    assert_eq!(container("image: x\nnetwork: apps\n"), ["f:10:16: `apps` is not known here (did you mean `app`?)"]);
    let problems = container("image: x\nnetworks: [app]\n");
    assert_eq!(problems, ["f:10:7: unknown key `networks` (did you mean `network`?)"]);
}

#[test]
fn values_of_variables_are_taken_as_they_are_written() {
    let (documents, problems) = decoded(SHOP);
    assert!(problems.is_empty(), "{problems:#?}");
    let env = &documents.apps[0].value.containers[1].env;
    let values = ["VERSION", "DEBUG", "PORT"].map(|name| env[name].text().unwrap());
    assert_eq!(values, ["1.10", "yes", "0080"]);
}

#[test]
fn every_problem_of_every_file_is_told() {
    let bad = |kind| format!("apiVersion: evenkeel/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{stak: s}}\n");
    let (_, problems) = decode(vec![File::new("a", bad("App")), File::new("b", bad("Ap")), File::new("c", "a: [")]);
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(problems.join("\n"), @r"
    a:4:7: an app's `spec` needs `layer`
    a:4:8: an app's `spec` needs `stack` (is `stak` meant to be `stack`?)
    b:2:7: unknown kind `Ap` (did you mean `App`?)
    c:1:5: not YAML: while parsing a node, did not find expected node content
    ");
}

#[test]
fn an_unknown_key_is_told_with_the_key_that_was_meant() {
    assert_eq!(container("image: x\nreplica: 2\n"), ["f:10:7: unknown key `replica` (did you mean `replicas`?)"]);
    let problems = stack("layers:\n  - shortName: d\n    instances: {count: 1, type: t3.micro, colour: red}\n");
    assert_eq!(
        problems,
        [
            "f:9:45: unknown key `colour` (`instances` has the keys `count`, `load`, `max`, `min`, `schedule` and `type`)"
        ]
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_told_with_what_was_expected_and_found() {
    let problems = container(
        "image: [a]\nreplicas: two\nports: 80\nenv: [A]\ntraffic: yes\nstartupTime: 60\ncommand: \"a 'b\"\nlinks: [{a: b}]\n",
    );
    insta::assert_snapshot!(problems.join("\n"), @r"
    f:9:14: expected a text, found a list
    f:10:17: expected a whole number, found `two`
    f:11:14: expected a list of texts, found `80`
    f:12:12: expected an environment (a mapping of names to values), found a list
    f:13:16: expected true or false, found `yes` (write `true`)
    f:14:20: expected a duration like `60s`, found `60` (a duration needs a unit: write `60s`)
    f:15:16: a quote is opened and not closed (close the quote, or give a list of arguments)
    f:16:15: expected a text, found a mapping
    ");
}

#[test]
fn a_migration_is_a_command_or_says_more() {
    let problems = container("image: x\nmigration: rake db:migrate\n");
    assert_eq!(problems, Vec::<String>::new());
    let problems = container("image: x\nmigration: {command: [rake, db], reversible: false, timeout: 5m}\n");
    assert_eq!(problems, Vec::<String>::new());
    let problems = container("image: x\nmigration: {reversible: no, timeout: 0s}\n");
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("`command`")), "{problems:?}");
}

fn job(lines: &str) -> Result<Job, Vec<String>> {
    let lines: String = lines.lines().map(|line| format!("      {line}\n")).collect();
    let (documents, problems) = decoded(&format!(
        "apiVersion: evenkeel/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  containers:\n    - name: x\n      \
         image: x\n      deploy: cron\n{lines}  stack: s\n  layer: l\n"
    ));
    match problems.is_empty() {
        true => Ok(documents.apps[0].value.containers[0].cron.clone().unwrap()),
        false => Err(problems),
    }
}

#[test]
fn a_job_has_five_fields_or_the_three_of_the_old_form() {
    let said = |lines: &str| job(lines).unwrap().schedule.to_string();
    assert_eq!(said("cron: \"*/5 8-18 * * mon-fri\""), "*/5 8-18 * * mon-fri (UTC)");
    assert_eq!(said("cron: {minute: 30, hour: \"*/2\"}\ntimeZone: europe/berlin"), "30 */2 * * * (Europe/Berlin)");
    assert_eq!(said("cron: {weekday: sun}"), "* * * * sun (UTC)");
    let job = job("cron: \"0 3 * * *\"").unwrap();
    assert_eq!((job.run_on, job.concurrency), (RunOn::OneInstance, Concurrency::Forbid));
    assert_eq!((job.starting_deadline.as_secs(), job.timeout.as_secs()), (3_600, 86_400));
    assert_eq!(job.history, History { succeeded: 3, failed: 1 });
}

#[test]
fn what_is_said_of_a_job_is_taken_over() {
    let job = job("cron: \"0 3 * * *\"\nrunOn: everyInstance\nconcurrency: Replace\nstartingDeadline: 5m\n\
                   timeout: 1h\nhistory: {succeeded: 0, failed: 5}")
    .unwrap();
    assert_eq!((job.run_on, job.concurrency), (RunOn::EveryInstance, Concurrency::Replace));
    assert_eq!((job.starting_deadline.as_secs(), job.timeout.as_secs()), (300, 3_600));
    assert_eq!(job.history, History { succeeded: 0, failed: 5 });
}

#[test]
fn what_is_wrong_with_a_job_is_told_at_its_place() {
    let told = |lines: &str| job(lines).unwrap_err();
    assert_eq!(
        told("cron: \"0 25 * * *\""),
        ["f:9:13: `25` is no hour (hours are 0 to 23: `*`, one, a list `1,3`, a range `1-5`, or steps `*/2`)"]
    );
    assert!(told("cron: {minute: 99}")[0].starts_with("f:9:22: `99` is no minute"));
    assert!(told("cron: {minute: 9, day: 1}")[0].starts_with("f:9:25: unknown key `day`"));
    assert!(told("cron: {minute: \"0 3\"}")[0].starts_with("f:9:22: `0 3` is more than one field"));
    assert_eq!(
        told("cron: \"0 3 * * *\"\ntimeZone: Europe/Berln"),
        ["f:10:17: unknown time zone `Europe/Berln` (did you mean `Europe/Berlin`?)"]
    );
    assert!(told("")[0].starts_with("f:8:7: a container with `deploy: cron` needs `cron`"));
    assert!(told("cron: \"0 3 * * *\"\nrunOn: all")[0].starts_with("f:10:14: `all` is not known here"));
}

#[test]
fn what_means_nothing_to_a_job_or_to_a_service_is_refused() {
    for key in [
        "replicas: 2",
        "startupTime: 5s",
        "healthCheck: {tcp: 1}",
        "migration: x",
        "ports: [\"80\"]",
        "traffic: true",
        "allowDowntime: true",
        "strategy: drain",
        "restart: always",
    ] {
        let problems = job(&format!("cron: \"0 3 * * *\"\n{key}")).unwrap_err();
        let name = key.split(':').next().unwrap();
        assert!(
            problems[0].starts_with(&format!("f:10:7: `{name}` means nothing with `deploy: cron`")),
            "{problems:?}"
        );
    }
    for key in ["cron: \"0 3 * * *\"", "runOn: everyInstance", "timeZone: UTC", "timeout: 5m", "history: {failed: 1}"] {
        let problems = container(&format!("image: x\n{key}\n"));
        let name = key.split(':').next().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with(&format!("f:10:7: `{name}` means nothing without `deploy: cron`")),
            "{problems:?}"
        );
    }
}

#[test]
fn what_this_version_does_not_carry_out_is_refused() {
    assert_eq!(
        stack("notifications: {}\nlayers: []\n"),
        ["f:7:3: `notifications` is not supported yet by this version"]
    );
}

#[test]
fn what_is_missing_is_told_with_what_may_have_been_meant() {
    assert_eq!(container("imag: x\n"), ["f:9:7: a container needs `image` (is `imag` meant to be `image`?)"]);
    assert_eq!(container("replicas: 2\n"), ["f:8:7: a container needs `image`"]);
    assert_eq!(container("image:\n"), ["f:9:7: `image` has no value"]);
}

#[test]
fn a_health_check_has_one_form() {
    for form in [
        "{http: /up, port: 8080}",
        "{http: /up, port: 8080, status: 204}",
        "{http: /up, port: 8080, status: 200-299}",
        "{unix: /a.sock, http: /up, status: [200-299, 401]}",
        "{tcp: 6379, interval: 5s}",
        "{unix: /a.sock, http: /up}",
        "{exec: \"redis-cli ping\"}",
        "{exec: [redis-cli, ping]}",
        "{image: true}",
    ] {
        assert_eq!(container(&format!("image: x\nhealthCheck: {form}\n")), Vec::<String>::new(), "{form}");
    }
    for form in ["{}", "{http: /up}", "{tcp: 1, exec: a}", "{tcp: 0}", "{image: false}", "{unix: /a}", "{htp: /}", "up"]
    {
        assert!(!container(&format!("image: x\nhealthCheck: {form}\n")).is_empty(), "{form}");
    }
}

#[test]
fn a_status_that_is_none_is_told() {
    for status in ["99", "600", "399-200", "2xx", "200-", "[]", "{a: 1}", "[200, up]"] {
        let problems = container(&format!("image: x\nhealthCheck: {{http: /up, port: 80, status: {status}}}\n"));
        assert_eq!(problems.len(), 1, "{status}: {problems:?}");
    }
    let problems = container("image: x\nhealthCheck: {tcp: 80, status: 200}\n");
    assert!(problems[0].contains("unknown key `status`"), "{problems:?}");
    let problems = container("image: x\nhealthCheck: {http: /up, port: 80, status: 2xx}\n");
    assert!(problems[0].contains("`2xx` is no status code") && problems[0].contains("`200-399`"), "{problems:?}");
}

#[test]
fn the_documents_beside_a_broken_one_are_read_all_the_same() {
    let (documents, problems) = decoded(&format!("{SHOP}---\nkind: App\n---\njust text\n"));
    assert_eq!((documents.stacks.len(), documents.apps.len()), (1, 1));
    assert!(documents.incomplete);
    assert_eq!(problems.len(), 4, "{problems:#?}");
}

#[test]
fn text_that_is_not_utf8_is_told() {
    let (_, problems) = decode(vec![File::new("f", b"a: \xff\n".to_vec())]);
    assert_eq!(problems[0].to_string(), "f:1:4: the file is not UTF-8 text");
}

/// Cuts, doubles and replaces parts of a good manifest in every way that a fixed seed leads to.
#[test]
fn no_input_makes_it_panic() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let pieces = [
        "\"", "'", "[", "]", "{", "}", ": ", "- ", "\n", "\t", "&a ", "*a ", "!x ", "|\n", "ü", "\0", "%{", "9",
        "---\n", "<<: ",
    ];
    for _ in 0..4000 {
        let mut bytes = SHOP.as_bytes().to_vec();
        for _ in 0..=random(4) {
            let (from, len) = (random(bytes.len()), random(40));
            let to = (from + len).min(bytes.len());
            match random(4) {
                0 => bytes.truncate(from),
                1 => drop(bytes.drain(from..to)),
                2 => drop(bytes.splice(from..from, pieces[random(pieces.len())].bytes())),
                _ => {
                    let copy = bytes[from..to].to_vec();
                    let at = random(bytes.len());
                    bytes.splice(at..at, copy);
                }
            }
        }
        let result = crate::spec::validate::load("r", vec![File::new("f", bytes)]);
        if let Err(problems) = result {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|problem| problem.line >= 1 && problem.column >= 1));
        }
    }
}

#[test]
fn a_budget_is_a_number_of_instances_or_a_share_of_them() {
    let rollout = |lines: &str| {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  stack: s\n  layer: l\n  rollout: {lines}\n"
        );
        let (documents, problems) = decoded(&text);
        (documents.apps[0].value.rollout.clone(), problems)
    };
    let (read, problems) = rollout("{minInService: 50%, maxUnavailable: \"25%\", soak: 10s}");
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!((read.share.min_in_service, read.share.max_unavailable), (Some(50), Some(25)));
    assert_eq!(read.soak, Duration::from_secs(10));
    assert_eq!(rollout("{minInService: 0, maxUnavailable: 3}").0.max_unavailable, 3);
    assert!(rollout("{minInService: 0%}").1.is_empty());
    for (wrong, said) in [
        ("{maxUnavailable: 0%}", "`0%` is out of range: 1% to 100% are allowed"),
        ("{minInService: 101%}", "`101%` is out of range: 0% to 100% are allowed"),
        ("{minInService: x%}", "`x%` is out of range"),
        ("{maxUnavailable: 0}", "0 is out of range"),
        ("{maxUnavailable: [1]}", "expected a number like `1`, or `25%`"),
    ] {
        assert!(rollout(wrong).1[0].contains(said), "{wrong}: {:?}", rollout(wrong).1);
    }
}

#[test]
fn the_tags_of_a_stack_are_those_of_its_layers_which_may_say_otherwise() {
    let layers = |stack: &str, layer: &str| {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: s}}\nspec:\n  provider: ec2\n  region: eu-west-1\n  \
             instanceProfileArn: arn:aws:iam::123456789012:instance-profile/p\n  subnetIds: [subnet-a]\n  amiId: ami-00000001\n{stack}  \
             layers:\n    - shortName: docker\n      instances: {{count: 1, type: t3.small}}\n{layer}"
        );
        let (documents, problems) = decoded(&text);
        (documents.stacks[0].value.layers[0].tags.clone(), problems)
    };
    let tags = |of: &[(&str, &str)]| Some(of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    assert_eq!(layers("", ""), (None, vec![]));
    let of_stack = "  tags: {team: shop, cost centre: 42}\n";
    assert_eq!(layers(of_stack, ""), (tags(&[("cost centre", "42"), ("team", "shop")]), vec![]));
    let own = "      tags: {team: blog}\n";
    assert_eq!(layers(of_stack, own), (tags(&[("cost centre", "42"), ("team", "blog")]), vec![]));
    assert_eq!(layers("", "      tags: {}\n"), (tags(&[]), vec![]));
    for (wrong, said) in [
        ("{\"aws:x\": y}", "must not begin with `aws:`"),
        ("{\"Evenkeel:stack\": y}", "must not begin with `evenkeel:`"),
        ("{Name: y}", "the tag `Name` is Evenkeel's"),
        ("{\"a,b\": y}", "`a,b` is not the key of a tag"),
        ("{\"a / b\": y}", "`a / b` is not the key of a tag"),
        ("{a: \"b;c\"}", "`b;c` is not the value of a tag"),
        ("[a]", "`tags` (a mapping"),
    ] {
        let problems = layers("", &format!("      tags: {wrong}\n")).1;
        assert!(problems.iter().any(|problem| problem.contains(said)), "{wrong}: {problems:?}");
    }
    let many: Vec<String> = (0..31).map(|n| format!("t{n}: x")).collect();
    assert!(layers("", &format!("      tags: {{{}}}\n", many.join(", "))).1[0].contains("too many tags"));
}

#[test]
fn a_volume_takes_the_iops_and_the_throughput_that_its_type_has() {
    let volume = |lines: &str| {
        let layer = format!(
            "layers:\n  - shortName: l\n    instances: {{count: 1, type: t3.small}}\n    volumes: [{{mountPoint: /d, size: \
             10GiB, {lines}}}]"
        );
        stack(&layer).into_iter().filter(|problem| problem.contains("volume of type")).collect::<Vec<_>>()
    };
    for good in [
        "type: gp2",
        "type: gp3",
        "type: gp3, iops: 4000, throughput: 500",
        "type: io1, iops: 500",
        "type: io2, iops: 900",
    ] {
        assert_eq!(volume(good), Vec::<String>::new(), "{good}");
    }
    for (bad, told) in [
        ("type: io1", "a volume of type `io1` needs `iops`"),
        ("type: io2", "a volume of type `io2` needs `iops`"),
        ("type: gp2, iops: 400", "a volume of type `gp2` takes no `iops`"),
        ("type: gp2, throughput: 250", "a volume of type `gp2` takes no `throughput`"),
        ("type: io1, iops: 500, throughput: 250", "a volume of type `io1` takes no `throughput`"),
    ] {
        let problems = volume(bad);
        assert!(problems.len() == 1 && problems[0].contains(told), "{bad}: {problems:?}");
    }
}

#[test]
fn an_engine_may_be_silent_for_five_minutes_unless_said_otherwise() {
    let heal_after = |line: &str| {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: s}}\nspec:\n  provider: opsworks\n  region: r\n{line}"
        );
        decoded(&text).0.stacks[0].value.heal_after
    };
    assert_eq!(heal_after(""), Duration::from_secs(300));
    assert_eq!(heal_after("  healAfter: 10m\n"), Duration::from_secs(600));
}
