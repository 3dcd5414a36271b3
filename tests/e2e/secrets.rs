//! Values that are kept elsewhere: they arrive in the containers, a rotated one is rolled out, one that cannot be read
//! stops nothing, and none of them is told anywhere.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    controller::{self, Status},
    fleet::{Fleet, beside_others},
    ground::{ACCOUNT, GROUND, Instance},
    load::Load,
    manifest::Manifest,
};

const REGION: &str = "eu-central-1";

/// A variable of the controllers' own environment.
const PLANTED: &str = "EVENKEEL_PLANTED";

/// What is kept elsewhere: every value that ever was bears this word.
const SECRET: &str = "s3cr3t";

fn put_parameter(name: &str, value: &str) {
    let request = json!({"Name": name, "Value": value, "Type": "SecureString", "Overwrite": true});
    GROUND.json("ssm", "AmazonSSM.PutParameter", REGION, ACCOUNT, request);
}

fn secrets_manager(operation: &str, request: Value) {
    let target = format!("secretsmanager.{operation}");
    GROUND.json("secretsmanager", &target, REGION, ACCOUNT, request);
}

/// A secret that is there for as long as this value.
struct Kept(&'static str);

impl Kept {
    fn put(name: &'static str, text: &str) -> Kept {
        let token = "00000000-0000-0000-0000-000000000001";
        secrets_manager("CreateSecret", json!({"Name": name, "SecretString": text, "ClientRequestToken": token}));
        Kept(name)
    }

    fn rotate(&self, text: &str, time: u32) {
        let token = format!("00000000-0000-0000-0000-0000000000{time:02}");
        let request = json!({"SecretId": self.0, "SecretString": text, "ClientRequestToken": token});
        secrets_manager("PutSecretValue", request);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        secrets_manager("DeleteSecret", json!({"SecretId": self.0, "ForceDeleteWithoutRecovery": true}));
    }
}

/// What the container `web0` of every instance has as its variable.
fn seen(fleet: &Fleet, variable: &str) -> Vec<String> {
    let print = format!("printf %s \"${variable}\"");
    let ask = |instance: &super::ground::Instance| instance.docker(&["exec", "web0", "sh", "-c", &print]);
    fleet.instances().values().map(ask).collect()
}

fn ids(fleet: &Fleet, name: &str) -> BTreeMap<String, String> {
    let id = |(host, instance): (String, super::ground::Instance)| (host, instance.containers()[name].id.clone());
    fleet.instances().into_iter().map(id).collect()
}

/// Every text that the controller and its commands have made.
pub fn texts(fleet: &Fleet) -> BTreeMap<String, String> {
    texts_of(&fleet.dir(), &fleet.repository(), fleet.instances())
}

/// The same, of a controller with its state in a directory, and of what runs on these instances.
pub fn texts_of(dir: &Path, repository: &Path, instances: BTreeMap<String, Instance>) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut all = BTreeMap::new();
    let state = dir.join("state");
    for file in fs::read_dir(&state).unwrap().flatten().filter(|file| file.path().is_file()) {
        all.insert(file.path().display().to_string(), text(&fs::read(file.path()).unwrap()));
    }
    let log = dir.join("controller.log");
    all.insert("the log".into(), text(&fs::read(log).unwrap()));
    for (host, instance) in instances {
        for name in instance.containers().keys() {
            let labels = instance.docker(&["inspect", "-f", "{{json .Config.Labels}}", name]);
            all.insert(format!("the labels of {host}/{name}"), labels);
        }
    }
    let (state, source) = (state.to_str().unwrap().to_owned(), repository.to_str().unwrap().to_owned());
    for command in [
        vec!["status", "--state", &state],
        vec!["status", "--json", "--state", &state],
        vec!["plan", &source, "--state", &state],
        vec!["plan", &source, "--json", "--state", &state],
    ] {
        let output = Command::new(controller::program())
            .args(&command)
            .envs(&GROUND.env)
            .env(PLANTED, SECRET)
            .env("EVENKEEL_LOG", "trace")
            .output()
            .unwrap();
        all.insert(command.join(" "), format!("{}{}", text(&output.stdout), text(&output.stderr)));
    }
    all
}

fn manifest(file: &Path) -> Manifest {
    let mut manifest = Manifest::new("secrets", REGION, 2);
    manifest.more = format!(
        "      env:\n        TOKEN: {{ssm: /secrets/token}}\n        PASSWORD: {{secretsManager: secrets-db, key: \
         password}}\n        OWN: {{env: {PLANTED}}}\n        LICENCE: {{file: {}}}\n",
        file.display()
    );
    manifest.others = "    - name: worker\n      image: registry.example.com/shop/web:1.0\n".into();
    manifest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_value_that_is_kept_elsewhere_arrives_is_rotated_without_a_lost_request_and_is_told_nowhere() {
    let _turn = beside_others().await;
    let fleet = Fleet::new("secrets", REGION);
    let file = fleet.dir().join("licence");
    fs::write(&file, format!("{SECRET}-licence\n")).unwrap();
    put_parameter("/secrets/token", &format!("{SECRET}-token"));
    let db = Kept::put("secrets-db", &format!(r#"{{"user": "shop", "password": "{SECRET}-password"}}"#));
    let mut manifest = manifest(&file);
    let revision = fleet.commit(&manifest.text());
    let fast = ["--resync", "2", "--secrets-poll", "1"];
    let mut controller = fleet.start_with(&fast, &[("EVENKEEL_LOG", "trace"), (PLANTED, &format!("{SECRET}-own"))]);
    controller.until_converged("secrets", &revision, 150).await;
    for (variable, value) in [("TOKEN", "token"), ("PASSWORD", "password"), ("OWN", "own"), ("LICENCE", "licence")] {
        assert_eq!(seen(&fleet, variable), [format!("{SECRET}-{value}"), format!("{SECRET}-{value}")]);
    }

    // A rotated one restarts what uses it, and nothing else.
    let load = Load::on(&fleet.address());
    let workers = ids(&fleet, "worker0");
    for (rotate, variable) in [(true, "TOKEN"), (false, "PASSWORD")] {
        let (before, value) = (ids(&fleet, "web0"), format!("{SECRET}-of-today"));
        match rotate {
            true => put_parameter("/secrets/token", &value),
            false => db.rotate(&format!(r#"{{"password": "{value}"}}"#), 2),
        }
        let rolled = |status: &Status| {
            status.phase() == "Converged" && ids(&fleet, "web0").iter().all(|(host, id)| before[host] != *id)
        };
        controller.until("secrets", "restarted with the new value", 60, rolled).await;
        assert_eq!(seen(&fleet, variable), [value.clone(), value]);
    }
    assert_eq!(ids(&fleet, "worker0"), workers);
    fleet.assert_in_service(2);

    // While one cannot be read, what runs goes on, and another release waits for it.
    let before = ids(&fleet, "web0");
    let denied =
        json!({"service": "ssm", "operation": "GetParameters", "region": REGION, "error": "AccessDeniedException"});
    let denied = GROUND.fault(denied);
    db.rotate(r#"{"user": "shop"}"#, 3);
    let both = |status: &Status| status.conditions("SecretUnavailable").len() == 2;
    let status = controller.until("secrets", "told that two cannot be read", 30, both).await;
    let told = status.conditions("SecretUnavailable").join("\n");
    for words in [
        "secretsManager secrets-db (key password): secretsManager secrets-db (key password) has no such key",
        "ssm /secrets/token: ssm:GetParameters (ssm /secrets/token, eu-central-1): AccessDeniedException",
        "allow ssm:GetParameters to the controller's role. What runs of secrets app/web goes on",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let revision = fleet.commit(&manifest.clone().image("web:1.1").text());
    let waits = |status: &Status| status.revision() == revision && status.0["holds"].to_string().contains("to be read");
    controller.until("secrets", "waiting with the new release", 30, waits).await;
    assert_eq!(ids(&fleet, "web0"), before);
    drop(denied);
    db.rotate(&format!(r#"{{"password": "{SECRET}-of-tomorrow"}}"#), 4);
    controller.until_converged("secrets", &revision, 60).await;
    assert_eq!(seen(&fleet, "PASSWORD"), [format!("{SECRET}-of-tomorrow"), format!("{SECRET}-of-tomorrow")]);
    load.end().await.assert_none_lost(600);

    // Another controller without a memory restarts nothing.
    let before = ids(&fleet, "web0");
    controller.kill();
    for name in fs::read_dir(fleet.dir().join("state")).unwrap().flatten() {
        if name.file_name().to_string_lossy().starts_with("evenkeel.db") {
            fs::remove_file(name.path()).unwrap();
        }
    }
    let mut controller = fleet.start_with(&fast, &[("EVENKEEL_LOG", "trace"), (PLANTED, &format!("{SECRET}-own"))]);
    controller.until_converged("secrets", &revision, 60).await;
    assert_eq!(ids(&fleet, "web0"), before);

    // One that writes down what it was given, and ends.
    manifest.others += "    - name: teller\n      image: registry.example.com/shop/web:1.0\n      traffic: false\n      \
        entrypoint: [sh, -c]\n      command: [\"echo my token is $TOKEN; exit 3\"]\n      envFrom: web\n";
    fleet.commit(&manifest.image("web:1.1").text());
    let fails = |status: &Status| status.0.to_string().contains("my token is ***");
    controller.until("secrets", "told what the container wrote last", 60, fails).await;

    let texts = texts(&fleet);
    assert!(texts["the log"].contains("TRACE") && texts.len() > 8, "{:?}", texts.keys());
    let (plan, _) = texts.iter().find(|(what, _)| what.contains("--json") && what.contains("plan")).unwrap();
    assert!(texts[plan].contains("secretsManager"), "{}", texts[plan]);
    for (what, text) in &texts {
        let at = text.find(SECRET).map(|at| text[at.saturating_sub(200)..].chars().take(400).collect::<String>());
        assert_eq!(at, None, "{what} tells a secret");
    }
}
