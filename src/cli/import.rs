//! `evenkeel import`: from a Stack JSON to manifests.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    path::Path,
    process::ExitCode,
};

use clap::ValueEnum;

use super::diagnostics::{self, Style, count};
use crate::{
    import::{Imported, Kind, Note, Options, import},
    spec::{File, stack::Provider},
};

/// Prints manifests that say what a Stack JSON says, as the Docker cookbook for OpsWorks took it.
///
/// What changed its meaning, was replaced or needs a decision is listed on standard error, and stands beside the place in
/// the manifests as a comment. What is printed passes `evenkeel validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel import deploy/examples/stack.json --stack-from deploy/examples/aws.json > shop.yaml
  evenkeel import stack.json --stack-from aws.json --provider ec2 > shop.yaml
  evenkeel import stack.json --stack-from stack.yaml > shop.yaml

The AWS side is what these print, in one file, one after the other or merged into one object:
  aws opsworks describe-stacks --stack-ids ID
  aws opsworks describe-layers --stack-id ID            (likewise describe-instances, -apps,
                                   -elastic-load-balancers, -rds-db-instances)
Without it a stack is made up and suspended, with what there is to fill in marked.

Exit codes: 0 the manifests are printed, 1 a file could not be read or is wrong.")]
pub struct Args {
    /// The Stack JSON; `-` is standard input.
    #[arg(value_name = "STACK.json")]
    stack_json: String,
    /// The AWS side: what `aws opsworks describe-…` printed, or the manifest of a stack.
    #[arg(long, value_name = "FILE")]
    stack_from: Option<String>,
    /// Who is to run the instances [default: opsworks, or what the stack's manifest says].
    #[arg(long, value_enum)]
    provider: Option<Runs>,
    /// The stack's name, where the AWS side has several or there is none.
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// The layer's short name, where it has several or there is none.
    #[arg(long, value_name = "SHORTNAME")]
    layer: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Runs {
    Opsworks,
    Ec2,
}

/// Prints manifests, and what there is to know of them.
pub fn run(args: &Args) -> ExitCode {
    match outcome(args) {
        Ok((manifests, notes)) => {
            // Whoever reads it may have heard enough (`| head`).
            if std::io::stdout().lock().write_all(manifests.as_bytes()).is_err() {
                return ExitCode::FAILURE;
            }
            eprint!("{notes}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{}", problem.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// What is printed, and what is told beside it.
fn outcome(args: &Args) -> Result<(String, String), String> {
    let unread = |problem: String| format!("error: {problem}");
    let json = read(&args.stack_json).map_err(unread)?;
    let from = args.stack_from.as_deref().map(read).transpose().map_err(unread)?;
    let provider = args.provider.map(|provider| match provider {
        Runs::Opsworks => Provider::Opsworks,
        Runs::Ec2 => Provider::Ec2,
    });
    let options = Options { provider, stack: args.stack.clone(), layer: args.layer.clone() };
    match import(json, from, &options) {
        Ok(Imported { manifests, notes }) => Ok((manifests, told(&notes))),
        Err(problems) => Err(diagnostics::render(&problems, Style::of_stderr())),
    }
}

fn read(path: &str) -> Result<File, String> {
    if path == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        return read.map(|_| File::new("(standard input)", bytes)).map_err(|error| format!("standard input: {error}"));
    }
    match std::fs::read(path) {
        Ok(bytes) => Ok(File::new(path, bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(format!("{path} does not exist")),
        Err(_) if Path::new(path).is_dir() => Err(format!("{path} is a directory: name the file in it")),
        Err(error) => Err(format!("{path} cannot be read: {error}")),
    }
}

/// A line for each, and how many of which kind there are.
fn told(notes: &[Note]) -> String {
    let mut text = String::new();
    for note in notes {
        let _ = writeln!(text, "{note}");
    }
    if notes.is_empty() {
        return text;
    }
    let of_kind = |kind: &Kind| match (notes.iter().filter(|note| note.kind == *kind).count(), kind) {
        (0, _) => None,
        (number, Kind::Decide) => Some(format!("{number} to decide")),
        (number, kind) => Some(format!("{number} {kind}")),
    };
    let kinds: Vec<String> = Kind::ALL.iter().filter_map(of_kind).collect();
    text + &format!("{}: {}; comments in the manifests say so too\n", count(notes.len(), "note"), kinds.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(stack_json: &str) -> Args {
        Args { stack_json: stack_json.to_owned(), stack_from: None, provider: None, stack: None, layer: None }
    }

    #[test]
    fn the_examples_of_the_help_are_there_and_come_out_with_notes() {
        let file = |path: &str| format!("{}/deploy/examples/{path}", env!("CARGO_MANIFEST_DIR"));
        let args = Args { stack_from: Some(file("aws.json")), provider: Some(Runs::Ec2), ..args(&file("stack.json")) };
        let (manifests, notes) = outcome(&args).unwrap();
        assert!(manifests.contains("\n  provider: ec2\n"), "{manifests}");
        let last = notes.lines().last().unwrap();
        assert!(last.contains(" to decide, ") && last.contains(" changed, ") && last.contains(" replaced, "), "{last}");
    }

    #[test]
    fn what_there_is_to_know_is_told_line_by_line_and_counted() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("shop.json");
        let json = r#"{"deploy": {"shop": {"containers": [{"app": {"image": "x", "deploy": "auto", "prots": []}}]}}}"#;
        std::fs::write(&path, json).unwrap();
        let path = path.display().to_string();
        let (manifests, notes) = outcome(&Args { layer: Some("web".into()), ..args(&path) }).unwrap();
        assert!(manifests.contains("metadata: {name: shop}\n") && manifests.contains("  layer: web\n"), "{manifests}");
        let lines: Vec<&str> = notes.lines().collect();
        assert!(lines[0].starts_with(&format!("{path}:1:2: decide: a Stack JSON does not tell of the AWS side")));
        assert!(
            lines[1].starts_with(&format!("{path}:1:78: left out: `deploy.shop.containers.app.prots` is not known"))
        );
        assert_eq!(lines[2..], ["2 notes: 1 to decide, 1 left out; comments in the manifests say so too"]);
    }

    #[test]
    fn what_is_wrong_is_shown_in_its_line() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("shop.json");
        std::fs::write(&path, "{\"deploy\": {\n  \"shop\": {\"containers\": 1}}}").unwrap();
        let told = outcome(&args(&path.display().to_string())).unwrap_err();
        assert!(told.contains("shop.json:2:26]") && told.contains("expected a list of containers"), "{told}");
        assert!(told.ends_with("1 problem in 1 file\n"), "{told}");
    }

    #[test]
    fn what_is_not_there_is_told_by_its_name() {
        assert_eq!(outcome(&args("/nowhere/stack.json")).unwrap_err(), "error: /nowhere/stack.json does not exist");
        assert!(outcome(&args("/")).unwrap_err().contains("/ is a directory"));
    }
}
