//! The certificate: from Parameter Store, with the instance's own role, and nowhere else.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::SystemTime,
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use evenkeel::bootstrap::{Bootstrap, Transport, user_data};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::{bootstrap, impatient, machine::Machine};

const ROLE: &str = "evenkeel-shop";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const PARAMETER: &str = "/evenkeel/shop/engine";

/// The instance metadata service and SSM in one, on loopback. SSM answers with one answer after the other.
#[derive(Clone)]
struct Cloud {
    address: String,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    /// So many times there is no role yet.
    without_role: usize,
    answers: VecDeque<(u16, String)>,
    /// What SSM was asked for.
    asked: Vec<Request>,
}

struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Cloud {
    fn start(answers: impl IntoIterator<Item = (u16, String)>) -> Cloud {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let told = Told { answers: answers.into_iter().collect(), ..Told::default() };
        let cloud = Cloud { address, told: Arc::new(Mutex::new(told)) };
        let serving = cloud.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                serving.serve(connection);
            }
        });
        cloud
    }

    fn serve(&self, mut connection: TcpStream) {
        let request = Request::read(&connection);
        let (status, body) = self.answer(request);
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        connection.write_all(answer.as_bytes()).expect("somebody listens");
    }

    fn answer(&self, request: Request) -> (u16, String) {
        let mut told = self.told.lock().expect("no panic");
        let credentials = "GET /latest/meta-data/iam/security-credentials/";
        let path = request.line.trim_end_matches(" HTTP/1.1").to_owned();
        if path == "PUT /latest/api/token" {
            assert!(request.headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds"));
            return (200, "session".into());
        }
        if path == "POST /" {
            told.asked.push(request);
            let last = told.answers.len() == 1;
            let answer = told.answers.front().cloned().expect("an answer");
            if !last {
                told.answers.pop_front();
            }
            return answer;
        }
        // Version 2 of the service answers nobody without a token.
        if request.headers.get("x-aws-ec2-metadata-token").map(String::as_str) != Some("session") {
            return (401, String::new());
        }
        match path.strip_prefix(credentials) {
            Some("") if told.without_role > 0 => {
                told.without_role -= 1;
                (404, String::new())
            }
            Some("") => (200, format!("{ROLE}\n")),
            Some(ROLE) => {
                let keys = json!({"Code": "Success", "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": SECRET, "Token": "to/ken=="});
                (200, keys.to_string())
            }
            _ => (404, String::new()),
        }
    }

    /// A machine in this cloud, and its user-data.
    fn machine(&self) -> (Machine, String) {
        let mut machine = Machine::new();
        machine.environment("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.address);
        let transport =
            Transport::Tls { port: 2376, parameter: PARAMETER.into(), ssm_endpoint: Some(self.address.clone()) };
        let script = user_data(&Bootstrap { transport, ..bootstrap(&[]) }).expect("it fits");
        (machine, script)
    }

    /// What a machine says that gets no other answer than this.
    fn refusal(status: u16, answer: &str) -> String {
        let (machine, script) = Cloud::start([(status, answer.to_owned())]).machine();
        let said = machine.fails(&impatient(&script), "certificates");
        assert!(!machine.exists("etc/evenkeel/tls/cert.pem"));
        said
    }
}

impl Request {
    fn read(connection: &TcpStream) -> Request {
        let mut reader = BufReader::new(connection);
        let mut line = || {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            line.trim_end().to_owned()
        };
        let first = line();
        let headers: BTreeMap<_, _> = std::iter::from_fn(|| {
            let line = line();
            line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        })
        .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a number"));
        let mut body = String::new();
        reader.take(length).read_to_string(&mut body).expect("a body");
        Request { line: first, headers, body }
    }

    /// The signature that AWS's own code makes of it.
    fn signature(&self) -> String {
        let credentials = Credentials::new("ASIAEXAMPLE", SECRET, Some("to/ken==".into()), None, "test").into();
        let date = DateTime::strptime("%Y%m%dT%H%M%SZ", &self.headers["x-amz-date"]).expect("a date");
        let time: Timestamp = date.to_zoned(TimeZone::UTC).expect("a time").timestamp();
        let parameters = v4::SigningParams::builder()
            .identity(&credentials)
            .region("eu-west-1")
            .name("ssm")
            .time(SystemTime::from(time))
            .settings(SigningSettings::default())
            .build()
            .expect("parameters")
            .into();
        let url = format!("http://{}/", self.headers["host"]);
        let headers = ["content-type", "host", "x-amz-target"].map(|name| (name, self.headers[name].as_str()));
        let body = SignableBody::Bytes(self.body.as_bytes());
        let request = SignableRequest::new("POST", &url, headers.into_iter(), body).expect("a request");
        let (signed, _) = sign(request, &parameters).expect("a signature").into_parts();
        let (headers, _) = signed.into_parts();
        headers.iter().find(|header| header.name() == "authorization").expect("a header").value().to_owned()
    }
}

/// Certificate, key and CA, as `evenkeel certs` puts them.
struct Bundle {
    cert: String,
    key: String,
    ca: String,
}

impl Bundle {
    fn new() -> Bundle {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().expect("a key");
        let ca = params.self_signed(&ca_key).expect("a certificate");
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().expect("a key");
        let cert = CertificateParams::new(vec!["docker1".to_owned()]).expect("parameters");
        let cert = cert.signed_by(&key, &issuer).expect("a certificate");
        Bundle { cert: cert.pem(), key: key.serialize_pem(), ca: ca.pem() }
    }

    fn value(&self) -> String {
        format!("{}{}{}", self.cert, self.key, self.ca).replace("\r\n", "\n")
    }

    fn answer(&self) -> (u16, String) {
        parameter(&self.value())
    }
}

fn parameter(value: &str) -> (u16, String) {
    (200, json!({"Parameter": {"Name": PARAMETER, "Type": "SecureString", "Value": value}}).to_string())
}

#[test]
fn the_certificate_comes_from_the_parameter_with_the_role_of_the_instance_as_soon_as_there_is_one() {
    let bundle = Bundle::new();
    let throttled = (400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}).to_string());
    let cloud = Cloud::start([throttled, (503, "upstream".into()), bundle.answer()]);
    cloud.told.lock().unwrap().without_role = 2;
    let (machine, script) = cloud.machine();
    let ran = machine.run(&script, "user_data && stat -c '%a %n' /etc/evenkeel/tls /etc/evenkeel/tls/*");
    assert_eq!(ran.code, Some(0), "{}{}{}", ran.stdout, ran.stderr, machine.log());
    for (name, text) in [("cert", &bundle.cert), ("key", &bundle.key), ("ca", &bundle.ca)] {
        let path = format!("etc/evenkeel/tls/{name}.pem");
        assert_eq!(machine.read(&path), text.replace("\r\n", "\n"), "{name}");
    }
    assert!(ran.stdout.contains("700 /etc/evenkeel/tls\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("600 /etc/evenkeel/tls/key.pem\n"), "{}", ran.stdout);

    let told = cloud.told.lock().unwrap();
    assert_eq!(told.asked.len(), 3);
    for request in &told.asked {
        assert_eq!(request.headers["authorization"], request.signature());
        assert_eq!(request.headers["x-amz-target"], "AmazonSSM.GetParameter");
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body, json!({"Name": PARAMETER, "WithDecryption": true}));
    }

    let settings: Value = serde_json::from_str(&machine.read("etc/docker/daemon.json")).unwrap();
    assert_eq!(settings["hosts"], json!(["unix:///var/run/docker.sock", "tcp://0.0.0.0:2376"]));
    assert_eq!(settings["tlsverify"], true);
    for (setting, file) in [("tlscacert", "ca"), ("tlscert", "cert"), ("tlskey", "key")] {
        assert_eq!(settings[setting], format!("/etc/evenkeel/tls/{file}.pem"));
    }
    let unit = machine.read("etc/systemd/system/docker.service.d/evenkeel.conf");
    assert!(unit.contains("ExecStartPre=-/usr/local/sbin/evenkeel-certs 20\n"), "{unit}");

    // The key is in its file and nowhere else that anybody could look.
    let secret = bundle.key.lines().nth(1).unwrap();
    for place in [script, ran.stdout, ran.stderr, machine.log(), machine.read("console"), machine.calls()] {
        assert!(!place.contains(secret) && !place.contains(SECRET), "{place}");
    }
}

#[test]
fn a_renewed_certificate_arrives_when_the_engine_starts_again_and_a_failure_to_fetch_keeps_the_old() {
    let (old, new) = (Bundle::new(), Bundle::new());
    let cloud = Cloud::start([old.answer(), new.answer(), (500, "broken".into())]);
    let (machine, script) = cloud.machine();
    machine.joins(&script);
    let again = |expected: Option<i32>| {
        let ran = machine.run(&script, "evenkeel-certs 0");
        assert_eq!(ran.code, expected, "{}", ran.stderr);
        assert_eq!(machine.read("etc/evenkeel/tls/cert.pem"), new.cert.replace("\r\n", "\n"));
        assert_eq!(machine.read("etc/evenkeel/tls/key.pem"), new.key.replace("\r\n", "\n"));
    };
    again(Some(0));
    again(Some(1));
}

#[test]
fn what_keeps_the_certificate_away_is_named_with_what_to_do() {
    let said = Cloud::refusal(400, r#"{"__type":"ParameterNotFound"}"#);
    assert!(said.contains(PARAMETER) && said.contains("run `evenkeel certs --stack shop --put`"), "{said}");

    let denied = format!(
        r#"{{"__type":"AccessDeniedException","Message":"User: arn:aws:sts::123456789012:assumed-role/{ROLE}/i-0 is not authorized to perform: ssm:GetParameter"}}"#
    );
    let said = Cloud::refusal(400, &denied);
    assert!(said.contains("role evenkeel-shop needs ssm:GetParameter on it"), "{said}");
    assert!(said.contains("is not authorized to perform"), "{said}");

    let cloud = Cloud::start([parameter("")]);
    cloud.told.lock().unwrap().without_role = usize::MAX;
    let (machine, script) = cloud.machine();
    let said = machine.fails(&impatient(&script), "certificates");
    assert!(said.contains("was the instance launched with an instance profile?"), "{said}");
}

#[test]
fn a_parameter_that_is_not_a_certificate_with_its_key_and_ca_is_refused() {
    let (one, other) = (Bundle::new(), Bundle::new());
    for (value, expected) in [
        ("hello".to_owned(), "no private key"),
        (one.cert.clone(), "no private key"),
        (format!("{}{}", one.cert, one.key), "do not fit together"),
        (format!("{}{}{}", other.cert, one.key, one.ca), "do not fit together"),
    ] {
        let (status, answer) = parameter(&value);
        let said = Cloud::refusal(status, &answer);
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("BEGIN"), "{said}");
    }
    let said = Cloud::refusal(200, "<html>a proxy</html>");
    assert!(said.contains("not an answer of SSM"), "{said}");
}
