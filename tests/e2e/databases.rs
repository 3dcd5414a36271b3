//! Databases of RDS: a real PostgreSQL, which an app's migration makes a table in and its replicas and jobs write to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    controller::Controller,
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::{ACCOUNT, GROUND, Instance, elements, run},
    manifest::Manifest,
    place::Place,
    secrets::texts,
};

const RDS: (&str, &str) = ("rds", "2014-10-31");

/// The master's password: nobody but the containers is ever told of it.
const PASSWORD: &str = "correct-h0rse-battery";

/// A database instance, for as long as this value.
pub struct Database {
    pub name: &'static str,
    pub region: &'static str,
    /// The database in it.
    pub holds: &'static str,
    pub master: &'static str,
    /// Where Parameter Store keeps the master's password.
    pub parameter: String,
}

impl Database {
    async fn none(name: &'static str, region: &'static str) -> Database {
        Database { name, region, holds: "ledger", master: "keeper", parameter: format!("/{name}") }.afresh().await
    }

    /// Nothing of an earlier run is left of it, and its password is in Parameter Store.
    pub async fn afresh(self) -> Database {
        self.delete();
        until("the database of an earlier run is gone", 60, || self.described().is_err()).await;
        let request = json!({"Name": self.parameter, "Value": PASSWORD, "Type": "SecureString", "Overwrite": true});
        GROUND.json("ssm", "AmazonSSM.PutParameter", self.region, ACCOUNT, request);
        self
    }

    pub fn create(&self) {
        let request = [
            ("DBInstanceIdentifier", self.name),
            ("Engine", "postgres"),
            ("DBInstanceClass", "db.t3.micro"),
            ("AllocatedStorage", "20"),
            ("DBName", self.holds),
            ("Port", "5433"),
            ("MasterUsername", self.master),
            ("MasterUserPassword", PASSWORD),
        ];
        GROUND.query(RDS, ACCOUNT, self.region, "CreateDBInstance", &request).expect("CreateDBInstance");
    }

    fn described(&self) -> Result<String, String> {
        GROUND.query(RDS, ACCOUNT, self.region, "DescribeDBInstances", &[("DBInstanceIdentifier", self.name)])
    }

    fn told(&self, what: &str) -> String {
        elements(&self.described().expect("the database"), what).remove(0)
    }

    fn delete(&self) {
        let request = [("DBInstanceIdentifier", self.name), ("SkipFinalSnapshot", "true")];
        let _ = GROUND.query(RDS, ACCOUNT, self.region, "DeleteDBInstance", &request);
    }

    /// The manifest of an app that keeps its ledger there.
    fn used_by(&self, manifest: &str) -> String {
        let source =
            format!("  dataSource: {{rds: {name}, database: ledger, password: {{ssm: /{name}}}}}\n", name = self.name);
        manifest.replacen("  rollout: ", &format!("{source}  rollout: "), 1)
    }

    /// The variables that a container is to have.
    fn variables(&self) -> BTreeMap<String, String> {
        let all = [
            ("DB_ADAPTER", "postgresql".to_owned()),
            ("DB_DATABASE", "ledger".to_owned()),
            ("DB_HOST", self.told("Address")),
            ("DB_PASSWORD", PASSWORD.to_owned()),
            ("DB_PORT", "5433".to_owned()),
            ("DB_RECONNECT", "true".to_owned()),
            ("DB_USERNAME", "keeper".to_owned()),
        ];
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.delete();
    }
}

fn ledger(mut manifest: Manifest) -> Manifest {
    manifest.image = "registry.example.com/shop/ledger:1.0".into();
    manifest.more =
        "      database: true\n      env: {DB_HOST: nowhere.example.com}\n      migration: migrate\n".into();
    manifest
}

/// Who has written to the ledger, in order, as the database itself tells.
fn writers(instance: &Instance) -> Vec<String> {
    let ask = ["exec", "web0", "sql", "SELECT writer FROM entries ORDER BY number"];
    instance.docker(&ask).lines().map(str::to_owned).collect()
}

fn variables(instance: &Instance, container: &str) -> BTreeMap<String, String> {
    let all = instance.docker(&["exec", container, "env"]);
    let all = all.lines().filter_map(|line| line.split_once('='));
    all.filter(|(name, _)| name.starts_with("DB_")).map(|(name, value)| (name.into(), value.into())).collect()
}

/// What everybody may see once it is up: the table is there, made by the migration of each release, and both write to it.
async fn assert_kept(database: &Database, place: &impl Place, releases: usize) {
    let (address, instances) = (place.address(), place.instances());
    for instance in instances.values() {
        assert_eq!(variables(instance, "web0"), database.variables());
    }
    let hosts: Vec<String> = instances.keys().map(|host| format!("web0.{host}")).collect();
    let one = instances.values().next().expect("an instance");
    until("both have written", 20, || {
        let answer = run("curl", &["-sS", "-m", "5", &format!("http://{address}/")]);
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer["entries"].as_u64() >= Some(2), "{answer}");
        let writers = writers(one);
        hosts.iter().all(|host| writers.contains(host))
    })
    .await;
    let writers = writers(one);
    assert!(writers[0].starts_with("migration on "), "{writers:?}");
    assert_eq!(writers.iter().filter(|writer| writer.starts_with("migration")).count(), releases, "{writers:?}");
}

fn assert_told_nowhere(place: &impl Place) {
    let texts = texts(place);
    assert!(texts["the log"].contains("TRACE") && texts.len() > 8, "{:?}", texts.keys());
    for (what, text) in &texts {
        let at = text.find(PASSWORD).map(|at| text[at.saturating_sub(300)..].chars().take(500).collect::<String>());
        assert_eq!(at, None, "{what} tells the password");
    }
}

async fn until_unavailable(controller: &mut Controller, stack: &str, words: &[&str]) {
    let told = |status: &super::controller::Status| {
        let told = status.conditions("DatabaseUnavailable").join("\n");
        words.iter().all(|word| told.contains(word))
    };
    controller.until(stack, &format!("told that the database is unavailable: {words:?}"), 150, told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_migration_makes_its_table_in_a_database_that_opsworks_is_told_of_before_the_app() {
    let _turn = beside_others().await;
    let (name, region) = ("ledger", "me-central-1");
    let database = Database::none(name, region).await;
    let fleet = Fleet::new(name, region);
    let since = GROUND.last_call();
    let revision = fleet.commit(&database.used_by(&ledger(Manifest::new(name, region, 2)).text()));
    let fast = ["--resync", "2", "--secrets-poll", "1"];
    let mut controller = fleet.start_with(&fast, &[("EVENKEEL_LOG", "trace")]);
    let words =
        ["rds ledger does not exist in me-central-1", "ledger app/web", "OpsWorks is told of the database once"];
    until_unavailable(&mut controller, name, &words).await;
    database.create();
    controller.until_converged(name, &revision, 150).await;
    fleet.assert_in_service(2);
    assert_kept(&database, &fleet, 1).await;

    let registered = fleet.described("DescribeRdsDbInstances", "RdsDbInstances");
    assert_eq!(registered.len(), 1, "{registered:#?}");
    let arn = database.told("DBInstanceArn");
    assert_eq!((&registered[0]["RdsDbInstanceArn"], &registered[0]["DbUser"]), (&json!(arn), &json!("keeper")));
    let source = json!([{"Type": "RdsDbInstance", "Arn": arn, "DatabaseName": "ledger"}]);
    assert_eq!(fleet.apps()[0]["DataSources"], source);
    let calls: Vec<String> = GROUND.calls(region, since).into_iter().map(|(operation, _)| operation).collect();
    let at = |wanted: &str| calls.iter().position(|operation| operation == wanted).expect("the call");
    assert!(at("RegisterRdsDbInstance") < at("CreateApp"), "{calls:?}");
    assert_eq!(calls.iter().filter(|operation| *operation == "RegisterRdsDbInstance").count(), 1);

    // One that writes down what it was given, and ends: where its database is may be told.
    let mut manifest = ledger(Manifest::new(name, region, 2));
    manifest.others =
        "    - name: teller\n      image: registry.example.com/shop/ledger:1.0\n      traffic: false\n      \
        database: true\n      entrypoint: [sh, -c]\n      command: [\"echo $DB_HOST took $DB_PASSWORD; exit 3\"]\n"
            .into();
    fleet.commit(&database.used_by(&manifest.text()));
    let words = format!("{} took ***", database.told("Address"));
    let fails = |status: &super::controller::Status| status.0.to_string().contains(&words);
    controller.until(name, "told what the container wrote last", 60, fails).await;
    assert_told_nowhere(&fleet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_migration_a_job_and_the_replicas_keep_one_ledger_and_go_on_while_rds_tells_nothing() {
    let _turn = beside_others().await;
    let (name, region) = ("ec2ledger", "eu-south-1");
    let database = Database::none(name, region).await;
    let fleet = ec2::fleet::Fleet::new(name, region);
    let mut manifest = ec2::manifest::Manifest::new(&fleet, 2);
    manifest.app = ledger(manifest.app);
    manifest.app.others =
        "    - name: clerk\n      image: registry.example.com/shop/ledger:1.0\n      deploy: cron\n      \
        cron: \"* * * * *\"\n      database: true\n      command: [sql, \"INSERT INTO entries (writer) VALUES \
        ('clerk')\"]\n"
            .into();
    let revision = fleet.commit(&database.used_by(&manifest.text()));
    database.create();
    let fast = ["--resync", "2", "--secrets-poll", "1"];
    let mut controller = fleet.start_with(&fast, &[("EVENKEEL_LOG", "trace")]);
    controller.until_converged(name, &revision, 240).await;
    assert_kept(&database, &fleet, 1).await;
    let one = fleet.instances().into_values().next().expect("an instance");
    until("the job has written", 90, || writers(&one).contains(&"clerk".to_owned())).await;

    // While RDS tells nobody, what runs goes on, and another release waits.
    let ids = || -> BTreeMap<String, String> {
        let id = |(host, instance): (String, Instance)| (host, instance.containers()["web0"].id.clone());
        fleet.instances().into_iter().map(id).collect()
    };
    let before = ids();
    let denied =
        json!({"service": "rds", "operation": "DescribeDBInstances", "region": region, "error": "AccessDenied"});
    let denied = GROUND.fault(denied);
    let words = ["rds:DescribeDBInstances", "AccessDenied", "to the controller's role", "What runs of"];
    until_unavailable(&mut controller, name, &words).await;
    let mut another = manifest.clone();
    another.app.more += "      labels: {release: two}\n";
    let revision = fleet.commit(&database.used_by(&another.text()));
    let waits = |status: &super::controller::Status| {
        status.revision() == revision && status.0["holds"].to_string().contains("to be read")
    };
    controller.until(name, "waiting with the new release", 60, waits).await;
    assert_eq!(ids(), before);
    drop(denied);
    controller.until_converged(name, &revision, 150).await;
    let after = ids();
    assert!(before.iter().all(|(host, id)| after[host] != *id), "{before:?} {after:?}");
    assert_kept(&database, &fleet, 2).await;
    assert_told_nowhere(&fleet);
}
