//! YAML as a tree of nodes with their places: every scalar as it was written, every key in its order.

use std::{collections::HashMap, ops::Range, sync::Arc};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::spec::problem::{File, Problem};

/// Nested deeper than any manifest.
const MAX_DEPTH: usize = 50;
/// More nodes than any manifest has; what aliases repeat counts each time.
const MAX_NODES: usize = 200_000;
/// After so many errors of syntax, the rest of a file is left.
const MAX_ERRORS: usize = 20;
/// Longer than any manifest.
const MAX_BYTES: usize = 4 << 20;

/// A node and its place in bytes.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Node {
    pub(in crate::spec) span: Range<usize>,
    pub(in crate::spec) data: Data,
}

#[derive(Debug, Clone)]
pub(in crate::spec) enum Data {
    /// The text as written, without quotes; `plain` when there were none.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(in crate::spec) struct Entry {
    pub(in crate::spec) key: String,
    pub(in crate::spec) key_span: Range<usize>,
    pub(in crate::spec) value: Node,
}

impl Node {
    pub(in crate::spec) fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The node at a path like `spec/containers/0/links/1`, or as much of the way as there is.
    pub(in crate::spec) fn at(&self, path: &str) -> &Node {
        path.split('/')
            .try_fold(self, |node, step| {
                let next = match &node.data {
                    Data::Map(entries) => entries.iter().find(|entry| entry.key == step).map(|entry| &entry.value),
                    Data::List(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                    Data::Scalar { .. } => None,
                };
                next.ok_or(node)
            })
            .unwrap_or_else(|nearest| nearest)
    }

    fn count(&self) -> usize {
        1 + match &self.data {
            Data::Scalar { .. } => 0,
            Data::List(items) => items.iter().map(Node::count).sum(),
            Data::Map(entries) => entries.iter().map(|entry| 1 + entry.value.count()).sum(),
        }
    }
}

/// The documents of a file and every problem. Empty documents are left out; after an error of syntax reading goes
/// on with the next document.
pub(super) fn parse(file: &Arc<File>) -> (Vec<Node>, Vec<Problem>) {
    let mut problems = Vec::new();
    if let Some(at) = file.not_utf8 {
        problems.push(Problem::new(file, &(at..at), "the file is not UTF-8 text", None));
        return (Vec::new(), problems);
    }
    if file.text.len() > MAX_BYTES {
        problems.push(Problem::new(file, &(0..0), "the file is too large: a manifest has at most 4 MiB", None));
        return (Vec::new(), problems);
    }
    let mut documents = Vec::new();
    let mut from = Some(0);
    let mut nodes = 0;
    for _ in 0..MAX_ERRORS {
        let Some(base) = from else { break };
        let mut builder = Builder {
            file,
            offsets: Offsets::of(&file.text[base..]),
            base,
            problems: Vec::new(),
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes,
            root: None,
        };
        from = builder.run(&mut documents).and_then(|at| next_document(&file.text, base, at));
        problems.append(&mut builder.problems);
        nodes = builder.nodes;
    }
    (documents, problems)
}

/// The next `---` at the beginning of a line, from the line of `at` on but after `base`.
fn next_document(text: &str, base: usize, at: usize) -> Option<usize> {
    let at = text.floor_char_boundary(at.min(text.len()));
    let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let mut start = line.max(base);
    loop {
        let rest = &text[start..];
        let marker =
            rest.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\n', '\r']));
        if marker && start > base {
            return Some(start);
        }
        start += rest.find('\n')? + 1;
    }
}

/// Places in bytes for the parser's places in characters.
enum Offsets {
    Ascii(usize),
    Table(Vec<usize>),
}

impl Offsets {
    fn of(text: &str) -> Offsets {
        if text.is_ascii() {
            Offsets::Ascii(text.len())
        } else {
            Offsets::Table(text.char_indices().map(|(at, _)| at).chain([text.len()]).collect())
        }
    }

    fn byte(&self, character: usize) -> usize {
        match self {
            Offsets::Ascii(len) => character.min(*len),
            Offsets::Table(table) => table[character.min(table.len() - 1)],
        }
    }
}

enum Frame {
    List { start: usize, anchor: usize, items: Vec<Node> },
    Map { start: usize, anchor: usize, entries: Vec<Entry>, key: Option<(String, Range<usize>)> },
}

/// The rest of the file cannot be read; the problem is told already.
struct Abort;

struct Builder<'a> {
    file: &'a Arc<File>,
    offsets: Offsets,
    /// Where the parser's text begins in the file.
    base: usize,
    problems: Vec<Problem>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    /// Reads documents until the end, or until an error of syntax: then it gives its place.
    fn run(&mut self, documents: &mut Vec<Node>) -> Option<usize> {
        let file = self.file;
        let mut parser = Parser::new_from_str(&file.text[self.base..]);
        while let Some(next) = parser.next_event() {
            match next {
                Ok((Event::StreamEnd, _)) => break,
                Ok((Event::DocumentEnd, _)) => {
                    documents.extend(self.root.take().filter(|root| !root.is_null()));
                    self.anchors.clear();
                }
                Ok((event, span)) => {
                    let at = self.base + self.offsets.byte(span.start.index());
                    if self.event(event, &span).is_err() {
                        return Some(at);
                    }
                }
                Err(error) => {
                    let at = self.base + self.offsets.byte(error.marker().index());
                    self.tell(at..at + 1, format!("not YAML: {}", error.info()), None);
                    return Some(at);
                }
            }
        }
        None
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Abort> {
        let span = self.base + self.offsets.byte(span.start.index())..self.base + self.offsets.byte(span.end.index());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), &span);
                let plain = style == ScalarStyle::Plain;
                self.complete(Node { span, data: Data::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), &span);
                self.open(Frame::List { start: span.start, anchor, items: Vec::new() }, &span)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), &span);
                self.open(Frame::Map { start: span.start, anchor, entries: Vec::new(), key: None }, &span)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Frame::List { start, anchor, items }) => {
                    self.complete(Node { span: start..span.end, data: Data::List(items) }, anchor)
                }
                Some(Frame::Map { start, anchor, entries, .. }) => {
                    let entries = self.merged(entries);
                    self.complete(Node { span: start..span.end, data: Data::Map(entries) }, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => {
                    self.nodes += node.count();
                    self.complete(node, 0)
                }
                None => {
                    self.refuse(span, "an alias to something that is not complete yet, or in another document", None)
                }
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, frame: Frame, span: &Range<usize>) -> Result<(), Abort> {
        self.stack.push(frame);
        if self.stack.len() > MAX_DEPTH {
            return self.refuse(span.clone(), format!("nested deeper than {MAX_DEPTH} levels"), None);
        }
        Ok(())
    }

    /// Puts a finished node where it belongs: as a document, an item, a key or a value.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Abort> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return self.refuse(node.span, format!("more than {MAX_NODES} values in one file"), None);
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let mut duplicate = None;
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, key, .. }) => match (key.take(), node) {
                (Some((key, key_span)), value) => match entries.iter().find(|entry| entry.key == key && key != "<<") {
                    Some(first) => duplicate = Some((key, key_span, first.key_span.clone())),
                    None => entries.push(Entry { key, key_span, value }),
                },
                (None, Node { span, data: Data::Scalar { text, .. } }) => *key = Some((text, span)),
                (None, Node { span, .. }) => {
                    return self.refuse(span, "a key must be a single word, not a list or a mapping", None);
                }
            },
        }
        if let Some((key, span, first)) = duplicate {
            let line = Problem::new(self.file, &first, "", None).line;
            self.tell(span, format!("`{key}` is given twice"), Some(format!("the first one is in line {line}")));
        }
        Ok(())
    }

    /// `<<: *base` takes over every key that is not given beside it.
    fn merged(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key == "<<");
        for merge in merges {
            let bases = match merge.value.data {
                Data::List(items) => items,
                _ => vec![merge.value],
            };
            for base in bases {
                match base.data {
                    Data::Map(entries) => {
                        for entry in entries {
                            if own.iter().all(|given| given.key != entry.key) {
                                own.push(entry);
                            }
                        }
                    }
                    _ => self.tell(merge.key_span.clone(), "`<<` takes an alias to a mapping, or a list of them", None),
                }
            }
        }
        own
    }

    fn check_tag(&mut self, tag: Option<&Tag>, span: &Range<usize>) {
        let Some(tag) = tag else { return };
        let core = tag.is_yaml_core_schema()
            && ["str", "int", "float", "bool", "null", "map", "seq"].contains(&tag.suffix.as_str());
        if !core {
            self.tell(span.clone(), format!("the tag `{tag}` has no meaning here"), Some("leave it out".to_owned()));
        }
    }

    fn tell(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.problems.push(Problem::new(self.file, &span, message, help));
    }

    fn refuse(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) -> Result<(), Abort> {
        self.tell(span, message, help);
        Err(Abort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Vec<Node>, Vec<String>) {
        let (nodes, problems) = parse(&Arc::new(File::new("f", text)));
        (nodes, problems.iter().map(ToString::to_string).collect())
    }

    fn scalar<'a>(node: &'a Node, path: &str) -> &'a str {
        match &node.at(path).data {
            Data::Scalar { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_keep_the_text_they_were_written_with() {
        let (nodes, problems) = parsed("a: 1.10\nb: yes\nc: 'x'\nd: 007\n");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(["a", "b", "c", "d"].map(|key| scalar(&nodes[0], key)), ["1.10", "yes", "x", "007"]);
    }

    #[test]
    fn places_are_those_of_the_text_even_after_other_alphabets_and_line_ends() {
        let text = "ü: [ä, {b: hello}]\r\nc: world\r\n";
        let (nodes, _) = parsed(text);
        assert_eq!(&text[nodes[0].at("ü/1/b").span.clone()], "hello");
        assert_eq!(&text[nodes[0].at("c").span.clone()], "world");
    }

    #[test]
    fn a_path_that_leads_nowhere_ends_at_the_nearest_node() {
        let (nodes, _) = parsed("a: {b: 1}\n");
        assert_eq!(nodes[0].at("a/x/y").span.start, 3);
    }

    #[test]
    fn every_document_counts_and_empty_ones_do_not() {
        assert_eq!(parsed("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n").0.len(), 2);
        assert_eq!(parsed("").0.len(), 0);
    }

    #[test]
    fn documents_before_and_after_an_error_of_syntax_are_read() {
        let (nodes, problems) = parsed("a: 1\n---\nb: [1, 2\nc: 3\n---\nd: ü\n---\ne: \"1\n--- # ü\nf: *x\n");
        assert_eq!(nodes.iter().map(|node| node.span.start).collect::<Vec<_>>(), [0, 27]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("not YAML")), "{problems:?}");
        assert!(problems[2].starts_with("f:10:4"), "{problems:?}");
    }

    #[test]
    fn a_key_given_twice_is_told_with_both_places() {
        let (_, problems) = parsed("a: 1\nb: 2\na: 3\n");
        assert_eq!(problems, ["f:3:1: `a` is given twice (the first one is in line 1)"]);
    }

    #[test]
    fn aliases_and_merged_mappings_are_taken_over() {
        let (nodes, problems) = parsed("- &base {x: 1, y: 2}\n- <<: *base\n  y: 3\n- *base\n");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((scalar(&nodes[0], "1/x"), scalar(&nodes[0], "1/y"), scalar(&nodes[0], "2/y")), ("1", "3", "2"));
    }

    #[test]
    fn a_bomb_of_aliases_and_bottomless_nesting_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}, ", level - 1).repeat(9);
            bomb += &format!("a{level}: &a{level} [{alias} x]\n");
        }
        assert!(parsed(&bomb).1[0].contains("more than"));
        assert!(parsed(&"[".repeat(100_000)).1.len() == 1);
        assert!(parsed(&"- ".repeat(100_000)).1.len() == 1);
        assert!(parsed("a: &a [*a]\n").1.len() == 1);
    }
}
