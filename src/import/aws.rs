//! What AWS told of a stack: the lists that `aws opsworks describe-…` prints, in one object or one after the other.

use super::{
    cursor::{Map, Reader},
    json::{Data, Entry, Node},
    note::Kind,
};
use crate::spec::problem::list;

/// The lists that something is read from.
const KNOWN: [&str; 10] = [
    "Stacks",
    "Layers",
    "Instances",
    "Apps",
    "ElasticLoadBalancers",
    "RdsDbInstances",
    "LoadBasedAutoScalingConfigurations",
    "TimeBasedAutoScalingConfigurations",
    // Volumes are made as the layer says: those of single instances are not needed.
    "Volumes",
    "ElasticIps",
];

/// One stack, and one layer of it.
pub(super) struct Seen<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) stack: Thing<'a>,
    pub(super) layer: Thing<'a>,
    /// Those of the layer.
    pub(super) instances: Option<Vec<Thing<'a>>>,
    pub(super) apps: Vec<Thing<'a>>,
    pub(super) balancers: Vec<Thing<'a>>,
    pub(super) databases: Vec<Thing<'a>>,
    /// The short names of the stack's other layers.
    pub(super) others: Vec<String>,
    /// The layer has rules for scaling.
    pub(super) scales: Option<Thing<'a>>,
}

/// One entry of a list.
#[derive(Clone, Copy)]
pub(super) struct Thing<'a> {
    reader: Reader<'a>,
    pub(super) node: &'a Node,
}

impl<'a> Thing<'a> {
    fn entry(self, key: &str) -> Option<&'a Entry> {
        let Data::Map(entries) = &self.node.data else { return None };
        entries.iter().find(|entry| entry.key == key && !entry.value.is_null())
    }

    /// The value under a key.
    pub(super) fn get(self, key: &str) -> Option<Thing<'a>> {
        self.entry(key).map(|entry| Thing { reader: self.reader, node: &entry.value })
    }

    /// A text under a key that is not empty.
    pub(super) fn text(self, key: &str) -> Option<String> {
        let text = self.reader.text(&self.entry(key)?.value)?;
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// `true` under a key.
    pub(super) fn is(self, key: &str) -> bool {
        self.entry(key).and_then(|entry| self.reader.boolean(&entry.value)).unwrap_or_default()
    }

    /// A whole number under a key.
    pub(super) fn number(self, key: &str) -> Option<u32> {
        self.reader.whole(&self.entry(key)?.value)
    }

    /// The items of a list under a key.
    pub(super) fn list(self, key: &str) -> Vec<Thing<'a>> {
        let items = self.entry(key).and_then(|entry| self.reader.items(&entry.value, key)).unwrap_or_default();
        items.iter().map(|node| Thing { reader: self.reader, node }).collect()
    }

    /// The texts of a list under a key.
    pub(super) fn texts(self, key: &str) -> Vec<String> {
        self.list(key).into_iter().filter_map(|item| self.reader.text(item.node)).collect()
    }
}

/// Finds the stack and the layer that are meant.
pub(super) fn read<'a>(
    reader: Reader<'a>,
    values: &'a [Node],
    stack: Option<&str>,
    layer: Option<&str>,
) -> Option<Seen<'a>> {
    let mut maps = Vec::new();
    for value in values {
        maps.push(reader.map(value, "what `aws opsworks describe-…` prints")?);
    }
    let all = |key: &'static str| things(reader, &maps, key);
    for map in &maps {
        for entry in map.entries.iter().filter(|entry| !KNOWN.contains(&entry.key.as_str())) {
            let message = format!("`{}` of the AWS side is not read: {} are", entry.key, list(&KNOWN));
            reader.note(Kind::LeftOut, &entry.key_span, message);
        }
    }
    let stacks = all("Stacks");
    let stack = choose(reader, values, &stacks, "Name", stack, "stack")?;
    let id = stack.text("StackId");
    let of_stack = |thing: &Thing<'a>| match (thing.text("StackId"), &id) {
        (Some(own), Some(id)) => own == *id,
        _ => true,
    };
    let layers: Vec<Thing<'a>> = all("Layers").into_iter().filter(of_stack).collect();
    let custom: Vec<Thing<'a>> =
        layers.iter().copied().filter(|layer| layer.text("Type").is_none_or(|kind| kind == "custom")).collect();
    let docker = custom.iter().any(|layer| layer.text("Shortname").is_some_and(|name| name == "docker"));
    let layer = match layer {
        None if docker => choose(reader, values, &custom, "Shortname", Some("docker"), "layer")?,
        layer => choose(reader, values, &custom, "Shortname", layer, "layer")?,
    };
    let layer_id = layer.text("LayerId");
    let of_layer = |thing: &Thing<'a>| match &layer_id {
        Some(id) => thing.text("LayerId").is_none_or(|own| own == *id),
        None => true,
    };
    let in_layer = |thing: &Thing<'a>| match &layer_id {
        Some(id) => thing.texts("LayerIds").contains(id),
        None => true,
    };
    let told_of_instances = maps.iter().any(|map| map.entries.iter().any(|entry| entry.key == "Instances"));
    let instances = all("Instances").into_iter().filter(|it| of_stack(it) && in_layer(it)).collect();
    let scaling = all("LoadBasedAutoScalingConfigurations").into_iter();
    let scales = scaling.filter(of_layer).find(|rules| rules.is("Enable"));
    let name = layer.text("Shortname");
    let others = layers.iter().filter_map(|layer| layer.text("Shortname")).filter(|other| Some(other) != name.as_ref());
    Some(Seen {
        reader,
        stack,
        layer,
        instances: told_of_instances.then_some(instances),
        apps: all("Apps").into_iter().filter(of_stack).collect(),
        balancers: all("ElasticLoadBalancers").into_iter().filter(|it| of_stack(it) && of_layer(it)).collect(),
        databases: all("RdsDbInstances").into_iter().filter(of_stack).collect(),
        others: others.collect(),
        scales,
    })
}

fn things<'a>(reader: Reader<'a>, maps: &[Map<'a>], key: &'static str) -> Vec<Thing<'a>> {
    let lists = maps.iter().filter_map(|map| map.get(key));
    let items = lists.filter_map(|entry| reader.items(&entry.value, key)).flatten();
    items.filter_map(|node| reader.map(node, "an entry").map(|_| Thing { reader, node })).collect()
}

/// The one of that name; without a name, the only one.
fn choose<'a>(
    reader: Reader<'a>,
    values: &[Node],
    things: &[Thing<'a>],
    key: &str,
    wanted: Option<&str>,
    what: &str,
) -> Option<Thing<'a>> {
    let whole = values.first().map_or(0..0, |value| value.span.clone());
    let names: Vec<String> = things.iter().filter_map(|thing| thing.text(key)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let option = if what == "stack" { "--stack NAME" } else { "--layer SHORTNAME" };
    match (wanted, things) {
        (None, [one]) => Some(*one),
        (_, []) => {
            let help = format!("add what `aws opsworks describe-{what}s` prints");
            reader.tell(&whole, format!("the AWS side has no {what}"), Some(help))
        }
        (None, _) => {
            let help = Some(format!("say which with `{option}`"));
            reader.tell(&whole, format!("the AWS side has several {what}s: {}", list(&names)), help)
        }
        (Some(name), _) => match things.iter().find(|thing| thing.text(key).is_some_and(|own| own == name)) {
            Some(one) => Some(*one),
            None => {
                let help = Some(format!("there are {}", list(&names)));
                reader.tell(&whole, format!("the AWS side has no {what} `{name}`"), help)
            }
        },
    }
}
