//! JSON as a tree with places: every number as it was written, every key in its order.

use std::{ops::Range, sync::Arc};

use jsonc_parser::{
    CollectOptions, ParseOptions, ast,
    common::Ranged,
    errors::{ParseError, ParseErrorKind},
    parse_to_ast,
};

use crate::spec::{File, Problem};

/// Larger than any Stack JSON (OpsWorks took 80 KB), and than what AWS tells of any stack.
const MAX_BYTES: usize = 16 << 20;

/// A value and its place in bytes.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) data: Data,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }
}

/// The one value of a file.
pub(super) fn one(file: &Arc<File>) -> Result<Node, Vec<Problem>> {
    let text = text(file)?;
    value(file, text)
}

/// The values of a file that stand behind each other, as several commands print them into one.
pub(super) fn several(file: &Arc<File>) -> Result<Vec<Node>, Vec<Problem>> {
    let all = text(file)?;
    let mut found = Vec::new();
    let mut from = all.start;
    let mut values = serde_json::Deserializer::from_str(&file.text[all.clone()]).into_iter::<serde::de::IgnoredAny>();
    loop {
        let broken = match values.next() {
            None => return Ok(found),
            Some(read) => read.is_err(),
        };
        // What is wrong with a broken one is told with its rest.
        let to = if broken { all.end } else { all.start + values.byte_offset() };
        found.push(value(file, from..to)?);
        if broken {
            return Ok(found);
        }
        from = to;
    }
}

/// Where the text is, without the mark that some editors put before it.
fn text(file: &Arc<File>) -> Result<Range<usize>, Vec<Problem>> {
    let told = |at: usize, message: &str| Err(vec![Problem::new(file, &(at..at), message, None)]);
    if let Some(at) = file.not_utf8 {
        return told(at, "the file is not UTF-8 text");
    }
    if file.text.len() > MAX_BYTES {
        return told(0, "the file is too large: it has at most 16 MiB");
    }
    let mark = if file.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    if file.text[mark..].trim().is_empty() {
        return told(0, "the file is empty");
    }
    Ok(mark..file.text.len())
}

fn value(file: &Arc<File>, at: Range<usize>) -> Result<Node, Vec<Problem>> {
    let text = &file.text[at.clone()];
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let tree = parse_to_ast(text, &CollectOptions::default(), &strict)
        .map_err(|error| vec![syntax(file, at.start, &error)])?;
    // What the parser with places lets pass: line breaks in texts, numbers like 007, halves of surrogate pairs.
    if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        let line: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let place = at.start + line + error.column().saturating_sub(1);
        let told = error.to_string();
        let message = told.split(" at line ").next().unwrap_or_default();
        return Err(vec![Problem::new(file, &(place..place + 1), format!("not JSON: {message}"), None)]);
    }
    let mut twice = Vec::new();
    let node = tree.value.map(|tree| node(file, at.start, tree, &mut twice));
    match node {
        Some(node) if twice.is_empty() => Ok(node),
        Some(_) => Err(twice),
        None => Err(vec![Problem::new(file, &at, "there is nothing in it", None)]),
    }
}

fn syntax(file: &Arc<File>, base: usize, error: &ParseError) -> Problem {
    let range = error.range();
    let help = match error.kind() {
        ParseErrorKind::CommentsNotAllowed => "JSON has no comments: take it out",
        ParseErrorKind::TrailingCommasNotAllowed => "take the last comma out",
        ParseErrorKind::UnterminatedObject
        | ParseErrorKind::UnterminatedArray
        | ParseErrorKind::String(jsonc_parser::ParseStringErrorKind::UnterminatedStringLiteral) => {
            "what is opened here is not closed: is the file whole?"
        }
        ParseErrorKind::SingleQuotedStringsNotAllowed => "texts stand in double quotes",
        _ => "",
    };
    let told = error.kind().to_string();
    let message: String = told.char_indices().map(|(at, c)| if at == 0 { c.to_ascii_lowercase() } else { c }).collect();
    let help = Some(help.to_owned()).filter(|help| !help.is_empty());
    Problem::new(file, &(base + range.start..base + range.end), format!("not JSON: {message}"), help)
}

fn node(file: &Arc<File>, base: usize, value: ast::Value<'_>, twice: &mut Vec<Problem>) -> Node {
    let range = value.range();
    let data = match value {
        ast::Value::NullKeyword(_) => Data::Null,
        ast::Value::BooleanLit(literal) => Data::Bool(literal.value),
        ast::Value::NumberLit(literal) => Data::Number(literal.value.to_owned()),
        ast::Value::StringLit(literal) => Data::Text(literal.value.into_owned()),
        ast::Value::Array(array) => {
            Data::List(array.elements.into_iter().map(|value| node(file, base, value, twice)).collect())
        }
        ast::Value::Object(object) => {
            let mut entries: Vec<Entry> = Vec::new();
            for property in object.properties {
                let range = property.name.range();
                let key_span = base + range.start..base + range.end;
                let key = property.name.into_string();
                let value = node(file, base, property.value, twice);
                match entries.iter().find(|entry| entry.key == key) {
                    Some(first) => {
                        let line = Problem::new(file, &first.key_span, "", None).line;
                        let help = Some(format!("the first one is in line {line}"));
                        twice.push(Problem::new(file, &key_span, format!("`{key}` is given twice"), help));
                    }
                    None => entries.push(Entry { key, key_span, value }),
                }
            }
            Data::Map(entries)
        }
    };
    Node { span: base + range.start..base + range.end, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: impl Into<Vec<u8>>) -> Vec<String> {
        match one(&Arc::new(File::new("f", text))) {
            Ok(node) => panic!("{node:?}"),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn what_is_not_json_is_told_at_its_place_with_what_to_do() {
        for (text, words) in [
            (
                "{\"a\": 1,\n  // c\n \"b\": 2}",
                "f:2:3: not JSON: comments are not allowed (JSON has no comments: take it out)",
            ),
            ("{\"a\": 1,\n \"a\": 2}", "f:2:2: `a` is given twice (the first one is in line 1)"),
            ("{\"a\": [1,\n 2,]}", "take the last comma out"),
            ("{\"a\": {\"b\": [1, 2", "is the file whole?"),
            ("{\"a\": \"b", "is the file whole?"),
            ("{\"a\": 'b'}", "double quotes"),
            ("{a: 1}", "f:1:2: not JSON"),
            ("{\"a\": 007}", "f:1:"),
            ("{\"a\": \"\\ud83d\"}", "f:1:"),
            ("{\"a\": \"one\ntwo\"}", "control character"),
            ("{\"a\": .5}", "f:1:"),
            ("{} {}", "more than one JSON value"),
            ("", "the file is empty"),
            (" \n", "the file is empty"),
            ("nil", "f:1:1: not JSON"),
        ] {
            let told = told(text);
            assert_eq!(told.len(), 1, "{text}: {told:?}");
            assert!(told[0].contains(words), "{text}: {told:?}");
        }
        assert_eq!(told(b"{\"a\": \"\xff\"}".to_vec()), ["f:1:8: the file is not UTF-8 text"]);
    }

    #[test]
    fn bottomless_nesting_is_an_error_and_no_end_of_the_program() {
        for text in ["[".repeat(100_000), "{\"a\":".repeat(100_000), format!("{}{}", "[".repeat(300), "]".repeat(300))]
        {
            assert_eq!(told(text).len(), 1);
        }
    }

    #[test]
    fn escapes_numbers_and_places_are_those_of_the_text() {
        let text = "\u{feff}{\"ü\\ud83d\\ude00\":\t[1.10, 12345678901234567890, \"%{a}\\n\"]}";
        let node = one(&Arc::new(File::new("f", text))).unwrap();
        let Data::Map(entries) = &node.data else { panic!() };
        assert_eq!(entries[0].key, "ü😀");
        let Data::List(items) = &entries[0].value.data else { panic!() };
        assert!(matches!(&items[0].data, Data::Number(number) if number == "1.10"));
        assert!(matches!(&items[1].data, Data::Number(number) if number == "12345678901234567890"));
        assert!(matches!(&items[2].data, Data::Text(text) if text == "%{a}\n"));
        assert_eq!(&text[items[0].span.clone()], "1.10");
    }

    #[test]
    fn what_several_commands_printed_is_read_one_after_the_other() {
        let file = Arc::new(File::new("f", "{\"a\": 1}\n{\"b\": 2}[3]\n"));
        let values = several(&file).unwrap();
        assert_eq!(values.len(), 3);
        assert_eq!(&file.text[values[1].span.clone()], "{\"b\": 2}");
        let cut = several(&Arc::new(File::new("f", "{\"a\": 1}\n{\"b\": "))).unwrap_err();
        assert!(cut[0].to_string().starts_with("f:2:"), "{cut:?}");
    }
}
