//! The layer of a stack.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Provider, Settings,
    aws::{Seen, Thing},
    note::{Kind, Place},
    scaling,
    yaml::{Part, Yaml},
};

/// Where nothing is known of the instances.
const TYPE: &str = "t3.medium";
/// Recipes whose work Evenkeel does.
const OURS: [(&str, &str); 11] = [
    ("docker::registries", "credentials go along with each pull"),
    ("docker::data_volumes", "data volumes are made before their containers"),
    ("docker::deploy", "containers are kept as declared at all times"),
    ("docker::migrate", "a migration runs once per release"),
    ("docker::cron", "containers are run by the clock"),
    ("docker::notify_rollbar", "Rollbar is told once per release"),
    ("docker::cleanup", "old images are removed"),
    ("docker::exec", "`docker exec` is run by hand"),
    ("docker::tag", "tags are kept true"),
    ("docker::logrotate", "Docker rotates its logs itself"),
    ("logrotate::default", "Docker rotates its logs itself"),
];

/// What AWS told of it.
pub(super) fn told(seen: &Seen<'_>, settings: &Settings, pending: &mut bool) -> Part {
    let (reader, layer) = (seen.reader, seen.layer);
    let place = |thing: Thing<'_>| reader.place(&thing.node.span);
    let short = layer.text("Shortname").unwrap_or_else(|| "docker".to_owned());
    let mut parts = vec![Part::text("name", layer.text("Name").unwrap_or_else(|| short.clone())).from(place(layer))];
    parts.push(Part::text("shortName", short).from(place(layer.get("Shortname").unwrap_or(layer))));
    parts.extend(recipes(seen, settings.provider));
    parts.push(instances(seen, pending));
    let volumes: Vec<Part> =
        layer.list("VolumeConfigurations").into_iter().filter_map(|volume| self::volume(seen, volume)).collect();
    if !volumes.is_empty() {
        parts.push(Part::new("volumes", Yaml::List(volumes)).from(place(layer)));
    }
    parts.extend(balancers(seen, settings.provider));
    parts.extend(security_groups(seen, settings.provider));
    let mut remarks = Vec::new();
    if layer.get("CustomJson").is_some() {
        let message =
            "the layer has a Custom JSON of its own: what it says of containers is not imported with the stack's";
        remarks.push(reader.note(Kind::Decide, &layer.node.span, message));
    }
    if layer.get("EnableAutoHealing").is_some() && !layer.is("EnableAutoHealing") && settings.provider == Provider::Ec2
    {
        let message =
            "auto healing was off: an instance that fails for 5 minutes is replaced now (`healAfter` of the stack)";
        remarks.push(reader.note(Kind::Changed, &layer.node.span, message));
    }
    Part::item(Yaml::Block(parts)).from(place(layer)).remark(remarks)
}

/// As it was documented: a layer Docker, with a volume of 120 GB for what Docker keeps.
pub(super) fn unknown(short: &str, place: &Place) -> Part {
    let name = if short == "docker" { "Docker" } else { short };
    let instances = Yaml::Map(vec![Part::word("count", 1), Part::text("type", TYPE)]);
    let volume =
        vec![Part::text("mountPoint", "/var/lib/docker"), Part::word("size", "120GiB"), Part::text("type", "gp2")];
    let parts = vec![
        Part::text("name", name),
        Part::text("shortName", short),
        Part::new("instances", instances).remark(["decide: how many, and of what type".to_owned()]),
        Part::new("volumes", Yaml::List(vec![Part::item(Yaml::Map(volume))])),
    ];
    let parts = parts.into_iter().map(|part| part.from(place.clone())).collect();
    Part::item(Yaml::Block(parts)).from(place.clone())
}

/// What most of the layer's instances are, and whether all are.
pub(super) fn instance_type(seen: &Seen<'_>) -> Option<(String, bool)> {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for kind in seen.instances.iter().flatten().filter_map(|instance| instance.text("InstanceType")) {
        *kinds.entry(kind).or_default() += 1;
    }
    let most = kinds.iter().max_by_key(|(_, number)| **number)?.0.clone();
    Some((most, kinds.len() == 1))
}

fn instances(seen: &Seen<'_>, pending: &mut bool) -> Part {
    let (reader, layer) = (seen.reader, seen.layer);
    let mut remarks = Vec::new();
    let all = seen.instances.as_deref().unwrap_or_default();
    let runs = |instance: &&Thing<'_>| {
        instance.text("AutoScalingType").is_none()
            && instance
                .text("Status")
                .is_none_or(|status| !["stopped", "terminated", "shutting_down"].contains(&status.as_str()))
    };
    let mut count = all.iter().filter(runs).count();
    let mut note = |kind, message: &str| remarks.push(reader.note(kind, &layer.node.span, message));
    if count < all.len() {
        let message = format!(
            "{} of {} instances run and are not started by load or time: so many are declared",
            count,
            all.len()
        );
        note(Kind::Decide, &message);
    }
    let kind = match instance_type(seen) {
        Some((kind, true)) => kind,
        Some((kind, false)) => {
            note(Kind::Decide, "the instances have several types; a layer has one: what most of them are");
            kind
        }
        None => {
            note(
                Kind::Decide,
                "no instance of the layer is known: how many, and of what type? The stack is suspended until then",
            );
            *pending = true;
            count = count.max(1);
            TYPE.to_owned()
        }
    };
    if count == 1 {
        let message = "there is one instance: a lone replica that serves is swapped with `allowDowntime: true` of the container, or \
                       with `rollout: {surge: true}` of the app (one instance more for the time of a rollout), and not otherwise";
        note(Kind::Decide, message);
    }
    if let Some(rules) = scaling::suggested(seen, count) {
        let message = format!("the layer scaled by load: to have that again, write in the place of `count`: {rules}");
        note(Kind::Decide, &message);
    }
    let parts = vec![Part::word("count", count), Part::text("type", kind)];
    Part::new("instances", Yaml::Map(parts)).from(reader.place(&layer.node.span)).remark(remarks)
}

/// On EC2 those that the instances have, OpsWorks' own among them: it adds them to the layer's by itself.
fn security_groups(seen: &Seen<'_>, provider: Provider) -> Option<Part> {
    let (reader, layer) = (seen.reader, seen.layer);
    let place = reader.place(&layer.node.span);
    let custom = layer.texts("CustomSecurityGroupIds");
    if provider == Provider::Opsworks {
        return (!custom.is_empty()).then(|| Part::texts("securityGroupIds", custom).from(place));
    }
    let of_instances = seen.instances.iter().flatten().flat_map(|instance| instance.texts("SecurityGroupIds"));
    let groups: BTreeSet<String> = of_instances.chain(custom.iter().cloned()).collect();
    let message = if groups.is_empty() {
        "the security groups are not known, and the VPC's default group lets nobody in: give some that let in the load balancer, \
         and the controller on port 2376"
    } else {
        "these are the security groups of OpsWorks' instances: see that they let in the controller on port 2376 besides"
    };
    let remark = reader.note(Kind::Decide, &layer.node.span, message);
    Some(Part::texts("securityGroupIds", groups).from(place).remark([remark]))
}

fn volume(seen: &Seen<'_>, volume: Thing<'_>) -> Option<Part> {
    let reader = seen.reader;
    let mount = volume.text("MountPoint")?;
    let disks = volume.number("NumberOfDisks").unwrap_or(1).max(1);
    let size = volume.number("Size")?;
    let kind = volume.text("VolumeType").unwrap_or_else(|| "standard".to_owned());
    let mut parts = vec![
        Part::text("mountPoint", mount),
        Part::word("size", format!("{}GiB", size.saturating_mul(disks))),
        Part::text("type", kind),
    ];
    parts.extend(volume.number("Iops").map(|iops| Part::word("iops", iops)));
    if volume.get("Encrypted").is_some() {
        parts.push(Part::word("encrypted", volume.is("Encrypted")));
    }
    let remark = (disks > 1).then(|| {
        let message =
            format!("{disks} disks of {size} GiB were one RAID: one volume as large as all of them stands in for it");
        reader.note(Kind::Decide, &volume.node.span, message)
    });
    let place = reader.place(&volume.node.span);
    let parts = parts.into_iter().map(|part| part.from(place.clone())).collect();
    Some(Part::item(Yaml::Map(parts)).from(place).remark(remark))
}

fn balancers(seen: &Seen<'_>, provider: Provider) -> Option<Part> {
    let reader = seen.reader;
    let items: Vec<Part> = seen
        .balancers
        .iter()
        .filter_map(|balancer| {
            let place = reader.place(&balancer.node.span);
            let name = Part::text("classic", balancer.text("ElasticLoadBalancerName")?).from(place.clone());
            let remark = (provider == Provider::Ec2).then(|| {
                let message = "the instances of OpsWorks stay in this load balancer until you take them out, and serve beside the \
                               new ones";
                reader.note(Kind::Decide, &balancer.node.span, message)
            });
            Some(Part::item(Yaml::Map(vec![name])).from(place).remark(remark))
        })
        .collect();
    let place = reader.place(&seen.balancers.first()?.node.span);
    (!items.is_empty()).then(|| Part::new("loadBalancers", Yaml::List(items)).from(place))
}

/// Those that do more than Evenkeel does itself.
fn recipes(seen: &Seen<'_>, provider: Provider) -> Option<Part> {
    let reader = seen.reader;
    let custom = seen.layer.get("CustomRecipes")?;
    let mut parts = Vec::new();
    let mut remarks = Vec::new();
    for (event, key) in [
        ("Setup", "setup"),
        ("Configure", "configure"),
        ("Deploy", "deploy"),
        ("Undeploy", "undeploy"),
        ("Shutdown", "shutdown"),
    ] {
        let (gone, kept): (Vec<String>, Vec<String>) = custom
            .texts(event)
            .into_iter()
            .partition(|recipe| provider == Provider::Opsworks && OURS.iter().any(|(ours, _)| ours == recipe));
        for recipe in gone {
            let why = OURS.iter().find(|(ours, _)| *ours == recipe).map_or("", |(_, why)| why);
            remarks.push(reader.note(
                Kind::Replaced,
                &custom.node.span,
                format!("{key}: `{recipe}` is not run: {why}"),
            ));
        }
        if !kept.is_empty() {
            parts.push(Part::texts(key, kept));
        }
    }
    (provider == Provider::Opsworks && !(parts.is_empty() && remarks.is_empty()))
        .then(|| Part::new("recipes", Yaml::Map(parts)).from(reader.place(&custom.node.span)).remark(remarks))
}
