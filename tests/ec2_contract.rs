//! The EC2 adapter against the proving ground: `localstack/up`, `. .testbed/env`, `cargo test --features e2e`.
//!
//! Each test has a region of its own, so that its faults and its instances concern no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_sdk_ec2::types::Filter;
use evenkeel::{
    action::{Action, Launch, Tagged, Tags},
    aws::{Aws, Clouds, Ec2},
    ports::Cloud,
    spec::{
        Layer, Stack,
        stack::{
            AddressKind, AssumeRole, DeletionPolicy, DockerAccess, EbsVolume, Instances, Provider, Recipes, Transport,
            Update,
        },
    },
    world::{self, Class, Instance, Provided, Rest, Seen, Trouble, tag},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

const IMAGE: &str = "resolve:ssm:/aws/service/debian/release/12/latest/amd64";
/// Of the account that the role leads to.
const OTHER: &str = "111111111111";

/// One stack in a region of its own, cleared away at the beginning and the end.
struct Ground {
    stack: Stack,
    aws: Arc<Aws>,
    ec2: Ec2,
}

impl Ground {
    async fn new(region: &str) -> Ground {
        for fault in control("GET", "/_evenkeel/faults", None).await.as_array().expect("a list of faults") {
            if fault["region"] == region {
                control("DELETE", &format!("/_evenkeel/faults/{}", fault["id"]), None).await;
            }
        }
        let aws = Aws::new();
        let mut ground = Ground { stack: stack(region), ec2: Ec2::new(aws.clone()), aws };
        ground.clear().await;
        let subnets = ground.raw().await.describe_subnets().send().await.unwrap();
        let ids = subnets.subnets().iter().filter_map(|subnet| subnet.subnet_id.clone());
        ground.stack.layers[0].subnet_ids = ids.collect();
        ground
    }

    async fn clear(&self) {
        let answer = request("POST", "/_evenkeel/reset", Some(json!({"stack": self.stack.name}))).await;
        assert!(answer.starts_with("HTTP/1.1 200") || answer.contains("there is no stack"), "{answer}");
    }

    async fn config(&self) -> aws_config::SdkConfig {
        let config = aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_config::Region::new(self.stack.region.clone()))
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        config.load().await
    }

    /// EC2 without the adapter in between.
    async fn raw(&self) -> aws_sdk_ec2::Client {
        aws_sdk_ec2::Client::new(&self.config().await)
    }

    /// What EC2 itself would tell CloudWatch of an instance, so many seconds ago.
    async fn measured(&self, ec2_id: &str, ago: u64, cpu: f64) {
        let client = aws_sdk_cloudwatch::Client::new(&self.config().await);
        let at = SystemTime::now() - Duration::from_secs(ago);
        let of = Dimension::builder().name("InstanceId").value(ec2_id).build();
        let point = MetricDatum::builder().metric_name("CPUUtilization").dimensions(of).timestamp(at.into()).value(cpu);
        let put = client.put_metric_data().namespace("AWS/EC2").metric_data(point.unit(StandardUnit::Percent).build());
        put.send().await.unwrap();
    }

    async fn look(&self) -> Provided {
        self.ec2.look(&self.stack).await
    }

    async fn apply(&self, action: Action) -> Result<(), Trouble> {
        self.ec2.apply(&self.stack, &action).await
    }

    async fn instances(&self) -> Vec<Instance> {
        known(self.look().await.instances)
    }

    async fn volumes(&self) -> Vec<world::Volume> {
        known(rest(self.look().await).volumes)
    }

    /// What a plan would launch, in the first zone.
    async fn launch(&self, hostname: &str, token: &str, volumes: Vec<(String, EbsVolume)>) -> Launch {
        let rest = rest(self.look().await);
        let subnets = known(rest.subnets);
        let (subnet_id, subnet) = subnets.iter().min_by_key(|(_, subnet)| subnet.zone.clone()).expect("a subnet");
        let Some(Seen::Known(image)) = rest.images.get(IMAGE) else { panic!("{:?}", rest.images) };
        let mark = BTreeMap::from([
            (tag::STACK.to_owned(), self.stack.name.clone()),
            (tag::LAYER.to_owned(), "web".to_owned()),
            (tag::HOSTNAME.to_owned(), hostname.to_owned()),
        ]);
        Launch {
            layer: "web".into(),
            hostname: hostname.into(),
            token: token.into(),
            image_id: image.id.clone(),
            instance_type: "t3.micro".into(),
            subnet_id: subnet_id.clone(),
            zone: subnet.zone.clone(),
            security_group_ids: Vec::new(),
            key_name: None,
            profile_arn: None,
            root: None,
            volumes,
            delete_volumes: false,
            user_data: "#!/bin/sh\ntrue\n".into(),
            tags: mark.clone(),
            volume_tags: mark,
        }
    }

    async fn launched(&self, hostname: &str, token: &str, volumes: Vec<(String, EbsVolume)>) -> Instance {
        let launch = self.launch(hostname, token, volumes).await;
        self.apply(Action::LaunchInstance { launch: Box::new(launch) }).await.unwrap();
        self.until(hostname, "running").await
    }

    async fn until(&self, hostname: &str, status: &str) -> Instance {
        let limit = Instant::now() + Duration::from_secs(90);
        loop {
            let all = self.instances().await;
            if let Some(found) = all.iter().find(|one| one.hostname == hostname && one.status == status) {
                return found.clone();
            }
            assert!(Instant::now() < limit, "{hostname} is never {status}: {all:?}");
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn until_gone(&self, hostname: &str) {
        let limit = Instant::now() + Duration::from_secs(90);
        while self.instances().await.iter().any(|one| one.hostname == hostname) {
            assert!(Instant::now() < limit, "{hostname} is never gone");
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// How many instances the tags of a hostname are on, ended ones included.
    async fn ever(&self, hostname: &str) -> usize {
        let filter = |key: &str, value: &str| Filter::builder().name(format!("tag:{key}")).values(value).build();
        let request = self.raw().await.describe_instances().filters(filter(tag::STACK, &self.stack.name));
        let answer = request.filters(filter(tag::HOSTNAME, hostname)).send().await.unwrap();
        answer.reservations().iter().map(|reservation| reservation.instances().len()).sum()
    }

    async fn fault(&self, fault: Value) -> u64 {
        let mut fault = fault;
        fault["region"] = json!(self.stack.region);
        control("POST", "/_evenkeel/faults", Some(fault)).await["id"].as_u64().expect("the fault's id")
    }
}

fn rest(provided: Provided) -> world::Ec2 {
    match provided.rest {
        Rest::Ec2(rest) => rest,
        other => panic!("{other:?}"),
    }
}

fn known<T: std::fmt::Debug>(seen: Seen<T>) -> T {
    match seen {
        Seen::Known(value) => value,
        Seen::Unknown(trouble) => panic!("{}", trouble.message),
    }
}

/// The plug-in's own endpoints.
async fn control(method: &str, path: &str, body: Option<Value>) -> Value {
    let answer = request(method, path, body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body.trim()).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

async fn request(method: &str, path: &str, body: Option<Value>) -> String {
    let endpoint = env::var("AWS_ENDPOINT_URL").expect("AWS_ENDPOINT_URL: run localstack/up, then . .testbed/env");
    let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut stream = TcpStream::connect(host).await.expect("LocalStack answers");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn volume(size_gib: u32) -> EbsVolume {
    EbsVolume {
        mount_point: "/srv".into(),
        size_gib,
        volume_type: "gp3".into(),
        iops: None,
        throughput: None,
        encrypted: None,
        reuse: false,
    }
}

fn stack(region: &str) -> Stack {
    let layer = Layer {
        name: "Web".into(),
        short_name: "web".into(),
        recipes: Recipes::default(),
        instances: Instances { count: 1, instance_type: "t3.micro".into(), scaling: None },
        volumes: vec![volume(1)],
        root_volume: None,
        image: Some(IMAGE.into()),
        subnet_ids: Vec::new(),
        update: Update::Manual,
        load_balancers: Vec::new(),
        owned_balancers: Vec::new(),
        security_group_ids: Vec::new(),
        docker: DockerAccess {
            transport: Transport::Tls { parameter: None, ssm_endpoint: None },
            port: 2376,
            address: AddressKind::Private,
            log_max_size: "10m".into(),
            log_max_files: 3,
        },
        tags: None,
        upkeep: evenkeel::spec::Upkeep::default(),
    };
    Stack {
        name: format!("contract-{region}"),
        provider: Provider::Ec2,
        region: region.into(),
        assume_role: None,
        service_role_arn: None,
        instance_profile_arn: None,
        vpc_id: None,
        subnet_ids: Vec::new(),
        root_device_type: None,
        ssh_key_name: None,
        cookbooks: None,
        heal_after: Duration::from_secs(300),
        registries: Default::default(),
        deletion_policy: DeletionPolicy::Retain,
        suspend: false,
        adopt: false,
        layers: vec![layer],
    }
}

#[tokio::test]
async fn a_launch_sent_twice_makes_one_instance_and_a_token_of_an_ended_one_is_spent() {
    let ground = Ground::new("eu-west-2").await;
    let launch = Box::new(ground.launch("web1", "contract-1", Vec::new()).await);
    ground.apply(Action::LaunchInstance { launch: launch.clone() }).await.unwrap();
    ground.apply(Action::LaunchInstance { launch: launch.clone() }).await.unwrap();
    let one = ground.until("web1", "running").await;
    assert_eq!(ground.ever("web1").await, 1);
    let launched = one.launched.as_ref().unwrap();
    assert_eq!((launched.zone.as_str(), launched.token.as_deref()), (launch.zone.as_str(), Some("contract-1")));
    let raw = ground.raw().await.describe_instances().instance_ids(&one.id).send().await.unwrap();
    let metadata = raw.reservations()[0].instances()[0].metadata_options().unwrap();
    assert_eq!(metadata.http_tokens().unwrap().as_str(), "required");
    assert_eq!(metadata.http_put_response_hop_limit(), Some(2));

    let second = Launch { token: "contract-2".into(), ..*launch.clone() };
    let trouble = ground.apply(Action::LaunchInstance { launch: Box::new(second) }).await.unwrap_err();
    assert_eq!(trouble.class, Class::Transient);
    assert!(trouble.message.contains(&one.id), "{}", trouble.message);

    let terminate = Action::TerminateInstance { id: one.id.clone(), hostname: "web1".into(), drained: true };
    ground.apply(terminate.clone()).await.unwrap();
    ground.apply(terminate).await.unwrap();
    ground.until_gone("web1").await;
    assert_eq!(rest(ground.look().await).spent_tokens, BTreeSet::from(["contract-1".to_owned()]));
    let trouble = ground.apply(Action::LaunchInstance { launch: launch.clone() }).await.unwrap_err();
    assert_eq!(trouble.class, Class::TokenSpent, "{}", trouble.message);
    let otherwise = Launch { instance_type: "t3.small".into(), ..*launch };
    let trouble = ground.apply(Action::LaunchInstance { launch: Box::new(otherwise) }).await.unwrap_err();
    assert_eq!(trouble.class, Class::TokenSpent, "{}", trouble.message);
    assert_eq!(ground.ever("web1").await, 1);
    ground.clear().await;
}

#[tokio::test]
async fn while_reads_lag_behind_a_launch_sent_again_makes_no_second_instance() {
    let ground = Ground::new("eu-west-3").await;
    let launch = Box::new(ground.launch("web1", "contract-lag", Vec::new()).await);
    let lag = ground.fault(json!({"service": "ec2", "lag": 30})).await;
    for _ in 0..3 {
        ground.apply(Action::LaunchInstance { launch: launch.clone() }).await.unwrap();
        assert_eq!(ground.instances().await, [], "not to be seen yet");
    }
    // Told otherwise while it cannot be seen: neither a second one nor a lie.
    let otherwise = Launch { instance_type: "t3.small".into(), ..*launch };
    let trouble = ground.apply(Action::LaunchInstance { launch: Box::new(otherwise) }).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains("IdempotentParameterMismatch"), "{}", trouble.message);
    control("DELETE", &format!("/_evenkeel/faults/{lag}"), None).await;
    ground.until("web1", "running").await;
    assert_eq!(ground.ever("web1").await, 1);
    ground.clear().await;
}

#[tokio::test]
async fn a_volume_grows_outlives_its_instance_and_is_attached_to_the_next() {
    let ground = Ground::new("eu-north-1").await;
    let one = ground.launched("web1", "contract-3", vec![("/dev/sdf".into(), volume(1))]).await;
    let id = one.launched.unwrap().devices["/dev/sdf"].clone();
    let of = |all: Vec<world::Volume>| all.into_iter().find(|volume| volume.id == id).expect("the volume");
    let before = of(ground.volumes().await);
    assert!(before.encrypted);
    assert_eq!((before.size_gib, before.attached_to.as_deref()), (1, Some(one.id.as_str())));

    let mark = BTreeMap::from([(tag::MOUNT_POINT.to_owned(), "/srv".to_owned())]);
    ground.apply(Action::TagVolume { id: id.clone(), hostname: "web1".into(), tags: mark }).await.unwrap();
    let tagged = |put: &[(&str, &str)], drop: &[&str]| Tags {
        put: put.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        drop: drop.iter().map(|key| (*key).to_owned()).collect(),
    };
    for of in [
        Tagged::Instance { id: one.id.clone(), hostname: "web1".into() },
        Tagged::Volume { id: id.clone(), hostname: "web1".into() },
    ] {
        let keep = |tags| ground.apply(Action::KeepTags { of: of.clone(), tags });
        keep(tagged(&[("cost centre", "42"), ("team", "shop")], &[])).await.unwrap();
        keep(tagged(&[("team", "blog")], &["cost centre", "never there"])).await.unwrap();
    }
    let instance = ground.instances().await.remove(0);
    for tags in [instance.launched.unwrap().tags, of(ground.volumes().await).tags] {
        assert_eq!((tags.get("team").map(String::as_str), tags.get("cost centre")), (Some("blog"), None));
        assert!(tags.contains_key(tag::STACK), "{tags:?}");
    }
    let modify = |size| Action::ModifyVolume {
        id: id.clone(),
        hostname: "web1".into(),
        volume: volume(size),
        changed: Vec::new(),
    };
    ground.apply(modify(2)).await.unwrap();
    let grown = of(ground.volumes().await);
    assert_eq!((grown.size_gib, grown.mount_point.as_deref()), (2, Some("/srv")));
    assert!(grown.modifying.is_some());
    let trouble = ground.apply(modify(3)).await.unwrap_err();
    assert_eq!(trouble.class, Class::Transient, "{}", trouble.message);
    let trouble = ground.apply(modify(1)).await.unwrap_err();
    assert!(trouble.message.contains("cannot shrink"), "{}", trouble.message);

    ground.apply(Action::TerminateInstance { id: one.id, hostname: "web1".into(), drained: true }).await.unwrap();
    ground.until_gone("web1").await;
    assert_eq!(of(ground.volumes().await).state, "available");
    let two = ground.launched("web1", "contract-4", Vec::new()).await;
    let attach = Action::AttachVolume {
        id: id.clone(),
        instance_id: two.id.clone(),
        hostname: "web1".into(),
        device: "/dev/sdf".into(),
        mount_point: "/srv".into(),
    };
    ground.apply(attach.clone()).await.unwrap();
    ground.apply(attach).await.unwrap();
    assert_eq!(of(ground.volumes().await).attached_to, Some(two.id.clone()));
    let limit = Instant::now() + Duration::from_secs(30);
    while ground.until("web1", "running").await.launched.unwrap().devices.get("/dev/sdf") != Some(&id) {
        assert!(Instant::now() < limit, "{id} never shows as a device");
        sleep(Duration::from_millis(300)).await;
    }
    ground.clear().await;
}

#[tokio::test]
async fn volumes_of_every_type_have_the_iops_the_throughput_and_the_encryption_that_are_declared() {
    let ground = Ground::new("eu-central-1").await;
    let kind = |size_gib: u32, volume_type: &str, iops: Option<u32>, throughput: Option<u32>| EbsVolume {
        volume_type: volume_type.into(),
        iops,
        throughput,
        encrypted: (volume_type == "gp2").then_some(false),
        ..volume(size_gib)
    };
    let mut declared = BTreeMap::from([
        ("/dev/sdf", kind(1, "gp2", None, None)),
        ("/dev/sdg", kind(8, "gp3", Some(4_000), Some(250))),
        ("/dev/sdh", kind(4, "io1", Some(200), None)),
        ("/dev/sdi", kind(5, "io2", Some(300), None)),
    ]);
    let volumes = declared.iter().map(|(device, volume)| ((*device).to_owned(), volume.clone())).collect();
    let token = format!("contract-6-{}", jiff::Timestamp::now().as_millisecond());
    let devices = ground.launched("web1", &token, volumes).await.launched.unwrap().devices;
    let client = ground.raw().await;
    let described = async |device: &str| {
        let told = client.describe_volumes().volume_ids(&devices[device]).send().await.unwrap();
        let told = told.volumes()[0].clone();
        let kind = told.volume_type.unwrap().to_string();
        let (size, iops) = (told.size.unwrap(), told.iops.filter(|_| kind != "gp2"));
        (size, kind, iops, told.throughput, told.encrypted.unwrap())
    };
    let number = |number: u32| i32::try_from(number).unwrap();
    let expected = |volume: &EbsVolume| {
        let encrypted = volume.encrypted.unwrap_or(true);
        let (iops, throughput) = (volume.iops.map(number), volume.throughput.map(number));
        (number(volume.size_gib), volume.volume_type.clone(), iops, throughput, encrypted)
    };
    for (device, volume) in &declared {
        assert_eq!(described(device).await, expected(volume), "{device}");
    }

    // In place, on what runs.
    declared.insert("/dev/sdf", EbsVolume { encrypted: Some(false), ..kind(10, "gp3", Some(5_000), Some(300)) });
    declared.insert("/dev/sdi", kind(5, "io2", Some(400), None));
    for device in ["/dev/sdf", "/dev/sdi"] {
        let volume = declared[device].clone();
        let (id, hostname) = (devices[device].clone(), "web1".to_owned());
        ground.apply(Action::ModifyVolume { id, hostname, volume, changed: Vec::new() }).await.unwrap();
    }
    for (device, volume) in &declared {
        assert_eq!(described(device).await, expected(volume), "{device}");
    }
    ground.clear().await;
}

#[tokio::test]
async fn what_does_not_bear_the_tags_is_left_alone() {
    let ground = Ground::new("ap-northeast-1").await;
    // Nothing clears away what has lost its tags: the instance of an earlier run has spent its token.
    let token = format!("contract-5-{}", jiff::Timestamp::now().as_millisecond());
    let one = ground.launched("web1", &token, Vec::new()).await;
    let raw = ground.raw().await;
    let key = aws_sdk_ec2::types::Tag::builder().key(tag::STACK).build();
    raw.delete_tags().resources(&one.id).tags(key).send().await.unwrap();
    let trouble = ground
        .apply(Action::TerminateInstance { id: one.id.clone(), hostname: "web1".into(), drained: true })
        .await
        .unwrap_err();
    assert!(trouble.message.contains("left alone"), "{}", trouble.message);
    assert_eq!(ground.instances().await, []);
    let seen = raw.describe_instances().instance_ids(&one.id).send().await.unwrap();
    let state = seen.reservations()[0].instances()[0].state().unwrap().name().unwrap();
    assert_eq!(state.as_str(), "running");
    raw.terminate_instances().instance_ids(&one.id).send().await.unwrap();
    ground.clear().await;
}

#[tokio::test]
async fn two_stacks_cost_one_request_a_kind_and_throttling_is_waited_out() {
    let ground = Ground::new("ap-northeast-2").await;
    let other = Stack { name: "contract-beside".into(), ..ground.stack.clone() };
    ground
        .fault(json!({"service": "ec2", "operation": "DescribeInstances", "error": "RequestLimitExceeded", "times": 1}))
        .await;
    let (one, two) = tokio::join!(ground.ec2.look(&ground.stack), ground.ec2.look(&other));
    assert_eq!((one.unanswered(), two.unanswered()), (None, None));
    let mut calls = ground.aws.calls();
    assert_eq!(calls.remove("ec2.DescribeInstances"), Some(2), "the one that was throttled, and the one that was not");
    let kinds: Vec<_> = calls.iter().map(|(api, count)| (api.as_str(), *count)).collect();
    assert_eq!(
        kinds,
        [
            ("ec2.DescribeImages", 1),
            ("ec2.DescribeInstanceStatus", 1),
            ("ec2.DescribeSubnets", 1),
            ("ec2.DescribeVolumes", 1),
            ("ec2.DescribeVolumesModifications", 1),
            ("ssm.GetParameters", 1),
        ]
    );
}

#[tokio::test]
async fn a_role_leads_to_its_account_and_one_that_is_denied_nowhere() {
    let ground = Ground::new("ap-south-1").await;
    let arn = |name: &str| format!("arn:aws:iam::{OTHER}:role/{name}");
    let with = |name: &str| {
        let role = AssumeRole { arn: arn(name), external_id: Some("contract".into()) };
        Stack { assume_role: Some(role), ..ground.stack.clone() }
    };
    ground.launched("web1", "contract-6", Vec::new()).await;
    let mut there = with("evenkeel");
    let seen = ground.ec2.look(&there).await;
    assert_eq!(known(seen.instances), []);
    // The subnets that are declared are those of the first account.
    assert!(known(rest(ground.ec2.look(&there).await).subnets).is_empty());

    let role = format!("{}-denied", ground.stack.region);
    control(
        "POST",
        "/_evenkeel/faults",
        Some(json!({
            "service": "sts", "operation": "AssumeRole", "match": arn(&role), "error": "AccessDenied", "times": 1,
        })),
    )
    .await;
    there = with(&role);
    let seen = ground.ec2.look(&there).await;
    let Seen::Unknown(trouble) = seen.instances else { panic!("{:?}", seen.instances) };
    assert_eq!(trouble.class, Class::Terminal, "{}", trouble.message);
    assert!(trouble.message.contains(&arn(&role)) && trouble.message.contains("contract"), "{}", trouble.message);
    assert_eq!(ground.instances().await.len(), 1, "no other stack's trouble");
    ground.clear().await;
}

#[tokio::test]
async fn cloudwatch_tells_the_last_point_of_each_instance_and_of_one_without_a_point_nothing() {
    let ground = Ground::new("ca-west-1").await;
    let own = |name: &str| format!("i-{name}{:x}", SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros());
    let (busy, idle, silent, new) = (own("1"), own("2"), own("3"), own("4"));
    for (id, ago, cpu) in [(&busy, 600, 5.0), (&busy, 120, 87.5), (&idle, 180, 2.0), (&silent, 3600, 99.0)] {
        ground.measured(id, ago, cpu).await;
    }
    let cloud = Clouds::new(ground.aws.clone());
    let all = BTreeSet::from([&busy, &idle, &silent, &new].map(Clone::clone));
    let told = cloud.metered(&ground.stack, &all).await.unwrap();
    let cpu: BTreeMap<&String, f64> = told.iter().map(|(id, figures)| (id, figures.cpu.unwrap())).collect();
    assert_eq!(cpu, BTreeMap::from([(&busy, 87.5), (&idle, 2.0)]));
    // Its time is the beginning of its minute.
    let age = told[&busy].age.as_secs();
    assert!((120..200).contains(&age), "{age} s");
    assert_eq!(ground.aws.calls()["cloudwatch.GetMetricData"], 1);

    // Another account's instances are another account's, and its requests are signed as they are sent.
    let role = AssumeRole { arn: format!("arn:aws:iam::{OTHER}:role/evenkeel"), external_id: None };
    let there = Stack { assume_role: Some(role), ..ground.stack.clone() };
    assert_eq!(cloud.metered(&there, &all).await.unwrap(), BTreeMap::new());

    ground.fault(json!({"service": "cloudwatch", "error": "AccessDenied", "times": 1})).await;
    let trouble = cloud.metered(&ground.stack, &all).await.unwrap_err();
    assert_eq!(trouble.class, Class::Terminal, "{}", trouble.message);
    assert!(
        trouble.message.ends_with("allow cloudwatch:GetMetricData to the controller's role"),
        "{}",
        trouble.message
    );
}
