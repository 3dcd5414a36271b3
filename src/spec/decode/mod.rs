//! From text to manifests, with every error and its place.
//!
//! Nothing stops at the first problem: a document with a problem is still read to its end, with defaults in the
//! place of what is wrong, so that its names are known and the other documents can be held against them. Such a
//! document never leaves [`super::validate::assemble`].

mod app;
mod balancer;
mod container;
mod cron;
mod cursor;
mod health;
mod layer;
mod logging;
mod migration;
mod node;
mod notify;
mod options;
mod quantity;
mod registry;
mod scaling;
mod stack;
mod tags;
mod upkeep;
mod value;

use std::{ops::Range, sync::Arc};

use cursor::Report;
use node::Node;

use super::{
    App, Stack,
    problem::{File, Problem, suggest},
};

/// The version of the manifests that is understood.
pub const API_VERSION: &str = "evenkeel/v1";

/// Every document of a revision.
#[derive(Debug, Default)]
pub struct Documents {
    /// `kind: Stack`, in the order of the files.
    pub stacks: Vec<Declared<Stack>>,
    /// `kind: App`, in the order of the files.
    pub apps: Vec<Declared<App>>,
    /// Some document could not be read far enough to know what it declares.
    pub(super) incomplete: bool,
}

/// A manifest with the places of its parts.
#[derive(Debug)]
pub struct Declared<T> {
    /// What it declares.
    pub value: T,
    /// A problem was told about it; some of its parts are placeholders.
    pub(super) broken: bool,
    file: Arc<File>,
    tree: Node,
}

impl<T> Declared<T> {
    /// A problem at a path like `spec/containers/0/links/1`, or at the nearest node on the way there.
    pub(super) fn problem(&self, path: &str, message: impl Into<String>, help: Option<String>) -> Problem {
        Problem::new(&self.file, &self.place(path), message, help)
    }

    /// `file:line`, for what refers to it.
    pub(super) fn whereabouts(&self, path: &str) -> String {
        let problem = self.problem(path, "", None);
        format!("{}:{}", self.file.name, problem.line)
    }

    fn place(&self, path: &str) -> Range<usize> {
        self.tree.at(path).span.clone()
    }
}

/// Reads every document of every file; the problems are in the order of the files and lines.
pub fn decode(files: Vec<File>) -> (Documents, Vec<Problem>) {
    let mut documents = Documents::default();
    let mut problems = Vec::new();
    for file in files.into_iter().map(Arc::new) {
        let (nodes, mut found) = node::parse(&file);
        documents.incomplete |= !found.is_empty();
        let report = Report::new(&file);
        for node in nodes {
            document(&report, node, &file, &mut documents);
        }
        found.extend(report.into_problems());
        found.sort_by_key(|problem| problem.span.start);
        problems.extend(found);
    }
    (documents, problems)
}

#[derive(Clone, Copy)]
enum Kind {
    Stack,
    App,
}

fn document(report: &Report<'_>, tree: Node, file: &Arc<File>, documents: &mut Documents) {
    report.take_broken();
    let Some((kind, name, spec)) = envelope(report, &tree) else {
        documents.incomplete = true;
        return;
    };
    let spec = spec.cloned();
    let file = Arc::clone(file);
    match kind {
        Kind::Stack => {
            let value = stack::read(report, name, spec.as_ref());
            documents.stacks.push(Declared { value, broken: report.take_broken(), file, tree });
        }
        Kind::App => {
            let value = app::read(report, name, spec.as_ref());
            documents.apps.push(Declared { value, broken: report.take_broken(), file, tree });
        }
    }
}

/// What every document has: its kind, its name and its `spec`. Nothing when it cannot be known what it declares.
fn envelope<'n>(report: &'n Report<'_>, tree: &'n Node) -> Option<(Kind, String, Option<&'n Node>)> {
    let map = report.map(tree, "a manifest")?;
    map.required("apiVersion", |report, node| {
        let version = report.word(node)?;
        if version == API_VERSION {
            return Some(());
        }
        report.tell(&node.span, format!("unknown apiVersion `{version}`"), Some(format!("write `{API_VERSION}`")))
    });
    let kind = map.required("kind", |report, node| {
        let kind = report.word(node)?;
        match kind.as_str() {
            "Stack" => Some(Kind::Stack),
            "App" => Some(Kind::App),
            _ => report.tell(&node.span, format!("unknown kind `{kind}`"), Some(suggest(&kind, &["App", "Stack"]))),
        }
    });
    let name = map.required("metadata", |report, node| {
        let metadata = report.map(node, "`metadata`")?;
        let name = metadata.required("name", name);
        metadata.finish();
        name
    });
    let spec = map.required("spec", |_, node| Some(node));
    map.finish();
    Some((kind?, name?, spec))
}

/// A name that commands, tags and labels can carry.
fn name(report: &Report<'_>, node: &Node) -> Option<String> {
    let name = report.word(node)?;
    if name.trim() != name {
        return report.tell(&node.span, "a name must not begin or end with a blank", None);
    }
    if name.chars().count() > 64 {
        return report.tell(&node.span, "a name has at most 64 characters", None);
    }
    if let Some(bad) = name.chars().find(|c| c.is_control() || "/%{}".contains(*c)) {
        return report.tell(&node.span, format!("a name must not hold {bad:?}"), None);
    }
    if super::interpolate::slug(&name).is_empty() {
        return report.tell(&node.span, "a name needs at least one letter or digit (a-z, 0-9)", None);
    }
    Some(name)
}

#[cfg(test)]
mod tests;
