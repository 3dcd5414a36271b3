//! The adapter before an EC2 of one function.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{
    aws::testing::{serve, shop},
    spec::{
        Layer,
        stack::{AddressKind, DockerAccess, EbsVolume, Instances, Provider, Recipes, Transport, Update},
    },
    world::{Class, Rest, Seen},
};

mod apply;

/// The requests that came, in their order, as `Action` and the whole.
type Heard = Arc<Mutex<Vec<(String, String)>>>;

/// An EC2 that answers with what `answer` makes of operation and request, and with nothing where that is silent.
async fn cloud(answer: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> (Ec2, Heard) {
    let heard = Heard::default();
    let noted = heard.clone();
    let aws = serve(move |request| {
        let operation = match request.split_once("Action=") {
            Some((_, rest)) => rest.split('&').next().unwrap(),
            None => "GetParameters",
        };
        noted.lock().unwrap().push((operation.to_owned(), request.to_owned()));
        match answer(operation, request) {
            Some(failure) if failure.contains("<Errors>") => (400, failure),
            Some(failure) if failure.contains("__type") => (400, failure),
            Some(body) if operation == "GetParameters" => (200, body),
            body => (200, format!("<{operation}Response>{}</{operation}Response>", body.unwrap_or_default())),
        }
    })
    .await;
    (Ec2::new(aws), heard)
}

fn failure(code: &str) -> Option<String> {
    Some(format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>said so</Message></Error></Errors>\
         <RequestID>r-1</RequestID></Response>"
    ))
}

/// How often the operation was asked for.
fn times(heard: &Heard, operation: &str) -> usize {
    heard.lock().unwrap().iter().filter(|(asked, _)| asked == operation).count()
}

/// The last request of an operation.
fn request(heard: &Heard, operation: &str) -> String {
    let heard = heard.lock().unwrap();
    heard.iter().rev().find(|(asked, _)| asked == operation).expect("it was asked for").1.clone()
}

fn tags(of: &[(&str, &str)]) -> String {
    let mut text = String::from("<tagSet>");
    for (key, value) in of {
        let _ = write!(text, "<item><key>{key}</key><value>{value}</value></item>");
    }
    text + "</tagSet>"
}

/// An instance of layer web, launched long ago.
fn instance(id: &str, stack: &str, hostname: &str, state: &str, more: &str) -> String {
    let tags = tags(&[("evenkeel:stack", stack), ("evenkeel:layer", "web"), ("evenkeel:hostname", hostname)]);
    format!(
        "<item><instanceId>{id}</instanceId><imageId>ami-1</imageId><instanceState><name>{state}</name></instanceState>\
         <instanceType>t3.micro</instanceType><launchTime>2026-01-01T00:00:00Z</launchTime><placement>\
         <availabilityZone>eu-west-1a</availabilityZone></placement><rootDeviceName>/dev/xvda</rootDeviceName>\
         {tags}{more}</item>"
    )
}

fn token(token: &str) -> String {
    format!("<clientToken>{token}</clientToken>")
}

fn instances(all: &[String]) -> Option<String> {
    let all = all.concat();
    Some(format!("<reservationSet><item><instancesSet>{all}</instancesSet></item></reservationSet>"))
}

fn volume(id: &str, stack: &str, state: &str, more: &str) -> String {
    let tags =
        tags(&[("evenkeel:stack", stack), ("evenkeel:hostname", "web1"), ("evenkeel:mount-point", "/var/lib/docker")]);
    format!(
        "<item><volumeId>{id}</volumeId><size>20</size><availabilityZone>eu-west-1a</availabilityZone>\
         <status>{state}</status><volumeType>gp3</volumeType><iops>3000</iops><throughput>125</throughput>{tags}{more}\
         </item>"
    )
}

fn volumes(all: &[String]) -> Option<String> {
    Some(format!("<volumeSet>{}</volumeSet>", all.concat()))
}

fn on_ec2() -> Stack {
    let volume = EbsVolume {
        mount_point: "/var/lib/docker".into(),
        size_gib: 20,
        volume_type: "gp3".into(),
        iops: None,
        throughput: None,
        encrypted: None,
        reuse: false,
    };
    let docker = DockerAccess {
        transport: Transport::Tls { parameter: None, ssm_endpoint: None },
        port: 2376,
        address: AddressKind::Private,
        log_max_size: "10m".into(),
        log_max_files: 3,
    };
    let layer = Layer {
        name: "Web".into(),
        short_name: "web".into(),
        recipes: Recipes::default(),
        instances: Instances { count: 1, instance_type: "t3.micro".into(), scaling: None },
        volumes: vec![volume],
        root_volume: None,
        image: Some("ami-1".into()),
        subnet_ids: vec!["subnet-1".into(), "subnet-2".into()],
        update: Update::Manual,
        load_balancers: Vec::new(),
        owned_balancers: Vec::new(),
        security_group_ids: Vec::new(),
        docker,
        tags: None,
        upkeep: crate::spec::Upkeep::default(),
    };
    Stack { provider: Provider::Ec2, layers: vec![layer], ..shop() }
}

fn rest(provided: &Provided) -> &crate::world::Ec2 {
    let Rest::Ec2(rest) = &provided.rest else { panic!("{provided:?}") };
    rest
}

#[tokio::test]
async fn a_stack_is_told_by_its_tags_and_what_ended_only_by_its_token() {
    let (ec2, _) = cloud(|operation, _| match operation {
        "DescribeInstances" => instances(&[
            instance("i-3", "shop", "web2", "shutting-down", &token("t-3")),
            instance("i-1", "shop", "web1", "running", &token("t-1")),
            instance("i-2", "shop", "web1", "terminated", &token("t-2")),
            instance("i-4", "other", "web1", "terminated", &token("t-4")),
            instance("i-5", "other", "web1", "running", ""),
            instance("i-6", "shop", "", "running", ""),
        ]),
        "DescribeInstanceStatus" => Some(
            "<instanceStatusSet><item><instanceId>i-1</instanceId><systemStatus><status>impaired</status></systemStatus>\
             <instanceStatus><status>ok</status></instanceStatus></item></instanceStatusSet>"
                .into(),
        ),
        "DescribeVolumes" => {
            volumes(&[volume("vol-1", "shop", "in-use", ""), volume("vol-2", "other", "available", "")])
        }
        "DescribeVolumesModifications" => Some(
            "<volumeModificationSet><item><volumeId>vol-1</volumeId><modificationState>optimizing</modificationState>\
             </item></volumeModificationSet>"
                .into(),
        ),
        "DescribeSubnets" => Some(
            "<subnetSet><item><subnetId>subnet-1</subnetId><availabilityZone>eu-west-1a</availabilityZone>\
             <vpcId>vpc-1</vpcId><availableIpAddressCount>0</availableIpAddressCount></item></subnetSet>"
                .into(),
        ),
        "DescribeImages" => Some(
            "<imagesSet><item><imageId>ami-1</imageId><imageState>available</imageState>\
             <rootDeviceName>/dev/xvda</rootDeviceName></item></imagesSet>"
                .into(),
        ),
        _ => None,
    })
    .await;
    let seen = ec2.look(&on_ec2()).await;
    let members = seen.instances.known().expect("an answer");
    let told: Vec<_> = members.iter().map(|one| (one.hostname.as_str(), one.status.as_str())).collect();
    assert_eq!(told, [("web1", "running"), ("web2", "shutting-down")]);
    assert_eq!(members[0].launched.as_ref().unwrap().impaired.as_deref(), Some("system status impaired"));
    let rest = rest(&seen);
    assert_eq!(rest.spent_tokens, ["t-2".to_owned()].into());
    let volumes = rest.volumes.known().unwrap();
    assert_eq!((volumes.len(), volumes[0].modifying.as_deref()), (1, Some("optimizing")));
    let subnets = rest.subnets.known().unwrap();
    assert_eq!((subnets.len(), subnets["subnet-1"].free), (1, 0), "the other does not exist");
    assert_eq!(rest.images["ami-1"].known().unwrap().root_device, "/dev/xvda");
    assert_eq!(seen.unanswered(), None);
}

#[tokio::test]
async fn stacks_that_are_looked_at_together_share_every_page() {
    let (ec2, heard) = cloud(|operation, request| match operation {
        "DescribeInstances" if request.contains("NextToken=2") => instances(&[
            instance("i-2", "other", "web1", "running", ""),
            instance("i-3", "shop", "web2", "running", ""),
        ]),
        "DescribeInstances" => {
            instances(&[instance("i-1", "shop", "web1", "running", "")]).map(|all| all + "<nextToken>2</nextToken>")
        }
        "DescribeVolumes" if request.contains("NextToken=2") => volumes(&[volume("vol-2", "shop", "available", "")]),
        "DescribeVolumes" => {
            volumes(&[volume("vol-1", "shop", "in-use", "")]).map(|all| all + "<nextToken>2</nextToken>")
        }
        _ => None,
    })
    .await;
    let other = Stack { name: "other".into(), ..on_ec2() };
    let shop = on_ec2();
    let (ours, theirs) = tokio::join!(ec2.look(&shop), ec2.look(&other));
    let ids = |seen: &Provided| -> Vec<String> {
        let members = seen.instances.known().expect("an answer").iter();
        members.filter_map(|one| one.ec2_id.clone()).collect()
    };
    assert_eq!((ids(&ours), ids(&theirs)), (vec!["i-1".to_owned(), "i-3".to_owned()], vec!["i-2".to_owned()]));
    assert_eq!(rest(&ours).volumes.known().unwrap().len(), 2);
    assert_eq!((times(&heard, "DescribeInstances"), times(&heard, "DescribeVolumes")), (2, 2), "two pages each");
    for operation in ["DescribeInstanceStatus", "DescribeVolumesModifications", "DescribeSubnets", "DescribeImages"] {
        assert_eq!(times(&heard, operation), 1, "{operation}");
    }
}

#[tokio::test]
async fn a_page_that_fails_makes_its_part_unknown_and_no_other() {
    let (ec2, _) = cloud(|operation, request| match operation {
        "DescribeInstances" if request.contains("NextToken") => failure("UnauthorizedOperation"),
        "DescribeInstances" => {
            instances(&[instance("i-1", "shop", "web1", "running", "")]).map(|all| all + "<nextToken>2</nextToken>")
        }
        _ => None,
    })
    .await;
    let seen = ec2.look(&on_ec2()).await;
    let Seen::Unknown(trouble) = &seen.instances else { panic!("{:?}", seen.instances) };
    assert_eq!(trouble.class, Class::Terminal);
    assert!(trouble.message.contains("allow ec2:DescribeInstances"), "{}", trouble.message);
    assert!(rest(&seen).volumes.known().unwrap().is_empty());
}

#[tokio::test]
async fn an_instance_of_which_something_is_lacking_is_not_left_out() {
    let half = "<item><instanceId>i-1</instanceId>".to_owned()
        + &tags(&[("evenkeel:stack", "shop"), ("evenkeel:layer", "web"), ("evenkeel:hostname", "web1")])
        + "</item>";
    let (ec2, _) = cloud(move |operation, _| match operation {
        "DescribeInstances" => instances(std::slice::from_ref(&half)),
        _ => None,
    })
    .await;
    let seen = ec2.look(&on_ec2()).await;
    let Seen::Unknown(trouble) = &seen.instances else { panic!("{:?}", seen.instances) };
    assert!(trouble.message.contains("lacks a availabilityZone"), "{}", trouble.message);
}

#[tokio::test]
async fn stacks_of_one_place_share_what_is_asked_and_after_a_change_it_is_asked_anew() {
    let (ec2, heard) = cloud(|operation, _| match operation {
        "DescribeInstances" => instances(&[instance("i-1", "shop", "web1", "running", "")]),
        _ => None,
    })
    .await;
    let (shop, other) = (on_ec2(), Stack { name: "other".into(), ..on_ec2() });
    tokio::join!(ec2.look(&shop), ec2.look(&other), ec2.look(&shop));
    for operation in [
        "DescribeInstances",
        "DescribeInstanceStatus",
        "DescribeVolumes",
        "DescribeVolumesModifications",
        "DescribeSubnets",
        "DescribeImages",
    ] {
        assert_eq!(times(&heard, operation), 1, "{operation}");
    }
    let start = Action::StartInstance { id: "i-1".into(), hostname: "web1".into() };
    ec2.apply(&shop, &start).await.unwrap();
    let before = times(&heard, "DescribeInstances");
    ec2.look(&other).await;
    assert_eq!(times(&heard, "DescribeInstances"), before + 1);
    assert_eq!(times(&heard, "DescribeImages"), 1, "images change seldom");
}

#[tokio::test]
async fn an_image_is_named_by_a_parameter_and_one_that_is_gone_is_told_with_where_it_is_declared() {
    let (ec2, heard) = cloud(|operation, _| match operation {
        "GetParameters" => {
            Some(r#"{"Parameters":[{"Name":"/ami","Value":"ami-2"}],"InvalidParameters":["/none"]}"#.into())
        }
        "DescribeImages" => Some(
            "<imagesSet><item><imageId>ami-2</imageId><imageState>available</imageState>\
             <rootDeviceName>/dev/sda1</rootDeviceName></item></imagesSet>"
                .into(),
        ),
        _ => None,
    })
    .await;
    let layer = |name: &str, image: &str| Layer {
        short_name: name.into(),
        image: Some(image.into()),
        ..on_ec2().layers.remove(0)
    };
    let layers =
        vec![layer("web", "resolve:ssm:/ami"), layer("work", "resolve:ssm:/none"), layer("old", "ami-0deadbeef")];
    let stack = Stack { layers, ..on_ec2() };
    let seen = ec2.look(&stack).await;
    let images = &rest(&seen).images;
    assert_eq!(images["resolve:ssm:/ami"].known().unwrap().id, "ami-2");
    for (reference, says) in [
        ("resolve:ssm:/none", ["there is no parameter /none", "amiId of layer work of stack shop"]),
        ("ami-0deadbeef", ["image ami-0deadbeef does not exist", "amiId of layer old of stack shop"]),
    ] {
        let Seen::Unknown(trouble) = &images[reference] else { panic!("{:?}", images[reference]) };
        assert_eq!(trouble.class, Class::Terminal);
        assert!(says.iter().all(|part| trouble.message.contains(part)), "{}", trouble.message);
    }
    ec2.look(&stack).await;
    assert_eq!((times(&heard, "GetParameters"), times(&heard, "DescribeImages")), (1, 1));
}

#[tokio::test]
async fn a_parameter_that_may_not_be_read_is_no_trouble_of_the_others() {
    let (ec2, _) = cloud(|operation, request| match operation {
        "GetParameters" if request.contains("/secret") => {
            Some(r#"{"__type":"AccessDeniedException","message":"not authorized"}"#.into())
        }
        "GetParameters" => Some(r#"{"Parameters":[{"Name":"/ami","Value":"ami-2"}]}"#.into()),
        "DescribeImages" => Some(
            "<imagesSet><item><imageId>ami-2</imageId><imageState>available</imageState>\
             <rootDeviceName>/dev/sda1</rootDeviceName></item></imagesSet>"
                .into(),
        ),
        _ => None,
    })
    .await;
    let stack = |name: &str, image: &str| {
        let mut stack = Stack { name: name.into(), ..on_ec2() };
        stack.layers[0].image = Some(image.into());
        stack
    };
    let (good, bad) = (stack("good", "resolve:ssm:/ami"), stack("bad", "resolve:ssm:/secret"));
    let refused = ec2.look(&bad).await;
    let Seen::Unknown(trouble) = &rest(&refused).images["resolve:ssm:/secret"] else { panic!("{refused:?}") };
    assert!(trouble.message.contains("allow ssm:GetParameters"), "{}", trouble.message);
    let seen = ec2.look(&good).await;
    assert_eq!(rest(&seen).images["resolve:ssm:/ami"].known().unwrap().id, "ami-2");
}

#[tokio::test]
async fn a_console_is_read_while_an_instance_is_not_ready_and_not_all_the_time() {
    let said = "evenkeel: bootstrap begins\nevenkeel: bootstrap FAILED at docker: no such package\n";
    let said = aws_smithy_types::base64::encode(said);
    let (ec2, heard) = cloud(move |operation, request| match operation {
        "DescribeInstances" => {
            instances(&[instance("i-1", "shop", "web1", "running", ""), instance("i-2", "shop", "web2", "pending", "")])
        }
        "GetConsoleOutput" if request.contains("Latest=true") => failure("UnsupportedOperation"),
        "GetConsoleOutput" => Some(format!("<output>{said}</output>")),
        _ => None,
    })
    .await;
    for _ in 0..2 {
        let seen = ec2.look(&on_ec2()).await;
        let members = seen.instances.known().unwrap();
        let said = |of: usize| members[of].launched.as_ref().unwrap().bootstrap.clone();
        assert_eq!((said(0).as_deref(), said(1)), (Some("docker: no such package"), None));
    }
    assert_eq!(times(&heard, "GetConsoleOutput"), 2, "the latest, and as this type has none, the usual one");
}
