//! What is wrong with a manifest, and where.

use std::{fmt, ops::Range, sync::Arc};

/// A manifest file as it was read.
#[derive(PartialEq, Eq)]
pub struct File {
    /// Its path, as it is shown to people.
    pub name: String,
    /// Its text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Where the first byte stands that is not UTF-8.
    pub(crate) not_utf8: Option<usize>,
}

impl File {
    /// Takes the bytes of a file; whatever is wrong with them is told when they are decoded.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> File {
        match String::from_utf8(bytes.into()) {
            Ok(text) => File { name: name.into(), text, not_utf8: None },
            Err(error) => File {
                name: name.into(),
                not_utf8: Some(error.utf8_error().valid_up_to()),
                text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
            },
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", self.name)
    }
}

/// One thing that is wrong, with its place. Its `Display` is one line: `file:line:column: message (help)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, with the text that the place lies in.
    pub file: Arc<File>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The place in bytes; never longer than its line.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a place of a file. A place that is out of the text, or within a character, is moved to the
    /// nearest one that is not.
    pub fn new(file: &Arc<File>, span: &Range<usize>, message: impl Into<String>, help: Option<String>) -> Problem {
        let text = &file.text;
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let line_end = text[start..].find(['\n', '\r']).map_or(text.len(), |at| start + at);
        let end = text.floor_char_boundary(span.end.clamp(start, line_end));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        Problem {
            file: Arc::clone(file),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            span: start..end,
            message: message.into(),
            help,
        }
    }

    /// The line that the problem lies in.
    pub fn source_line(&self) -> &str {
        self.file.text.lines().nth(self.line - 1).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.name, self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// The one of `known` that somebody most likely meant by `word`.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?` where something is near, else what is known.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("known are {}", list(known)),
    }
}

/// `a`, `b` and `c`.
pub(crate) fn list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Arc<File> {
        Arc::new(File::new("shop.yaml", text))
    }

    #[test]
    fn a_place_is_told_in_lines_and_characters() {
        let problem = Problem::new(&file("a: 1\nü: über\n"), &(9..14), "wrong", None);
        assert_eq!((problem.line, problem.column), (2, 4));
        assert_eq!(problem.source_line(), "ü: über");
        assert_eq!(problem.to_string(), "shop.yaml:2:4: wrong");
    }

    #[test]
    fn a_place_never_leaves_its_line_or_the_text() {
        assert_eq!(Problem::new(&file("one\ntwo\n"), &(1..7), "wrong", None).span, 1..3);
        assert_eq!(Problem::new(&file("one"), &(10..20), "wrong", None).span, 3..3);
        assert_eq!(Problem::new(&file("ü"), &(1..1), "wrong", None).span, 0..0);
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        assert_eq!(nearest("replica", ["ports", "replicas"]), Some("replicas"));
        assert_eq!(nearest("starup_time", ["startupTime"]), Some("startupTime"));
        assert_eq!(nearest("colour", ["ports", "replicas"]), None);
        assert_eq!(suggest("x", &["http", "tcp"]), "known are `http` and `tcp`");
    }
}
