//! What people read and do in containers by hand.

use std::time::{Duration, Instant};

use evenkeel::{
    docker::{Command, Line, Said, Wanted},
    spec::{Options, logging::Logging},
};
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::{Corner, OBEDIENT, run};

async fn logs(corner: &Corner, id: &str, wanted: &Wanted) -> Vec<Line> {
    let (sender, mut lines) = mpsc::channel(4);
    let mut told = Vec::new();
    let collect = async {
        while let Some(line) = lines.recv().await {
            told.push(line);
        }
    };
    let (read, ()) = tokio::join!(corner.engines.logs(&corner.node, id, wanted, sender), collect);
    read.unwrap();
    told
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8(line.text.clone()).unwrap()).collect()
}

#[tokio::test]
async fn the_lines_of_a_container_are_told_from_the_end_and_with_their_times_and_until_it_ends() {
    let corner = Corner::new("said").await;
    let script = "echo one; echo two >&2; echo three; while [ ! -e /tmp/end ]; do sleep 0.1; done; echo four";
    let id = corner.launch(&run("said0", script)).await;
    let begun = Instant::now();
    let seen = loop {
        let seen = logs(&corner, &id, &Wanted::default()).await;
        if seen.len() == 3 {
            break seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{seen:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let of = |is_error| seen.iter().filter(|line| line.is_error == is_error).cloned().collect::<Vec<_>>();
    assert_eq!((texts(&of(false)), texts(&of(true))), (vec!["one".into(), "three".into()], vec!["two".into()]));
    // The engine takes what is said on both in no certain order.
    let timed = texts(&logs(&corner, &id, &Wanted { tail: Some(2), timestamps: true, ..Wanted::default() }).await);
    assert!(timed.len() == 2 && timed.iter().all(|line| line.starts_with("20") && line.contains("Z ")), "{timed:?}");

    let follow = Wanted { follow: true, ..Wanted::default() };
    let end = async {
        let touch = Command { words: ["touch", "/tmp/end"].map(str::to_owned).to_vec(), ..Command::default() };
        let mut session = corner.engines.exec(&corner.node, &id, &touch).await.unwrap();
        assert!(session.next().await.is_none());
        assert_eq!(session.exit_code().await.unwrap(), 0);
    };
    let (followed, ()) = tokio::join!(logs(&corner, &id, &follow), end);
    assert!(texts(&followed).ends_with(&["four".to_owned()]), "{followed:?}");

    let missing = corner.engines.logs(&corner.node, "nothing", &follow, mpsc::channel(1).0).await.unwrap_err();
    assert!(missing.message.contains("docker1") && missing.message.contains("No such container"), "{missing:?}");
    corner.clear().await;
}

#[tokio::test]
async fn a_log_that_is_kept_nowhere_is_said_to_be() {
    let corner = Corner::new("mute").await;
    let options =
        Options { logging: Some(Logging { driver: "none".into(), options: Default::default() }), ..Options::default() };
    let id = corner.launch(&evenkeel::action::Run { options, ..run("mute0", OBEDIENT) }).await;
    let (sender, _lines) = mpsc::channel(1);
    let refused = corner.engines.logs(&corner.node, &id, &Wanted::default(), sender).await.unwrap_err();
    assert!(refused.message.contains("the log of this container is kept nowhere that its engine can read (configured logging driver does not support reading); look where"), "{refused:?}");
    corner.clear().await;
}

#[tokio::test]
async fn a_command_gets_its_input_and_its_exit_code_is_told() {
    let corner = Corner::new("hand").await;
    let id = corner.launch(&run("hand0", OBEDIENT)).await;
    let words =
        ["sh", "-c", "read a; echo \"$a in $PWD as $(id -u)\"; echo no >&2; exit 7"].map(str::to_owned).to_vec();
    let command = Command {
        words,
        input: true,
        user: Some("65534".into()),
        directory: Some("/tmp".into()),
        ..Command::default()
    };
    let mut session = corner.engines.exec(&corner.node, &id, &command).await.unwrap();
    session.input.write_all(b"hello\n").await.unwrap();
    session.input.shutdown().await.unwrap();
    let (mut out, mut error) = (Vec::new(), Vec::new());
    while let Some(said) = session.next().await {
        match said.unwrap() {
            Said::Out(bytes) => out.extend(bytes),
            Said::Error(bytes) => error.extend(bytes),
        }
    }
    assert_eq!(String::from_utf8_lossy(&out), "hello in /tmp as 65534\n");
    assert_eq!(String::from_utf8_lossy(&error), "no\n");
    assert_eq!(session.exit_code().await.unwrap(), 7);

    // A program that reads to the end comes to one.
    let cat = Command { words: vec!["cat".into()], input: true, ..Command::default() };
    let mut session = corner.engines.exec(&corner.node, &id, &cat).await.unwrap();
    session.input.write_all(b"all of it").await.unwrap();
    session.input.shutdown().await.unwrap();
    assert_eq!(session.next().await.unwrap().unwrap(), Said::Out(b"all of it".to_vec()));
    assert!(session.next().await.is_none());

    let nowhere = Command { words: vec!["/no/such/program".into()], ..Command::default() };
    let mut session = corner.engines.exec(&corner.node, &id, &nowhere).await.unwrap();
    let said = session.next().await.unwrap().unwrap();
    assert!(matches!(&said, Said::Out(bytes) if String::from_utf8_lossy(bytes).contains("no such file")), "{said:?}");
    // Older engines say that it is not there, newer ones that it cannot be called.
    assert!([126, 127].contains(&session.exit_code().await.unwrap()));

    corner.stop(&id, None, 1).await.unwrap();
    let refused = corner.engines.exec(&corner.node, &id, &cat).await.unwrap_err();
    assert!(refused.message.contains("is not running"), "{refused:?}");
    corner.clear().await;
}
