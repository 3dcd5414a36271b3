//! Reading a tree into values: what is missing, unknown or of the wrong kind is told, and reading goes on.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Range,
    sync::Arc,
};

use super::node::{Data, Entry, Node};
use crate::spec::problem::{File, Problem, list, nearest, suggest};

/// Collects the problems of one file.
pub(super) struct Report<'a> {
    file: &'a Arc<File>,
    problems: RefCell<Vec<Problem>>,
    broken: Cell<bool>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a Arc<File>) -> Report<'a> {
        Report { file, problems: RefCell::default(), broken: Cell::new(false) }
    }

    /// Tells a problem, and gives `None`, which is what a reader returns then.
    pub(super) fn tell<T>(&self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) -> Option<T> {
        self.broken.set(true);
        self.problems.borrow_mut().push(Problem::new(self.file, span, message, help));
        None
    }

    /// True when something was told since the last time this was asked.
    pub(super) fn take_broken(&self) -> bool {
        self.broken.replace(false)
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// A key or value of the design that this version does not carry out.
    pub(super) fn unsupported<T>(&self, span: &Range<usize>, what: &str) -> Option<T> {
        self.tell(span, format!("{what} is not supported yet by this version"), None)
    }

    /// Something of the wrong kind.
    pub(super) fn expected<T>(&self, node: &Node, what: &str) -> Option<T> {
        self.tell(&node.span, format!("expected {what}, found {}", kind(node)), None)
    }

    /// Opens a mapping; `what` names it in messages ("a container").
    pub(super) fn map<'n>(&'n self, node: &'n Node, what: &'static str) -> Option<Map<'n>> {
        match &node.data {
            Data::Map(entries) => Some(Map {
                report: self,
                entries,
                span: &node.span,
                what,
                known: RefCell::default(),
                refused: RefCell::default(),
                guessed: RefCell::default(),
            }),
            _ => self.expected(node, &format!("{what} (a mapping of keys to values)")),
        }
    }

    /// Reads every item of a list. Nothing when one of them is wrong, so that an index always is that of the text.
    pub(super) fn list<T>(&self, node: &Node, what: &str, read: impl Fn(&Self, &Node) -> Option<T>) -> Option<Vec<T>> {
        match &node.data {
            Data::List(items) => {
                let read: Vec<Option<T>> = items.iter().map(|item| read(self, item)).collect();
                read.into_iter().collect()
            }
            _ => self.expected(node, &format!("a list of {what}")),
        }
    }

    /// Any scalar, as it was written.
    pub(super) fn text(&self, node: &Node) -> Option<String> {
        match &node.data {
            Data::Scalar { .. } if node.is_null() => {
                self.tell(&node.span, "a value is missing", Some("an empty text is written \"\"".to_owned()))
            }
            Data::Scalar { text, .. } => Some(text.clone()),
            _ => self.expected(node, "a text"),
        }
    }

    /// A scalar that is not empty.
    pub(super) fn word(&self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if text.trim().is_empty() { self.tell(&node.span, "must not be empty", None) } else { Some(text) }
    }

    /// A list of words.
    pub(super) fn words(&self, node: &Node) -> Option<Vec<String>> {
        self.list(node, "texts", Self::word)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, node: &Node) -> Option<bool> {
        match &node.data {
            Data::Scalar { text, plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                "yes" | "on" | "no" | "off" => {
                    let meant = matches!(text.as_str(), "yes" | "on");
                    let help = Some(format!("write `{meant}`"));
                    self.tell(&node.span, format!("expected true or false, found `{text}`"), help)
                }
                _ => self.expected(node, "true or false"),
            },
            _ => self.expected(node, "true or false"),
        }
    }

    /// A whole number within a range.
    pub(super) fn number(&self, node: &Node, allowed: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let number = match &node.data {
            Data::Scalar { text, plain: true } => text.parse::<i64>().ok(),
            Data::Scalar { text, plain: false } if text.parse::<i64>().is_ok() => {
                let help = Some("leave the quotes out".to_owned());
                return self.tell(&node.span, "expected a whole number, found a text in quotes", help);
            }
            _ => None,
        };
        let Some(number) = number else { return self.expected(node, "a whole number") };
        match u32::try_from(number).ok().filter(|number| allowed.contains(number)) {
            Some(number) => Some(number),
            None => {
                let message = format!("{number} is out of range: {} to {} are allowed", allowed.start(), allowed.end());
                self.tell(&node.span, message, None)
            }
        }
    }

    /// A TCP or UDP port.
    pub(super) fn port(&self, node: &Node) -> Option<u16> {
        self.number(node, 1..=65535).and_then(|port| u16::try_from(port).ok())
    }

    /// One of several words; `later` are those that this version does not carry out.
    pub(super) fn choice<T: Clone>(&self, node: &Node, choices: &[(&str, T)], later: &[&str]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let Data::Scalar { text, .. } = &node.data else {
            return self.expected(node, &format!("one of {}", list(&names)));
        };
        if let Some((_, value)) = choices.iter().find(|(name, _)| name == text) {
            return Some(value.clone());
        }
        if later.contains(&text.as_str()) {
            return self.unsupported(&node.span, &format!("`{text}`"));
        }
        self.tell(&node.span, format!("`{text}` is not known here"), Some(suggest(text, &names)))
    }

    /// A mapping whose keys are free: names to values.
    pub(super) fn table<T>(
        &self,
        node: &Node,
        what: &'static str,
        read: impl Fn(&Self, &Entry) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let Data::Map(entries) = &node.data else {
            return self.expected(node, &format!("{what} (a mapping of names to values)"));
        };
        Some(entries.iter().filter_map(|entry| Some((entry.key.clone(), read(self, entry)?))).collect())
    }
}

/// A mapping with known keys. Whatever is not asked for is told by [`Map::finish`].
pub(super) struct Map<'n> {
    report: &'n Report<'n>,
    entries: &'n [Entry],
    span: &'n Range<usize>,
    what: &'static str,
    known: RefCell<Vec<&'static str>>,
    refused: RefCell<Vec<&'static str>>,
    /// Unknown keys that were told already, with the key that is missing.
    guessed: RefCell<Vec<&'n str>>,
}

impl<'n> Map<'n> {
    /// The place of the mapping.
    pub(super) fn span(&self) -> &'n Range<usize> {
        self.span
    }

    /// The place of a key, or of the mapping.
    pub(super) fn key_span(&self, key: &str) -> &'n Range<usize> {
        self.entries.iter().find(|entry| entry.key == key).map_or(self.span, |entry| &entry.key_span)
    }

    /// True when the key is there, whatever it says.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Tells a problem with a key, at its place.
    pub(super) fn refuse(&self, key: &str, message: String, help: String) {
        self.report.tell::<()>(self.key_span(key), message, Some(help));
    }

    /// Keys that are known here, though nothing may ask for them.
    pub(super) fn know(&self, keys: &[&'static str]) {
        self.known.borrow_mut().extend(keys);
    }

    /// The node under a key, when there is one and it says something.
    fn get(&self, key: &'static str) -> Option<&'n Node> {
        self.known.borrow_mut().push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(&entry.value).filter(|node| !node.is_null())
    }

    /// What stands under a key that may be left out.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'n Report<'n>, &'n Node) -> Option<T>,
    ) -> Option<T> {
        read(self.report, self.get(key)?)
    }

    /// What stands under a key that may not be left out.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'n Report<'n>, &'n Node) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(node) => read(self.report, node),
            None => match self.entries.iter().find(|entry| entry.key == key) {
                Some(entry) => self.report.tell(&entry.key_span, format!("`{key}` has no value"), None),
                None => {
                    let guess = self.guess(key);
                    self.guessed.borrow_mut().extend(guess);
                    let span = guess.map_or(self.span, |near| self.key_span(near));
                    let help = guess.map(|near| format!("is `{near}` meant to be `{key}`?"));
                    self.report.tell(span, format!("{} needs `{key}`", self.what), help)
                }
            },
        }
    }

    /// A key that is there and near to one that is missing.
    fn guess(&self, missing: &str) -> Option<&'n str> {
        let known = self.known.borrow();
        let unknown = self.entries.iter().map(|entry| entry.key.as_str()).filter(|key| !known.contains(key));
        nearest(missing, unknown)
    }

    /// Keys of the design that this version does not carry out.
    pub(super) fn later(&self, keys: &[&'static str]) {
        self.refused.borrow_mut().extend(keys);
    }

    /// Tells every key that nothing has asked for.
    pub(super) fn finish(&self) {
        let (known, refused) = (self.known.borrow(), self.refused.borrow());
        for entry in self.entries {
            let key = entry.key.as_str();
            if refused.contains(&key) {
                self.report.unsupported::<()>(&entry.key_span, &format!("`{key}`"));
            } else if !known.contains(&key) && !self.guessed.borrow().contains(&key) {
                let all: Vec<&str> = known.iter().chain(refused.iter()).copied().collect();
                let help = match nearest(key, all) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        let mut known = known.clone();
                        known.sort_unstable();
                        known.dedup();
                        format!("{} has the keys {}", self.what, list(&known))
                    }
                };
                self.report.tell::<()>(&entry.key_span, format!("unknown key `{key}`"), Some(help));
            }
        }
    }
}

/// What a node is, for messages.
fn kind(node: &Node) -> String {
    match &node.data {
        Data::Map(_) => "a mapping".to_owned(),
        Data::List(_) => "a list".to_owned(),
        Data::Scalar { .. } if node.is_null() => "nothing".to_owned(),
        Data::Scalar { text, plain } => {
            let short: String = text.chars().take(40).collect();
            let dots = if short.len() < text.len() { "…" } else { "" };
            match plain {
                true => format!("`{short}{dots}`"),
                false => format!("the text \"{short}{dots}\""),
            }
        }
    }
}
