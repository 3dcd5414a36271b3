//! From a Stack JSON to a fleet that serves: the example of `deploy/examples`, imported, decided on, and run with all its
//! containers, on either provider.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use super::{
    controller::{evenkeel, words},
    databases::Database,
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::{ACCOUNT, GROUND, Instance, run},
    load::Load,
    place::Place,
    receiver::Receiver,
};

/// The registry of the proving ground that asks who pulls.
const HOST: &str = "registry.example.com:5443";
const CONTAINERS: [&str; 7] = ["app0", "app1", "forwarder0", "haproxy0", "nginx0", "redis0", "worker0"];

/// A syslog server, over UDP.
struct Syslog {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Syslog {
    /// Where the instances' containers reach it.
    fn start() -> Syslog {
        let endpoint = GROUND.endpoint_of_instances();
        let gateway = endpoint.trim_start_matches("http://").split(':').next().unwrap();
        let socket = UdpSocket::bind((gateway, 0)).expect("a port");
        let (address, heard) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let all = heard.clone();
        thread::spawn(move || {
            let mut message = [0; 65536];
            while let Ok(length) = socket.recv(&mut message) {
                all.lock().unwrap().push(String::from_utf8_lossy(&message[..length]).into_owned());
            }
        });
        Syslog { address, heard }
    }

    /// How many lines of a container of an instance have these words.
    fn count(&self, from: &str, container: &str, words: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        let head = format!(" {from} {container} - - - ");
        let of = |line: &&String| line.split_once(&head).is_some_and(|(_, said)| said.contains(words));
        heard.iter().filter(of).count()
    }
}

/// What the operator does beside the controller.
trait Operated: Place {
    /// Whether everything is done by now.
    fn set_up(&self) -> bool {
        true
    }
}

impl Operated for ec2::fleet::Fleet {}

impl Operated for Fleet {
    /// The authority that vouches for the registry is put on instances of OpsWorks by their recipes.
    fn set_up(&self) -> bool {
        let of = "/etc/docker/certs.d/registry.example.com";
        let put = format!("mkdir -p {of}:5443 && cp {of}/ca.crt {of}:5443/ca.crt");
        let is_put = |instance: &Instance| {
            let done = Command::new("docker").args(["exec", &instance.container, "sh", "-c", &put]).output();
            done.is_ok_and(|done| done.status.success())
        };
        self.stacks().len() == 1 && {
            let all = self.instances();
            all.len() == 2 && all.values().all(is_put)
        }
    }
}

/// What one test has, whoever runs its instances.
struct Shop {
    name: &'static str,
    region: &'static str,
    syslog: Syslog,
    rollbar: Receiver,
    database: Database,
}

/// A text with other words in the place of some, each of which has to be there.
fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "there is no {old} in\n{text}");
        text.replace(old, new)
    })
}

impl Shop {
    async fn new(name: &'static str, region: &'static str) -> Shop {
        let parameter = format!("/{name}/amazing-application/database-password");
        let database = Database { name: "shop-db", region, holds: "shop", master: "shop", parameter }.afresh().await;
        database.create();
        Shop { name, region, syslog: Syslog::start(), rollbar: Receiver::start(), database }
    }

    fn put(&self, name: &str, value: &str) {
        let request = json!({"Name": self.parameter(name), "Value": value, "Type": "SecureString", "Overwrite": true});
        GROUND.json("ssm", "AmazonSSM.PutParameter", self.region, ACCOUNT, request);
    }

    fn parameter(&self, name: &str) -> String {
        format!("/{}/{name}", self.name)
    }

    /// The example as a shop in this AWS would have it: where its registry, its logs, its database and its instances are.
    /// What runs by the clock does so every minute.
    fn jsons(&self, of_this_aws: &[(&str, &str)]) -> (String, String) {
        let stack = edited(
            include_str!("../../deploy/examples/stack.json"),
            &[
                ("registry.example.com", HOST),
                ("syslog://logs.example.com:514", &format!("syslog://{}", self.syslog.address)),
                (r#""minute": 30"#, r#""minute": "*""#),
                (r#""hour": "3""#, r#""hour": "*""#),
                (r#""weekday": "mon-fri""#, r#""weekday": "*""#),
            ],
        );
        let aws = edited(
            include_str!("../../deploy/examples/aws.json"),
            &[
                ("eu-west-1", self.region),
                (r#""Name": "shop""#, &format!(r#""Name": "{}""#, self.name)),
                (r#"LoadBalancerName": "shop""#, &format!(r#"LoadBalancerName": "{}""#, self.name)),
                ("123456789012:db:", "000000000000:db:"),
            ],
        );
        (stack, edited(&aws, of_this_aws))
    }

    /// What `evenkeel import` prints, once everything is decided on that it asks for.
    fn imported(&self, dir: &Path, provider: &str, of_this_aws: &[(&str, &str)]) -> String {
        let (stack, aws) = self.jsons(of_this_aws);
        let files = ["stack.json", "aws.json"].map(|name| dir.join(name).to_str().unwrap().to_owned());
        fs::write(&files[0], stack).unwrap();
        fs::write(&files[1], aws).unwrap();
        let output = evenkeel(&["import", &files[0], "--stack-from", &files[1], "--provider", provider]);
        assert!(output.status.success(), "{}", words(&output));
        let (manifests, notes) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let decisions = [
            (format!("registry/{}", HOST.replace(':', "-")), r#""correct horse battery staple""#, "secret"),
            ("amazing-application/SECRET_KEY_BASE".into(), r#""0123456789abcdef""#, "0123456789abcdef"),
            ("amazing-application/rollbar".into(), "fedcba9876543210", "fedcba9876543210"),
        ];
        let decided = decisions.iter().fold(manifests, |text, (parameter, plain, value)| {
            let reference = format!("{{ssm: {}}}", self.parameter(parameter));
            assert!(notes.contains(&reference), "nothing asks for {reference}: {notes}");
            self.put(parameter, value);
            edited(&text, &[(plain, &reference)])
        });
        assert!(decided.contains(&format!("password: {{ssm: {}}}", self.database.parameter)), "{decided}");
        let health = "healthCheck: {exec: up, interval: 2s, timeout: 3s, retries: 3, startPeriod: 30s}";
        let rollbar = format!(", url: \"http://{}/api/1/deploy/\"}}}}", self.rollbar.address);
        let revision = "revVar: GIT_REVISION";
        let decided = edited(
            &decided,
            &[("startupTime: 30s", health), (&format!("{revision}}}}}"), &format!("{revision}{rollbar}"))],
        );
        // Nobody asks for this: for the others the ten seconds are waited that count as healthy without a check.
        ["redis", "worker", "haproxy", "nginx", "forwarder"].iter().fold(decided, |text, name| {
            let name = format!("    - name: {name}\n");
            edited(&text, &[(&name, &format!("{name}      startupTime: 2s\n"))])
        })
    }

    /// What Rollbar was told.
    fn told(&self) -> Vec<Value> {
        let heard = self.rollbar.heard().into_iter();
        heard.map(|heard| serde_json::from_str(&heard.body).expect("JSON")).collect()
    }

    fn notice(&self, revision: &str) -> Value {
        json!({"access_token": "fedcba9876543210", "environment": "production", "revision": revision,
               "local_username": self.name})
    }

    /// Everything that the Stack JSON asked for is there, and works.
    async fn assert_whole(&self, address: &str, instances: &BTreeMap<String, Instance>) {
        assert_eq!(instances.keys().collect::<Vec<_>>(), ["docker1", "docker2"]);
        let mut served = BTreeSet::new();
        until("every replica of both instances has answered", 30, || {
            let answer = run("curl", &["-sS", "-m", "5", &format!("http://{address}/")]);
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            assert!(answer["hits"].as_u64() > Some(0), "Redis counts: {answer}");
            served.insert(answer["hostname"].as_str().unwrap().to_owned());
            served.len() == 4
        })
        .await;
        let of = |replica: &str, host: &str| format!("{replica}.{}-{host}", self.name);
        let all = ["docker1", "docker2"].into_iter().flat_map(|host| ["app0", "app1"].map(|app| of(app, host)));
        assert_eq!(served, all.collect());
        for (host, instance) in instances {
            let containers = instance.containers();
            let running = containers.iter().filter(|(name, _)| !name.starts_with("nightly."));
            let names: Vec<&String> = running.clone().map(|(name, _)| name).collect();
            assert_eq!(names, CONTAINERS);
            for (name, container) in running {
                assert_eq!(container.state, "running", "{host}/{name}");
                assert!(container.image.starts_with(HOST), "{host}/{name} runs {}", container.image);
            }
            let inside = |container: &str, command: &str| {
                instance.docker(&["exec", container, "sh", "-c", command]).trim().to_owned()
            };
            for name in ["app0", "nginx0"] {
                let image = instance.docker(&["inspect", "-f", "{{.Image}}", name]);
                assert_eq!(inside(name, "echo $RELEASE_TAG"), image.trim());
            }
            // What one keeps in a data volume is seen by whoever takes it, and changed only by who may.
            let said = inside("app0", "echo kept > /var/static/note; ls /var/lib/haproxy/socks");
            assert_eq!(said, "app0.sock\napp1.sock");
            let said =
                inside("nginx0", "cat /var/static/note; (echo lost > /var/static/note) 2>/dev/null || echo refused");
            assert_eq!(said, "kept\nrefused");
            assert_eq!(inside("app1", "cat /var/static/note"), "kept");
            assert_eq!(inside("app0", "echo $DISCOUNT"), "5%");
            assert_eq!(inside("worker0", "echo $GIT_REVISION $QUEUE"), format!("53c04f6 {}-{host}", self.name));
            // The worker has the same database, and does its jobs.
            assert_eq!(inside("worker0", "sql 'SELECT count(*) FROM migrations'"), "1");
            let jobs = || inside("redis0", &format!("redis-cli GET worker:worker0.{host}"));
            let before = jobs();
            assert!(before.starts_with("1.0 "), "{before}");
            until("the worker goes on", 10, || jobs() != before).await;
            let from = format!("{}-{host}", self.name);
            until("lines of both replicas were forwarded", 20, || {
                ["app0", "app1"].iter().all(|app| self.syslog.count(&from, app, "shop 1.0 starts") == 1)
            })
            .await;
            let anonymous = format!(
                "curl -s -o /dev/null -w '%{{http_code}}' --cacert /etc/docker/certs.d/registry.example.com/ca.crt \
                 https://{HOST}/v2/shop/app/manifests/1.0"
            );
            assert_eq!(instance.run(&["sh", "-c", &anonymous]), "401", "the registry asks who pulls");
        }
    }

    /// Who migrated to what, in order, as the database tells.
    fn migrations(&self, instance: &Instance) -> Vec<String> {
        let ask = ["exec", "app0", "sql", "SELECT release FROM migrations ORDER BY number"];
        instance.docker(&ask).lines().map(str::to_owned).collect()
    }

    /// Waits until the job has run, and compares what Evenkeel has on record with what the database has of it: each time once.
    /// One that was due before the tables were there has failed.
    async fn assert_tidied_once_per_time(&self, place: &impl Place, instance: &Instance) {
        until("the job has run, each time once", 90, || {
            let output = place.evenkeel(&["history", "amazing application/nightly", "--json"]);
            assert!(output.status.success(), "{}", words(&output));
            let history: Value = serde_json::from_slice(&output.stdout).unwrap();
            let runs = history["runs"].as_array().unwrap();
            let rows = instance.docker(&["exec", "app0", "sql", "SELECT host FROM tidied"]).lines().count();
            let due: BTreeSet<&str> = runs.iter().map(|run| run["due"].as_str().unwrap()).collect();
            assert_eq!(due.len(), runs.len(), "{history:#}");
            let ended = |how: &str| runs.iter().filter(|run| run["outcome"] == how).count();
            ended("running") == 0 && rows > 0 && ended("succeeded") == rows
        })
        .await;
    }

    /// From nothing to all of it; then another release of the app while requests go on.
    async fn runs(&self, manifests: &str, place: &impl Operated) {
        let revision = place.commit(manifests);
        let mut controller = place.start(&["--secrets-poll", "2"]);
        until("the operator's part is done", 150, || place.set_up()).await;
        controller.until_converged(self.name, &revision, 300).await;
        place.assert_in_service(2);
        let (address, all) = (place.address(), place.instances());
        self.assert_whole(&address, &all).await;
        let one = &all["docker1"];
        assert_eq!(self.migrations(one), ["1.0"], "the migration ran once");
        until("Rollbar is told", 20, || self.told() == [self.notice("53c04f6")]).await;
        self.assert_tidied_once_per_time(place, one).await;

        let by_hand = |all: &BTreeMap<String, Instance>| -> Vec<String> {
            let of = |instance: &Instance| {
                let all = instance.containers();
                ["redis0", "haproxy0", "forwarder0"].map(|name| all[name].id.clone())
            };
            all.values().flat_map(of).collect()
        };
        let before = by_hand(&all);
        let load = Load::on(&address);
        until("requests are answered", 20, || load.so_far().sent > 200).await;
        let image = format!("image: {HOST}/shop/app\n      tag: ");
        let next = [
            (format!("{image}\"1.0\""), format!("{image}\"1.1\"")),
            ("GIT_REVISION: \"53c04f6\"".into(), "GIT_REVISION: \"9e107d9\"".into()),
        ];
        let next: Vec<(&str, &str)> = next.iter().map(|(old, new)| (old.as_str(), new.as_str())).collect();
        let revision = place.commit(&edited(manifests, &next));
        let status = controller.until_converged(self.name, &revision, 300).await;
        let count = load.end().await;
        count.assert_none_lost(300);
        assert!(count.answers.contains_key("1.0") && count.answers.contains_key("1.1"), "{:?}", count.answers);
        assert!(status.all_conditions().is_empty(), "{:?}", status.all_conditions());
        assert_eq!(by_hand(&place.instances()), before, "what is deployed by hand stays");
        assert_eq!(self.migrations(one), ["1.0", "1.1"]);
        until("Rollbar is told of both", 20, || self.told() == ["53c04f6", "9e107d9"].map(|it| self.notice(it))).await;
        for (host, instance) in place.instances() {
            for app in ["app0", "app1"] {
                assert!(instance.containers()[app].image.ends_with("shop/app:1.1"), "{host}/{app}");
                let from = format!("{}-{host}", self.name);
                let forwarded = || self.syslog.count(&from, app, "shop 1.1 starts") == 1;
                until("a line of the new release was forwarded", 20, forwarded).await;
            }
        }
        self.assert_tidied_once_per_time(place, one).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_documented_stack_json_becomes_a_shop_on_opsworks_that_serves_migrates_tidies_and_tells() {
    let _turn = beside_others().await;
    let shop = Shop::new("imported", "ap-southeast-5").await;
    let fleet = Fleet::new(shop.name, shop.region);
    let manifests = shop.imported(&fleet.dir(), "opsworks", &[]);
    shop.runs(&manifests, &fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_stack_json_becomes_the_same_shop_on_ec2() {
    let _turn = beside_others().await;
    let shop = Shop::new("ec2imported", "ap-southeast-7").await;
    let fleet = ec2::fleet::Fleet::new(shop.name, shop.region);
    for operation in ["DeleteKeyPair", "CreateKeyPair"] {
        fleet.ec2(operation, &[("KeyName", "ops")]);
    }
    let of_this_aws = [
        ("subnet-0a1b2c3d4e5f60718", fleet.subnets[0].as_str()),
        ("subnet-0b1c2d3e4f5061728", &fleet.subnets[1]),
        ("sg-0a1b2c3d4e5f60718", &fleet.group_id),
    ];
    let manifests = shop.imported(&fleet.dir(), "ec2", &of_this_aws);
    // Another load balancer than that of the instances which go, and what an instance of the proving ground trusts.
    let authority = fs::read_to_string(GROUND.state.join("pki/ca.pem")).unwrap();
    let groups = format!("securityGroupIds: [{}]", fleet.group_id);
    let manifests = edited(
        &manifests,
        &[
            (&format!("{{classic: {}}}", shop.name), &format!("{{targetGroup: {}, port: 80}}", shop.name)),
            ("{username: shop, ", &format!("{{username: shop, ca: {}, ", json!(authority))),
            (&groups, &format!("{groups}\n      docker: {}", ec2::manifest::tls())),
        ],
    );
    shop.runs(&manifests, &fleet).await;
}
