//! Problems of manifests as people read them: the file, the line, what is wrong in it, and what to do.

use std::{
    collections::BTreeSet,
    fmt,
    io::{IsTerminal, stderr},
};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode,
    SourceSpan, SpanContents, ThemeCharacters, ThemeStyles,
};

use crate::spec::Problem;

/// How much a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// ASCII only: pipes, files and logs.
    Plain,
    /// Lines and carets, no colours.
    Lines,
    /// Lines, carets and colours.
    Colours,
}

impl Style {
    /// What standard error takes: plain unless it is a terminal, without colours where `NO_COLOR` is set.
    pub fn of_stderr() -> Style {
        if !stderr().is_terminal() {
            Style::Plain
        } else if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            Style::Lines
        } else {
            Style::Colours
        }
    }

    fn theme(self) -> GraphicalTheme {
        match self {
            Style::Plain => GraphicalTheme { characters: ThemeCharacters::ascii(), styles: ThemeStyles::none() },
            Style::Lines => GraphicalTheme::unicode_nocolor(),
            Style::Colours => GraphicalTheme::unicode(),
        }
    }
}

/// Every problem with its line, and how many there are.
pub fn render(problems: &[Problem], style: Style) -> String {
    let handler = GraphicalReportHandler::new_themed(style.theme())
        .with_links(false)
        .with_width(100)
        .with_context_lines(1)
        .without_syntax_highlighting();
    let mut text = String::new();
    for problem in problems {
        if handler.render_report(&mut text, &Shown(problem)).is_err() {
            text.push_str(&problem.to_string());
        }
        text.push('\n');
    }
    let files: BTreeSet<&str> = problems.iter().map(|problem| problem.file.name.as_str()).collect();
    text + &format!("{} in {}\n", count(problems.len(), "problem"), count(files.len(), "file"))
}

/// `1 file`, `2 files`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

struct Shown<'a>(&'a Problem);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.0.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, self.0.span.clone()))))
    }
}

impl SourceCode for Shown<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.0.file.text.read_span(span, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.0.file.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{File, validate};

    fn problems() -> Vec<Problem> {
        let app = "apiVersion: evenkeel/v1\nkind: App\nmetadata: {name: blog}\nspec:\n  stack: shop\n  layer: docker\n  \
            containers:\n    - name: app\n      image: blog\n      starupTime: 60s\n      ports: [\"über\"]\n";
        let stack = "kind: Stack\n";
        validate::load("r", vec![File::new("blog.yaml", app), File::new("stack.yaml", stack)]).unwrap_err()
    }

    #[test]
    fn every_problem_is_shown_in_its_line_with_what_to_do() {
        insta::assert_snapshot!(render(&problems(), Style::Lines), @r#"
          × unknown key `starupTime`
            ╭─[blog.yaml:10:7]
          9 │       image: blog
         10 │       starupTime: 60s
            ·       ──────────
         11 │       ports: ["über"]
            ╰────
          help: did you mean `startupTime`?

          × `über` is not a port
            ╭─[blog.yaml:11:15]
         10 │       starupTime: 60s
         11 │       ports: ["über"]
            ·               ──────
            ╰────
          help: ports are written `80`, `80:8080`, `127.0.0.1:80:8080` or `53:53/udp`

          × a manifest needs `apiVersion`
           ╭─[stack.yaml:1:1]
         1 │ kind: Stack
           · ───────────
           ╰────

          × a manifest needs `metadata`
           ╭─[stack.yaml:1:1]
         1 │ kind: Stack
           · ───────────
           ╰────

          × a manifest needs `spec`
           ╭─[stack.yaml:1:1]
         1 │ kind: Stack
           · ───────────
           ╰────

        5 problems in 2 files
        "#);
    }

    #[test]
    fn what_is_not_a_terminal_gets_plain_text() {
        let text = render(&problems(), Style::Plain);
        assert!(text.replace('ü', "u").is_ascii(), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(render(&problems(), Style::Colours).contains('\u{1b}'));
    }
}
