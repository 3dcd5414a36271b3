//! Engines behind SSH: a real server of OpenSSH on loopback, which these tests start for themselves, in front of the
//! machine's own Docker engine (`localstack/up` first, then `cargo test --features e2e --test docker_ssh`, as root).

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc::channel},
    time::{Duration, Instant},
};

use evenkeel::{
    action::{Access, EngineAction, Node, Run, StopHow},
    docker::{Certs, Engines, Keys},
    ports::{Engines as _, Given, HostKeys, Progress},
    spec::{Options, network::Joined},
    store::Store,
    world::{Class, Engine, Seen, State, Trouble},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

const IMAGE: &str = "shop/busybox:1.0";

/// A server, and the keys that open it.
struct Sshd {
    dir: TempDir,
    port: u16,
    server: Child,
    log: Arc<Mutex<String>>,
}

impl Sshd {
    fn start(config: &str) -> Sshd {
        let dir = tempfile::tempdir().unwrap();
        // The server reads the authorized keys as the user who logs in.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        make_key(&dir.path().join("host"), "ed25519");
        for (name, kind) in [("ops", "ed25519"), ("old.pem", "rsa"), ("stranger", "ed25519")] {
            make_key(&dir.path().join(name), kind);
        }
        let public = |name: &str| fs::read_to_string(path(&format!("{name}.pub"))).unwrap();
        fs::write(path("authorized"), public("ops") + &public("old.pem")).unwrap();
        let text = format!(
            "{config}\nHostKey {}\nAuthorizedKeysFile {}\nListenAddress 127.0.0.1\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             LogLevel VERBOSE\n",
            path("host"),
            path("authorized"),
        );
        fs::write(path("config"), text).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (server, log) = listen(dir.path(), port);
        Sshd { dir, port, server, log }
    }

    /// Another server takes over the address, with a host key of its own.
    fn replace(&mut self) {
        self.end();
        fs::remove_file(self.dir.path().join("host")).unwrap();
        make_key(&self.dir.path().join("host"), "ed25519");
        (self.server, self.log) = listen(self.dir.path(), self.port);
    }

    fn node(&self, user: &str, key: &str, pin: &str) -> Node {
        Node {
            hostname: "docker1".into(),
            endpoint: format!("127.0.0.1:{}", self.port),
            access: Access::Ssh { user: user.into(), key: key.into(), pin: pin.into() },
        }
    }

    fn engines(&self, store: &Arc<Store>) -> Engines {
        let (certs, keys) = (Certs { dir: "/nowhere".into() }, Keys { dir: self.dir.path().into() });
        Engines::new(certs, keys, store.clone())
    }

    /// The server and the processes that it has made for its sessions.
    fn signal(&self, signal: &str, sessions_only: bool) {
        let mut all = vec![self.server.id()];
        let mut next = 0;
        while next < all.len() {
            let children = format!("/proc/{0}/task/{0}/children", all[next]);
            let children = fs::read_to_string(children).unwrap_or_default();
            all.extend(children.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
            next += 1;
        }
        for pid in all.iter().skip(usize::from(sessions_only)) {
            let _ = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
        }
    }

    fn logins(&self) -> usize {
        self.log.lock().unwrap().matches("Accepted publickey").count()
    }

    fn end(&mut self) {
        self.signal("CONT", false);
        self.signal("KILL", false);
        self.server.wait().unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.end();
    }
}

fn make_key(file: &Path, kind: &str) {
    let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(file).output();
    assert!(made.expect("ssh-keygen: run localstack/up first").status.success());
}

/// Starts the server, and waits until it says that it listens.
fn listen(dir: &Path, port: u16) -> (Child, Arc<Mutex<String>>) {
    let mut server = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-p", &port.to_string(), "-f"])
        .arg(dir.join("config"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("/usr/sbin/sshd: run localstack/up first");
    let (listens, waiting) = channel();
    let log = Arc::<Mutex<String>>::default();
    let (lines, kept) = (BufReader::new(server.stderr.take().unwrap()).lines(), log.clone());
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("Server listening") {
                let _ = listens.send(());
            }
            let mut log = kept.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    let listens = waiting.recv_timeout(Duration::from_secs(20));
    assert!(listens.is_ok(), "sshd does not listen: {}", log.lock().unwrap());
    (server, log)
}

fn store() -> (TempDir, Arc<Store>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    (dir, store)
}

async fn look(engines: &Engines, node: &Node) -> Result<Engine, Trouble> {
    match engines.look(node, &BTreeSet::from([IMAGE.to_owned()])).await {
        Seen::Known(engine) => Ok(engine),
        Seen::Unknown(trouble) => Err(trouble),
    }
}

async fn apply(engines: &Engines, node: &Node, what: EngineAction) -> Result<(), Trouble> {
    let progress: Progress = Arc::new(|_| {});
    engines.apply(node, &what, &Given::default(), &progress).await
}

fn run(name: &str) -> Run {
    Run {
        name: name.into(),
        image: IMAGE.into(),
        env: [].into(),
        secrets: [].into(),
        binds: vec![],
        anonymous_volumes: vec![],
        data_volumes: vec![],
        volumes_from: vec![],
        links: vec![],
        ports: vec![],
        network: Joined::default(),
        hostname: name.into(),
        entrypoint: Some(vec!["/bin/sh".into(), "-c".into()]),
        command: Some(vec!["trap 'exit 0' TERM; while :; do sleep 0.1; done".into()]),
        health_check: None,
        stop_signal: None,
        stop_timeout: Duration::from_secs(10),
        once: false,
        options: Options::default(),
        labels: [("evenkeel.stack".into(), "ssh".into())].into(),
    }
}

/// Gone when it is dropped, whatever the test came to.
struct Container(&'static str);

impl Container {
    fn new(name: &'static str) -> Container {
        drop(Container(name));
        Container(name)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", self.0]).output();
    }
}

#[tokio::test]
async fn a_container_goes_through_its_whole_life_in_one_session() {
    let (sshd, (_dir, store)) = (Sshd::start(""), store());
    let (engines, node) = (sshd.engines(&store), sshd.node("root", "ops", "i-life"));
    let name = Container::new("evenkeel-ssh-life");
    assert!(look(&engines, &node).await.unwrap().images.contains_key(IMAGE));

    apply(&engines, &node, EngineAction::Create { run: Box::new(run(name.0)) }).await.unwrap();
    let id = look(&engines, &node).await.unwrap().containers[name.0].id.clone();
    let with = |what: fn(String, String) -> EngineAction| what(id.clone(), name.0.to_owned());
    apply(&engines, &node, with(|id, name| EngineAction::Start { id, name })).await.unwrap();
    assert_eq!(look(&engines, &node).await.unwrap().containers[name.0].state, State::Running);

    let stop = |id, name| {
        let stop = StopHow { signal: None, timeout: Duration::from_secs(10) };
        EngineAction::Stop { id, name, stop, guard: None }
    };
    apply(&engines, &node, with(stop)).await.unwrap();
    assert_eq!(look(&engines, &node).await.unwrap().containers[name.0].state, State::Exited { exit_code: 0 });
    apply(&engines, &node, with(|id, name| EngineAction::Remove { id, name })).await.unwrap();
    assert!(!look(&engines, &node).await.unwrap().containers.contains_key(name.0));

    // What the engine refuses costs no login either.
    let lack = Run { image: "evenkeel-test/never-pulled:1".into(), ..run(name.0) };
    let trouble = apply(&engines, &node, EngineAction::Create { run: Box::new(lack) }).await.unwrap_err();
    assert!(trouble.message.contains("is not on the instance"), "{trouble:?}");
    look(&engines, &node).await.unwrap();
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn many_at_once_share_one_login_and_an_rsa_key_will_do() {
    let (sshd, (_dir, store)) = (Sshd::start(""), store());
    let (engines, node) = (sshd.engines(&store), sshd.node("root", "old", "i-many"));
    let looks = (0..20).map(|_| look(&engines, &node));
    for engine in futures_util::future::join_all(looks).await {
        engine.unwrap();
    }
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn a_session_that_ended_is_made_anew() {
    let (sshd, (_dir, store)) = (Sshd::start(""), store());
    let (engines, node) = (sshd.engines(&store), sshd.node("root", "ops", "i-ended"));
    look(&engines, &node).await.unwrap();
    sshd.signal("KILL", true);
    let begun = Instant::now();
    while let Err(trouble) = look(&engines, &node).await {
        // The connection that was lost may only be noticed by using it.
        assert!(begun.elapsed() < Duration::from_secs(5), "{trouble:?}");
    }
    assert_eq!(sshd.logins(), 2);
}

#[tokio::test]
async fn what_happens_on_the_engine_wakes() {
    let (sshd, (_dir, store)) = (Sshd::start(""), store());
    let (engines, node) = (Arc::new(sshd.engines(&store)), sshd.node("root", "ops", "i-wake"));
    let name = Container::new("evenkeel-ssh-wake");
    let (wake, mut woken) = mpsc::channel(1);
    let watching = tokio::spawn({
        let (engines, node) = (engines.clone(), node.clone());
        async move { engines.watch(&node, wake).await }
    });
    let begun = Instant::now();
    loop {
        apply(&engines, &node, EngineAction::Create { run: Box::new(run(name.0)) }).await.unwrap();
        match tokio::time::timeout(Duration::from_secs(1), woken.recv()).await {
            Ok(host) => break assert_eq!(host.as_deref(), Some("docker1")),
            // It does not follow the events yet: make another one.
            Err(_) => drop(Container(name.0)),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody was woken");
    }
    // A watch whose session is gone ends, so that another one can begin.
    sshd.signal("KILL", true);
    tokio::time::timeout(Duration::from_secs(10), watching).await.expect("the watch ends").unwrap();
}

#[tokio::test]
async fn a_changed_host_key_is_refused_until_it_is_forgotten_and_a_new_instance_has_its_own() {
    let (mut sshd, (_dir, store)) = (Sshd::start(""), store());
    let node = sshd.node("root", "ops", "i-0123");
    look(&sshd.engines(&store), &node).await.unwrap();
    let first = store.pinned("i-0123").unwrap().unwrap().fingerprint;

    sshd.replace();
    let engines = sshd.engines(&store);
    let trouble = look(&engines, &node).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
    let shown = trouble.message.split("host key ").nth(1).unwrap().split(',').next().unwrap();
    assert!(shown.starts_with("SHA256:") && shown != first, "{trouble:?}");
    for words in [&*first, "i-0123", "evenkeel forget-host-key i-0123"] {
        assert!(trouble.message.contains(words), "{words}: {trouble:?}");
    }
    assert_eq!(sshd.logins(), 0, "nothing was sent");

    look(&engines, &sshd.node("root", "ops", "i-4567")).await.unwrap();
    assert_eq!(store.pinned("i-4567").unwrap().unwrap().fingerprint, shown);
    store.forget_host_key("i-0123").unwrap();
    look(&engines, &node).await.unwrap();
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_with_user_and_key_and_pins_nothing() {
    let (sshd, (_dir, store)) = (Sshd::start(""), store());
    let engines = sshd.engines(&store);
    let trouble = look(&engines, &sshd.node("root", "stranger", "i-1")).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
    let file = sshd.dir.path().join("stranger").display().to_string();
    assert!(trouble.message.contains(&format!("refuses root with the key {file} (SHA256:")), "{trouble:?}");
    let trouble = look(&engines, &sshd.node("nobody-at-all", "ops", "i-1")).await.unwrap_err();
    assert!(trouble.message.contains("refuses nobody-at-all"), "{trouble:?}");
    let trouble = look(&engines, &sshd.node("root", "lost", "i-1")).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
    assert!(trouble.message.contains("lost.pem exists; put the private key"), "{trouble:?}");
    assert_eq!(store.pinned("i-1").unwrap(), None);
}

#[tokio::test]
async fn a_server_that_forwards_no_sockets_is_told_from_one_without_docker() {
    let (_dir, store) = store();
    for config in ["AllowStreamLocalForwarding no", "DisableForwarding yes"] {
        let sshd = Sshd::start(config);
        let trouble = look(&sshd.engines(&store), &sshd.node("root", "ops", config)).await.unwrap_err();
        assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
        assert!(trouble.message.contains("set `AllowStreamLocalForwarding local`"), "{trouble:?}");
    }
    // What cloud images say to root.
    let sshd = Sshd::start("DisableForwarding yes\nForceCommand echo Please log in as admin.");
    let trouble = look(&sshd.engines(&store), &sshd.node("root", "ops", "i-forced")).await.unwrap_err();
    assert!(trouble.message.contains("(the instance says: Please log in as admin.)"), "{trouble:?}");
}

/// A user of the machine for as long as a test takes.
struct User(&'static str);

impl User {
    fn new(name: &'static str) -> User {
        drop(User(name));
        let made = Command::new("useradd").args(["--system", "--shell", "/bin/sh", "--password", "*", name]).output();
        assert!(made.unwrap().status.success());
        User(name)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["-f", self.0]).output();
    }
}

#[tokio::test]
async fn a_user_outside_the_group_docker_is_told_so_and_let_in_once_it_belongs_to_it() {
    let user = User::new("evenkeel-ssh-test");
    let (sshd, (_dir, store)) = (Sshd::start(""), store());
    let (engines, node) = (sshd.engines(&store), sshd.node(user.0, "ops", "i-group"));
    let trouble = look(&engines, &node).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
    assert!(trouble.message.contains("`usermod -aG docker evenkeel-ssh-test`"), "{trouble:?}");
    assert!(Command::new("usermod").args(["-aG", "docker", user.0]).status().unwrap().success());
    look(&engines, &node).await.unwrap();
}

#[tokio::test]
async fn a_frozen_server_holds_nobody_up_and_is_taken_up_again_when_it_thaws() {
    let (_dir, store) = store();
    let (frozen, lively) = (Sshd::start(""), Sshd::start(""));
    // One directory of keys opens both.
    for file in ["ops", "authorized"] {
        fs::copy(frozen.dir.path().join(file), lively.dir.path().join(file)).unwrap();
    }
    let engines = frozen.engines(&store);
    let (bad, good) = (frozen.node("root", "ops", "i-bad"), lively.node("root", "ops", "i-good"));
    look(&engines, &bad).await.unwrap();
    look(&engines, &good).await.unwrap();
    frozen.signal("STOP", false);

    let took = |begun: Instant| begun.elapsed();
    for (limit, words) in [(11, "did not answer within 10s"), (6, "no connection within 5s")] {
        let begun = Instant::now();
        let (trouble, other) = tokio::join!(async { (look(&engines, &bad).await, took(begun)) }, async {
            (look(&engines, &good).await, took(begun))
        });
        let message = trouble.0.unwrap_err().message;
        assert!(message.contains(words), "{message}");
        assert!(trouble.1 < Duration::from_secs(limit), "{:?}", trouble.1);
        other.0.unwrap();
        assert!(other.1 < Duration::from_secs(3), "{:?}", other.1);
    }
    frozen.signal("CONT", false);
    look(&engines, &bad).await.unwrap();
}

#[tokio::test]
async fn what_is_no_ssh_server_and_a_closed_port_are_told_with_what_to_check() {
    let (sshd, (_dir, store)) = (Sshd::start(""), store());
    let engines = sshd.engines(&store);
    let at = |endpoint: String| Node { endpoint, ..sshd.node("root", "ops", "i-none") };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let trouble = look(&engines, &at(closed.to_string())).await.unwrap_err();
    assert_eq!(trouble.class, Class::Transient, "{trouble:?}");
    assert!(trouble.message.contains("connection refused; check that sshd runs"), "{trouble:?}");

    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        web.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    });
    let trouble = look(&engines, &at(address.to_string())).await.unwrap_err();
    assert_eq!(trouble.class, Class::Transient, "{trouble:?}");
    assert!(trouble.message.contains("check that an SSH server listens on that port"), "{trouble:?}");
}

#[tokio::test]
async fn certificates_are_missed_only_by_engines_that_need_them() {
    let (sshd, (_dir, store)) = (Sshd::start(""), store());
    let engines = sshd.engines(&store);
    look(&engines, &sshd.node("root", "ops", "i-ssh")).await.unwrap();
    let tls = Node { access: Access::Tls { name: None }, ..sshd.node("root", "ops", "") };
    let trouble = look(&engines, &tls).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains(&PathBuf::from("/nowhere/ca.pem").display().to_string()), "{trouble:?}");
}
