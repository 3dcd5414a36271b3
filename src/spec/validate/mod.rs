//! Manifests held against each other.

mod app;
mod layer;
mod network;
mod options;
mod stack;

use std::collections::BTreeMap;

use super::{
    App, Desired, File, Manifests, Problem, Stack,
    data_source::{DataSource, database_instance},
    decode::{Declared, Documents, decode},
    problem::{list, nearest},
};

/// Decodes and validates every file of a revision.
///
/// # Errors
/// Every problem of every file, in the order of the files and their lines.
pub fn load(revision: &str, files: Vec<File>) -> Result<Manifests, Vec<Problem>> {
    let (documents, mut problems) = decode(files);
    match assemble(revision, documents) {
        Ok(manifests) if problems.is_empty() => Ok(manifests),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(in_order(problems))
        }
    }
}

/// Holds the documents against each other, and puts every app to its stack.
///
/// Nothing is called missing that a document with problems might declare.
///
/// # Errors
/// Every problem, in the order of the files and their lines.
pub fn assemble(revision: &str, documents: Documents) -> Result<Manifests, Vec<Problem>> {
    let mut problems = Vec::new();
    stacks_once(&documents, &mut problems);
    apps_once(&documents, &mut problems);
    for declared in &documents.stacks {
        stack::check(declared, &mut problems);
    }
    for declared in &documents.apps {
        app::check(declared, &mut problems);
        reference(declared, &documents, &mut problems);
    }
    let mut layers: BTreeMap<(&str, &str), Vec<&Declared<App>>> = BTreeMap::new();
    for declared in &documents.apps {
        layers.entry((&declared.value.stack, &declared.value.layer)).or_default().push(declared);
    }
    for apps in layers.values() {
        layer::check(apps, documents.incomplete, &mut problems);
    }
    if !problems.is_empty() {
        return Err(in_order(problems));
    }
    Ok(manifests(revision, documents))
}

fn manifests(revision: &str, documents: Documents) -> Manifests {
    let mut manifests: Manifests = documents
        .stacks
        .into_iter()
        .map(|declared| declared.value)
        .map(|stack| (stack.name.clone(), Desired { revision: revision.to_owned(), stack, apps: Vec::new() }))
        .collect();
    for app in documents.apps {
        if let Some(desired) = manifests.get_mut(&app.value.stack) {
            let mut app = app.value;
            let layer = desired.stack.layers.iter().find(|layer| layer.short_name == app.layer);
            app.rollout = app.rollout.scaled(layer.map_or(0, |layer| layer.instances.count));
            desired.apps.push(app);
        }
    }
    for desired in manifests.values_mut() {
        desired.apps.sort_by(|a, b| a.name.cmp(&b.name));
    }
    manifests
}

fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| (&a.file.name, a.span.start).cmp(&(&b.file.name, b.span.start)));
    problems
}

fn stacks_once(documents: &Documents, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, &Declared<Stack>> = BTreeMap::new();
    for declared in &documents.stacks {
        let name = declared.value.name.as_str();
        match seen.get(name) {
            Some(first) => {
                let help = format!("the first one is at {}", first.whereabouts("metadata/name"));
                problems.push(declared.problem(
                    "metadata/name",
                    format!("the stack `{name}` is declared twice"),
                    Some(help),
                ));
            }
            None => {
                seen.insert(name, declared);
            }
        }
    }
}

/// An app's name and its slug are unique within the stack: volumes and labels are called after the slug.
fn apps_once(documents: &Documents, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<(&str, String), &Declared<App>> = BTreeMap::new();
    for declared in &documents.apps {
        let app = &declared.value;
        let slug = app.slug();
        match seen.get(&(app.stack.as_str(), slug.clone())) {
            Some(first) => {
                let message = if first.value.name == app.name {
                    format!("the app `{}` is declared twice in the stack `{}`", app.name, app.stack)
                } else {
                    format!("the apps `{}` and `{}` would both be called `{slug}`", first.value.name, app.name)
                };
                let help = format!("the first one is at {}", first.whereabouts("metadata/name"));
                problems.push(declared.problem("metadata/name", message, Some(help)));
            }
            None => {
                seen.insert((&app.stack, slug), declared);
            }
        }
    }
}

/// The stack and the layer that an app names must be declared.
fn reference(declared: &Declared<App>, documents: &Documents, problems: &mut Vec<Problem>) {
    let app = &declared.value;
    if app.stack.is_empty() {
        return;
    }
    let Some(stack) = documents.stacks.iter().find(|stack| stack.value.name == app.stack) else {
        if !documents.incomplete {
            let names: Vec<&str> = documents.stacks.iter().map(|stack| stack.value.name.as_str()).collect();
            let help = suggestion(&app.stack, &names, "no stack is declared");
            problems.push(declared.problem("spec/stack", format!("unknown stack `{}`", app.stack), Some(help)));
        }
        return;
    };
    if let Some(DataSource::Rds { instance, .. }) = &app.data_source
        && let Ok((_, Some(region))) = database_instance(instance)
        && !stack.broken
        && region != stack.value.region
    {
        let message = format!("the database is in {region}, and the stack `{}` in {}", app.stack, stack.value.region);
        let help = "RDS is asked in the stack's account and region: name a database instance there".to_owned();
        problems.push(declared.problem("spec/dataSource/rds", message, Some(help)));
    }
    let layers: Vec<&str> = stack.value.layers.iter().map(|layer| layer.short_name.as_str()).collect();
    if !stack.broken && !app.layer.is_empty() && !layers.contains(&app.layer.as_str()) {
        let message = format!("the stack `{}` has no layer with the short name `{}`", app.stack, app.layer);
        let help = suggestion(&app.layer, &layers, "it has no layers");
        problems.push(declared.problem("spec/layer", message, Some(help)));
    }
}

/// The nearest name, else all of them.
fn suggestion(word: &str, names: &[&str], none: &str) -> String {
    match nearest(word, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => none.to_owned(),
        None => format!("declared: {}", list(names)),
    }
}

#[cfg(test)]
mod tests;
