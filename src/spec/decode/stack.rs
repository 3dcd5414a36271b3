//! `kind: Stack`.

use super::{
    cursor::{Map, Report},
    node::Node,
    quantity::gib,
};
use crate::spec::{
    Layer, Stack,
    stack::{AddressKind, Cookbooks, DockerAccess, EbsVolume, Instances, LoadBalancer, Provider, Recipes},
};

const VOLUME_TYPES: [&str; 7] = ["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"];
/// More instances than this in one layer are a slip of the finger.
const MAX_INSTANCES: u32 = 1000;

/// Reads `spec`; what is wrong is told, and left at a default.
pub(super) fn read(report: &Report<'_>, name: String, spec: Option<&Node>) -> Stack {
    let mut stack = Stack {
        name,
        provider: Provider::Opsworks,
        region: String::new(),
        service_role_arn: None,
        instance_profile_arn: None,
        vpc_id: None,
        subnet_ids: Vec::new(),
        root_device_type: None,
        ssh_key_name: None,
        cookbooks: None,
        suspend: false,
        adopt: false,
        layers: Vec::new(),
    };
    let Some(map) = spec.and_then(|spec| report.map(spec, "a stack's `spec`")) else { return stack };
    map.required("provider", |report, node| report.choice(node, &[("opsworks", ())], &["ec2"]));
    stack.region = map.required("region", region).unwrap_or_default();
    stack.service_role_arn = map.optional("serviceRoleArn", arn);
    stack.instance_profile_arn = map.optional("instanceProfileArn", arn);
    stack.vpc_id = map.optional("vpcId", Report::word);
    stack.subnet_ids = map.optional("subnetIds", Report::words).unwrap_or_default();
    stack.root_device_type = map
        .optional("rootDeviceType", |report, node| {
            report.choice(node, &[("ebs", "ebs"), ("instance-store", "instance-store")], &[])
        })
        .map(str::to_owned);
    stack.ssh_key_name = map.optional("sshKeyName", Report::word);
    stack.cookbooks = map.optional("cookbooks", cookbooks);
    stack.suspend = map.optional("suspend", Report::boolean).unwrap_or_default();
    stack.adopt = map.optional("adopt", Report::boolean).unwrap_or_default();
    map.optional("deletionPolicy", |report, node| report.choice(node, &[("Retain", ())], &["Delete"]));
    let groups = map.optional("securityGroupIds", Report::words).unwrap_or_default();
    stack.layers = map
        .optional("layers", |report, node| report.list(node, "layers", |report, node| layer(report, node, &groups)))
        .unwrap_or_default();
    map.later(&["assumeRole", "amiId", "registries", "notifications", "logging"]);
    map.finish();
    stack
}

fn region(report: &Report<'_>, node: &Node) -> Option<String> {
    let region = report.word(node)?;
    let fine = region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fine { Some(region) } else { report.expected(node, "a region like `eu-west-1`") }
}

fn arn(report: &Report<'_>, node: &Node) -> Option<String> {
    let arn = report.word(node)?;
    if arn.starts_with("arn:") { Some(arn) } else { report.expected(node, "an ARN (`arn:aws:iam::…`)") }
}

fn cookbooks(report: &Report<'_>, node: &Node) -> Option<Cookbooks> {
    let map = report.map(node, "`cookbooks`")?;
    let url = map.required("url", Report::word);
    let revision = map.optional("revision", Report::word);
    let manage_berkshelf = map.optional("manageBerkshelf", Report::boolean).unwrap_or_default();
    let berkshelf_version = map.optional("berkshelfVersion", Report::word);
    map.finish();
    Some(Cookbooks { url: url?, revision, manage_berkshelf, berkshelf_version })
}

fn layer(report: &Report<'_>, node: &Node, default_groups: &[String]) -> Option<Layer> {
    let map = report.map(node, "a layer")?;
    let short_name = map.required("shortName", short_name).unwrap_or_default();
    let layer = Layer {
        name: map.optional("name", Report::word).unwrap_or_else(|| short_name.clone()),
        short_name,
        recipes: map.optional("recipes", recipes).unwrap_or_default(),
        instances: map.required("instances", instances).unwrap_or(Instances { count: 0, instance_type: String::new() }),
        volumes: map.optional("volumes", |report, node| report.list(node, "volumes", volume)).unwrap_or_default(),
        load_balancers: map
            .optional("loadBalancers", |report, node| report.list(node, "load balancers", balancer))
            .unwrap_or_default(),
        security_group_ids: map.optional("securityGroupIds", Report::words).unwrap_or_else(|| default_groups.to_vec()),
        docker: map.optional("docker", docker).unwrap_or(DockerAccess { port: 2376, address: AddressKind::Private }),
    };
    map.later(&["amiId", "subnetIds", "logging", "surge"]);
    map.finish();
    Some(layer)
}

fn short_name(report: &Report<'_>, node: &Node) -> Option<String> {
    let name = report.word(node)?;
    let fine = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !fine {
        let help = Some("lower-case letters, digits and dashes, beginning with a letter: `docker`".to_owned());
        return report.tell(&node.span, format!("`{name}` is not a short name"), help);
    }
    if name.len() > 50 {
        return report.tell(&node.span, "a short name has at most 50 characters: hostnames are made of it", None);
    }
    Some(name)
}

fn recipes(report: &Report<'_>, node: &Node) -> Option<Recipes> {
    let map = report.map(node, "`recipes`")?;
    let event = |key| map.optional(key, Report::words).unwrap_or_default();
    let recipes = Recipes {
        setup: event("setup"),
        configure: event("configure"),
        deploy: event("deploy"),
        undeploy: event("undeploy"),
        shutdown: event("shutdown"),
    };
    map.finish();
    Some(recipes)
}

fn instances(report: &Report<'_>, node: &Node) -> Option<Instances> {
    let map = report.map(node, "`instances`")?;
    let later = ["min", "max", "load", "schedule"];
    let scales = later.iter().any(|key| map.has(key));
    let count = if scales { map.optional("count", count) } else { map.required("count", count) };
    let instance_type = map.required("type", |report, node| {
        let instance_type = report.word(node)?;
        let fine = instance_type.split_once('.').is_some_and(|(family, size)| {
            let word = |part: &str| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            };
            word(family) && word(size)
        });
        if fine { Some(instance_type) } else { report.expected(node, "an instance type like `t3.medium`") }
    });
    map.later(&later);
    map.finish();
    Some(Instances { count: count?, instance_type: instance_type? })
}

fn count(report: &Report<'_>, node: &Node) -> Option<u32> {
    report.number(node, 0..=MAX_INSTANCES)
}

fn volume(report: &Report<'_>, node: &Node) -> Option<EbsVolume> {
    let map = report.map(node, "a volume")?;
    let mount_point = map.required("mountPoint", |report, node| {
        let path = report.word(node)?;
        if path.len() > 1 && path.starts_with('/') {
            Some(path)
        } else {
            report.expected(node, "an absolute path like `/var/lib/docker`")
        }
    });
    let size_gib = map.required("size", gib);
    let types: Vec<(&str, &str)> = VOLUME_TYPES.iter().map(|name| (*name, *name)).collect();
    map.know(&["type"]);
    let volume_type = match map.has("type") {
        true => map.required("type", |report, node| report.choice(node, &types, &[])),
        false => Some("gp2"),
    };
    let iops = map.optional("iops", |report, node| report.number(node, 100..=256_000));
    let encrypted = map.optional("encrypted", Report::boolean);
    map.finish();
    let volume_type = volume_type?;
    check_iops(report, &map, volume_type, iops)?;
    Some(EbsVolume {
        mount_point: mount_point?,
        size_gib: size_gib?,
        volume_type: volume_type.to_owned(),
        iops,
        encrypted,
    })
}

fn check_iops(report: &Report<'_>, map: &Map<'_>, volume_type: &str, iops: Option<u32>) -> Option<()> {
    match (volume_type, iops) {
        ("io1" | "io2", None) if !map.has("iops") => {
            report.tell(map.span(), format!("a volume of type `{volume_type}` needs `iops`"), None)
        }
        ("gp2" | "st1" | "sc1" | "standard", Some(_)) => {
            report.tell(map.key_span("iops"), format!("a volume of type `{volume_type}` takes no `iops`"), None)
        }
        _ => Some(()),
    }
}

fn balancer(report: &Report<'_>, node: &Node) -> Option<LoadBalancer> {
    let map = report.map(node, "a load balancer")?;
    if map.has("targetGroup") {
        map.later(&["targetGroup", "port"]);
        map.finish();
        return None;
    }
    let name = map.required("classic", |report, node| {
        let name = report.word(node)?;
        let fine = name.len() <= 32 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if fine {
            return Some(name);
        }
        let help = Some("at most 32 letters, digits and dashes; it is the name, not the DNS name".to_owned());
        report.tell(&node.span, format!("`{name}` is not the name of a classic load balancer"), help)
    });
    map.finish();
    Some(LoadBalancer::Classic(name?))
}

fn docker(report: &Report<'_>, node: &Node) -> Option<DockerAccess> {
    let map = report.map(node, "`docker`")?;
    map.optional("transport", |report, node| report.choice(node, &[("tls", ())], &["ssh"]));
    let port = map.optional("port", Report::port).unwrap_or(2376);
    let address = map
        .optional("address", |report, node| {
            report.choice(node, &[("private", AddressKind::Private), ("public", AddressKind::Public)], &[])
        })
        .unwrap_or(AddressKind::Private);
    map.finish();
    Some(DockerAccess { port, address })
}
