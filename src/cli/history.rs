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
    A release begins when what a container's image stands for is put on record, before any instance runs it.")]
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

/// Prints the releases that are on record.
pub fn run(args: &Args) -> ExitCode {
    let found = match args.subject.find(false) {
        Ok(found) => found,
        Err(error) => return fail(error),
    };
    let lines = lines(&found);
    if args.json {
        println!("{}", serde_json::json!({ "releases": lines }));
    } else {
        print!("{}", text(&lines));
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
}
