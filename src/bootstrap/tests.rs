use super::*;

use std::process::{Command, Stdio};

fn tls() -> Bootstrap {
    Bootstrap {
        stack: "shop".into(),
        layer: "docker".into(),
        hostname: "docker1".into(),
        region: "eu-west-1".into(),
        mounts: ["/var/lib/docker", "/srv"]
            .iter()
            .enumerate()
            .map(|(i, at)| Mount { device: device(i).unwrap(), mount_point: (*at).into() })
            .collect(),
        transport: Transport::Tls { port: 2376, parameter: "/evenkeel/shop/engine".into(), ssm_endpoint: None },
        log: LogRotation { max_size: "10m".into(), max_file: 5 },
        authorities: BTreeMap::new(),
    }
}

fn ssh() -> Bootstrap {
    Bootstrap { transport: Transport::Ssh, mounts: Vec::new(), ..tls() }
}

/// What bash makes of the beginning of a script, up to its settings, and then of `then`.
fn bash(script: &str, then: &str) -> String {
    let (values, _) = script.split_once("set -euo pipefail").expect("the script is strict");
    let output = Command::new("bash").args(["-c", &format!("{values}\n{then}")]).output().expect("bash");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn this_is_what_an_instance_reached_by_tls_runs() {
    insta::assert_snapshot!(user_data(&tls()).unwrap());
}

#[test]
fn this_is_what_an_instance_reached_by_ssh_runs() {
    insta::assert_snapshot!(user_data(&ssh()).unwrap());
}

#[test]
fn every_part_is_in_its_place_and_bash_understands_the_whole() {
    for bootstrap in [tls(), ssh()] {
        let script = user_data(&bootstrap).unwrap();
        assert!(!script.contains("#@"), "a part is missing");
        let mut bash = Command::new("bash").args(["-n", "/dev/stdin"]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut bash.stdin.take().unwrap(), script.as_bytes()).unwrap();
        assert!(bash.wait().unwrap().success());
    }
    let script = user_data(&tls()).unwrap();
    for (name, part) in PARTS {
        let last = part.lines().last().unwrap();
        assert!(script.contains(&format!("{last}\nEND\n")), "{name}");
    }
}

#[test]
fn the_steps_that_are_announced_are_the_ones_a_verdict_knows() {
    let announced = [TEMPLATE, TLS, SSH]
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim().strip_prefix("begin ").or(line.strip_prefix("step=")))
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(announced, verdict::STEPS.into_iter().collect());
}

#[test]
fn a_value_reaches_bash_as_it_is_whatever_it_has_in_it() {
    let hostile = [
        "",
        " ",
        "a b",
        "it's",
        "''",
        "\"",
        "$(touch /tmp/no)",
        "`id`",
        "${HOME}",
        "a\nb",
        "a\\",
        "\\'",
        "!!",
        "*",
        "~",
        "é – 船",
        "#",
        "; exit 1",
        "&",
        "\t",
        "END",
        "#@ values",
        "-n",
        "a=b",
        "\u{7f}",
        "\r\n",
    ];
    for value in hostile {
        let bootstrap = Bootstrap {
            stack: value.into(),
            hostname: value.into(),
            mounts: vec![Mount { device: value.into(), mount_point: format!("/{value}.") }],
            transport: Transport::Tls { port: 1, parameter: value.into(), ssm_endpoint: Some(value.into()) },
            log: LogRotation { max_size: value.into(), max_file: 0 },
            ..tls()
        };
        let script = user_data(&bootstrap).unwrap();
        let seen = bash(
            &script,
            "printf '%s\\0' \"$stack\" \"$hostname\" \"$parameter\" \"$ssm_endpoint\" \"$log_max_size\" \"${mounts[@]}\" \
             \"$port\"",
        );
        let mount = format!("/{value}.");
        assert_eq!(seen, [value, value, value, value, value, value, &mount, "1", ""].join("\0"), "{value:?}");
    }
}

#[test]
fn the_authority_of_a_registry_is_put_where_the_engine_looks_for_it() {
    let (host, pem) = ("r.example.com:5443", "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n");
    let bootstrap = Bootstrap { authorities: BTreeMap::from([(host.into(), pem.into())]), ..tls() };
    let script = user_data(&bootstrap).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let begun = format!("docker_certs={}\n{script}", directory.path().display());
    bash(&begun, "true");
    assert_eq!(std::fs::read_to_string(directory.path().join(host).join("ca.crt")).unwrap(), pem);
    assert_ne!(fingerprint(&bootstrap), fingerprint(&tls()));
}

#[test]
fn the_same_values_make_the_same_script_and_others_another() {
    let script = user_data(&tls()).unwrap();
    assert_eq!(script, user_data(&tls()).unwrap());
    assert_eq!(fingerprint(&tls()).len(), 16);
    assert_eq!(fingerprint(&tls()), fingerprint(&tls()));
    let others = [
        Bootstrap { hostname: "docker2".into(), ..tls() },
        Bootstrap { mounts: Vec::new(), ..tls() },
        Bootstrap { log: LogRotation { max_size: "10m".into(), max_file: 6 }, ..tls() },
        Bootstrap { transport: Transport::Ssh, ..tls() },
    ];
    for other in others {
        assert_ne!(script, user_data(&other).unwrap(), "{other:?}");
        assert_ne!(fingerprint(&tls()), fingerprint(&other), "{other:?}");
    }
}

#[test]
fn a_volume_inside_another_is_mounted_after_it() {
    let mount = |device: &str, mount_point: &str| Mount { device: device.into(), mount_point: mount_point.into() };
    let mounts = vec![mount("/dev/sdf", "/srv/shop/"), mount("/dev/sdg", "/srv")];
    let script = user_data(&Bootstrap { mounts, ..tls() }).unwrap();
    assert_eq!(bash(&script, "echo \"${mounts[@]}\""), "/dev/sdg /srv /dev/sdf /srv/shop\n");
}

#[test]
fn eleven_volumes_with_long_names_fit_and_what_does_not_is_refused() {
    let mounts = |length: usize| {
        (0..11)
            .map(|i| Mount { device: device(i).unwrap(), mount_point: format!("/{}{i:02}", "m".repeat(length)) })
            .collect()
    };
    let script = user_data(&Bootstrap { mounts: mounts(60), ..tls() }).unwrap();
    assert!(script.len() <= LIMIT);
    let refused = user_data(&Bootstrap { mounts: mounts(1000), ..tls() }).unwrap_err();
    assert!(refused.bytes > LIMIT);
    assert!(refused.to_string().contains("docker1"), "{refused}");
}

#[test]
fn device_names_are_the_eleven_that_aws_recommends() {
    assert_eq!(device(0).as_deref(), Some("/dev/sdf"));
    assert_eq!(device(10).as_deref(), Some("/dev/sdp"));
    assert_eq!(device(11), None);
}

/// The policy of the instances' role in `deploy/iam`, compared with what the script asks AWS for.
#[test]
fn an_instance_may_do_what_its_script_does_and_nothing_else() {
    let policy: serde_json::Value = serde_json::from_str(include_str!("../../deploy/iam/instance.json")).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let mut allowed: Vec<&str> = statements.iter().map(|it| it["Action"].as_str().unwrap()).collect();
    allowed.sort_unstable();
    let asked = |bootstrap: &Bootstrap| -> Vec<String> {
        let script = user_data(bootstrap).unwrap();
        let words = script.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        let targets = words.filter_map(|word| word.strip_prefix("Amazon")?.split_once('.'));
        targets.map(|(service, operation)| format!("{service}:{operation}")).collect()
    };
    assert_eq!(asked(&tls()), ["SSM:GetParameter"]);
    assert_eq!(asked(&ssh()), Vec::<String>::new(), "no request of AWS's API is made");
    // Systems Manager decrypts a SecureString as whoever reads it ("Restricting access to Parameter Store parameters").
    assert_eq!(allowed, ["kms:Decrypt", "ssm:GetParameter"]);
    let of = |action: &str| statements.iter().find(|it| it["Action"] == action).unwrap();
    let every = format!("arn:aws:ssm:*:*:parameter{}", crate::spec::engine_parameter("shop").replace("shop", "*"));
    assert_eq!(of("ssm:GetParameter")["Resource"], every);
    assert_eq!(of("kms:Decrypt")["Condition"]["StringLike"]["kms:ViaService"], "ssm.*.amazonaws.com");
}
