//! Reading a JSON tree: what is of the wrong kind is told, what changes its meaning is noted.

use std::{cell::RefCell, fmt, ops::Range, sync::Arc};

use super::{
    json::{Data, Entry, Node},
    note::{Kind, Note, Place},
    number,
};
use crate::spec::{
    File, Problem,
    problem::{list, nearest},
};

/// What is found on the way.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) notes: RefCell<Vec<Note>>,
}

/// Reads one file.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) file: &'a Arc<File>,
    pub(super) findings: &'a Findings,
}

impl<'a> Reader<'a> {
    /// Tells a problem, and gives `None`, which is what a reader returns then.
    pub(super) fn tell<T>(&self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) -> Option<T> {
        self.findings.problems.borrow_mut().push(Problem::new(self.file, span, message, help));
        None
    }

    /// Notes something, and gives the comment that says so in the manifest.
    pub(super) fn note(&self, kind: Kind, span: &Range<usize>, message: impl fmt::Display) -> String {
        let message = one_line(&message.to_string());
        let remark = format!("{kind}: {message}");
        self.findings.notes.borrow_mut().push(Note { kind, at: Problem::new(self.file, span, message, None) });
        remark
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        Place { file: Arc::clone(self.file), span: span.clone() }
    }

    /// Something of the wrong kind.
    pub(super) fn expected<T>(&self, node: &Node, what: &str) -> Option<T> {
        self.tell(&node.span, format!("expected {what}, found {}", kind(node)), None)
    }

    /// Opens an object; `what` names it in messages ("a container").
    pub(super) fn map<'n>(&self, node: &'n Node, what: &'static str) -> Option<Map<'n>> {
        match &node.data {
            Data::Map(entries) => Some(Map { entries, span: &node.span, what, known: RefCell::default() }),
            _ => self.expected(node, &format!("{what} (an object)")),
        }
    }

    /// A text; a number or a boolean is taken as the cookbook put it into a command line.
    pub(super) fn text(&self, node: &Node) -> Option<String> {
        match &node.data {
            Data::Text(text) => Some(text.clone()),
            Data::Bool(value) => Some(value.to_string()),
            Data::Number(written) => Some(number::shown(written)),
            _ => self.expected(node, "a text"),
        }
    }

    /// A text that is not empty.
    pub(super) fn word(&self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if text.trim().is_empty() { self.tell(&node.span, "must not be empty", None) } else { Some(text) }
    }

    /// The items of a list.
    pub(super) fn items<'n>(&self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.data {
            Data::List(items) => Some(items),
            Data::Text(_) | Data::Number(_) => {
                let help = Some("put it into brackets: `[\"…\"]`".to_owned());
                self.tell(&node.span, format!("expected a list of {what}, found {}", kind(node)), help)
            }
            _ => self.expected(node, &format!("a list of {what}")),
        }
    }

    /// A list of texts that are not empty, with their places.
    pub(super) fn words<'n>(&self, node: &'n Node, what: &str) -> Option<Vec<(String, &'n Node)>> {
        let items = self.items(node, what)?;
        Some(items.iter().filter_map(|item| Some((self.word(item)?, item))).collect())
    }

    /// A whole number from 0 on, also in quotes.
    pub(super) fn whole(&self, node: &Node) -> Option<u32> {
        let text = match &node.data {
            Data::Number(text) | Data::Text(text) => text.as_str(),
            _ => "",
        };
        match text.parse() {
            Ok(number) => Some(number),
            Err(_) => self.expected(node, "a whole number"),
        }
    }

    /// `true` or `false`, also in quotes.
    pub(super) fn boolean(&self, node: &Node) -> Option<bool> {
        match &node.data {
            Data::Bool(value) => Some(*value),
            Data::Text(text) if text == "true" => Some(true),
            Data::Text(text) if text == "false" => Some(false),
            _ => self.expected(node, "true or false"),
        }
    }

    /// Notes every key that nothing has asked for, with its full name; the comments say so.
    pub(super) fn finish(&self, map: &Map<'_>, at: &str) -> Vec<String> {
        let known = map.known.borrow();
        let unknown = map.entries.iter().filter(|entry| !known.contains(&entry.key.as_str()));
        let noted = unknown.map(|entry| {
            let meant = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("is `{near}` meant?"),
                None => format!("{} has the keys {}", map.what, list(&sorted(&known))),
            };
            let message = format!("`{at}{}` is not known, and in no manifest: {meant}", entry.key);
            self.note(Kind::LeftOut, &entry.key_span, message)
        });
        noted.collect()
    }
}

fn sorted<'k>(known: &[&'k str]) -> Vec<&'k str> {
    let mut known = known.to_vec();
    known.sort_unstable();
    known.dedup();
    known
}

/// An object with known keys.
pub(super) struct Map<'n> {
    pub(super) entries: &'n [Entry],
    pub(super) span: &'n Range<usize>,
    what: &'static str,
    known: RefCell<Vec<&'static str>>,
}

impl<'n> Map<'n> {
    /// What stands under a key, when there is such a key and it says something.
    pub(super) fn get(&self, key: &'static str) -> Option<&'n Entry> {
        self.known.borrow_mut().push(key);
        self.entries.iter().find(|entry| entry.key == key).filter(|entry| !entry.value.is_null())
    }

    /// A key that is there and near to one that is missing.
    pub(super) fn near(&self, missing: &str) -> Option<&'n Entry> {
        let near = nearest(missing, self.entries.iter().map(|entry| entry.key.as_str()))?;
        self.entries.iter().find(|entry| entry.key == near)
    }
}

/// Notes and comments have one line, whatever stands in the names that they tell of.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || "\u{2028}\u{2029}\u{feff}".contains(c) { ' ' } else { c }).collect()
}

/// What a node is, for messages.
fn kind(node: &Node) -> String {
    match &node.data {
        Data::Null => "null".to_owned(),
        Data::Bool(value) => format!("`{value}`"),
        Data::Number(number) => format!("`{number}`"),
        // It may be a secret.
        Data::Text(text) if text.is_empty() => "an empty text".to_owned(),
        Data::Text(_) => "a text".to_owned(),
        Data::List(_) => "a list".to_owned(),
        Data::Map(_) => "an object".to_owned(),
    }
}
