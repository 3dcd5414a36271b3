//! Target groups and owned load balancers against LocalStack with the plug-in from `localstack/`.
//!
//! Needs `localstack/up` and the environment that it writes (`. .testbed/env`). Every test has a region of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
    time::Duration,
};

use aws_sdk_elasticloadbalancingv2::{
    Client,
    types::{Action as Does, ActionTypeEnum, ProtocolEnum, TargetDescription, TargetGroupAttribute},
};
use evenkeel::{
    action::Action,
    aws::{Aws, LoadBalancers, OpsWorks},
    plan::{Facts, Intent, Plan, plan},
    ports::{Balancers, Cloud},
    spec::{Desired, File, Stack, stack::Provider, validate},
    status::Kind,
    world::{
        self, Class, Ec2, Image, LayerSettings, Observed, OwLayer, Provided, Rest, Seen, StackSettings, Subnet, Target,
        Trouble,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

const MANIFEST: &str = r#"
apiVersion: evenkeel/v1
kind: Stack
metadata: {name: contract}
spec:
  provider: ec2
  region: REGION
  subnetIds: [SUBNETS]
  amiId: ami-0123456789abcdef0
  sshKeyName: ops
  layers:
    - shortName: docker
      instances: {count: 0, type: t3.medium}
      docker: {transport: ssh, user: admin}
      loadBalancers:
        BALANCERS
---
apiVersion: evenkeel/v1
kind: App
metadata: {name: contract}
spec:
  stack: contract
  layer: docker
  environment: {APP_TYPE: docker}
  containers: [{name: web, image: "web:1", ports: ["8080:80"]}]
"#;

/// A stack in a region of its own, with its load balancers, of which nothing is there at first.
struct Ground {
    region: String,
    vpc: String,
    subnets: BTreeMap<String, String>,
    aws: Arc<Aws>,
    balancers: LoadBalancers,
    client: Client,
    desired: Desired,
}

impl Ground {
    async fn new(region: &str, balancers: &str) -> Ground {
        let config = aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_config::Region::new(region.to_owned()))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await;
        let told = query("ec2", region, &[("Action", "DescribeSubnets"), ("Version", "2016-11-15")]).await;
        let (ids, zones) = (elements(&told, "subnetId"), elements(&told, "availabilityZone"));
        let subnets: BTreeMap<String, String> = ids.into_iter().zip(zones).collect();
        let vpc = elements(&told, "vpcId").remove(0);
        let aws = Aws::new();
        let mut ground = Ground {
            region: region.into(),
            vpc,
            subnets,
            balancers: LoadBalancers::new(aws.clone()),
            aws,
            client: Client::new(&config),
            desired: Desired { revision: String::new(), ..decode(&manifest(region, "subnet-1", "- {classic: none}")) },
        };
        ground.clear().await;
        ground.declare(balancers);
        ground
    }

    fn declare(&mut self, balancers: &str) {
        let subnets: Vec<&str> = self.subnets.keys().map(String::as_str).collect();
        self.desired = decode(&manifest(&self.region, &subnets.join(", "), balancers));
    }

    /// Another controller, which remembers nothing.
    fn restart(&mut self) {
        self.aws = Aws::new();
        self.balancers = LoadBalancers::new(self.aws.clone());
    }

    /// Also what an earlier run that failed has left.
    async fn clear(&self) {
        for told in self.client.describe_load_balancers().send().await.unwrap().load_balancers() {
            let arn = told.load_balancer_arn().unwrap();
            self.client.delete_load_balancer().load_balancer_arn(arn).send().await.unwrap();
        }
        for told in self.client.describe_target_groups().send().await.unwrap().target_groups() {
            let arn = told.target_group_arn().unwrap();
            self.client.delete_target_group().target_group_arn(arn).send().await.unwrap();
        }
        let names = query(
            "elasticloadbalancing",
            &self.region,
            &[("Action", "DescribeLoadBalancers"), ("Version", "2012-06-01")],
        )
        .await;
        for name in elements(&names, "LoadBalancerName") {
            let delete = [("Action", "DeleteLoadBalancer"), ("Version", "2012-06-01"), ("LoadBalancerName", &name)];
            query("elasticloadbalancing", &self.region, &delete).await;
        }
    }

    /// Two of the VPC.
    async fn security_groups(&self) -> [String; 2] {
        let version = ("Version", "2016-11-15");
        let told = query("ec2", &self.region, &[("Action", "DescribeSecurityGroups"), version]).await;
        let first = elements(&told, "groupId").remove(0);
        let name = format!("contract-{}", Timestamp::now().as_millisecond());
        let create = [
            ("Action", "CreateSecurityGroup"),
            version,
            ("GroupName", &*name),
            ("GroupDescription", "contract"),
            ("VpcId", &*self.vpc),
        ];
        [first, elements(&query("ec2", &self.region, &create).await, "groupId").remove(0)]
    }

    fn stack(&self) -> &Stack {
        &self.desired.stack
    }

    async fn look(&self) -> Observed {
        let names: BTreeSet<String> =
            self.stack().layers[0].load_balancers.iter().map(|one| one.name().to_owned()).collect();
        let subnet = |(id, zone): (&String, &String)| {
            (id.clone(), Subnet { zone: zone.clone(), vpc_id: self.vpc.clone(), free: 100 })
        };
        let image = Image { id: "ami-0123456789abcdef0".into(), root_device: "/dev/xvda".into() };
        let cloud = Ec2 {
            volumes: Seen::Known(Vec::new()),
            subnets: Seen::Known(self.subnets.iter().map(subnet).collect()),
            images: BTreeMap::from([(image.id.clone(), Seen::Known(image))]),
            spent_tokens: BTreeSet::new(),
        };
        Observed {
            provided: Provided { instances: Seen::Known(Vec::new()), rest: Rest::Ec2(cloud) },
            stale: None,
            balancers: self.balancers.look(self.stack(), &names).await,
            owned: self.balancers.owned(self.stack()).await,
            engines: BTreeMap::new(),
            registry: BTreeMap::new(),
            secrets: BTreeMap::new(),
            figures: BTreeMap::new(),
            metered: BTreeMap::new(),
        }
    }

    async fn plan(&self) -> Plan {
        let seen = self.look().await;
        plan(&self.desired, &seen, &Facts::default(), Timestamp::now())
    }

    /// Does what is planned for the owned load balancers, one by one, until nothing is left to do.
    async fn converge(&self) -> Vec<String> {
        let mut done = Vec::new();
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let plan = self.plan().await;
            match plan.actions.first() {
                Some(action) => {
                    assert!(done.len() < 40, "never comes to rest: {done:#?}");
                    self.apply(action).await.unwrap_or_else(|trouble| panic!("{action}: {}", trouble.message));
                    done.push(action.to_string());
                }
                None if plan.holds.is_empty() => return done,
                None => assert!(Instant::now() < limit, "waits for ever: {:?}", plan.holds),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn apply(&self, action: &Action) -> Result<(), Trouble> {
        self.balancers.apply(self.stack(), action).await
    }

    async fn balancer(&self, key: &str) -> Seen<world::Balancer> {
        self.balancers.look(self.stack(), &BTreeSet::from([key.to_owned()])).await.remove(key).unwrap()
    }

    async fn target(&self, key: &str, ec2_id: &str) -> Option<Target> {
        known(self.balancer(key).await).targets.remove(ec2_id)
    }

    async fn until_target(&self, key: &str, ec2_id: &str, what: &str, fits: impl Fn(Option<&Target>) -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let target = self.target(key, ec2_id).await;
            if fits(target.as_ref()) {
                return;
            }
            assert!(Instant::now() < limit, "{ec2_id} is never {what}: {target:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The calls of this region since that number that change something.
    async fn mutations(&self, since: u64) -> Vec<String> {
        let told = control("GET", &format!("/_evenkeel/calls?since={since}"), None).await;
        let calls = told["calls"].as_array().expect("calls").iter();
        calls
            .filter(|call| call["region"] == self.region.as_str())
            .map(|call| call["operation"].as_str().unwrap_or_default().to_owned())
            .filter(|operation| !operation.starts_with("Describe"))
            .collect()
    }

    async fn group(&self, name: &str) -> String {
        let told = self.client.describe_target_groups().names(name).send().await.unwrap();
        told.target_groups()[0].target_group_arn().unwrap().to_owned()
    }
}

fn manifest(region: &str, subnets: &str, balancers: &str) -> String {
    MANIFEST.replace("REGION", region).replace("SUBNETS", subnets).replace("BALANCERS", balancers)
}

fn decode(text: &str) -> Desired {
    match validate::load("r", vec![File::new("manifest.yaml", text.as_bytes().to_vec())]) {
        Ok(manifests) => manifests.into_values().next().expect("one stack"),
        Err(problems) => panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

fn known<T: std::fmt::Debug>(seen: Seen<T>) -> T {
    match seen {
        Seen::Known(value) => value,
        Seen::Unknown(trouble) => panic!("{}", trouble.message),
    }
}

fn unknown<T: std::fmt::Debug>(seen: Seen<T>) -> Trouble {
    match seen {
        Seen::Known(value) => panic!("known: {value:?}"),
        Seen::Unknown(trouble) => trouble,
    }
}

async fn send(head: &str, body: &str) -> String {
    let endpoint = env::var("AWS_ENDPOINT_URL").expect("AWS_ENDPOINT_URL: run localstack/up, then . .testbed/env");
    let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).await.expect("LocalStack answers");
    let length = body.len();
    let request = format!("{head}\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{head}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A call of an API that speaks AWS's query protocol.
async fn query(service: &str, region: &str, parameters: &[(&str, &str)]) -> String {
    let head = format!(
        "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=test/20260105/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    let body: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={value}")).collect();
    send(&head, &body.join("&")).await
}

/// The plug-in's own endpoints.
async fn control(method: &str, path: &str, body: Option<Value>) -> Value {
    let head = format!("{method} {path} HTTP/1.1\r\nContent-Type: application/json");
    let answer = send(&head, &body.map(|body| body.to_string()).unwrap_or_default()).await;
    serde_json::from_str(answer.trim()).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = xml.split(open.as_str()).skip(1);
    parts.filter_map(|part| Some(part.split_once(close.as_str())?.0.to_owned())).collect()
}

fn register(key: &str, ec2_id: &str) -> Action {
    Action::Register { balancer: key.into(), ec2_id: ec2_id.into(), hostname: "docker1".into() }
}

fn deregister(key: &str, ec2_id: &str, keep: u32) -> Action {
    Action::Deregister { balancer: key.into(), ec2_id: ec2_id.into(), hostname: "docker1".into(), keep }
}

/// Machines whose engine listens on port 2376, from another stack of the same region.
struct Machines {
    opsworks: OpsWorks,
    stack: Stack,
    ids: Vec<String>,
}

impl Machines {
    async fn start(ground: &Ground, count: usize) -> Machines {
        let stack = Stack { name: "machines".into(), provider: Provider::Opsworks, ..ground.stack().clone() };
        let mut machines = Machines { opsworks: OpsWorks::new(Aws::new()), stack, ids: Vec::new() };
        machines.clear().await;
        let settings = StackSettings {
            name: "machines".into(),
            region: ground.region.clone(),
            service_role_arn: Some("arn:aws:iam::000000000000:role/opsworks".into()),
            instance_profile_arn: Some("arn:aws:iam::000000000000:instance-profile/opsworks".into()),
            ..Default::default()
        };
        machines.apply(Action::CreateStack { settings }).await;
        let stack_id = machines.stack_id().await.expect("a stack");
        let settings = LayerSettings { name: "Docker".into(), short_name: "docker".into(), ..Default::default() };
        machines.apply(Action::CreateLayer { stack_id: stack_id.clone(), settings }).await;
        let layers = machines.look().await.opsworks().map(|cloud| known::<Vec<OwLayer>>(cloud.layers.clone()));
        let layer_id = layers.expect("OpsWorks").remove(0).id;
        for number in 1..=count {
            let (stack_id, layer_id) = (stack_id.clone(), layer_id.clone());
            let hostname = format!("docker{number}");
            let instance_type = "t3.medium".into();
            machines.apply(Action::CreateInstance { stack_id, layer_id, hostname, instance_type }).await;
        }
        for instance in known(machines.look().await.instances) {
            machines.apply(Action::StartInstance { id: instance.id, hostname: instance.hostname }).await;
        }
        let limit = Instant::now() + Duration::from_secs(120);
        loop {
            let instances = known(machines.look().await.instances);
            if instances.iter().all(|instance| instance.status == "online") {
                machines.ids = instances.into_iter().filter_map(|instance| instance.ec2_id).collect();
                return machines;
            }
            assert!(Instant::now() < limit, "never online: {instances:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn look(&self) -> Provided {
        self.opsworks.look(&self.stack).await
    }

    async fn apply(&self, action: Action) {
        self.opsworks.apply(&self.stack, &action).await.unwrap_or_else(|trouble| panic!("{}", trouble.message));
    }

    async fn stack_id(&self) -> Option<String> {
        known(self.look().await.opsworks().expect("OpsWorks").stack.clone()).map(|stack| stack.id)
    }

    async fn clear(&self) {
        if let Some(id) = self.stack_id().await {
            control("POST", "/_evenkeel/reset", Some(json!({ "stack": id }))).await;
        }
    }
}

const ALB: &str = "- application: front
          listeners: [{port: 80, instancePort: 8080}, {port: 8000, instancePort: 9090}]
          healthCheck: {http: /up, interval: 10s, timeout: 4s, unhealthy: 3}
          draining: 45s";

#[tokio::test]
async fn an_application_load_balancer_is_made_whole_and_a_second_run_changes_nothing() {
    let mut ground = Ground::new("ca-central-1", ALB).await;
    let before = ground.plan().await;
    assert!(before.conditions.is_empty(), "{:?}", before.conditions);
    assert!(before.holds.iter().any(|hold| hold.on == "target group front-8080 to be made"), "{:?}", before.holds);

    let done = ground.converge().await;
    assert!(done[0].starts_with("load balancer front: create it (application) in subnet-"), "{done:#?}");
    assert!(done.iter().any(|one| one.contains("create listener HTTP on port 8000 → HTTP on port 9090")), "{done:#?}");

    let since = control("GET", "/_evenkeel/calls?since=0", None).await["next"].as_u64().unwrap();
    ground.restart();
    assert_eq!(ground.converge().await, Vec::<String>::new());
    assert_eq!(ground.mutations(since).await, Vec::<String>::new());
    let calls = ground.aws.calls();
    let most = |operation: &str| calls[&format!("elasticloadbalancing.{operation}")];
    // The marks are asked for a second time by the sweep for what is left over, once for all stacks.
    assert_eq!((most("DescribeListeners"), most("DescribeTags")), (1, 2), "{calls:?}");

    let owned = known(ground.balancers.owned(ground.stack()).await.declared.remove("front").unwrap());
    let there = owned.balancer.unwrap();
    assert!(there.ours && !there.internal);
    let told = ground.client.describe_load_balancers().names("front").send().await.unwrap();
    assert!(there.dns_name.is_some());
    assert_eq!(there.dns_name.as_deref(), told.load_balancers()[0].dns_name());
    assert_eq!(there.listeners[&8000].forwards_to, "front-9090");
    let group = &owned.groups["front-8080"];
    assert!(group.ours);
    assert_eq!((group.draining, group.check.path.as_deref(), group.check.unhealthy), (45, Some("/up"), 3));
    let seen = known(ground.balancer("target group front-8080").await);
    assert_eq!((seen.draining, seen.vpc_id), (Some(45), Some(ground.vpc.clone())));
    ground.clear().await;
}

#[tokio::test]
async fn what_is_made_while_reads_lag_behind_is_made_once() {
    let ground = Ground::new("ap-east-1", ALB).await;
    let since = control("GET", "/_evenkeel/calls?since=0", None).await["next"].as_u64().unwrap();
    let lag = json!({"service": "elbv2", "region": ground.region, "lag": 6});
    let fault = control("POST", "/_evenkeel/faults", Some(lag)).await["id"].as_u64().unwrap();
    let mut facts = Facts::default();
    let limit = Instant::now() + Duration::from_secs(120);
    loop {
        let seen = ground.look().await;
        let now = Timestamp::now();
        let plan = plan(&ground.desired, &seen, &facts, now);
        for action in &plan.actions {
            if let Some(intent) = action.intent() {
                let sent = Intent::of(action, facts.intents.get(&intent), now);
                facts.intents.insert(intent, sent);
            }
            ground.apply(action).await.unwrap_or_else(|trouble| panic!("{action}: {}", trouble.message));
            facts.succeeded(action, Timestamp::now());
        }
        if plan.actions.is_empty() && plan.holds.is_empty() {
            break;
        }
        assert!(Instant::now() < limit, "waits for ever: {:?}", plan.holds);
        sleep(Duration::from_millis(200)).await;
    }
    control("DELETE", &format!("/_evenkeel/faults/{fault}"), None).await;
    let mutations = ground.mutations(since).await;
    let times = |operation: &str| mutations.iter().filter(|made| *made == operation).count();
    let made = (times("CreateLoadBalancer"), times("CreateTargetGroup"), times("CreateListener"));
    assert_eq!(made, (1, 2, 2), "{mutations:#?}");
    ground.clear().await;
}

#[tokio::test]
async fn what_was_changed_by_hand_or_in_the_manifest_is_put_right() {
    let mut ground = Ground::new("sa-east-1", ALB).await;
    ground.converge().await;
    let client = &ground.client;
    let group = ground.group("front-8080").await;
    let balancer = client.describe_load_balancers().names("front").send().await.unwrap();
    let arn = balancer.load_balancers()[0].load_balancer_arn().unwrap().to_owned();

    // By hand: another path, another delay, a listener less and one more, one that answers by itself.
    let modify = client.modify_target_group().target_group_arn(&group).health_check_path("/elsewhere");
    modify.health_check_interval_seconds(60).send().await.unwrap();
    let delay = TargetGroupAttribute::builder().key("deregistration_delay.timeout_seconds").value("300").build();
    client.modify_target_group_attributes().target_group_arn(&group).attributes(delay).send().await.unwrap();
    let listeners = client.describe_listeners().load_balancer_arn(&arn).send().await.unwrap();
    let of = |port: i32| {
        let one = listeners.listeners().iter().find(|one| one.port() == Some(port)).expect("a listener");
        one.listener_arn().unwrap().to_owned()
    };
    client.delete_listener().listener_arn(of(8000)).send().await.unwrap();
    let forward = Does::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&group).build();
    let create = client.create_listener().load_balancer_arn(&arn).port(81).protocol(ProtocolEnum::Http);
    create.default_actions(forward).send().await.unwrap();

    ground.restart();
    let done = ground.converge().await;
    for wanted in [
        "set the health check of target group front-8080: HTTP on the traffic's port /elsewhere → HTTP on the \
         traffic's port /up, every 60s → 10s",
        "set the draining time of target group front-8080 to 45s",
        "create listener HTTP on port 8000",
        "delete the listener of port 81 (it is not declared)",
    ] {
        assert!(done.iter().any(|one| one.contains(wanted)), "{wanted}: {done:#?}");
    }

    // In the manifest: one subnet less, where there are three.
    if ground.subnets.len() > 2 {
        let last = ground.subnets.keys().last().unwrap().clone();
        ground.subnets.remove(&last);
        ground.declare(ALB);
        let done = ground.converge().await;
        assert!(done.len() == 1 && done[0].contains("set its subnets to"), "{done:#?}");
    }
    ground.clear().await;
}

#[tokio::test]
async fn a_listener_has_its_certificate_and_bears_the_mark_by_which_it_may_be_changed() {
    let certificate = |number: u32| format!("arn:aws:acm:eu-north-1:123456789012:certificate/{number}");
    let text = |number: u32| {
        let listener =
            format!("{{port: 443, protocol: HTTPS, instancePort: 8080, certificateArn: \"{}\"}}", certificate(number));
        ALB.replace("{port: 8000, instancePort: 9090}", &listener)
    };
    let mut ground = Ground::new("eu-north-1", &text(1)).await;
    ground.converge().await;
    let client = ground.client.clone();
    let balancer = client.describe_load_balancers().names("front").send().await.unwrap();
    let arn = balancer.load_balancers()[0].load_balancer_arn().unwrap().to_owned();
    let listener = async || {
        let all = client.describe_listeners().load_balancer_arn(&arn).send().await.unwrap();
        let one = all.listeners().iter().find(|one| one.port() == Some(443)).expect("a listener");
        let certificates: Vec<_> = one.certificates().iter().filter_map(|one| one.certificate_arn.clone()).collect();
        (one.listener_arn().unwrap().to_owned(), certificates)
    };
    let marked = async |arn: &str| {
        let told = client.describe_tags().resource_arns(arn).send().await.unwrap();
        let mut tags = told.tag_descriptions().iter().flat_map(|one| one.tags());
        tags.any(|tag| tag.key() == Some("evenkeel:stack") && tag.value() == Some("contract"))
    };
    let (id, certificates) = listener().await;
    assert_eq!(certificates, [certificate(1)]);
    assert!(marked(&id).await, "IAM allows to change what bears the mark");

    // One that bears none gets it before it is changed.
    client.remove_tags().resource_arns(&id).tag_keys("evenkeel:stack").send().await.unwrap();
    ground.declare(&text(2));
    ground.restart();
    let done = ground.converge().await;
    assert!(done.len() == 1 && done[0].contains("certificate"), "{done:#?}");
    assert_eq!(listener().await, (id.clone(), vec![certificate(2)]));
    assert!(marked(&id).await);
    ground.clear().await;
}

#[tokio::test]
async fn an_application_load_balancer_has_the_security_groups_that_are_declared() {
    let mut ground = Ground::new("ap-southeast-2", ALB).await;
    let [first, second] = ground.security_groups().await;
    let text = |group: &str| ALB.replace("front\n", &format!("front\n          securityGroupIds: [{group}]\n"));
    let client = ground.client.clone();
    let has = async || {
        let told = client.describe_load_balancers().names("front").send().await.unwrap();
        told.load_balancers()[0].security_groups().to_vec()
    };
    ground.declare(&text(&first));
    ground.converge().await;
    assert_eq!(has().await, [first]);
    ground.declare(&text(&second));
    let done = ground.converge().await;
    assert!(done.len() == 1 && done[0].contains("security groups"), "{done:#?}");
    assert_eq!(has().await, [second]);
    ground.restart();
    assert_eq!(ground.converge().await, Vec::<String>::new());
    ground.clear().await;
}

#[tokio::test]
async fn a_load_balancer_of_somebody_else_is_left_alone_until_adopt_is_set() {
    let mut ground = Ground::new("us-east-2", ALB).await;
    let subnets = ground.subnets.keys().take(2).cloned().collect();
    let create = ground.client.create_load_balancer().name("front").set_subnets(Some(subnets));
    create.send().await.unwrap();
    let plan = ground.plan().await;
    let conflict = plan.conditions.iter().find(|condition| condition.kind == Kind::Conflict).expect("a conflict");
    assert!(conflict.message.contains("adopt: true"), "{}", conflict.message);
    assert!(plan.actions.is_empty(), "{:?}", plan.actions);

    // Nor is it touched if its mark vanishes between the plan and the deed.
    let owned = known(ground.balancers.owned(ground.stack()).await.declared.remove("front").unwrap());
    let id = owned.balancer.unwrap().id;
    let part =
        world::Part::Balancer { name: "front".into(), kind: evenkeel::spec::balancer::BalancerKind::Application, id };
    let what = evenkeel::action::BalancerAction::SetSecurityGroups { part, groups: vec!["sg-1".into()] };
    let trouble = ground.apply(&Action::Owned { balancer: "front".into(), what: Box::new(what) }).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains("does not bear the mark of stack contract"), "{}", trouble.message);

    ground.desired.stack.adopt = true;
    let done = ground.converge().await;
    assert_eq!(done[0], "load balancer front: take over load balancer front");
    ground.desired.stack.adopt = false;
    ground.restart();
    assert_eq!(ground.converge().await, Vec::<String>::new());
    ground.clear().await;
}

#[tokio::test]
async fn what_is_not_declared_any_more_is_told_and_deleted_only_when_it_may_be() {
    let mut ground = Ground::new("eu-south-1", ALB).await;
    ground.converge().await;
    ground.declare("- {classic: none}");
    ground.restart();
    let left = |plan: &Plan| plan.conditions.iter().filter(|one| one.kind == Kind::LeftOver).count();
    let plan = ground.plan().await;
    assert_eq!(left(&plan), 3, "{:?}", plan.conditions);
    assert!(plan.actions.is_empty(), "{:?}", plan.actions);

    ground.desired.stack.deletion_policy = evenkeel::spec::stack::DeletionPolicy::Delete;
    let mut done = Vec::new();
    for _ in 0..5 {
        let plan = ground.plan().await;
        let Some(action) = plan.actions.first() else { break };
        ground.apply(action).await.unwrap_or_else(|trouble| panic!("{action}: {}", trouble.message));
        done.push(action.to_string());
    }
    assert_eq!(done.len(), 3, "{done:#?}");
    assert!(done[0].starts_with("load balancer front: delete load balancer front ("), "{done:#?}");
    assert!(ground.client.describe_target_groups().send().await.unwrap().target_groups().is_empty());
}

#[tokio::test]
async fn a_classic_load_balancer_is_made_whole_put_right_and_deleted() {
    let classic = "- classic: old
          listeners: [{port: 18082, instancePort: 8080}]
          healthCheck: {http: /up, interval: 10s, timeout: 4s}
          draining: 45s";
    let mut ground = Ground::new("eu-south-2", classic).await;
    let done = ground.converge().await;
    assert!(done[0].starts_with("load balancer old: create it (classic) in subnet-"), "{done:#?}");
    ground.restart();
    assert_eq!(ground.converge().await, Vec::<String>::new());
    let seen = known(ground.balancer("old").await);
    assert_eq!(seen.draining, Some(45));

    ground.declare(&classic.replace("45s", "60s").replace("/up", "/ready").replace("18082", "18083"));
    let done = ground.converge().await;
    for wanted in ["HTTP on port 8080 /up → HTTP on port 8080 /ready", "to 60s", "on port 18083", "port 18082 (it is"]
    {
        assert!(done.iter().any(|one| one.contains(wanted)), "{wanted}: {done:#?}");
    }
    ground.declare("- {classic: none}");
    ground.desired.stack.deletion_policy = evenkeel::spec::stack::DeletionPolicy::Delete;
    ground.restart();
    let plan = ground.plan().await;
    ground.apply(plan.actions.first().expect("its deletion")).await.unwrap();
    assert!(ground.plan().await.actions.is_empty());
}

#[tokio::test]
async fn a_classic_load_balancer_has_its_certificate_its_subnets_and_its_groups_and_may_be_internal() {
    const REGION: &str = "ap-northeast-3";
    let mut ground = Ground::new(REGION, "- {classic: none}").await;
    let [first, second] = ground.security_groups().await;
    let subnets: Vec<String> = ground.subnets.keys().cloned().collect();
    let certificate = |number: u32| format!("arn:aws:acm:{REGION}:123456789012:certificate/{number}");
    let text = |number: u32, subnets: &[String], group: &str| {
        format!(
            "- classic: shut
          internal: true
          subnetIds: [{}]
          securityGroupIds: [{group}]
          listeners: [{{port: 443, protocol: HTTPS, instancePort: 8080, certificateArn: \"{}\"}}]",
            subnets.join(", "),
            certificate(number)
        )
    };
    let described = async |wanted: &str| {
        let ask = [("Action", "DescribeLoadBalancers"), ("Version", "2012-06-01")];
        let told = query("elasticloadbalancing", REGION, &ask).await;
        elements(&told, wanted)
    };

    ground.declare(&text(1, &subnets[..2], &first));
    ground.converge().await;
    assert_eq!(described("Scheme").await, ["internal"]);
    assert_eq!(described("SSLCertificateId").await, [certificate(1)]);
    let groups = described("SecurityGroups").await;
    assert!(groups[0].contains(&first), "{groups:?}");

    ground.declare(&text(2, &subnets[1..], &second));
    let done = ground.converge().await;
    assert_eq!(done.len(), 3, "{done:#?}");
    assert_eq!(described("SSLCertificateId").await, [certificate(2)]);
    let groups = described("SecurityGroups").await;
    assert!(groups[0].contains(&second) && !groups[0].contains(&first), "{groups:?}");
    let has = described("Subnets").await;
    let is_there = |subnet: &String| has[0].contains(subnet.as_str());
    assert!(!is_there(&subnets[0]) && subnets[1..].iter().all(is_there), "{has:?}");
    ground.restart();
    assert_eq!(ground.converge().await, Vec::<String>::new());
    ground.clear().await;
}

#[tokio::test]
async fn a_network_load_balancer_has_its_certificate_and_may_be_internal() {
    let certificate = |number: u32| format!("arn:aws:acm:ap-southeast-4:123456789012:certificate/{number}");
    let text = |number: u32| {
        format!(
            "- network: gate
          internal: true
          listeners: [{{port: 443, protocol: TLS, instancePort: 8080, certificateArn: \"{}\"}}]",
            certificate(number)
        )
    };
    let mut ground = Ground::new("ap-southeast-4", &text(1)).await;
    ground.converge().await;
    let seen = async |ground: &Ground| {
        let told = ground.client.describe_load_balancers().names("gate").send().await.unwrap();
        let balancer = &told.load_balancers()[0];
        let arn = balancer.load_balancer_arn().unwrap();
        let listeners = ground.client.describe_listeners().load_balancer_arn(arn).send().await.unwrap();
        let certificates = listeners.listeners()[0].certificates().iter();
        let certificates: Vec<String> = certificates.filter_map(|one| one.certificate_arn.clone()).collect();
        (balancer.scheme().map(|scheme| scheme.as_str().to_owned()), certificates)
    };
    assert_eq!(seen(&ground).await, (Some("internal".to_owned()), vec![certificate(1)]));
    ground.declare(&text(2));
    let done = ground.converge().await;
    assert!(done.len() == 1 && done[0].contains("certificate"), "{done:#?}");
    assert_eq!(seen(&ground).await, (Some("internal".to_owned()), vec![certificate(2)]));
    ground.clear().await;
}

#[tokio::test]
async fn an_instance_comes_in_is_drained_and_is_gone_as_the_target_group_says() {
    let balancer = "- network: gate
          listeners: [{port: 18084, instancePort: 2376}]
          healthCheck: {tcp: true, interval: 5s, timeout: 2s}
          draining: 20s
        - {targetGroup: side, port: 2376}";
    let ground = Ground::new("af-south-1", balancer).await;
    let create = ground.client.create_target_group().name("side").protocol(ProtocolEnum::Tcp).port(80);
    create.vpc_id(&ground.vpc).send().await.unwrap();
    ground.converge().await;
    let machines = Machines::start(&ground, 2).await;
    let (one, two) = (machines.ids[0].as_str(), machines.ids[1].as_str());
    let gate = "target group gate-2376";

    assert_eq!(ground.balancers.target(ground.stack(), gate, one).await, Seen::Known(None));
    ground.apply(&register(gate, one)).await.unwrap();
    let first = ground.target(gate, one).await;
    assert!(matches!(&first, Some(Target::OutOfService(why)) if why.starts_with("initial (")), "{first:?}");
    ground.apply(&register(gate, two)).await.unwrap();
    for id in [one, two] {
        ground.until_target(gate, id, "in service", |target| target == Some(&Target::InService)).await;
    }

    // Two others must stay, and there is one.
    let trouble = ground.apply(&deregister(gate, one, 2)).await.unwrap_err();
    assert_eq!(trouble.class, Class::Transient);
    assert!(trouble.message.contains("1 other instances are in service and 2 must stay"), "{}", trouble.message);
    assert_eq!(ground.target(gate, one).await, Some(Target::InService));

    ground.apply(&deregister(gate, one, 1)).await.unwrap();
    assert_eq!(ground.target(gate, one).await, Some(Target::Draining));
    let asked = ground.balancers.target(ground.stack(), gate, one).await;
    assert_eq!(asked, Seen::Known(Some(Target::Draining)));
    // While it drains, the other one may not go.
    let trouble = ground.apply(&deregister(gate, two, 1)).await.unwrap_err();
    assert!(trouble.message.contains(&format!("{one} is draining")), "{}", trouble.message);
    ground.apply(&deregister(gate, one, 1)).await.unwrap();
    ground.until_target(gate, one, "gone", |target| target.is_none()).await;
    assert_eq!(ground.balancers.target(ground.stack(), gate, one).await, Seen::Known(None));

    // The port that is declared, beside the group's own, which somebody else registered.
    let side = "target group side:2376";
    let arn = ground.group("side").await;
    let own = TargetDescription::builder().id(one).build();
    ground.client.register_targets().target_group_arn(&arn).targets(own).send().await.unwrap();
    assert_eq!(ground.target(side, one).await, None);
    ground.apply(&register(side, one)).await.unwrap();
    let unused = ground.target(side, one).await;
    assert!(
        matches!(&unused, Some(Target::OutOfService(why)) if why.contains("Target.NotInUse") && why.contains("add a listener")),
        "{unused:?}"
    );
    ground.apply(&deregister(side, one, 0)).await.unwrap();
    ground.until_target(side, one, "gone", |target| target.is_none()).await;
    let left = ground.client.describe_target_health().target_group_arn(&arn).send().await.unwrap();
    assert_eq!(left.target_health_descriptions().len(), 1, "the other port is not ours to touch");

    let trouble = ground.apply(&register(gate, "i-0000000000000dead")).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains("InvalidTarget") && trouble.message.contains(&ground.vpc), "{}", trouble.message);
    machines.clear().await;
    ground.clear().await;
}

#[tokio::test]
async fn a_target_group_that_is_absent_hides_no_other() {
    let ground = Ground::new("me-south-1", "- {targetGroup: there}\n        - {targetGroup: nowhere, port: 80}").await;
    let create = ground.client.create_target_group().name("there").protocol(ProtocolEnum::Http).port(80);
    create.vpc_id(&ground.vpc).send().await.unwrap();
    let seen = ground.look().await.balancers;
    assert!(seen["target group there"].known().is_some());
    let trouble = unknown(seen["target group nowhere:80"].clone());
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains("target group nowhere does not exist in me-south-1"), "{}", trouble.message);
    ground.clear().await;
}
