//! Writing manifests: a tree with comments, and for every part of the text the place that it comes from.
//!
//! What is written reads back the same: whatever might be taken for anything but the text that it is stands in quotes.

use std::{fmt::Write as _, ops::Range};

use super::note::Place;

/// Longer lines are broken where that is possible.
const WIDTH: usize = 110;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Yaml {
    /// A text, in quotes when in doubt.
    Text(String),
    /// Written as it is: a number, `true`, `60s`, `120GiB`.
    Word(String),
    /// On one line where it is short.
    List(Vec<Part>),
    /// On one line where it is short.
    Map(Vec<Part>),
    /// A list of which every item begins a line, with an empty line between them.
    Items(Vec<Part>),
    /// A mapping of which every key begins a line.
    Block(Vec<Part>),
}

/// An entry of a mapping, or an item of a list, which has no key.
#[derive(Debug, Clone)]
pub(super) struct Part {
    key: String,
    value: Yaml,
    /// Comments above it, each without its `#`.
    remarks: Vec<String>,
    place: Option<Place>,
}

impl Part {
    pub(super) fn new(key: impl Into<String>, value: Yaml) -> Part {
        Part { key: key.into(), value, remarks: Vec::new(), place: None }
    }

    pub(super) fn item(value: Yaml) -> Part {
        Part::new("", value)
    }

    /// A text under a key.
    pub(super) fn text(key: &str, text: impl Into<String>) -> Part {
        Part::new(key, Yaml::Text(text.into()))
    }

    /// What is written as it is, under a key.
    pub(super) fn word(key: &str, word: impl ToString) -> Part {
        Part::new(key, Yaml::Word(word.to_string()))
    }

    /// Texts under a key.
    pub(super) fn texts<T: Into<String>>(key: &str, texts: impl IntoIterator<Item = T>) -> Part {
        let items = texts.into_iter().map(|text| Part::item(Yaml::Text(text.into())));
        Part::new(key, Yaml::List(items.collect()))
    }

    /// From where it comes.
    pub(super) fn from(mut self, place: Place) -> Part {
        self.place = Some(place);
        self
    }

    /// With comments above it.
    pub(super) fn remark(mut self, remarks: impl IntoIterator<Item = String>) -> Part {
        self.remarks.extend(remarks);
        self
    }
}

/// Documents as text.
#[derive(Default)]
pub(super) struct Written {
    pub(super) text: String,
    places: Vec<(Range<usize>, Place)>,
}

impl Written {
    /// Adds a document, with comments above it.
    pub(super) fn document(&mut self, remarks: &[String], parts: &[Part]) {
        if !self.text.is_empty() {
            self.text.push_str("---\n");
        }
        self.remarks(remarks, 0);
        self.block(parts, 0);
    }

    /// Adds a document that is text already, with comments above it.
    pub(super) fn verbatim(&mut self, remarks: &[String], text: &str, place: Place) {
        self.remarks(remarks, 0);
        let start = self.text.len();
        self.text.push_str(text.trim_end());
        self.text.push('\n');
        self.places.push((start..self.text.len(), place));
    }

    /// The place that this part of the text comes from.
    pub(super) fn origin(&self, at: usize) -> Option<&Place> {
        let around = self.places.iter().filter(|(range, _)| range.contains(&at));
        around.min_by_key(|(range, _)| range.len()).map(|(_, place)| place)
    }

    fn block(&mut self, parts: &[Part], indent: usize) {
        for part in parts {
            self.remarks(&part.remarks, indent);
            let start = self.text.len();
            self.pad(indent);
            self.entry(part, indent);
            self.mark(part, start);
        }
    }

    /// A key and its value, from the key on.
    fn entry(&mut self, part: &Part, indent: usize) {
        self.text.push_str(&quoted(&part.key));
        self.text.push(':');
        let used = indent + part.key.len() + 2;
        match &part.value {
            value if on_one_line(value, used) => {
                self.text.push(' ');
                self.flow(value);
                self.text.push('\n');
            }
            Yaml::Map(parts) | Yaml::Block(parts) => {
                self.text.push('\n');
                self.block(parts, indent + 2);
            }
            Yaml::List(items) => {
                self.text.push('\n');
                self.items(items, indent + 2, false);
            }
            Yaml::Items(items) => {
                self.text.push('\n');
                self.items(items, indent + 2, true);
            }
            Yaml::Text(_) | Yaml::Word(_) => {}
        }
    }

    fn items(&mut self, items: &[Part], indent: usize, apart: bool) {
        for (at, item) in items.iter().enumerate() {
            if apart && at > 0 {
                self.text.push('\n');
            }
            self.remarks(&item.remarks, indent);
            let start = self.text.len();
            match &item.value {
                value if on_one_line(value, indent + 2) => {
                    self.pad(indent);
                    self.text.push_str("- ");
                    self.flow(value);
                    self.text.push('\n');
                }
                Yaml::Map(parts) | Yaml::Block(parts) => {
                    for (at, part) in parts.iter().enumerate() {
                        self.remarks(&part.remarks, if at == 0 { indent } else { indent + 2 });
                        let start = self.text.len();
                        self.pad(indent);
                        self.text.push_str(if at == 0 { "- " } else { "  " });
                        self.entry(part, indent + 2);
                        self.mark(part, start);
                    }
                }
                // A list in a list; no manifest has one that is longer than a line.
                Yaml::List(_) | Yaml::Items(_) | Yaml::Text(_) | Yaml::Word(_) => {
                    self.pad(indent);
                    self.text.push_str("- ");
                    self.flow(&item.value);
                    self.text.push('\n');
                }
            }
            self.mark(item, start);
        }
    }

    fn flow(&mut self, value: &Yaml) {
        match value {
            Yaml::Text(text) => self.text.push_str(&quoted(text)),
            Yaml::Word(word) => self.text.push_str(word),
            Yaml::List(items) | Yaml::Items(items) => {
                self.text.push('[');
                self.joined(items, |written, item| written.flow(&item.value));
                self.text.push(']');
            }
            Yaml::Map(parts) | Yaml::Block(parts) => {
                self.text.push('{');
                self.joined(parts, |written, part| {
                    written.text.push_str(&quoted(&part.key));
                    written.text.push_str(": ");
                    written.flow(&part.value);
                });
                self.text.push('}');
            }
        }
    }

    fn joined(&mut self, parts: &[Part], write: impl Fn(&mut Written, &Part)) {
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.text.push_str(", ");
            }
            let start = self.text.len();
            write(self, part);
            self.mark(part, start);
        }
    }

    fn mark(&mut self, part: &Part, start: usize) {
        if let Some(place) = &part.place {
            self.places.push((start..self.text.len(), place.clone()));
        }
    }

    fn pad(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }

    fn remarks(&mut self, remarks: &[String], indent: usize) {
        for remark in remarks {
            let mut mark = "# ";
            for line in wrapped(remark, WIDTH.saturating_sub(indent + 4)) {
                self.pad(indent);
                self.text.push_str(mark);
                self.text.push_str(&line);
                self.text.push('\n');
                mark = "#   ";
            }
        }
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let len = word.chars().count();
        if used > 0 && used + 1 + len > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += len;
        }
    }
    lines
}

/// Scalars always, the others where they are short and have nothing to say beside.
fn on_one_line(value: &Yaml, used: usize) -> bool {
    match value {
        Yaml::Text(_) | Yaml::Word(_) => true,
        Yaml::List(parts) | Yaml::Map(parts) | Yaml::Items(parts) | Yaml::Block(parts) if parts.is_empty() => true,
        Yaml::Items(_) | Yaml::Block(_) => false,
        Yaml::List(_) | Yaml::Map(_) => length(value).is_some_and(|length| used + length <= WIDTH),
    }
}

/// How long it is on one line; nothing where it cannot be.
fn length(value: &Yaml) -> Option<usize> {
    match value {
        Yaml::Text(text) => Some(quoted(text).chars().count()),
        Yaml::Word(word) => Some(word.len()),
        Yaml::List(parts) | Yaml::Map(parts) => parts.iter().try_fold(2, |sum, part| {
            let key = if part.key.is_empty() { 0 } else { quoted(&part.key).chars().count() + 2 };
            part.remarks.is_empty().then_some(sum + key + length(&part.value)? + 2)
        }),
        Yaml::Items(_) | Yaml::Block(_) => None,
    }
}

/// A text as a plain scalar where nothing but that text can be meant, in double quotes everywhere else.
pub(super) fn quoted(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            '\r' => write!(out, "\\r"),
            // Not printable, or the end of a line to some readers ("5.1. Character Set", YAML 1.2).
            c if c.is_control() || matches!(u32::from(c), 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                write!(out, "\\U{:08x}", u32::from(c))
            }
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
    out
}

/// Words, paths, names and images; neither a number, nor a date, nor what YAML 1.1 takes for true, false or nothing.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let inside = text.chars().all(|c| c.is_ascii_alphanumeric() || "_./-:".contains(c));
    let colon = text.ends_with(':');
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"];
    begins && inside && !colon && !words.contains(&text.to_lowercase().as_str())
}
