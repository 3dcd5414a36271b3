//! One layer of a stack.

use std::collections::BTreeMap;

use super::{
    balancer,
    cursor::{Map, Report},
    node::Node,
    quantity::gib,
    scaling, tags, upkeep,
};
use crate::spec::{
    Layer, Upkeep,
    engine::engine_parameter,
    stack::{AddressKind, DockerAccess, EbsVolume, Instances, Provider, Recipes, RootVolume, Transport, Update},
};

const VOLUME_TYPES: [&str; 7] = ["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"];
/// More instances than this in one layer are a slip of the finger.
const MAX_INSTANCES: u32 = 1000;

/// What a layer has from its stack, unless it says otherwise.
pub(super) struct Defaults<'a> {
    pub(super) provider: Provider,
    pub(super) security_group_ids: Vec<String>,
    pub(super) subnet_ids: Vec<String>,
    pub(super) image: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) stack: &'a str,
}

/// Reads one layer; what is wrong is told, and left at a default.
pub(super) fn read(report: &Report<'_>, node: &Node, defaults: &Defaults<'_>) -> Option<Layer> {
    let map = report.map(node, "a layer")?;
    let short_name = map.required("shortName", short_name).unwrap_or_default();
    let balancers = map
        .optional("loadBalancers", |report, node| report.list(node, "load balancers", balancer::read))
        .unwrap_or_default();
    let (mut load_balancers, mut owned_balancers) = (Vec::new(), Vec::new());
    for declared in balancers {
        match declared {
            balancer::Declared::Joined(one) => load_balancers.push(one),
            balancer::Declared::Owned(one) => {
                load_balancers.extend(one.joined());
                owned_balancers.push(*one);
            }
        }
    }
    let updates = [("manual", Update::Manual), ("replace", Update::Replace)];
    let (log_max_size, log_max_files) = map.optional("logging", logging).unwrap_or(("10m".to_owned(), 7));
    let access = map.optional("docker", |report, node| docker(report, node, defaults));
    let ((transport, port, address), upkeep) =
        access.unwrap_or(((tls(defaults, None, None), 2376, AddressKind::Private), Upkeep::default()));
    let layer = Layer {
        name: map.optional("name", Report::word).unwrap_or_else(|| short_name.clone()),
        short_name,
        recipes: map.optional("recipes", recipes).unwrap_or_default(),
        instances: map.required("instances", instances).unwrap_or(Instances {
            count: 0,
            instance_type: String::new(),
            scaling: None,
        }),
        volumes: map.optional("volumes", |report, node| report.list(node, "volumes", volume)).unwrap_or_default(),
        root_volume: map.optional("rootVolume", root_volume),
        image: map.optional("amiId", image).or_else(|| defaults.image.clone()),
        subnet_ids: map.optional("subnetIds", Report::words).unwrap_or_else(|| defaults.subnet_ids.clone()),
        update: map.optional("update", |report, node| report.choice(node, &updates, &[])).unwrap_or(Update::Manual),
        load_balancers,
        owned_balancers,
        security_group_ids: map
            .optional("securityGroupIds", Report::words)
            .unwrap_or_else(|| defaults.security_group_ids.clone()),
        docker: DockerAccess { transport, port, address, log_max_size, log_max_files },
        tags: tags::read(&map, defaults.tags.as_ref()),
        upkeep,
    };
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
    let scales = scaling::KEYS.iter().any(|key| map.has(key));
    map.know(&scaling::KEYS);
    map.know(&["count"]);
    let scaling = if scales { scaling::read(&map, MAX_INSTANCES) } else { None };
    if scales && map.has("count") {
        let help = "write `count` for a fixed number, or `min` and `max` for one that changes".to_owned();
        map.refuse("count", "`count` means nothing with `min`, `max`, `load` or `schedule`".to_owned(), help);
    }
    let count = if scales { scaling.as_ref().map(|it| it.min) } else { map.required("count", count) };
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
    map.finish();
    Some(Instances { count: count?, instance_type: instance_type?, scaling })
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
    let throughput = map.optional("throughput", |report, node| report.number(node, 125..=2000));
    let reuse = map.optional("reuse", Report::boolean).unwrap_or_default();
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
        throughput,
        encrypted,
        reuse,
    })
}

fn root_volume(report: &Report<'_>, node: &Node) -> Option<RootVolume> {
    let map = report.map(node, "`rootVolume`")?;
    let size_gib = map.required("size", gib);
    let types: Vec<(&str, &str)> = ["gp2", "gp3", "standard"].iter().map(|name| (*name, *name)).collect();
    let volume_type = map.optional("type", |report, node| report.choice(node, &types, &[])).unwrap_or("gp3");
    let encrypted = map.optional("encrypted", Report::boolean).unwrap_or(true);
    map.finish();
    Some(RootVolume { size_gib: size_gib?, volume_type: volume_type.to_owned(), encrypted })
}

/// An image's id, or `resolve:ssm:` and the name of the SSM parameter that holds it, as RunInstances takes them.
pub(super) fn image(report: &Report<'_>, node: &Node) -> Option<String> {
    let image = report.word(node)?;
    let is_id = image
        .strip_prefix("ami-")
        .is_some_and(|rest| rest.len() >= 8 && rest.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
    let is_parameter = image
        .strip_prefix("resolve:ssm:")
        .is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:".contains(c)));
    if is_id || is_parameter {
        return Some(image);
    }
    report.expected(node, "`ami-…`, or `resolve:ssm:` and the name of a parameter that holds an image's id")
}

/// Docker's own rotation of log files: `{maxSize: 10m, maxFiles: 7}`.
fn logging(report: &Report<'_>, node: &Node) -> Option<(String, u32)> {
    let map = report.map(node, "`logging`")?;
    let size = map.optional("maxSize", |report, node| {
        let size = report.word(node)?;
        let digits = size.trim_end_matches(['k', 'm', 'g']);
        let fine = size.len() == digits.len() + 1 && digits.parse::<u32>().is_ok_and(|number| number > 0);
        if fine { Some(size) } else { report.expected(node, "a size as Docker takes it, like `10m`") }
    });
    let files = map.optional("maxFiles", |report, node| report.number(node, 1..=1000));
    map.finish();
    Some((size.unwrap_or_else(|| "10m".to_owned()), files.unwrap_or(7)))
}

fn check_iops(report: &Report<'_>, map: &Map<'_>, volume_type: &str, iops: Option<u32>) -> Option<()> {
    match (volume_type, iops) {
        ("io1" | "io2", None) if !map.has("iops") => {
            report.tell(map.span(), format!("a volume of type `{volume_type}` needs `iops`"), None)
        }
        (kind, _) if kind != "gp3" && map.has("throughput") => {
            report.tell(map.key_span("throughput"), format!("a volume of type `{kind}` takes no `throughput`"), None)
        }
        ("gp2" | "st1" | "sc1" | "standard", Some(_)) => {
            report.tell(map.key_span("iops"), format!("a volume of type `{volume_type}` takes no `iops`"), None)
        }
        _ => Some(()),
    }
}

type Access = (Transport, u16, AddressKind);

fn docker(report: &Report<'_>, node: &Node, defaults: &Defaults<'_>) -> Option<(Access, Upkeep)> {
    let map = report.map(node, "`docker`")?;
    let ssh = map.optional("transport", |report, node| report.choice(node, &[("tls", false), ("ssh", true)], &[]));
    let ssh = ssh.unwrap_or(false);
    let port = map.optional("port", Report::port).unwrap_or(if ssh { 22 } else { 2376 });
    let address = map
        .optional("address", |report, node| {
            report.choice(node, &[("private", AddressKind::Private), ("public", AddressKind::Public)], &[])
        })
        .unwrap_or(AddressKind::Private);
    let transport = if ssh {
        Transport::Ssh { user: map.required("user", user).unwrap_or_default() }
    } else {
        let parameter = map.optional("parameter", parameter);
        tls(defaults, parameter, map.optional("ssmEndpoint", url))
    };
    // What belongs to the other transport is told by its name, not as unknown.
    for key in if ssh { ["parameter", "ssmEndpoint"].as_slice() } else { ["user"].as_slice() } {
        if map.has(key) {
            let word = if ssh { "tls" } else { "ssh" };
            map.know(&["user", "parameter", "ssmEndpoint"]);
            report.tell::<()>(map.key_span(key), format!("`{key}` belongs to `transport: {word}`"), None);
        }
    }
    let upkeep = upkeep::read(&map);
    map.finish();
    Some(((transport, port, address), upkeep))
}

/// On EC2 the engines' certificate lies in a parameter that is called after the stack, unless told otherwise.
fn tls(defaults: &Defaults<'_>, parameter: Option<String>, ssm_endpoint: Option<String>) -> Transport {
    let parameter = match defaults.provider {
        Provider::Opsworks => parameter,
        Provider::Ec2 => parameter.or_else(|| Some(engine_parameter(defaults.stack))),
    };
    Transport::Tls { parameter, ssm_endpoint }
}

fn user(report: &Report<'_>, node: &Node) -> Option<String> {
    let user = report.word(node)?;
    let fine = user.len() <= 32
        && user.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && user.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if fine { Some(user) } else { report.expected(node, "a user's name like `ec2-user`, `ubuntu` or `admin`") }
}

fn parameter(report: &Report<'_>, node: &Node) -> Option<String> {
    let name = report.word(node)?;
    let fine = name.starts_with('/') && name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if fine { Some(name) } else { report.expected(node, "the name of an SSM parameter like `/evenkeel/shop/docker`") }
}

fn url(report: &Report<'_>, node: &Node) -> Option<String> {
    let url = report.word(node)?;
    let fine = (url.starts_with("https://") || url.starts_with("http://"))
        && !url.chars().any(|c| c.is_whitespace() || c.is_control());
    if fine {
        Some(url)
    } else {
        report.expected(node, "a URL like `https://vpce-….ssm.eu-west-1.vpce.amazonaws.com`")
    }
}
