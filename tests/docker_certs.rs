//! `evenkeel certs`, and what comes of it: a real Docker engine that is given what the command made, and the SSM
//! parameter that the command puts (`localstack/up` first, then `cargo test --features e2e --test docker_certs`).

// Shared with the end-to-end tests, which use more of it.
#[allow(dead_code)]
#[path = "e2e/ground.rs"]
mod ground;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc::channel},
    time::Duration,
};

use evenkeel::{
    action::{Access, Node},
    docker::{Certs, Engines, Keys},
    ports::Engines as _,
    spec,
    store::Unwritten,
    world::{Class, Engine, Seen, Trouble},
};
use ground::GROUND;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs `evenkeel certs --dir DIR` with more arguments; gives what it printed.
fn certs(dir: &Path, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    let ran = command.arg("certs").arg("--dir").arg(dir).args(more).envs(&GROUND.env).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    said
}

/// One call of Systems Manager's API.
fn ssm(region: &str, operation: &str, request: Value) -> Value {
    let target = format!("AmazonSSM.{operation}");
    let who =
        format!("AWS4-HMAC-SHA256 Credential=test/20260101/{region}/ssm/aws4_request, SignedHeaders=host, Signature=x");
    let headers =
        [("X-Amz-Target", &*target), ("Authorization", &*who), ("Content-Type", "application/x-amz-json-1.1")];
    let answer = GROUND.http("POST", "/", &headers, &request.to_string()).unwrap_or_else(|said| panic!("{said}"));
    serde_json::from_str(&answer).unwrap()
}

/// A Docker engine that serves nothing but its API, with what a stack's instances are given.
struct Dockerd {
    endpoint: String,
    server: Child,
    _dir: TempDir,
}

impl Dockerd {
    fn start(bundle: &Path) -> Dockerd {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let bundle = fs::read_to_string(bundle).unwrap();
        let parts: Vec<_> =
            bundle.split_inclusive("-----\n").collect::<Vec<_>>().chunks(2).map(<[_]>::concat).collect();
        let [cert, key, ca] = &parts[..] else { panic!("{bundle}") };
        for (name, text) in [("cert.pem", &**cert), ("key.pem", key), ("ca.pem", ca), ("config.json", "{}")] {
            fs::write(file(name), text).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        // In a network of its own, because an engine without a bridge removes the machine's; what it listens on is
        // handed in, as systemd does it (sd_listen_fds(3)).
        let mut server = Command::new("unshare")
            .args(["--net", "sh", "-c", r#"LISTEN_PID=$$ LISTEN_FDS=1 exec dockerd "$@" 3<&0 </dev/null"#, "dockerd"])
            .args(["--host=fd://", "--tlsverify", "--bridge=none", "--iptables=false", "--storage-driver=vfs"])
            .args(["--containerd-namespace=evenkeel-certs", "--containerd-plugins-namespace=evenkeel-certs-plugins"])
            .args(
                [
                    ("tlscacert", "ca.pem"),
                    ("tlscert", "cert.pem"),
                    ("tlskey", "key.pem"),
                    ("config-file", "config.json"),
                    ("data-root", "data"),
                    ("exec-root", "exec"),
                    ("pidfile", "pid"),
                ]
                .map(|(option, name)| format!("--{option}={}", file(name).display())),
            )
            .stdin(OwnedFd::from(listener))
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let (tell, told) = channel();
        let lines = BufReader::new(server.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        let mut log = String::new();
        while !log.contains("API listen on") {
            let line = told.recv_timeout(Duration::from_secs(30));
            log.push_str(&line.unwrap_or_else(|_| panic!("dockerd does not listen: {log}")));
        }
        Dockerd { endpoint, server, _dir: dir }
    }

    /// What a controller with these certificates sees of it, when it asks for the engine of a stack.
    async fn look(&self, certs: &Path, stack: &str) -> Result<Engine, Trouble> {
        let (certs, keys) = (Certs { dir: certs.into() }, Keys { dir: "/nowhere".into() });
        let engines = Engines::new(certs, keys, Arc::new(Unwritten::default()));
        let access = Access::Tls { name: Some(spec::engine_name(stack)) };
        let node = Node { hostname: "docker1".into(), endpoint: self.endpoint.clone(), access };
        match engines.look(&node, &BTreeSet::new()).await {
            Seen::Known(engine) => Ok(engine),
            Seen::Unknown(trouble) => Err(trouble),
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.server.id().to_string()).status();
        let _ = self.server.wait();
    }
}

#[tokio::test]
async fn an_engine_is_opened_by_the_controller_alone_and_passes_for_no_other_stacks() {
    let dir = tempfile::tempdir().unwrap();
    certs(dir.path(), &["--stack", "shop"]);
    certs(dir.path(), &["--stack", "blog"]);
    let dockerd = Dockerd::start(&dir.path().join("engines/shop.pem"));
    dockerd.look(dir.path(), "shop").await.unwrap();

    let trouble = dockerd.look(dir.path(), "blog").await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
    assert!(trouble.message.contains("not for blog.docker.evenkeel"), "{trouble:?}");

    // What an instance holds does not open the engines of others.
    let stolen = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("ca.pem"), stolen.path().join("ca.pem")).unwrap();
    for file in ["cert.pem", "key.pem"] {
        fs::copy(dir.path().join("engines/blog.pem"), stolen.path().join(file)).unwrap();
    }
    let trouble = dockerd.look(stolen.path(), "shop").await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal, "{trouble:?}");
    assert!(trouble.message.contains("refuses the controller's certificate"), "{trouble:?}");

    // A renewed certificate is of the same authority.
    certs(dir.path(), &["--renew"]);
    dockerd.look(dir.path(), "shop").await.unwrap();
}

#[test]
fn what_the_engines_show_is_put_into_the_parameter_or_told_how_to() {
    const REGION: &str = "ap-south-1";
    let dir = tempfile::tempdir().unwrap();
    let bundle: PathBuf = dir.path().join("engines/my-shop.pem");
    let said = certs(dir.path(), &["--stack", "My Shop"]);
    let line = format!(
        "aws ssm put-parameter --type SecureString --overwrite --name /evenkeel/my-shop/docker --value file://{}",
        bundle.display()
    );
    assert!(said.contains(&line), "{said}");
    for renew in [&[][..], &["--renew"]] {
        let put = [&["--stack", "My Shop", "--put", "--region", REGION], renew].concat();
        assert!(certs(dir.path(), &put).contains("put     /evenkeel/my-shop/docker in ap-south-1"));
        let request = json!({"Name": "/evenkeel/my-shop/docker", "WithDecryption": true});
        let parameter = &ssm(REGION, "GetParameter", request)["Parameter"];
        assert_eq!(parameter["Type"], "SecureString");
        assert_eq!(parameter["Value"], fs::read_to_string(&bundle).unwrap());
    }
    ssm(REGION, "DeleteParameter", json!({"Name": "/evenkeel/my-shop/docker"}));
}
