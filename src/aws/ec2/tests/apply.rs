//! What is changed, and what is left alone.

use super::*;
use crate::{
    action::Launch,
    spec::stack::{DeletionPolicy, RootVolume},
    world::Trouble,
};

fn launch() -> Launch {
    let volume = |reuse| EbsVolume { reuse, ..on_ec2().layers.remove(0).volumes.remove(0) };
    let mark = [("evenkeel:stack".to_owned(), "shop".to_owned())];
    Launch {
        layer: "web".into(),
        hostname: "web1".into(),
        token: "t-1".into(),
        image_id: "ami-1".into(),
        instance_type: "t3.micro".into(),
        subnet_id: "subnet-1".into(),
        zone: "eu-west-1a".into(),
        security_group_ids: vec!["sg-1".into()],
        key_name: Some("ops".into()),
        profile_arn: Some("arn:aws:iam::1:instance-profile/web".into()),
        root: Some(("/dev/xvda".into(), RootVolume { size_gib: 30, volume_type: "gp3".into(), encrypted: true })),
        volumes: vec![
            ("/dev/sdf".into(), EbsVolume { iops: Some(4000), throughput: Some(250), ..volume(false) }),
            ("/dev/sdg".into(), EbsVolume { volume_type: "io2".into(), iops: Some(9000), ..volume(true) }),
        ],
        delete_volumes: true,
        user_data: "#!/bin/bash\n".into(),
        tags: mark.clone().into(),
        volume_tags: mark.into(),
    }
}

fn action() -> Action {
    Action::LaunchInstance { launch: Box::new(launch()) }
}

async fn apply(ec2: &Ec2, action: &Action) -> Result<(), Trouble> {
    ec2.apply(&on_ec2(), action).await
}

/// What RunInstances answers.
fn made(state: &str) -> Option<String> {
    Some(format!("<instancesSet>{}</instancesSet>", instance("i-1", "shop", "web1", state, &token("t-1"))))
}

#[tokio::test]
async fn a_launch_says_all_that_was_planned() {
    let (ec2, heard) = cloud(|operation, _| (operation == "RunInstances").then(|| made("pending")).flatten()).await;
    apply(&ec2, &action()).await.unwrap();
    let request = request(&heard, "RunInstances");
    for part in [
        "ClientToken=t-1",
        "MinCount=1",
        "MaxCount=1",
        "MetadataOptions.HttpTokens=required",
        "MetadataOptions.HttpPutResponseHopLimit=2",
        "SecurityGroupId.1=sg-1",
        "IamInstanceProfile.Arn=arn%3Aaws%3Aiam%3A%3A1%3Ainstance-profile%2Fweb",
        "UserData=IyEvYmluL2Jhc2gK",
        "BlockDeviceMapping.1.DeviceName=%2Fdev%2Fxvda",
        "BlockDeviceMapping.1.Ebs.DeleteOnTermination=true",
        "BlockDeviceMapping.1.Ebs.Encrypted=true",
        "BlockDeviceMapping.1.Ebs.VolumeSize=30",
        "BlockDeviceMapping.1.Ebs.VolumeType=gp3",
        "BlockDeviceMapping.2.Ebs.DeleteOnTermination=true",
        "BlockDeviceMapping.2.Ebs.Encrypted=true",
        "BlockDeviceMapping.2.Ebs.VolumeType=gp3",
        "BlockDeviceMapping.2.Ebs.Iops=4000",
        "BlockDeviceMapping.2.Ebs.Throughput=250",
        "BlockDeviceMapping.3.Ebs.DeleteOnTermination=false",
        "BlockDeviceMapping.3.Ebs.VolumeType=io2",
        "BlockDeviceMapping.3.Ebs.Iops=9000",
        "TagSpecification.1.ResourceType=instance",
        "TagSpecification.2.ResourceType=volume",
        "TagSpecification.2.Tag.1.Key=evenkeel%3Astack",
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    let asked = super::request(&heard, "DescribeInstances");
    assert!(asked.contains("tag%3Aevenkeel%3Ahostname") && asked.contains("tag%3Aevenkeel%3Astack"), "{asked}");
}

/// What comes of a launch while EC2 tells of `there`, and how often it was sent.
async fn launched(there: Vec<String>) -> (Result<(), Class>, usize) {
    let (ec2, heard) = cloud(move |operation, _| match operation {
        "DescribeInstances" => instances(&there),
        "RunInstances" => made("pending"),
        _ => None,
    })
    .await;
    let outcome = apply(&ec2, &action()).await.map_err(|trouble| trouble.class);
    (outcome, times(&heard, "RunInstances"))
}

#[tokio::test]
async fn nothing_is_launched_while_one_of_its_hostname_lives() {
    let one = |state: &str, with: &str| vec![instance("i-1", "shop", "web1", state, &token(with))];
    assert_eq!(launched(one("running", "t-0")).await, (Err(Class::Transient), 0));
    assert_eq!(launched(one("shutting-down", "t-0")).await, (Err(Class::Transient), 0));
    assert_eq!(launched(one("stopped", "t-1")).await, (Ok(()), 0), "it is this very one");
    assert_eq!(launched(one("shutting-down", "t-1")).await, (Err(Class::TokenSpent), 0));
    assert_eq!(launched(one("terminated", "t-0")).await, (Ok(()), 1));
}

#[tokio::test]
async fn a_token_whose_instance_has_ended_is_spent() {
    for state in ["shutting-down", "terminated"] {
        let (ec2, _) = cloud(move |operation, _| (operation == "RunInstances").then(|| made(state)).flatten()).await;
        assert_eq!(apply(&ec2, &action()).await.unwrap_err().class, Class::TokenSpent);
    }
}

#[tokio::test]
async fn a_token_that_was_sent_with_other_settings_is_told_by_what_became_of_it() {
    let mismatch = |there: Option<&'static str>| async move {
        let (ec2, heard) = cloud(move |operation, request| match operation {
            "RunInstances" => failure("IdempotentParameterMismatch"),
            // The reads by hostname lag behind.
            "DescribeInstances" if request.contains("client-token") => {
                let one = |state| instance("i-1", "shop", "web1", state, &token("t-1"));
                instances(&there.map(one).into_iter().collect::<Vec<_>>())
            }
            _ => None,
        })
        .await;
        let outcome = apply(&ec2, &action()).await.map_err(|trouble| trouble.class);
        assert_eq!(times(&heard, "RunInstances"), 1);
        outcome
    };
    assert_eq!(mismatch(Some("pending")).await, Ok(()));
    assert_eq!(mismatch(Some("terminated")).await, Err(Class::TokenSpent));
    assert_eq!(mismatch(None).await, Err(Class::Terminal));
}

#[tokio::test]
async fn a_zone_without_capacity_is_named_and_not_asked_again() {
    let (ec2, heard) = cloud(|operation, _| match operation {
        "RunInstances" => failure("InsufficientInstanceCapacity"),
        _ => None,
    })
    .await;
    let trouble = apply(&ec2, &action()).await.unwrap_err();
    assert_eq!((trouble.class, times(&heard, "RunInstances")), (Class::Terminal, 1));
    assert!(trouble.message.contains("eu-west-1a") && trouble.message.contains("zone"), "{}", trouble.message);
}

const TERMINATE: fn() -> Action =
    || Action::TerminateInstance { id: "i-1".into(), hostname: "web1".into(), drained: true };

#[tokio::test]
async fn only_what_bears_the_tags_is_terminated() {
    for (stack, hostname) in [("other", "web1"), ("shop", "web2")] {
        let (ec2, heard) = cloud(move |operation, _| match operation {
            "DescribeInstances" => instances(&[instance("i-1", stack, hostname, "running", "")]),
            _ => None,
        })
        .await;
        let trouble = apply(&ec2, &TERMINATE()).await.unwrap_err();
        assert!(trouble.message.contains("left alone"), "{}", trouble.message);
        assert_eq!(times(&heard, "TerminateInstances"), 0);
    }
}

#[tokio::test]
async fn what_is_gone_is_terminated_already() {
    let (ec2, heard) = cloud(|operation, _| match operation {
        "DescribeInstances" => failure("InvalidInstanceID.NotFound"),
        _ => None,
    })
    .await;
    apply(&ec2, &TERMINATE()).await.unwrap();
    assert_eq!(times(&heard, "TerminateInstances"), 0);
}

#[tokio::test]
async fn volumes_that_are_to_be_kept_now_do_not_go_with_an_instance_launched_otherwise() {
    let device = |name: &str| {
        format!(
            "<item><deviceName>{name}</deviceName><ebs><volumeId>vol-1</volumeId>\
             <deleteOnTermination>true</deleteOnTermination></ebs></item>"
        )
    };
    let devices = format!("<blockDeviceMapping>{}{}</blockDeviceMapping>", device("/dev/xvda"), device("/dev/sdf"));
    let (ec2, heard) = cloud(move |operation, _| match operation {
        "DescribeInstances" => instances(&[instance("i-1", "shop", "web1", "running", &devices)]),
        _ => None,
    })
    .await;
    let stack = |policy, reuse| {
        let mut stack = Stack { deletion_policy: policy, ..on_ec2() };
        stack.layers[0].volumes[0].reuse = reuse;
        stack
    };
    ec2.apply(&stack(DeletionPolicy::Delete, false), &TERMINATE()).await.unwrap();
    assert_eq!(times(&heard, "ModifyInstanceAttribute"), 0);
    for stack in [stack(DeletionPolicy::Retain, false), stack(DeletionPolicy::Delete, true)] {
        ec2.apply(&stack, &TERMINATE()).await.unwrap();
        let request = request(&heard, "ModifyInstanceAttribute");
        assert!(request.contains("DeviceName=%2Fdev%2Fsdf") && !request.contains("xvda"), "{request}");
        assert!(request.contains("DeleteOnTermination=false"), "{request}");
    }
    assert_eq!(times(&heard, "TerminateInstances"), 3);
}

fn modify(size_gib: u32, volume_type: &str) -> Action {
    let volume = EbsVolume { size_gib, volume_type: volume_type.into(), ..on_ec2().layers.remove(0).volumes.remove(0) };
    Action::ModifyVolume { id: "vol-1".into(), hostname: "web1".into(), volume, changed: Vec::new() }
}

#[tokio::test]
async fn a_volume_only_grows_and_only_what_differs_is_sent() {
    let (ec2, heard) = cloud(|operation, _| match operation {
        "DescribeVolumes" => volumes(&[volume("vol-1", "shop", "in-use", "")]),
        _ => None,
    })
    .await;
    let trouble = apply(&ec2, &modify(10, "gp3")).await.unwrap_err();
    assert!(trouble.message.contains("cannot shrink"), "{}", trouble.message);
    apply(&ec2, &modify(20, "gp3")).await.unwrap();
    assert_eq!(times(&heard, "ModifyVolume"), 0);
    apply(&ec2, &modify(40, "gp3")).await.unwrap();
    let request = request(&heard, "ModifyVolume");
    assert!(request.contains("Size=40") && !request.contains("VolumeType"), "{request}");
}

#[tokio::test]
async fn a_volume_of_another_type_gets_its_iops_and_throughput_with_it() {
    let (ec2, heard) = cloud(|operation, _| match operation {
        "DescribeVolumes" => volumes(&[volume("vol-1", "shop", "in-use", "")]),
        _ => None,
    })
    .await;
    // It has 3000 and 125 as gp3.
    let wanted = |kind: &str, iops: u32, throughput: Option<u32>| {
        let Action::ModifyVolume { id, hostname, volume, changed } = modify(20, kind) else { unreachable!() };
        let volume = EbsVolume { iops: Some(iops), throughput, ..volume };
        Action::ModifyVolume { id, hostname, volume, changed }
    };
    apply(&ec2, &wanted("gp3", 3000, Some(125))).await.unwrap();
    assert_eq!(times(&heard, "ModifyVolume"), 0, "it is as declared");
    apply(&ec2, &wanted("gp3", 3000, Some(500))).await.unwrap();
    let sent = request(&heard, "ModifyVolume");
    assert!(sent.contains("Throughput=500") && !sent.contains("Iops") && !sent.contains("VolumeType"), "{sent}");
    apply(&ec2, &wanted("io1", 3000, None)).await.unwrap();
    let sent = request(&heard, "ModifyVolume");
    assert!(sent.contains("VolumeType=io1") && sent.contains("Iops=3000") && !sent.contains("Throughput"), "{sent}");
}

#[tokio::test]
async fn a_volume_that_was_modified_just_now_is_waited_for_and_told_how_long() {
    let (ec2, _) = cloud(|operation, _| match operation {
        "DescribeVolumes" => volumes(&[volume("vol-1", "shop", "in-use", "")]),
        "ModifyVolume" => failure("VolumeModificationRateExceeded"),
        _ => None,
    })
    .await;
    let trouble = apply(&ec2, &modify(40, "gp3")).await.unwrap_err();
    assert_eq!(trouble.class, Class::Transient);
    assert!(trouble.message.contains("6 hours"), "{}", trouble.message);
}

/// What comes of attaching a volume to i-1, and whether it was sent.
async fn attached(volume: String, state: &'static str) -> (Result<(), String>, bool) {
    let (ec2, heard) = cloud(move |operation, _| match operation {
        "DescribeVolumes" => volumes(std::slice::from_ref(&volume)),
        "DescribeInstances" => instances(&[instance("i-1", "shop", "web1", state, "")]),
        _ => None,
    })
    .await;
    let attach = Action::AttachVolume {
        id: "vol-1".into(),
        instance_id: "i-1".into(),
        hostname: "web1".into(),
        device: "/dev/sdf".into(),
        mount_point: "/var/lib/docker".into(),
    };
    let outcome = apply(&ec2, &attach).await.map_err(|trouble| trouble.message);
    (outcome, times(&heard, "AttachVolume") == 1)
}

#[tokio::test]
async fn a_volume_is_attached_in_its_zone_while_it_is_free_and_ours() {
    let free = || volume("vol-1", "shop", "available", "");
    assert_eq!(attached(free(), "running").await, (Ok(()), true));
    let refused = |outcome: (Result<(), String>, bool), why: &str| {
        assert!(!outcome.1);
        let message = outcome.0.unwrap_err();
        assert!(message.contains(why), "{message}");
    };
    refused(attached(free(), "pending").await, "once it runs");
    refused(attached(volume("vol-1", "other", "available", ""), "running").await, "left alone");
    refused(attached(free().replace(">web1<", ">web2<"), "running").await, "left alone");
    refused(attached(free().replace("eu-west-1a", "eu-west-1b"), "running").await, "eu-west-1b");
    let at = |instance: &str, device: &str| {
        let attachment = format!(
            "<attachmentSet><item><instanceId>{instance}</instanceId><device>{device}</device>\
             <status>attached</status></item></attachmentSet>"
        );
        volume("vol-1", "shop", "in-use", &attachment)
    };
    refused(attached(at("i-2", "/dev/sdf"), "running").await, "attached to i-2");
    assert_eq!(attached(at("i-1", "/dev/sdf"), "running").await, (Ok(()), false));
}

#[tokio::test]
async fn tags_and_security_groups_go_to_what_is_ours_alone() {
    let (ec2, heard) = cloud(|operation, request| match operation {
        "DescribeInstances" if request.contains("i-1") => instances(&[instance("i-1", "shop", "web1", "running", "")]),
        "DescribeInstances" => instances(&[instance("i-2", "other", "web1", "running", "")]),
        "DescribeVolumes" => volumes(&[volume("vol-1", "other", "in-use", "")]),
        _ => None,
    })
    .await;
    let tags = BTreeMap::from([("evenkeel:ready".to_owned(), "now".to_owned())]);
    let tag = |id: &str| Action::TagInstance {
        id: id.into(),
        hostname: "web1".into(),
        tags: tags.clone(),
        why: "as ready".into(),
    };
    let groups = |id: &str| Action::SetSecurityGroups {
        id: id.into(),
        hostname: "web1".into(),
        groups: vec!["sg-1".into(), "sg-2".into()],
    };
    let volume = Action::TagVolume { id: "vol-1".into(), hostname: "web1".into(), tags: tags.clone() };
    for foreign in [tag("i-2"), groups("i-2"), volume] {
        assert!(apply(&ec2, &foreign).await.unwrap_err().message.contains("left alone"));
    }
    assert_eq!((times(&heard, "CreateTags"), times(&heard, "ModifyInstanceAttribute")), (0, 0));
    apply(&ec2, &tag("i-1")).await.unwrap();
    apply(&ec2, &groups("i-1")).await.unwrap();
    assert!(request(&heard, "CreateTags").contains("ResourceId.1=i-1"));
    assert!(request(&heard, "ModifyInstanceAttribute").contains("GroupId.2=sg-2"));
}
