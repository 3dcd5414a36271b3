//! `data_volumes`: a list of objects, or an object, of names and paths.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    cursor::Reader,
    json::{Data, Entry, Node},
    note::Kind,
    yaml::{Part, Yaml},
};
use crate::spec::{Problem, interpolate::slug};

/// The data volumes of an app.
#[derive(Default)]
pub(super) struct DataVolumes {
    /// For the manifest.
    pub(super) parts: Vec<Part>,
    /// What each container that takes a data volume mounts itself, by the data volume's name: paths of the instance
    /// (`/srv:/data`), and what several apps share. A data volume of a manifest has none of that.
    pub(super) binds: BTreeMap<String, Vec<String>>,
    /// Names that have nothing else.
    pub(super) only_binds: BTreeSet<String>,
    /// Comments for which there is no entry.
    pub(super) remarks: Vec<String>,
}

impl DataVolumes {
    /// Those of another app that this one takes: they were the engine's, whichever app they stood at.
    pub(super) fn take(&mut self, others: &DataVolumes, shared: &BTreeSet<String>) {
        for name in shared {
            if let Some(binds) = others.binds.get(name) {
                self.binds.entry(name.clone()).or_insert_with(|| binds.clone());
                self.only_binds.insert(name.clone());
            }
        }
    }
}

/// The data volumes of each app, by its place among them, that another app takes.
pub(super) fn shared(apps: &[Entry]) -> Vec<BTreeSet<String>> {
    let declared: Vec<BTreeSet<&str>> =
        apps.iter().map(|app| names(app, "data_volumes").map(|it| it.key.as_str()).collect()).collect();
    let mut shared = vec![BTreeSet::new(); apps.len()];
    for (user, app) in apps.iter().enumerate() {
        let lists = names(app, "containers").filter_map(|container| inner(&container.value, "volumes_from"));
        for item in lists.flat_map(|list| if let Data::List(items) = &list.data { items.as_slice() } else { &[] }) {
            let Data::Text(text) = &item.data else { continue };
            let name = text.split(':').next().unwrap_or_default();
            if declared[user].contains(name) {
                continue;
            }
            if let Some(owner) = declared.iter().position(|names| names.contains(name)) {
                shared[owner].insert(name.to_owned());
            }
        }
    }
    shared
}

/// The named entries under a key of an app, where it has the form that they have.
fn names<'n>(app: &'n Entry, key: &str) -> impl Iterator<Item = &'n Entry> {
    let list: Vec<&Entry> = match inner(&app.value, key).map(|node| &node.data) {
        Some(Data::Map(entries)) => entries.iter().collect(),
        Some(Data::List(items)) => {
            let maps =
                items.iter().filter_map(|item| if let Data::Map(entries) = &item.data { Some(entries) } else { None });
            maps.flatten().collect()
        }
        _ => Vec::new(),
    };
    list.into_iter()
}

fn inner<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Data::Map(entries) = &node.data else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

/// Reads both forms; in each, paths may stand in a list or in `{"volumes": […]}`.
/// `shared`: those that another app takes too.
pub(super) fn read(reader: Reader<'_>, node: &Node, app: &str, shared: &BTreeSet<String>) -> DataVolumes {
    let mut volumes = DataVolumes::default();
    let mut seen: Vec<&Entry> = Vec::new();
    for entry in named(reader, node, "data volumes") {
        if let Some(first) = seen.iter().find(|first| first.key == entry.key) {
            let line = Problem::new(reader.file, &first.key_span, "", None).line;
            let message = format!(
                "the data volume `{}` is there already (line {line}): the first one counted, and counts",
                entry.key
            );
            volumes.remarks.push(reader.note(Kind::LeftOut, &entry.key_span, message));
            continue;
        }
        seen.push(entry);
        one(reader, entry, app, shared.contains(&entry.key), &mut volumes);
    }
    volumes
}

/// The entries of an object, or of the objects of a list, in their order.
pub(super) fn named<'n>(reader: Reader<'_>, node: &'n Node, what: &'static str) -> Vec<&'n Entry> {
    let mut entries = Vec::new();
    match &node.data {
        Data::Map(all) => entries.extend(all),
        Data::List(items) => {
            for item in items {
                match &item.data {
                    Data::Map(all) => entries.extend(all),
                    _ => {
                        reader.expected::<()>(item, &format!("an object with the names of {what}"));
                    }
                }
            }
        }
        _ => {
            reader
                .expected::<()>(node, &format!("a list of {what}, each an object with one name: `[{{\"NAME\": …}}]`"));
        }
    }
    entries
}

fn one(reader: Reader<'_>, entry: &Entry, app: &str, shared: bool, volumes: &mut DataVolumes) {
    let mut remarks = Vec::new();
    let list = match &entry.value.data {
        Data::Map(_) => {
            let Some(map) = reader.map(&entry.value, "a data volume") else { return };
            let list = map.get("volumes").map(|entry| &entry.value);
            remarks = reader.finish(&map, &format!("deploy.{app}.data_volumes.{}.", entry.key));
            match list {
                Some(list) => list,
                None => {
                    let help = Some("write `{\"volumes\": [\"/path\"]}`".to_owned());
                    let message = format!("the data volume `{}` has no `volumes`", entry.key);
                    reader.tell::<()>(&entry.key_span, message, help);
                    return;
                }
            }
        }
        _ => &entry.value,
    };
    let Some(words) = reader.words(list, "paths") else { return };
    if shared {
        let message = format!(
            "the data volume `{}` is taken by another app too: each container that takes it mounts volumes of the engine by their \
             names (`volumes`)",
            entry.key
        );
        volumes.remarks.push(reader.note(Kind::Changed, &entry.key_span, message));
    }
    let mut paths: Vec<Part> = Vec::new();
    let mut taken: Vec<String> = Vec::new();
    for (path, node) in words {
        if taken.contains(&path) {
            remarks.push(reader.note(Kind::LeftOut, &node.span, format!("`{path}` is given twice; once is enough")));
            continue;
        }
        taken.push(path.clone());
        // `/data:` is told by `validate`.
        if path.split_once(':').is_some_and(|(from, to)| from.starts_with('/') && to.starts_with('/')) {
            let message = format!(
                "`{path}` of the data volume `{}` is a path of the instance: each container that takes `{}` mounts it itself \
                 (`volumes`)",
                entry.key, entry.key
            );
            remarks.push(reader.note(Kind::Changed, &node.span, message));
            volumes.binds.entry(entry.key.clone()).or_default().push(path.replace('%', "%%"));
            continue;
        }
        if shared {
            let name = format!("{}-{}-{}", slug(app), entry.key, taken.len() - 1);
            volumes.binds.entry(entry.key.clone()).or_default().push(format!("{name}:{}", path.replace('%', "%%")));
            continue;
        }
        paths.push(Part::item(Yaml::Text(path)).from(reader.place(&node.span)));
    }
    if paths.is_empty() && volumes.binds.contains_key(&entry.key) {
        volumes.only_binds.insert(entry.key.clone());
        volumes.remarks.extend(remarks);
        return;
    }
    let part = Part::new(entry.key.clone(), Yaml::List(paths));
    volumes.parts.push(part.from(reader.place(&entry.key_span)).remark(remarks));
}
