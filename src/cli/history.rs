//! `evenkeel history`

use std::{fmt::Write, process::ExitCode};

use serde::Serialize;

use super::{
    fail,
    operate::{Found, Subject},
};
use crate::spec::image;

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel history shop\n  \
    evenkeel history shop/web --json | jq -r '.releases[-1].digest'\n\n\
    A release begins when what a container's image stands for is put on record, before any instance runs it. Of a \
    container that is run by the clock (deploy: cron) its runs are shown too.")]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One line of `--json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    number: i64,
    since: String,
    container: &'a str,
    image: &'a str,
    digest: &'a str,
    revision: &'a str,
    /// It is the container's last.
    current: bool,
}

/// One run of a job in `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    container: &'a str,
    /// When it was due.
    due: String,
    hostname: &'a str,
    image: &'a str,
    begun: String,
    /// `running`, `succeeded`, `failed`, `timed out`, `replaced` or `lost`.
    outcome: &'static str,
    exit_code: Option<i64>,
    finished: Option<String>,
    /// What it said last.
    words: &'a str,
}

/// Prints the releases that are on record.
pub fn run(args: &Args) -> ExitCode {
    let found = match args.subject.find(false) {
        Ok(found) => found,
        Err(error) => return fail(error),
    };
    let (lines, runs) = (lines(&found), runs(&found));
    if args.json {
        println!("{}", serde_json::json!({ "releases": lines, "runs": runs }));
    } else {
        print!("{}{}", text(&lines), runs_text(&runs));
    }
    ExitCode::SUCCESS
}

fn lines(found: &Found) -> Vec<Line<'_>> {
    let known = found.known();
    let meant = |container: &str| known.container.is_none_or(|only| only.name == container);
    let own = || {
        found.history.iter().filter(|one| {
            let release = &one.released.release;
            release.app == known.app.name && meant(&release.container)
        })
    };
    own()
        .map(|one| {
            let release = &one.released.release;
            let later =
                own().any(|other| other.number > one.number && other.released.release.container == release.container);
            Line {
                number: one.number,
                since: format!("{:.0}", one.released.since),
                container: &release.container,
                image: &release.image,
                digest: &release.digest,
                revision: &release.revision,
                current: !later,
            }
        })
        .collect()
}

fn runs(found: &Found) -> Vec<Run<'_>> {
    let known = found.known();
    let meant = |container: &str| known.container.is_none_or(|only| only.name == container);
    let own = found.runs.iter().filter(|run| run.begun.turn.app == known.app.name && meant(&run.begun.turn.container));
    own.map(|run| Run {
        container: &run.begun.turn.container,
        due: format!("{:.0}", run.begun.turn.due),
        hostname: &run.begun.hostname,
        image: &run.begun.image,
        begun: format!("{:.0}", run.begun.at),
        outcome: run.ended.as_ref().map_or("running", |ended| ended.outcome.word()),
        exit_code: run.ended.as_ref().and_then(|ended| ended.exit_code),
        finished: run.ended.as_ref().map(|ended| format!("{:.0}", ended.finished)),
        words: run.ended.as_ref().map_or("", |ended| ended.words.trim()),
    })
    .collect()
}

/// The runs in columns, the last lines of what did not go well under each.
fn runs_text(runs: &[Run<'_>]) -> String {
    let mut out = String::new();
    if runs.is_empty() {
        return out;
    }
    let width = |of: &dyn Fn(&Run<'_>) -> usize| runs.iter().map(of).max().unwrap_or(0);
    let (names, hosts) = (width(&|run| run.container.len()).max(9), width(&|run| run.hostname.len()).max(8));
    let _ = writeln!(
        out,
        "\n  RUN OF                {:<names$}  {:<hosts$}  OUTCOME    CODE  FINISHED",
        "CONTAINER", "INSTANCE"
    );
    for run in runs {
        let code = run.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        let _ = writeln!(
            out,
            "  {:<20}  {:<names$}  {:<hosts$}  {:<9}  {code:>4}  {}",
            run.due,
            run.container,
            run.hostname,
            run.outcome,
            run.finished.as_deref().unwrap_or("-")
        );
        if !matches!(run.outcome, "running" | "succeeded") {
            for line in run.words.lines() {
                let _ = writeln!(out, "      {line}");
            }
        }
    }
    out
}

fn text(lines: &[Line<'_>]) -> String {
    if lines.is_empty() {
        return "no release is on record yet\n".to_owned();
    }
    let width = |of: &dyn Fn(&Line<'_>) -> usize| lines.iter().map(of).max().unwrap_or(0);
    let (names, images) = (width(&|line| line.container.len()).max(9), width(&|line| line.image.len()).max(5));
    let mut out = String::new();
    let _ = writeln!(
        out,
        "  RELEASE  SINCE                 {:<names$}  {:<images$}  DIGEST               REVISION",
        "CONTAINER", "IMAGE"
    );
    for line in lines {
        let mark = if line.current { '*' } else { ' ' };
        let digest = image::short(line.digest);
        let _ = writeln!(
            out,
            "{mark} {:>7}  {:<20}  {:<names$}  {:<images$}  {digest:<19}  {}",
            line.number, line.since, line.container, line.image, line.revision
        );
    }
    out.push_str("* the last of its container\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_stand_in_columns_with_the_last_of_each_container_marked() {
        let line = |number, container, current| Line {
            number,
            since: "2026-01-05T12:00:00Z".into(),
            container,
            image: "registry.example.com/shop/web:1.0",
            digest: "sha256:0123456789abcdef",
            revision: "r1",
            current,
        };
        let shown = text(&[line(3, "web", false), line(12, "haproxy-front", true)]);
        assert_eq!(
            shown,
            "  RELEASE  SINCE                 CONTAINER      IMAGE                              DIGEST               REVISION\n\
             \x20       3  2026-01-05T12:00:00Z  web            registry.example.com/shop/web:1.0  sha256:0123456789ab  r1\n\
             *      12  2026-01-05T12:00:00Z  haproxy-front  registry.example.com/shop/web:1.0  sha256:0123456789ab  r1\n\
             * the last of its container\n"
        );
        assert_eq!(text(&[]), "no release is on record yet\n");
    }

    #[test]
    fn runs_stand_in_columns_with_the_last_words_of_what_failed() {
        let run = |due, outcome, exit_code, words| Run {
            container: "clean",
            due,
            hostname: "docker1",
            image: "clean:1",
            begun: "2026-01-05T12:00:01Z".into(),
            outcome,
            exit_code,
            finished: exit_code.map(|_| "2026-01-05T12:00:09Z".into()),
            words,
        };
        let shown = runs_text(&[
            run("2026-01-05T11:00:00Z".into(), "failed", Some(1), "no space left"),
            run("2026-01-05T12:00:00Z".into(), "running", None, ""),
        ]);
        assert_eq!(
            shown,
            "\n  RUN OF                CONTAINER  INSTANCE  OUTCOME    CODE  FINISHED\n\
             \x20 2026-01-05T11:00:00Z  clean      docker1   failed        1  2026-01-05T12:00:09Z\n\
             \x20     no space left\n\
             \x20 2026-01-05T12:00:00Z  clean      docker1   running       -  -\n"
        );
        assert_eq!(runs_text(&[]), "");
    }
}
