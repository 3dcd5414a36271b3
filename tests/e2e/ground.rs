//! The proving ground as the tests see it: the plug-in's endpoints, the instances and what their engines were asked.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

/// What the access key `test` belongs to.
pub const ACCOUNT: &str = "test";

/// The one proving ground of this test run.
pub static GROUND: LazyLock<Ground> = LazyLock::new(Ground::find);

/// Who uses the proving ground: every test shares it but the one that takes LocalStack away.
pub static TURN: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// Where those stacks on EC2 stand beside each other whose tests neither make faults nor count calls: AWS has fewer regions
/// than there are tests.
pub const SHARED: &str = "ap-northeast-1";

/// Which stack works in which region, of each provider.
static CLAIMED: Mutex<BTreeMap<(&'static str, String), String>> = Mutex::new(BTreeMap::new());

/// Takes a provider's region for a stack alone: its faults, and the calls that are counted, are nobody else's. The one that
/// is shared has neither.
pub fn claim(provider: &'static str, region: &str, stack: &str) {
    if (provider, region) == ("ec2", SHARED) {
        return;
    }
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = claimed.entry((provider, region.to_owned())).or_insert_with(|| stack.to_owned()).clone();
    drop(claimed);
    assert_eq!(taken, stack, "each stack of the tests has a region of its own, and {region} is taken");
}

pub struct Ground {
    host: String,
    pub state: PathBuf,
    /// What the programs under test are given.
    pub env: BTreeMap<String, String>,
}

impl Ground {
    fn find() -> Ground {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let state = env::var_os("EVENKEEL_TESTBED").map_or_else(|| root.join(".testbed"), PathBuf::from);
        let text = fs::read_to_string(state.join("env"))
            .unwrap_or_else(|error| panic!("{}: {error}; run localstack/up first", state.join("env").display()));
        let env: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        let host = env["AWS_ENDPOINT_URL"].trim_start_matches("http://").to_owned();
        let ground = Ground { host, state, env };
        // Set once for the whole run: setting it starts the balancers again.
        let fast = json!(0.3);
        if ground.control("GET", "config", None)["health_interval_override"] != fast {
            ground.control("POST", "config", Some(json!({"health_interval_override": fast})));
        }
        ground
    }

    /// The plug-in's own endpoints.
    pub fn control(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.try_control(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub fn try_control(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        json_of(&self.http(method, &format!("/_evenkeel/{path}"), &[], &body)?)
    }

    /// One call of OpsWorks' API, as anybody with a console could make it.
    pub fn opsworks(&self, region: &str, operation: &str, request: Value) -> Value {
        self.try_opsworks(region, operation, request).unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    pub fn try_opsworks(&self, region: &str, operation: &str, request: Value) -> Result<Value, String> {
        self.try_json("opsworks", &format!("OpsWorks_20130218.{operation}"), region, ACCOUNT, &request)
    }

    /// One call of an API that answers in JSON, with the access key of an account.
    pub fn json(&self, service: &str, target: &str, region: &str, account: &str, request: Value) -> Value {
        self.try_json(service, target, region, account, &request).unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    fn try_json(
        &self,
        service: &str,
        target: &str,
        region: &str,
        account: &str,
        request: &Value,
    ) -> Result<Value, String> {
        let who = format!(
            "AWS4-HMAC-SHA256 Credential={account}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, \
             Signature=x"
        );
        let headers =
            [("X-Amz-Target", target), ("Authorization", &*who), ("Content-Type", "application/x-amz-json-1.1")];
        json_of(&self.http("POST", "/", &headers, &request.to_string())?)
    }

    /// One call of the classic load balancers' API; the answer is XML.
    pub fn elb(&self, region: &str, operation: &str, request: &[(&str, &str)]) -> Result<String, String> {
        self.query(("elasticloadbalancing", "2012-06-01"), ACCOUNT, region, operation, request)
    }

    /// One call of an API that answers in XML, with the access key of an account.
    pub fn query(
        &self,
        (service, version): (&str, &str),
        account: &str,
        region: &str,
        operation: &str,
        request: &[(&str, &str)],
    ) -> Result<String, String> {
        let who = format!(
            "AWS4-HMAC-SHA256 Credential={account}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, \
             Signature=x"
        );
        let headers = [("Authorization", &*who), ("Content-Type", "application/x-www-form-urlencoded")];
        let mut body = format!("Action={operation}&Version={version}");
        for (name, value) in request {
            let value: String = value
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
                    other => format!("%{other:02X}"),
                })
                .collect();
            body.push_str(&format!("&{name}={value}"));
        }
        self.http("POST", "/", &headers, &body)
    }

    pub fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<String, String> {
        let text = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(&self.host).map_err(text)?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(text)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).map_err(text)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(text)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(answer);
        }
        Ok(body.trim().to_owned())
    }

    /// Where instances reach the AWS API: the gateway of their network.
    pub fn endpoint_of_instances(&self) -> String {
        let number: u32 = self.env.get("EVENKEEL_TESTBED_NUMBER").and_then(|n| n.parse().ok()).unwrap_or(0);
        format!("http://10.{}.0.1:{}", 213 + number, 4566 + number)
    }

    /// The number of the last call that LocalStack received.
    pub fn last_call(&self) -> u64 {
        self.control("GET", &format!("calls?since={}", u64::MAX / 2), None)["next"].as_u64().unwrap()
    }

    /// The calls that LocalStack received in a region after the one of that number: operation and request.
    pub fn calls(&self, region: &str, since: u64) -> Vec<(String, Value)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let calls = self.whole_calls(region, since).into_iter();
        calls.map(|mut call| (text(&call["operation"]), call["request"].take())).collect()
    }

    /// The same, with all that is told of each.
    pub fn whole_calls(&self, region: &str, since: u64) -> Vec<Value> {
        assert_ne!(region, SHARED, "the calls there are of several tests");
        let mut calls = self.control("GET", &format!("calls?since={since}"), None);
        let Value::Array(calls) = calls["calls"].take() else { panic!("calls: {calls}") };
        calls.into_iter().filter(|call| call["region"] == region).collect()
    }

    /// A load balancer, as it really is.
    pub fn balancer(&self, region: &str, name: &str) -> Value {
        let all = self.control("GET", "loadbalancers", None);
        let mut all = all.as_array().unwrap().iter();
        let found = all.find(|balancer| balancer["name"] == *name && balancer["region"] == *region);
        found.unwrap_or_else(|| panic!("there is no load balancer {name} in {region}")).clone()
    }

    pub fn fault(&self, fault: Value) -> Fault {
        assert_ne!(fault["region"], SHARED, "it would meet several tests");
        let id = self.control("POST", "faults", Some(fault))["id"].as_u64().expect("the fault's id");
        Fault(id)
    }
}

/// The text of every element of that name in an XML answer, in order.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let rests = xml.split(&open).skip(1);
    rests.filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}

fn json_of(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))
}

/// A fault that lasts as long as this value.
pub struct Fault(u64);

impl Drop for Fault {
    fn drop(&mut self) {
        // It may have ended by itself, and LocalStack may be away.
        let _ = GROUND.try_control("DELETE", &format!("faults/{}", self.0), None);
    }
}

/// True for an AWS call that changes something.
pub fn is_mutation(operation: &str) -> bool {
    !["Describe", "List", "Get"].iter().any(|reading| operation.starts_with(reading))
}

/// One instance: a real Docker engine in a container of its own.
#[derive(Debug, Clone)]
pub struct Instance {
    pub id: String,
    pub ec2_id: String,
    pub hostname: String,
    /// The container on this machine that is the instance.
    pub container: String,
    engine_log: PathBuf,
}

impl Instance {
    pub fn read(seen: &Value) -> Option<Instance> {
        let text = |key: &str| seen[key].as_str().map(str::to_owned);
        Some(Instance {
            id: text("instance_id")?,
            ec2_id: text("ec2_instance_id")?,
            hostname: text("hostname")?,
            container: text("container")?,
            engine_log: text("engine_log")?.into(),
        })
    }

    /// Runs a command inside the instance.
    pub fn run(&self, command: &[&str]) -> String {
        run("docker", &[&["exec", &self.container], command].concat())
    }

    /// `docker` on the instance's engine.
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.run(&[&["docker"], arguments].concat())
    }

    /// Its containers: name → image, state and id.
    pub fn containers(&self) -> BTreeMap<String, Container> {
        let format = "{{.Names}}\t{{.Image}}\t{{.State}}\t{{.ID}}";
        self.docker(&["ps", "-a", "--no-trunc", "--format", format])
            .lines()
            .map(|line| {
                let [name, image, state, id] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
                // A container that others are linked with has their names for it too: app0/redis,redis0.
                let name = name.split(',').find(|name| !name.contains('/')).unwrap_or(name);
                let (image, digest) = image.split_once('@').unwrap_or((image, ""));
                let (image, digest) = (image.to_owned(), digest.to_owned());
                (name.to_owned(), Container { image, digest, state: state.to_owned(), id: id.to_owned() })
            })
            .collect()
    }

    /// How long the engine's log is now.
    pub fn log_mark(&self) -> u64 {
        fs::metadata(&self.engine_log).map(|found| found.len()).unwrap_or(0)
    }

    /// When the engine was asked to stop a container after that second since 1970.
    pub fn stops_after(&self, second: f64) -> Vec<f64> {
        let text = fs::read_to_string(&self.engine_log).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains("msg=\"Calling POST") && line.contains("/stop"))
            .filter_map(|line| line.strip_prefix("time=\"")?.split('"').next()?.parse::<jiff::Timestamp>().ok())
            .map(|at| at.as_millisecond() as f64 / 1000.0)
            .filter(|at| *at > second)
            .collect()
    }

    /// What the engine was asked to change since the mark: `POST /v1.41/containers/…/stop?t=30`.
    pub fn mutations(&self, since: u64) -> Vec<String> {
        let bytes = fs::read(&self.engine_log).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.get(since as usize..).unwrap_or_default()).into_owned();
        text.lines()
            .filter_map(|line| Some(line.split_once("msg=\"Calling ")?.1.trim_end_matches('"').to_owned()))
            .filter(|call| ["POST ", "PUT ", "DELETE "].iter().any(|method| call.starts_with(method)))
            .filter(|call| !call.starts_with("POST /auth") && !call.contains("/exec"))
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The reference that it was made from, with its tag.
    pub image: String,
    /// What that was fixed to: `sha256:…`; empty when to nothing.
    pub digest: String,
    pub state: String,
    pub id: String,
}

/// A command of this machine; its output. It must succeed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
