//! From a Stack JSON, as the Docker cookbook for OpsWorks took it, to manifests that say the same.
//!
//! Pure: files go in as text, manifests come out as text, with a [`Note`] for everything that is not as it was. What comes
//! out was decoded and validated; what is wrong with it is told at the place of the JSON that it comes from.

mod app;
mod around;
mod aws;
mod container;
mod cursor;
mod given;
mod ground;
mod job;
mod json;
mod layer;
mod note;
mod notify;
mod number;
mod scaling;
mod secrets;
mod volumes;
mod yaml;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use note::{Kind, Note};

use around::Around;
use cursor::{Findings, Reader};
use ground::Ground;
use yaml::{Part, Written, Yaml};

use crate::spec::{File, Problem, decode::API_VERSION, stack::Provider, validate};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who runs the instances; left out, OpsWorks, or whoever the stack's manifest says.
    pub provider: Option<Provider>,
    /// The stack, by its name.
    pub stack: Option<String>,
    /// The layer, by its short name.
    pub layer: Option<String>,
}

/// Manifests, and what there is to know of them.
#[derive(Debug)]
pub struct Imported {
    /// Several documents of YAML.
    pub manifests: String,
    /// In the order of the files and their lines.
    pub notes: Vec<Note>,
}

/// [`Options`], with what follows from the files.
struct Settings {
    provider: Provider,
    stack: Option<String>,
    layer: Option<String>,
    /// The stack's name where nothing tells of it.
    fallback_name: String,
}

/// The name of what is written, in problems that `validate` tells of it.
const WRITTEN: &str = "(imported)";

/// Translates a Stack JSON. `stack_from` is what AWS told of the stack, or the manifest of one.
///
/// # Errors
/// Every problem, with its place in one of the files.
pub fn import(stack_json: File, stack_from: Option<File>, options: &Options) -> Result<Imported, Vec<Problem>> {
    let json = Arc::new(stack_json);
    let from = stack_from.map(Arc::new);
    let findings = Findings::default();
    let written = translate(&json, from.as_ref(), options, &findings);
    let mut problems = findings.problems.into_inner();
    let written = match written {
        Ok(written) if problems.is_empty() => written,
        Ok(_) => return Err(problems),
        Err(more) => {
            problems.extend(more);
            return Err(problems);
        }
    };
    if let Err(wrong) = validate::load("import", vec![File::new(WRITTEN, written.text.as_str())]) {
        return Err(wrong.into_iter().map(|problem| traced(problem, &written, &json)).collect());
    }
    let mut notes = findings.notes.into_inner();
    let number = |note: &Note| usize::from(note.at.file.name != json.name);
    notes.sort_by_key(|note| (number(note), note.at.span.start));
    Ok(Imported { manifests: written.text, notes })
}

/// A problem of what was written, at the place that it comes from.
fn traced(problem: Problem, written: &Written, json: &Arc<File>) -> Problem {
    let Problem { span, message, help, .. } = problem;
    // Places in what nobody gets to see help nobody.
    let help = help.filter(|help| !help.contains(WRITTEN));
    match written.origin(span.start) {
        Some(place) => Problem::new(&place.file, &place.span, message, help),
        None => Problem::new(json, &(0..0), message, help),
    }
}

fn translate(
    json: &Arc<File>,
    from: Option<&Arc<File>>,
    options: &Options,
    findings: &Findings,
) -> Result<Written, Vec<Problem>> {
    let tree = json::one(json)?;
    let reader = Reader { file: json, findings };
    let nothing = || Ok(Written::default());
    let Some(map) = reader.map(&tree, "a Stack JSON") else { return nothing() };
    let Some(deploy) = map.get("deploy") else {
        let near = map.near("deploy").map_or_else(
            || "it holds the apps: `{\"deploy\": {\"shop\": {\"containers\": […]}}}`".to_owned(),
            |near| format!("is `{}` meant to be `deploy`?", near.key),
        );
        reader.tell::<()>(&tree.span, "a Stack JSON needs `deploy`", Some(near));
        return nothing();
    };
    let Some(entries) = reader.map(&deploy.value, "`deploy`") else { return nothing() };
    if entries.entries.is_empty() {
        reader.tell::<()>(&deploy.key_span, "`deploy` has no apps: there is nothing to import", None);
        return nothing();
    }
    let mut settings = Settings {
        provider: options.provider.unwrap_or(Provider::Opsworks),
        stack: options.stack.clone(),
        layer: options.layer.clone(),
        fallback_name: fallback_name(&json.name),
    };
    let values;
    let seen;
    let ground = match from {
        None => Some(Ground::unknown(reader, deploy, &settings)),
        Some(file) if given::is_json(file) => {
            values = json::several(file)?;
            let aws = Reader { file, findings };
            seen = aws::read(aws, &values, settings.stack.as_deref(), settings.layer.as_deref());
            seen.as_ref().map(|seen| Ground::told(seen, &settings))
        }
        Some(file) => {
            let (ground, provider) = given::read(file, options)?;
            settings.provider = provider;
            Some(ground)
        }
    };
    let Some(mut ground) = ground else { return nothing() };
    let around = around::read(reader, &map, &ground.name, ground.verbatim.is_some());
    ground.remarks.extend(around.remarks.iter().cloned());
    let apps = apps(reader, entries.entries, &mut ground, around, settings.provider);
    let names: Vec<_> = apps.iter().map(|app| (app.name.clone(), app.containers.clone())).collect();
    ground.remarks.extend(around::manual(reader, &map, &names));
    ground.remarks.extend(reader.finish(&map, ""));
    Ok(write(reader, ground, apps))
}

/// Of a file `shop.json`, `shop`.
fn fallback_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    let stem = file.split('.').next().unwrap_or_default();
    let name: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "stack".to_owned() } else { name.chars().take(64).collect() }
}

fn apps(
    reader: Reader<'_>,
    entries: &[json::Entry],
    ground: &mut Ground<'_>,
    around: Around,
    provider: Provider,
) -> Vec<app::App> {
    ground.parts.extend(around.tags);
    let mut registries = around.registries;
    if ground.verbatim.is_none() && !registries.is_empty() {
        ground.parts.push(Part::new("registries", Yaml::Map(std::mem::take(&mut registries))));
    }
    let common = app::Common { provider, registries, logging: around.logging };
    let all = entries.iter().zip(app::volumes(reader, entries));
    let apps: Vec<app::App> =
        all.filter_map(|(entry, volumes)| app::read(reader, entry, volumes, ground, &common)).collect();
    ground.pending |= apps.iter().any(|app| app.pending);
    apps
}

fn write(reader: Reader<'_>, ground: Ground<'_>, apps: Vec<app::App>) -> Written {
    let mut written = Written::default();
    let mut remarks =
        vec!["Written by `evenkeel import`. A comment that begins with `decide` is for you to see to.".to_owned()];
    remarks.extend(ground.remarks);
    let document = |kind: &str, name: Part, spec: Vec<Part>| {
        vec![
            Part::text("apiVersion", API_VERSION),
            Part::text("kind", kind),
            Part::new("metadata", Yaml::Map(vec![name])),
            Part::new("spec", Yaml::Block(spec)),
        ]
    };
    match ground.verbatim {
        Some((text, place)) => written.verbatim(&remarks, &text, place),
        None => {
            let mut spec = ground.parts;
            if ground.pending {
                let why = "decide: take this out when everything that is made up is right".to_owned();
                spec.insert(spec.len().min(2), Part::word("suspend", true).remark([why]));
            }
            spec.push(Part::new("layers", Yaml::Items(ground.layers)));
            written.document(&remarks, &document("Stack", Part::text("name", ground.name), spec));
        }
    }
    for app in apps {
        let name = Part::text("name", app.name).from(reader.place(&app.key.key_span));
        written.document(&app.remarks, &document("App", name, app.spec));
    }
    written
}
