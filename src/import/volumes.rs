//! `data_volumes`: a list of objects, or an object, of names and paths.

use std::collections::BTreeMap;

use super::{
    cursor::Reader,
    json::{Data, Entry, Node},
    note::Kind,
    yaml::{Part, Yaml},
};

/// The data volumes of an app.
#[derive(Default)]
pub(super) struct DataVolumes {
    /// For the manifest.
    pub(super) parts: Vec<Part>,
    /// What is mounted from the instance itself, by name: `/srv:/data`. A data volume has none of that here.
    pub(super) binds: BTreeMap<String, Vec<String>>,
    /// Names that have nothing else.
    pub(super) only_binds: Vec<String>,
}

/// Reads both forms; in each, paths may stand in a list or in `{"volumes": […]}`.
pub(super) fn read(reader: Reader<'_>, node: &Node, app: &str) -> DataVolumes {
    let mut volumes = DataVolumes::default();
    let mut seen: Vec<&Entry> = Vec::new();
    for entry in named(reader, node, "data volumes") {
        if let Some(first) = seen.iter().find(|first| first.key == entry.key) {
            let line = crate::spec::Problem::new(reader.file, &first.key_span, "", None).line;
            let message = format!(
                "the data volume `{}` is there already (line {line}): the first one counted, and counts",
                entry.key
            );
            reader.note(Kind::LeftOut, &entry.key_span, message);
            continue;
        }
        seen.push(entry);
        one(reader, entry, app, &mut volumes);
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

fn one(reader: Reader<'_>, entry: &Entry, app: &str, volumes: &mut DataVolumes) {
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
            volumes.binds.entry(entry.key.clone()).or_default().push(path);
            continue;
        }
        paths.push(Part::item(Yaml::Text(path)).from(reader.place(&node.span)));
    }
    if paths.is_empty() && volumes.binds.contains_key(&entry.key) {
        volumes.only_binds.push(entry.key.clone());
        return;
    }
    let part = Part::new(entry.key.clone(), Yaml::List(paths));
    volumes.parts.push(part.from(reader.place(&entry.key_span)).remark(remarks));
}
