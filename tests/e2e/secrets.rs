//! Values that are kept elsewhere: they arrive in the containers, a rotated one is rolled out, one that cannot be read
//! stops nothing, and none of them is told anywhere.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use super::{
    controller::Status,
    ec2,
    fleet::{Fleet, beside_others},
    ground::{ACCOUNT, GROUND},
    load::Load,
    manifest::Manifest,
    place::Place,
};

/// A variable of the controllers' own environment.
const PLANTED: &str = "EVENKEEL_PLANTED";

/// What is kept elsewhere: every value that ever was bears this word.
const SECRET: &str = "s3cr3t";

fn put_parameter(region: &str, name: &str, value: &str) {
    let request = json!({"Name": name, "Value": value, "Type": "SecureString", "Overwrite": true});
    GROUND.json("ssm", "AmazonSSM.PutParameter", region, ACCOUNT, request);
}

/// A secret that is there for as long as this value.
struct Kept<'a> {
    region: &'a str,
    name: &'a str,
}

impl<'a> Kept<'a> {
    fn put(region: &'a str, name: &'a str, text: &str) -> Kept<'a> {
        let (kept, token) = (Kept { region, name }, "00000000-0000-0000-0000-000000000001");
        kept.call("CreateSecret", json!({"Name": name, "SecretString": text, "ClientRequestToken": token}));
        kept
    }

    fn rotate(&self, text: &str, time: u32) {
        let token = format!("00000000-0000-0000-0000-0000000000{time:02}");
        let request = json!({"SecretId": self.name, "SecretString": text, "ClientRequestToken": token});
        self.call("PutSecretValue", request);
    }

    fn call(&self, operation: &str, request: Value) {
        let target = format!("secretsmanager.{operation}");
        GROUND.json("secretsmanager", &target, self.region, ACCOUNT, request);
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.call("DeleteSecret", json!({"SecretId": self.name, "ForceDeleteWithoutRecovery": true}));
    }
}

/// What the container `web0` of every instance has as its variable.
fn seen(place: &impl Place, variable: &str) -> Vec<String> {
    let print = format!("printf %s \"${variable}\"");
    let ask = |instance: &super::ground::Instance| instance.docker(&["exec", "web0", "sh", "-c", &print]);
    place.instances().values().map(ask).collect()
}

fn ids(place: &impl Place, name: &str) -> BTreeMap<String, String> {
    let id = |(host, instance): (String, super::ground::Instance)| (host, instance.containers()[name].id.clone());
    place.instances().into_iter().map(id).collect()
}

/// Every text that the controller and its commands have made.
pub fn texts(place: &impl Place) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut all = BTreeMap::new();
    let state = place.state();
    for file in fs::read_dir(&state).unwrap().flatten().filter(|file| file.path().is_file()) {
        all.insert(file.path().display().to_string(), text(&fs::read(file.path()).unwrap()));
    }
    let log = place.dir().join("controller.log");
    all.insert("the log".into(), text(&fs::read(log).unwrap()));
    for (host, instance) in place.instances() {
        for name in instance.containers().keys() {
            let labels = instance.docker(&["inspect", "-f", "{{json .Config.Labels}}", name]);
            all.insert(format!("the labels of {host}/{name}"), labels);
        }
    }
    let (state, source) = (state.to_str().unwrap().to_owned(), place.repository().to_str().unwrap().to_owned());
    for arguments in [
        vec!["status", "--state", &state],
        vec!["status", "--json", "--state", &state],
        vec!["plan", &source, "--state", &state],
        vec!["plan", &source, "--json", "--state", &state],
    ] {
        let mut command = place.command(&arguments);
        let output = command.env(PLANTED, SECRET).env("EVENKEEL_LOG", "trace").output().unwrap();
        all.insert(arguments.join(" "), format!("{}{}", text(&output.stdout), text(&output.stderr)));
    }
    all
}

fn manifest(place: &impl Place, file: &Path) -> Manifest {
    let (name, mut manifest) = (place.name(), place.manifest(2));
    manifest.more = format!(
        "      env:\n        TOKEN: {{ssm: /{name}/token}}\n        PASSWORD: {{secretsManager: {name}-db, key: \
         password}}\n        OWN: {{env: {PLANTED}}}\n        LICENCE: {{file: {}}}\n",
        file.display()
    );
    manifest.others = "    - name: worker\n      image: registry.example.com/shop/web:1.0\n".into();
    manifest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_value_kept_elsewhere_arrives_is_rotated_without_a_lost_request_and_is_told_nowhere() {
    let _turn = beside_others().await;
    values_kept_elsewhere(&Fleet::new("secrets", "eu-central-1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_value_kept_elsewhere_arrives_is_rotated_without_a_lost_request_and_is_told_nowhere() {
    let _turn = beside_others().await;
    values_kept_elsewhere(&ec2::fleet::Fleet::new("ec2secrets", "eu-north-1")).await;
}

async fn values_kept_elsewhere<P: Place>(place: &P) {
    let (name, region) = (place.name(), place.region());
    let (token, secret) = (format!("/{name}/token"), format!("{name}-db"));
    let (token, secret) = (token.as_str(), secret.as_str());
    let file = place.dir().join("licence");
    fs::write(&file, format!("{SECRET}-licence\n")).unwrap();
    put_parameter(region, token, &format!("{SECRET}-token"));
    let db = Kept::put(region, secret, &format!(r#"{{"user": "shop", "password": "{SECRET}-password"}}"#));
    let mut manifest = manifest(place, &file);
    let revision = place.commit(&place.text(&manifest));
    let fast = ["--resync", "2", "--secrets-poll", "1"];
    let mut controller = place.start_with(&fast, &[("EVENKEEL_LOG", "trace"), (PLANTED, &format!("{SECRET}-own"))]);
    controller.until_converged(name, &revision, P::LIMIT).await;
    for (variable, value) in [("TOKEN", "token"), ("PASSWORD", "password"), ("OWN", "own"), ("LICENCE", "licence")] {
        assert_eq!(seen(place, variable), [format!("{SECRET}-{value}"), format!("{SECRET}-{value}")]);
    }

    // A rotated one restarts what uses it, and nothing else.
    let load = Load::on(&place.address());
    let workers = ids(place, "worker0");
    for (rotate, variable) in [(true, "TOKEN"), (false, "PASSWORD")] {
        let (before, value) = (ids(place, "web0"), format!("{SECRET}-of-today"));
        match rotate {
            true => put_parameter(region, token, &value),
            false => db.rotate(&format!(r#"{{"password": "{value}"}}"#), 2),
        }
        let rolled = |status: &Status| {
            status.phase() == "Converged" && ids(place, "web0").iter().all(|(host, id)| before[host] != *id)
        };
        controller.until(name, "restarted with the new value", 60, rolled).await;
        assert_eq!(seen(place, variable), [value.clone(), value]);
    }
    assert_eq!(ids(place, "worker0"), workers);
    place.assert_in_service(2);

    // While one cannot be read, what runs goes on, and another release waits for it.
    let before = ids(place, "web0");
    let denied = GROUND.fault(json!({
        "service": "ssm", "operation": "GetParameters", "region": region, "match": token,
        "error": "AccessDeniedException",
    }));
    db.rotate(r#"{"user": "shop"}"#, 3);
    let both = |status: &Status| status.conditions("SecretUnavailable").len() == 2;
    let status = controller.until(name, "told that two cannot be read", 30, both).await;
    let told = status.conditions("SecretUnavailable").join("\n");
    for words in [
        format!("secretsManager {secret} (key password): secretsManager {secret} (key password) has no such key"),
        format!("ssm {token}: ssm:GetParameters (ssm {token}, {region}): AccessDeniedException"),
        format!("allow ssm:GetParameters to the controller's role. What runs of {name} app/web goes on"),
    ] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    let revision = place.commit(&place.text(&manifest.clone().image("web:1.1")));
    let waits = |status: &Status| status.revision() == revision && status.0["holds"].to_string().contains("to be read");
    controller.until(name, "waiting with the new release", 30, waits).await;
    assert_eq!(ids(place, "web0"), before);
    drop(denied);
    db.rotate(&format!(r#"{{"password": "{SECRET}-of-tomorrow"}}"#), 4);
    controller.until_converged(name, &revision, 60).await;
    assert_eq!(seen(place, "PASSWORD"), [format!("{SECRET}-of-tomorrow"), format!("{SECRET}-of-tomorrow")]);
    load.end().await.assert_none_lost(600);

    // Another controller without a memory restarts nothing.
    let before = ids(place, "web0");
    controller.kill();
    for file in fs::read_dir(place.state()).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("evenkeel.db") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let mut controller = place.start_with(&fast, &[("EVENKEEL_LOG", "trace"), (PLANTED, &format!("{SECRET}-own"))]);
    controller.until_converged(name, &revision, 60).await;
    assert_eq!(ids(place, "web0"), before);

    // One that writes down what it was given, and ends.
    manifest.others += "    - name: teller\n      image: registry.example.com/shop/web:1.0\n      traffic: false\n      \
        entrypoint: [sh, -c]\n      command: [\"echo my token is $TOKEN; exit 3\"]\n      envFrom: web\n";
    place.commit(&place.text(&manifest.image("web:1.1")));
    let fails = |status: &Status| status.0.to_string().contains("my token is ***");
    controller.until(name, "told what the container wrote last", 60, fails).await;

    let texts = texts(place);
    assert!(texts["the log"].contains("TRACE") && texts.len() > 8, "{:?}", texts.keys());
    let (plan, _) = texts.iter().find(|(what, _)| what.contains("--json") && what.contains("plan")).unwrap();
    assert!(texts[plan].contains("secretsManager"), "{}", texts[plan]);
    for (what, text) in &texts {
        let at = text.find(SECRET).map(|at| text[at.saturating_sub(200)..].chars().take(400).collect::<String>());
        assert_eq!(at, None, "{what} tells a secret");
    }
}
