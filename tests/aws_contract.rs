//! The AWS adapters against LocalStack with the plug-in from `localstack/`.
//!
//! Needs `localstack/up` and the environment that it writes (`. .testbed/env`). Every test has a region of its own,
//! so that neither the others nor anything else on that LocalStack is disturbed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
    time::Duration,
};

use aws_sdk_elasticloadbalancing::{
    Client as ElbClient,
    types::{ConnectionDraining, HealthCheck, Listener, LoadBalancerAttributes},
};
use evenkeel::{
    action::{Action, Tagged, Tags},
    aws::{Aws, Elb, OpsWorks},
    ports::{Access, Balancers, Cloud},
    secret::Secret,
    spec::{
        File, Stack,
        stack::{Cookbooks, DeletionPolicy, EbsVolume, Provider, Recipes},
        validate,
    },
    world::{
        self, AppSettings, Class, Instance, LayerSettings, OwApp, OwDataSource, OwDatabase, OwLayer, OwStack, Rest,
        Seen, StackSettings, Target, Trouble,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

/// One stack in a region of its own, cleared away at the end.
struct Ground {
    stack: Stack,
    aws: Arc<Aws>,
    opsworks: OpsWorks,
    elb: Elb,
}

/// All that a look tells of a stack.
#[derive(Debug, PartialEq)]
struct Look {
    stack: Seen<Option<OwStack>>,
    layers: Seen<Vec<OwLayer>>,
    apps: Seen<Vec<OwApp>>,
    attached: Seen<BTreeMap<String, String>>,
    databases: Seen<Vec<OwDatabase>>,
    instances: Seen<Vec<Instance>>,
}

impl Ground {
    async fn new(region: &str) -> Ground {
        let aws = Aws::new();
        let (opsworks, elb) = (OpsWorks::new(aws.clone()), Elb::new(aws.clone()));
        let ground = Ground { stack: stack(region), aws, opsworks, elb };
        for fault in control("GET", "/_evenkeel/faults", None).await.as_array().expect("a list of faults") {
            if fault["region"] == region {
                control("DELETE", &format!("/_evenkeel/faults/{}", fault["id"]), None).await;
            }
        }
        ground.clear().await;
        ground
    }

    /// Also what an earlier run that failed has left.
    async fn clear(&self) {
        if let Seen::Known(Some(stack)) = self.look().await.stack {
            control("POST", "/_evenkeel/reset", Some(json!({"stack": stack.id}))).await;
        }
    }

    async fn look(&self) -> Look {
        let provided = self.opsworks.look(&self.stack).await;
        let Rest::OpsWorks(cloud) = provided.rest else { panic!("not OpsWorks: {provided:?}") };
        let world::OpsWorks { stack, layers, apps, attached, databases, .. } = cloud;
        Look { stack, layers, apps, attached, databases, instances: provided.instances }
    }

    async fn apply(&self, action: Action) -> Result<(), Trouble> {
        self.opsworks.apply(&self.stack, &action).await
    }

    async fn balancer(&self, name: &str) -> Seen<world::Balancer> {
        self.elb.look(&self.stack, &BTreeSet::from([name.to_owned()])).await.remove(name).unwrap()
    }

    async fn target(&self, name: &str, ec2_id: &str) -> Option<Target> {
        known(self.balancer(name).await).targets.remove(ec2_id)
    }

    async fn until_target(&self, name: &str, ec2_id: &str, what: &str, fits: impl Fn(Option<&Target>) -> bool) {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let target = self.target(name, ec2_id).await;
            if fits(target.as_ref()) {
                return;
            }
            assert!(Instant::now() < limit, "{ec2_id} is never {what}: {target:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn create_stack_and_layer(&self) -> (String, String) {
        self.apply(Action::CreateStack { settings: stack_settings(&self.stack.region) }).await.unwrap();
        let stack_id = known(self.look().await.stack).unwrap().id;
        self.apply(Action::CreateLayer { stack_id: stack_id.clone(), settings: layer_settings() }).await.unwrap();
        let layer_id = known(self.look().await.layers).remove(0).id;
        (stack_id, layer_id)
    }

    async fn create_instance(&self, stack_id: &str, layer_id: &str, hostname: &str) -> Instance {
        self.apply(create_instance(stack_id, layer_id, hostname)).await.unwrap();
        self.instance(hostname).await
    }

    async fn instance(&self, hostname: &str) -> Instance {
        let all = known(self.look().await.instances);
        all.into_iter().find(|instance| instance.hostname == hostname).expect("an instance of that name")
    }

    async fn until_status(&self, hostname: &str, status: &str) -> Instance {
        let limit = Instant::now() + Duration::from_secs(90);
        loop {
            let instance = self.instance(hostname).await;
            if instance.status == status {
                return instance;
            }
            assert!(Instant::now() < limit, "{hostname} is never {status}: {instance:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn fault(&self, service: &str, operation: &str, error: &str, times: Option<u32>) -> u64 {
        let fault = json!({
            "service": service, "operation": operation, "region": self.stack.region, "error": error, "times": times,
        });
        control("POST", "/_evenkeel/faults", Some(fault)).await["id"].as_u64().expect("the fault's id")
    }

    async fn config(&self) -> aws_config::SdkConfig {
        aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_config::Region::new(self.stack.region.clone()))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await
    }

    /// A classic load balancer on a port of the engine's, that drains.
    async fn create_balancer(&self, name: &str) -> ElbClient {
        let elb = ElbClient::new(&self.config().await);
        elb.delete_load_balancer().load_balancer_name(name).send().await.unwrap();
        let listener = Listener::builder()
            .protocol("TCP")
            .load_balancer_port(18080)
            .instance_protocol("TCP")
            .instance_port(2376)
            .build()
            .unwrap();
        let zone = format!("{}a", self.stack.region);
        let create = elb.create_load_balancer().load_balancer_name(name);
        create.listeners(listener).availability_zones(zone).send().await.unwrap();
        let check = HealthCheck::builder()
            .target("TCP:2376")
            .interval(5)
            .timeout(2)
            .unhealthy_threshold(2)
            .healthy_threshold(2)
            .build()
            .unwrap();
        elb.configure_health_check().load_balancer_name(name).health_check(check).send().await.unwrap();
        let draining = ConnectionDraining::builder().enabled(true).timeout(20).build();
        let attributes = LoadBalancerAttributes::builder().connection_draining(draining).build();
        let modify = elb.modify_load_balancer_attributes().load_balancer_name(name);
        modify.load_balancer_attributes(attributes).send().await.unwrap();
        elb
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

/// The plug-in's own endpoints.
async fn control(method: &str, path: &str, body: Option<Value>) -> Value {
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
    assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body.trim()).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn stack(region: &str) -> Stack {
    Stack {
        name: "contract".into(),
        provider: Provider::Opsworks,
        region: region.into(),
        service_role_arn: None,
        instance_profile_arn: None,
        vpc_id: None,
        subnet_ids: Vec::new(),
        root_device_type: Some("ebs".into()),
        ssh_key_name: None,
        cookbooks: None,
        assume_role: None,
        heal_after: Duration::from_secs(300),
        registries: Default::default(),
        deletion_policy: DeletionPolicy::Retain,
        suspend: false,
        adopt: false,
        layers: Vec::new(),
    }
}

fn stack_settings(region: &str) -> StackSettings {
    StackSettings {
        name: "contract".into(),
        region: region.into(),
        service_role_arn: Some("arn:aws:iam::000000000000:role/opsworks".into()),
        instance_profile_arn: Some("arn:aws:iam::000000000000:instance-profile/opsworks".into()),
        root_device_type: Some("ebs".into()),
        cookbooks: Some(Cookbooks {
            url: "https://example.com/cookbooks.git".into(),
            revision: Some("main".into()),
            manage_berkshelf: true,
            berkshelf_version: Some("3.2.0".into()),
        }),
        ..Default::default()
    }
}

fn layer_settings() -> LayerSettings {
    LayerSettings {
        name: "Docker".into(),
        short_name: "docker".into(),
        recipes: Recipes { setup: vec!["docker::install".into(), "a::first".into()], ..Default::default() },
        security_group_ids: vec!["sg-1".into(), "sg-2".into()],
        volumes: vec![EbsVolume {
            mount_point: "/var/lib/docker".into(),
            size_gib: 120,
            volume_type: "gp2".into(),
            iops: None,
            throughput: None,
            encrypted: Some(false),
            reuse: false,
        }],
    }
}

fn app_settings() -> AppSettings {
    AppSettings {
        name: "amazing application".into(),
        short_name: "amazing-application".into(),
        environment: BTreeMap::from([("APP_TYPE".into(), "docker".into())]),
        data_source: None,
    }
}

fn create_instance(stack_id: &str, layer_id: &str, hostname: &str) -> Action {
    Action::CreateInstance {
        stack_id: stack_id.into(),
        layer_id: layer_id.into(),
        hostname: hostname.into(),
        instance_type: "t3.medium".into(),
    }
}

fn register(balancer: &str, instance: &Instance) -> Action {
    Action::Register {
        balancer: balancer.into(),
        ec2_id: instance.ec2_id.clone().unwrap(),
        hostname: instance.hostname.clone(),
    }
}

fn deregister(balancer: &str, instance: &Instance, keep: u32) -> Action {
    Action::Deregister {
        balancer: balancer.into(),
        ec2_id: instance.ec2_id.clone().unwrap(),
        hostname: instance.hostname.clone(),
        keep,
    }
}

#[tokio::test]
async fn what_was_created_is_read_back_as_it_was_declared() {
    let ground = Ground::new("eu-west-3").await;
    let before = ground.look().await;
    assert_eq!(before.stack, Seen::Known(None));
    assert_eq!(before.layers, Seen::Known(Vec::new()));

    let (stack_id, layer_id) = ground.create_stack_and_layer().await;
    ground.apply(Action::CreateApp { stack_id: stack_id.clone(), settings: app_settings() }).await.unwrap();
    let instance = ground.create_instance(&stack_id, &layer_id, "docker1").await;

    let seen = ground.look().await;
    let stack = known(seen.stack).unwrap();
    assert!(stack.ours);
    assert_eq!(stack.settings, stack_settings("eu-west-3"));
    let layer = known(seen.layers).remove(0);
    assert!(layer.ours);
    assert_eq!(layer.settings, layer_settings());
    let app = known(seen.apps).remove(0);
    assert!(app.ours);
    assert_eq!(app.settings, app_settings());
    assert_eq!(instance.status, "stopped");
    assert_eq!(instance.layer_ids, [layer_id]);
    assert_eq!(instance.instance_type, "t3.medium");
    assert_eq!((instance.ec2_id, instance.private_ip), (None, None));
    assert_eq!(ground.aws.calls()["opsworks.CreateStack"], 1);
    ground.clear().await;
}

#[tokio::test]
async fn a_database_is_registered_once_and_its_password_is_never_told() {
    let ground = Ground::new("ap-southeast-2").await;
    let (stack_id, _) = ground.create_stack_and_layer().await;
    let arn = "arn:aws:rds:ap-southeast-2:000000000000:db:shop-db";
    let access = |username: &str| Access {
        arn: arn.into(),
        username: Secret::new(username),
        password: Secret::new("correct-horse"),
        hidden: vec![Secret::new("correct-horse")],
    };
    let tell = async |action: Action, username: &str| {
        ground.opsworks.tell_of_database(&ground.stack, &action, &access(username)).await
    };
    let register = Action::RegisterDatabase { stack_id, rds: "shop-db".into() };
    tell(register.clone(), "root").await.unwrap();
    // As after a call whose answer was lost.
    tell(register, "root").await.unwrap();
    assert_eq!(ground.aws.calls()["opsworks.RegisterRdsDbInstance"], 1);
    let told = async || known(ground.look().await.databases).remove(0);
    let database = told().await;
    assert_eq!((database.arn.as_str(), database.username.as_deref()), (arn, Some("root")));
    // RDS has none of that name.
    assert!(database.missing);
    let changed = vec!["username".to_owned()];
    tell(Action::UpdateDatabase { rds: "shop-db".into(), arn: arn.into(), changed }, "shop").await.unwrap();
    assert_eq!(told().await.username.as_deref(), Some("shop"));
    assert!(!format!("{:?}", ground.look().await.databases).contains("correct-horse"));
    ground.clear().await;
}

#[tokio::test]
async fn what_was_updated_is_read_back_and_keeps_its_mark() {
    let ground = Ground::new("us-west-1").await;
    let (stack_id, layer_id) = ground.create_stack_and_layer().await;
    ground.apply(Action::CreateApp { stack_id: stack_id.clone(), settings: app_settings() }).await.unwrap();
    let app_id = known(ground.look().await.apps).remove(0).id;

    let mut stack = stack_settings("us-west-1");
    stack.cookbooks.as_mut().unwrap().revision = Some("v2".into());
    stack.ssh_key_name = Some("ops".into());
    let mut layer = layer_settings();
    layer.recipes.deploy = vec!["docker::deploy".into()];
    layer.volumes[0].size_gib = 200;
    let mut app = app_settings();
    app.environment.insert("COLOUR".into(), "blue".into());
    app.data_source =
        Some(OwDataSource { kind: "AutoSelectOpsworksMysqlInstance".into(), arn: None, database: Some("shop".into()) });
    let changed = Vec::new;
    ground.apply(Action::UpdateStack { id: stack_id, settings: stack.clone(), changed: changed() }).await.unwrap();
    ground.apply(Action::UpdateLayer { id: layer_id, settings: layer.clone(), changed: changed() }).await.unwrap();
    let update = Action::UpdateApp { id: app_id.clone(), settings: app.clone(), changed: changed() };
    ground.apply(update).await.unwrap();

    let seen = ground.look().await;
    let (found_stack, found_layer) = (known(seen.stack).unwrap(), known(seen.layers).remove(0));
    let found_app = known(seen.apps).remove(0);
    assert!(found_stack.ours && found_layer.ours && found_app.ours);
    assert_eq!(found_stack.settings, stack);
    assert_eq!(found_layer.settings, layer);
    assert_eq!(found_app.settings, app);

    app.data_source = None;
    let update = Action::UpdateApp { id: app_id.clone(), settings: app.clone(), changed: changed() };
    ground.apply(update).await.unwrap();
    assert_eq!(known(ground.look().await.apps).remove(0).settings, app);

    let delete = Action::DeleteApp { id: app_id, name: app.name };
    ground.apply(delete.clone()).await.unwrap();
    ground.apply(delete).await.unwrap();
    assert_eq!(known(ground.look().await.apps), Vec::new());
    ground.clear().await;
}

#[tokio::test]
async fn the_tags_of_a_layer_are_read_where_they_are_declared_and_changed() {
    let mut ground = Ground::new("ap-northeast-2").await;
    let (_, id) = ground.create_stack_and_layer().await;
    assert_eq!(known(ground.look().await.layers).remove(0).tags, None, "nobody wants to know");
    let text = "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {name: contract}\nspec:\n  provider: opsworks\n  \
                region: ap-northeast-2\n  serviceRoleArn: arn:aws:iam::000000000000:role/r\n  \
                instanceProfileArn: arn:aws:iam::000000000000:instance-profile/p\n  layers:\n    - shortName: docker\n      \
                instances: {count: 1, type: t3.small}\n      tags: {team: shop}\n";
    let read = validate::load("r", vec![File::new("contract.yaml", text)]).expect("it is valid");
    ground.stack.layers = read.values().next().unwrap().stack.layers.clone();
    let tagged = |put: &[(&str, &str)], drop: &[&str]| Action::KeepTags {
        of: Tagged::Layer { id: id.clone(), short_name: "docker".into() },
        tags: Tags {
            put: put.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            drop: drop.iter().map(|key| (*key).to_owned()).collect(),
        },
    };
    ground
        .apply(tagged(&[("cost centre", "42"), ("team", "shop"), ("evenkeel:tags", "cost centre / team")], &[]))
        .await
        .unwrap();
    ground.apply(tagged(&[("team", "blog")], &["cost centre", "never there"])).await.unwrap();
    let tags = known(known(ground.look().await.layers).remove(0).tags.expect("they were asked for"));
    let expected = [("evenkeel:tags", "cost centre / team"), ("team", "blog")];
    assert_eq!(tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    ground.clear().await;
}

#[tokio::test]
async fn nothing_is_created_a_second_time() {
    let ground = Ground::new("us-west-2").await;
    let (stack_id, layer_id) = ground.create_stack_and_layer().await;
    ground.apply(Action::CreateApp { stack_id: stack_id.clone(), settings: app_settings() }).await.unwrap();
    ground.create_instance(&stack_id, &layer_id, "docker1").await;
    let again = [
        Action::CreateStack { settings: stack_settings("us-west-2") },
        Action::CreateLayer { stack_id: stack_id.clone(), settings: layer_settings() },
        Action::CreateApp { stack_id: stack_id.clone(), settings: app_settings() },
        create_instance(&stack_id, &layer_id, "docker1"),
    ];
    for action in again {
        let trouble = ground.apply(action).await.unwrap_err();
        assert_eq!(trouble.class, Class::Transient, "{}", trouble.message);
        assert!(trouble.message.contains("already there"), "{}", trouble.message);
    }
    ground.clear().await;
}

#[tokio::test]
async fn errors_have_their_class_and_leave_the_rest_known() {
    let ground = Ground::new("eu-north-1").await;
    let (stack_id, _) = ground.create_stack_and_layer().await;

    let denied = ground.fault("opsworks", "DescribeApps", "AccessDeniedException", None).await;
    let seen = ground.look().await;
    assert_eq!(known(seen.layers).len(), 1);
    let trouble = unknown(seen.apps);
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains("allow opsworks:DescribeApps"), "{}", trouble.message);
    control("DELETE", &format!("/_evenkeel/faults/{denied}"), None).await;

    let throttled = ground.fault("opsworks", "DescribeStacks", "ThrottlingException", None).await;
    let seen = ground.look().await;
    assert_eq!(unknown(seen.stack).class, Class::Throttled);
    assert_eq!(unknown(seen.instances).class, Class::Throttled);
    control("DELETE", &format!("/_evenkeel/faults/{throttled}"), None).await;

    ground.fault("opsworks", "DescribeStacks", "ThrottlingException", Some(2)).await;
    assert!(known(ground.look().await.stack).is_some(), "a short burst is ridden out");

    let before = ground.aws.calls().get("opsworks.CreateApp").copied().unwrap_or_default();
    ground.fault("opsworks", "CreateApp", "InternalFailure", Some(1)).await;
    let create = Action::CreateApp { stack_id, settings: app_settings() };
    assert_eq!(ground.apply(create.clone()).await.unwrap_err().class, Class::Transient);
    assert_eq!(ground.aws.calls()["opsworks.CreateApp"], before + 1, "a create of unknown outcome is sent once");
    ground.apply(create).await.unwrap();
    ground.clear().await;
}

#[tokio::test]
async fn a_balancer_that_does_not_exist_is_terminal_and_the_others_are_told() {
    let ground = Ground::new("ap-south-1").await;
    let elb = ground.create_balancer("here").await;
    let names = BTreeSet::from(["here".to_owned(), "nowhere".to_owned()]);
    let mut seen = ground.elb.look(&ground.stack, &names).await;
    let here = known(seen.remove("here").unwrap());
    assert_eq!(here.draining, Some(20));
    assert_eq!(here.targets, BTreeMap::new());
    let trouble = unknown(seen.remove("nowhere").unwrap());
    assert_eq!(trouble.class, Class::Terminal);
    let words = "load balancer nowhere does not exist in ap-south-1: create it or correct loadBalancers";
    assert!(trouble.message.contains(words), "{}", trouble.message);
    elb.delete_load_balancer().load_balancer_name("here").send().await.unwrap();
}

#[tokio::test]
async fn a_foreign_stack_is_recognised_and_taken_over_with_all_that_is_in_it() {
    let ground = Ground::new("ca-central-1").await;
    let foreign = aws_sdk_opsworks::Client::new(&ground.config().await);
    let custom = json!({"deploy": {"app": {"a": 1}}}).to_string();
    let wanted = stack_settings("ca-central-1");
    let created = foreign
        .create_stack()
        .name(&wanted.name)
        .region(&wanted.region)
        .set_service_role_arn(wanted.service_role_arn.clone())
        .set_default_instance_profile_arn(wanted.instance_profile_arn.clone())
        .custom_json(custom)
        .send()
        .await
        .unwrap();
    let found = known(ground.look().await.stack).unwrap();
    assert_eq!(Some(&found.id), created.stack_id.as_ref());
    assert!(!found.ours);

    let secret = aws_sdk_opsworks::types::EnvironmentVariable::builder().key("TOKEN").value("t").secure(true);
    let create = foreign.create_app().stack_id(&found.id).name("old").r#type("other".into()).shortname("old");
    create.description("Since 2015").environment(secret.build().unwrap()).send().await.unwrap();
    let app = known(ground.look().await.apps).remove(0);
    assert!(!app.ours);
    assert_eq!(app.settings.environment["TOKEN"], world::FILTERED);

    let update = Action::UpdateStack { id: found.id.clone(), settings: wanted.clone(), changed: Vec::new() };
    ground.apply(update).await.unwrap();
    let stack = known(ground.look().await.stack).unwrap();
    assert!(stack.ours);
    assert_eq!(stack.settings, wanted);
    let raw = foreign.describe_stacks().stack_ids(&found.id).send().await.unwrap();
    let custom: Value = serde_json::from_str(raw.stacks()[0].custom_json().unwrap()).unwrap();
    assert_eq!(custom, json!({"deploy": {"app": {"a": 1}}, "evenkeel": {"stack": "contract"}}));

    let mut settings = app.settings;
    settings.environment.insert("TOKEN".into(), "new".into());
    let update = Action::UpdateApp { id: app.id.clone(), settings, changed: Vec::new() };
    ground.apply(update).await.unwrap();
    let app = known(ground.look().await.apps).remove(0);
    assert!(app.ours);
    assert_eq!(app.settings.environment["TOKEN"], world::FILTERED, "it is still protected");
    let raw = foreign.describe_apps().app_ids(&app.id).send().await.unwrap();
    assert_eq!(raw.apps()[0].description(), Some("Since 2015; managed by evenkeel: contract/old"));
    ground.clear().await;
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_not_repeated_and_is_found_by_the_next_look() {
    let ground = Ground::new("sa-east-1").await;
    let (stack_id, _) = ground.create_stack_and_layer().await;
    let lost = json!({
        "service": "opsworks", "operation": "CreateApp", "region": "sa-east-1", "delay": 12, "after": true, "times": 1,
    });
    control("POST", "/_evenkeel/faults", Some(lost)).await;
    let create = Action::CreateApp { stack_id, settings: app_settings() };
    let trouble = ground.apply(create).await.unwrap_err();
    assert_eq!(trouble.class, Class::UnknownOutcome, "{}", trouble.message);
    assert_eq!(ground.aws.calls()["opsworks.CreateApp"], 1);
    let apps = known(ground.look().await.apps);
    assert_eq!(apps.len(), 1);
    assert!(apps[0].ours);
    ground.clear().await;
}

/// The whole life of two instances: started, put behind a balancer, drained, put back, stopped, deleted.
#[tokio::test]
async fn instances_come_online_drain_and_go() {
    const WEB: &str = "contract-web";
    let ground = Ground::new("eu-central-1").await;
    let elb = ground.create_balancer(WEB).await;
    let (stack_id, layer_id) = ground.create_stack_and_layer().await;
    let attach = Action::AttachBalancer { layer_id: layer_id.clone(), layer: "docker".into(), balancer: WEB.into() };
    ground.apply(attach.clone()).await.unwrap();
    ground.apply(attach).await.unwrap();
    assert_eq!(known(ground.look().await.attached)[&layer_id], WEB);

    for hostname in ["docker1", "docker2"] {
        let created = ground.create_instance(&stack_id, &layer_id, hostname).await;
        ground.apply(Action::StartInstance { id: created.id, hostname: hostname.into() }).await.unwrap();
    }
    let one = ground.until_status("docker1", "online").await;
    let two = ground.until_status("docker2", "online").await;
    assert!(one.private_ip.is_some());
    let ids = [one.ec2_id.clone().unwrap(), two.ec2_id.clone().unwrap()];
    for id in &ids {
        ground.until_target(WEB, id, "in service", |target| target == Some(&Target::InService)).await;
    }

    let delete = Action::DeleteInstance { id: one.id.clone(), hostname: "docker1".into() };
    let trouble = ground.apply(delete.clone()).await.unwrap_err();
    assert!(trouble.message.contains("only a stopped instance"), "{}", trouble.message);

    let trouble = ground.elb.apply(&ground.stack, &deregister(WEB, &one, 2)).await.unwrap_err();
    assert_eq!(trouble.class, Class::Transient);
    assert!(trouble.message.contains("1 other instances are in service and 2 must stay"), "{}", trouble.message);

    ground.elb.apply(&ground.stack, &deregister(WEB, &one, 1)).await.unwrap();
    assert_eq!(ground.target(WEB, &ids[0]).await, Some(Target::Draining));
    assert_eq!(ground.elb.target(&ground.stack, WEB, &ids[0]).await, Seen::Known(Some(Target::Draining)));
    let trouble = ground.elb.apply(&ground.stack, &deregister(WEB, &two, 1)).await.unwrap_err();
    assert!(trouble.message.contains("draining"), "{}", trouble.message);
    ground.until_target(WEB, &ids[0], "gone", |target| target.is_none()).await;
    assert_eq!(ground.elb.target(&ground.stack, WEB, &ids[0]).await, Seen::Known(None));
    assert_eq!(ground.elb.target(&ground.stack, WEB, "i-00000000000000000").await, Seen::Known(None));
    ground.elb.apply(&ground.stack, &deregister(WEB, &one, 1)).await.unwrap();

    ground.elb.apply(&ground.stack, &register(WEB, &one)).await.unwrap();
    let target = ground.target(WEB, &ids[0]).await;
    assert!(matches!(target, Some(Target::OutOfService(_) | Target::InService)), "{target:?}");
    ground.until_target(WEB, &ids[0], "in service", |target| target == Some(&Target::InService)).await;

    let detach = Action::DetachBalancer { layer_id, layer: "docker".into(), balancer: WEB.into() };
    ground.apply(detach.clone()).await.unwrap();
    ground.apply(detach).await.unwrap();
    assert_eq!(known(ground.look().await.attached), BTreeMap::new());

    let stop = Action::StopInstance {
        id: one.id.clone(),
        ec2_id: one.ec2_id.clone(),
        hostname: "docker1".into(),
        drained: true,
    };
    ground.apply(stop.clone()).await.unwrap();
    ground.apply(stop).await.unwrap();
    ground.until_status("docker1", "stopped").await;
    ground.apply(delete.clone()).await.unwrap();
    ground.apply(delete).await.unwrap();
    let left = known(ground.look().await.instances);
    assert_eq!(left.iter().map(|instance| instance.hostname.as_str()).collect::<Vec<_>>(), ["docker2"]);

    elb.delete_load_balancer().load_balancer_name(WEB).send().await.unwrap();
    ground.clear().await;
}
