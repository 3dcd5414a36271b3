//! `evenkeel validate`: are these manifests good?

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use super::diagnostics::{self, Style, count};
use crate::{
    source::{Source, SourceError},
    spec::Manifests,
};

/// Checks manifests without touching anything: no AWS, no engine, no store.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel validate manifests/
  evenkeel validate shop.yaml
  evenkeel validate https://example.com/ops.git --branch main --path stacks

Exit codes: 0 the manifests are good, 1 they are not or could not be read.")]
pub struct Args {
    /// A directory, a file, or a git URL.
    #[arg(value_name = "PATH")]
    pub source: String,
    /// The branch of a git repository [default: the repository's own].
    #[arg(long)]
    pub branch: Option<String>,
    /// Where the manifests are below the root.
    #[arg(long)]
    pub path: Option<String>,
}

/// Prints what is declared, or every problem with its place.
pub async fn run(args: Args) -> ExitCode {
    // A single question leaves no copy of the repository behind.
    let cache = std::env::temp_dir().join(format!("evenkeel-validate-{}", std::process::id()));
    let outcome = check(&args, cache.clone()).await;
    let _ = std::fs::remove_dir_all(&cache);
    match outcome {
        Ok(declared) => {
            print!("{declared}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{}", problem.trim_end());
            ExitCode::FAILURE
        }
    }
}

async fn check(args: &Args, cache: PathBuf) -> Result<String, String> {
    let mut source = Source::parse(&args.source, args.branch.as_deref(), args.path.as_deref(), cache)?;
    match source.load().await {
        Ok(revision) => Ok(declared(&revision.manifests)),
        Err(SourceError::Invalid { problems, .. }) => Err(diagnostics::render(&problems, Style::of_stderr())),
        Err(error) => Err(format!("error: {error}")),
    }
}

/// What the manifests declare: a line per stack, layer and app.
fn declared(manifests: &Manifests) -> String {
    let mut text = String::new();
    let (mut apps, mut containers) = (0, 0);
    for desired in manifests.values() {
        let stack = &desired.stack;
        let suspended = if stack.suspend { ", suspended" } else { "" };
        let _ = writeln!(text, "stack {} ({}{suspended})", stack.name, stack.region);
        for layer in &stack.layers {
            let instances = match &layer.instances.scaling {
                Some(scaling) => format!("{} to {}", scaling.min, count(scaling.max as usize, "instance")),
                None => count(layer.instances.count as usize, "instance"),
            };
            let balancers: Vec<&str> = layer.load_balancers.iter().map(|balancer| balancer.name()).collect();
            let behind = if balancers.is_empty() { String::new() } else { format!(" behind {}", balancers.join(", ")) };
            let kind = &layer.instances.instance_type;
            let _ = writeln!(text, "  layer {}: {instances} of {kind}{behind}", layer.short_name);
            for app in desired.apps.iter().filter(|app| app.layer == layer.short_name) {
                apps += 1;
                containers += app.containers.len();
                if !app.is_docker() {
                    let _ = writeln!(text, "    app {}: left alone, without APP_TYPE: docker", app.name);
                    continue;
                }
                let names = app.containers.iter().map(|container| match container.replicas {
                    1 => container.name.clone(),
                    replicas => format!("{} ×{replicas}", container.name),
                });
                let names: Vec<String> = names.collect();
                let _ = writeln!(text, "    app {}: {}", app.name, names.join(", "));
            }
        }
    }
    let totals = [count(manifests.len(), "stack"), count(apps, "app"), count(containers, "container")];
    let _ = writeln!(text, "valid: {}", totals.join(", "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{File, validate};

    #[test]
    fn what_is_declared_is_told_stack_by_stack() {
        let shop = include_bytes!("../spec/decode/shop.yaml").to_vec();
        let manifests = validate::load("r", vec![File::new("shop.yaml", shop)]).unwrap();
        insta::assert_snapshot!(declared(&manifests), @"
    stack shop (eu-west-1)
      layer docker: 2 instances of t3.medium behind shop
        app amazing application: redis, app ×2, haproxy, agent
    valid: 1 stack, 1 app, 4 containers
    ");
    }

    #[tokio::test]
    async fn bad_manifests_and_missing_ones_are_told_apart() {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::write(dir.path().join("a.yaml"), "kind: Stak\n").unwrap();
        let args = |source: String| Args { source, branch: None, path: None };
        let bad = check(&args(dir.path().display().to_string()), dir.path().join("c")).await.unwrap_err();
        assert!(bad.ends_with("4 problems in 1 file\n"), "{bad}");
        let missing = check(&args("/nowhere".to_owned()), dir.path().join("c")).await.unwrap_err();
        assert_eq!(missing, "error: /nowhere does not exist");
    }
}
