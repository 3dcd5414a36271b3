//! What people read and do in containers: `evenkeel logs` and `evenkeel exec`, as they call them.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use super::{
    controller::{program, words},
    ec2,
    fleet::{Fleet, beside_others},
    ground::{GROUND, SHARED, run},
    place::Place,
};

const OTHERS: &str = "    - name: talker\n      image: registry.example.com/shop/busybox:1.0\n      replicas: 2\n      \
    command: \"sh -c 'echo I am $HOSTNAME of %{app_name}; echo oops >&2; exec sleep 1000000'\"\n      \
    stop: {timeout: 1s}\n      startupTime: 3s\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_logs_and_commands_reach_every_replica_and_what_is_not_there_is_said() {
    let _turn = beside_others().await;
    every_replica_is_reached(&Fleet::new("handled", "ap-southeast-3")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_logs_and_commands_reach_every_replica_and_what_is_not_there_is_said() {
    let _turn = beside_others().await;
    every_replica_is_reached(&ec2::fleet::Fleet::new("ec2handled", SHARED)).await;
}

/// A command that ends in so many seconds if nothing ends it before, with what Evenkeel is told in its environment: nothing
/// here is waited for without an end.
fn bounded(place: &impl Place, seconds: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(seconds).envs(&GROUND.env).envs(place.env());
    command
}

async fn every_replica_is_reached<P: Place>(place: &P) {
    let name = place.name();
    let (app, talker, talker1) = (format!("{name} app"), format!("{name} app/talker"), format!("{name} app/talker1"));
    let mut manifest = place.manifest(2);
    manifest.others = OTHERS.into();
    let revision = place.commit(&place.text(&manifest));
    let mut controller = place.start(&[]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    let state = place.state();
    let state = ["--state", state.to_str().unwrap()];
    let call = |head: &[&str], tail: &[&str]| {
        let output = place.command(&[head, &state, tail].concat()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };

    let (code, out, err) = call(&["logs", &talker], &[]);
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    let expected = ["docker1/talker0", "docker1/talker1", "docker2/talker0", "docker2/talker1"];
    let expected = expected.map(|place| {
        let (host, replica) = place.split_once('/').unwrap();
        format!("{place} | I am {replica}.{host} of {replica}")
    });
    assert_eq!((code, &lines[..]), (Some(0), &expected.each_ref().map(String::as_str)[..]), "{err}");
    assert_eq!(err.matches("oops").count(), 4, "{err}");
    let (_, out, _) = call(&["logs", &talker1, "--instance", "docker2", "--tail", "2"], &[]);
    assert_eq!(out, "I am talker1.docker2 of talker1\n");
    let (code, _, err) = call(&["logs", &talker, "--instance", "docker7"], &[]);
    let none = format!("stack {name} has no instance docker7, but docker1, docker2");
    assert!(code == Some(1) && err.contains(&none), "{err}");
    let (code, _, err) = call(&["logs", &format!("{talker}5")], &[]);
    assert!(code == Some(1) && err.contains(&format!("no container of {talker}5")), "{err}");

    let (code, out, err) = call(&["exec", &talker], &["--", "hostname"]);
    assert_eq!((code, out.as_str()), (Some(0), "talker0.docker1\n"), "{err}");
    assert!(err.starts_with("in docker1/talker0, one of docker1/talker0, docker1/talker1, docker2/talker0"), "{err}");
    let (code, out, err) = call(&["exec", &talker1, "--instance", "docker2"], &["--", "sh", "-c", "hostname; exit 3"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(3), "talker1.docker2\n", ""));
    let (code, _, err) = call(&["exec", &talker, "-t"], &["--", "sh"]);
    assert!(code == Some(1) && err.contains("--tty wants a terminal"), "{err}");
    let (_, status, _) = call(&["status", "--json"], &[]);
    assert!(!status.contains("exit 3"));

    // What is piped goes in; what has a terminal gets its size and its keys.
    let talker0 = format!("{talker}0");
    let exec = [&["exec", &talker0, "--instance", "docker1"][..], &state].concat();
    let mut child = place.command(&[&exec[..], &["-i", "--", "wc", "-c"]].concat());
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[b'x'; 100_000]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "100000", "{}", words(&output));
    let quoted = |words: &[&str]| words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    // It tells its size again and again: an engine before API 1.42 learns it only once the command runs, and what is said
    // before that is lost now and then, to Docker's own command too.
    let tells = "until read -t 1 key; do stty size; done; echo \"got $key\"";
    let in_terminal =
        format!("stty rows 33 cols 99; '{}' {} -it -- sh -c '{tells}'", program().display(), quoted(&exec));
    let mut child = bounded(place, "60");
    child.args(["script", "-qec", &in_terminal, "/dev/null"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.by_ref().find(|line| line.trim() == "33 99").as_deref().map(str::trim), Some("33 99"));
    input.write_all(b"y\r").unwrap();
    assert!(said.any(|line| line.trim() == "got y"));
    assert!(child.wait().unwrap().success());

    // Who follows an app sees what a rollout makes of it.
    let mut child = bounded(place, "200");
    child.arg(program()).args([&["logs", &app, "-f"][..], &state].concat());
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut followed = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(followed.any(|line| line == "docker2/talker1 | I am talker1.docker2 of talker1"));
    manifest.others = OTHERS.replace("I am", "I am still");
    let revision = place.commit(&place.text(&manifest));
    controller.until_converged(name, &revision, 150).await;
    assert!(followed.any(|line| line.contains("talker1 | I am still talker1")));
    // `timeout` passes it on.
    run("kill", &["-TERM", &child.id().to_string()]);
    child.wait().unwrap();
}
