//! One stack by itself.

use std::collections::BTreeMap;

use crate::spec::{
    Layer, Problem, Stack,
    balancer::BalancerKind,
    decode::Declared,
    stack::{DeletionPolicy, LoadBalancer, Provider, Transport, Update},
};

/// Short names, mount points and load balancers are used once.
pub(super) fn check(declared: &Declared<Stack>, problems: &mut Vec<Problem>) {
    let mut names = Once::default();
    let mut people_names = Once::default();
    let mut balancers = Once::default();
    let mut owned = Once::default();
    for (i, layer) in declared.value.layers.iter().enumerate() {
        let at = format!("spec/layers/{i}");
        names.take(declared, &layer.short_name, format!("{at}/shortName"), "the short name", problems);
        if layer.name != layer.short_name {
            people_names.take(declared, &layer.name, format!("{at}/name"), "the layer's name", problems);
        }
        let mut mounts = Once::default();
        for (j, volume) in layer.volumes.iter().enumerate() {
            let path = volume.mount_point.trim_end_matches('/');
            mounts.take(declared, path, format!("{at}/volumes/{j}/mountPoint"), "the mount point", problems);
        }
        for (j, balancer) in layer.load_balancers.iter().enumerate() {
            let place = format!("{at}/loadBalancers/{j}");
            balancers.take(declared, balancer.name(), place, "the load balancer", problems);
        }
        for one in layer.owned_balancers.iter().filter(|one| one.kind != BalancerKind::Classic) {
            let place = format!("{at}/loadBalancers");
            owned.take(declared, &one.name, place, "the load balancer", problems);
        }
        match declared.value.provider {
            Provider::Opsworks => opsworks(declared, layer, &at, problems),
            Provider::Ec2 => ec2(declared, layer, &at, problems),
        }
    }
    let stack = &declared.value;
    if stack.provider == Provider::Opsworks && stack.deletion_policy == DeletionPolicy::Delete {
        let message = "`deletionPolicy: Delete` needs `provider: ec2`: with OpsWorks every volume stays";
        problems.push(declared.problem("spec/deletionPolicy", message, None));
    }
    if stack.provider == Provider::Ec2 && stack.root_device_type.as_deref() == Some("instance-store") {
        let message = "instances on EC2 have an EBS root volume";
        problems.push(declared.problem("spec/rootDeviceType", message, Some("write `ebs`, or leave it out".into())));
    }
}

/// What OpsWorks cannot do.
fn opsworks(declared: &Declared<Stack>, layer: &Layer, at: &str, problems: &mut Vec<Problem>) {
    let mut tell = |key: &str, what: &str| {
        let message = format!("{what} needs `provider: ec2`");
        problems.push(declared.problem(&format!("{at}/{key}"), message, None));
    };
    if layer.load_balancers.iter().any(|balancer| matches!(balancer, LoadBalancer::TargetGroup { .. }))
        || !layer.owned_balancers.is_empty()
    {
        tell("loadBalancers", "anything but a classic load balancer that exists");
    } else if layer.load_balancers.len() > 1 {
        let place = format!("{at}/loadBalancers/1");
        problems.push(declared.problem(&place, "OpsWorks takes one load balancer per layer", None));
    }
    let mut tell = |key: &str, what: &str| {
        let message = format!("{what} needs `provider: ec2`");
        problems.push(declared.problem(&format!("{at}/{key}"), message, None));
    };
    if layer.root_volume.is_some() {
        tell("rootVolume", "`rootVolume`");
    }
    if layer.image.is_some() {
        tell("amiId", "`amiId`");
    }
    if layer.update == Update::Replace {
        tell("update", "`update: replace`");
    }
    if layer.subnet_ids != declared.value.subnet_ids {
        tell("subnetIds", "a layer's own `subnetIds`");
    }
    for (i, volume) in layer.volumes.iter().enumerate() {
        if volume.reuse {
            tell(&format!("volumes/{i}/reuse"), "`reuse`");
        }
        if volume.throughput.is_some() {
            tell(&format!("volumes/{i}/throughput"), "`throughput`");
        }
    }
    if matches!(layer.docker.transport, Transport::Tls { parameter: Some(_), .. }) {
        tell("docker/parameter", "`parameter`");
    }
}

/// What EC2 must be told, where OpsWorks has defaults of its own.
fn ec2(declared: &Declared<Stack>, layer: &Layer, at: &str, problems: &mut Vec<Problem>) {
    if declared.broken {
        return;
    }
    let mut tell = |key: &str, message: String, help: &str| {
        problems.push(declared.problem(&format!("{at}/{key}"), message, Some(help.to_owned())));
    };
    let name = &layer.short_name;
    if layer.image.is_none() {
        tell(
            "shortName",
            format!("the layer `{name}` needs an image"),
            "set `amiId` in the stack or the layer, for instance \
             `resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64`",
        );
    }
    if layer.subnet_ids.is_empty() {
        tell("shortName", format!("the layer `{name}` needs subnets"), "set `subnetIds` in the stack or the layer");
    }
    if matches!(layer.docker.transport, Transport::Tls { .. }) && declared.value.instance_profile_arn.is_none() {
        tell(
            "shortName",
            format!(
                "the instances of the layer `{name}` need an instance profile: it lets them read their certificate"
            ),
            "set `instanceProfileArn`, or use `docker: {transport: ssh, user: …}`",
        );
    }
    if matches!(layer.docker.transport, Transport::Ssh { .. }) && declared.value.ssh_key_name.is_none() {
        tell("docker/transport", "`transport: ssh` needs a key pair".to_owned(), "set `sshKeyName` in the stack");
    }
    // "/dev/sd[f-p]" are recommended for EBS data volumes ("Device names for volumes on Amazon EC2 instances").
    if layer.volumes.len() > 11 {
        tell("volumes", "an instance takes at most 11 volumes".to_owned(), "join some of them");
    }
}

/// Names that may be used once, with the place of the first use.
#[derive(Default)]
struct Once<'a>(BTreeMap<&'a str, String>);

impl<'a> Once<'a> {
    fn take(
        &mut self,
        declared: &Declared<Stack>,
        name: &'a str,
        place: String,
        what: &str,
        problems: &mut Vec<Problem>,
    ) {
        match self.0.get(name) {
            // Left out, and told already.
            _ if name.is_empty() => {}
            Some(first) => {
                let help = format!("the first one is at {}", declared.whereabouts(first));
                problems.push(declared.problem(&place, format!("{what} `{name}` is used twice"), Some(help)));
            }
            None => {
                self.0.insert(name, place);
            }
        }
    }
}
