//! `evenkeel run`

use std::{process::ExitCode, sync::Arc, time::Duration};

use super::{
    diagnostics::{self, Style},
    fail,
    reach::{From, Reach, Tools},
};
use crate::{
    controller::{
        Controller,
        pace::Pace,
        report::{News, Reporter},
    },
    source::{Source, SourceError},
    status::{Condition, Kind},
};

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel run --source https://git.example.com/ops/stacks.git --branch main --path production\n  \
    evenkeel run --source ./manifests --docker-certs ~/.docker/shop\n\n\
    AWS credentials come from where the AWS tools look for them: the environment, the profile, the container's \
    or the instance's role.")]
pub struct Args {
    /// A directory (watched) or a git URL (polled) with the manifests.
    #[arg(long, value_name = "DIR|GIT-URL")]
    source: String,
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    reach: Reach,
    /// Seconds between two looks at a git repository.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    git_poll: u64,
    /// Seconds between two full looks at a stack that is as declared.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    resync: u64,
    /// Seconds between two looks at the values that manifests refer to (`{ssm: …}`, …). Reading Secrets Manager costs.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    secrets_poll: u64,
}

/// News as log lines.
struct Log;

impl Reporter for Log {
    fn news(&self, stack: &str, news: &News) {
        match news {
            News::Failed(..) | News::Condition(_) => tracing::warn!(stack, "{news}"),
            News::Progress(_) => tracing::debug!(stack, "{news}"),
            News::Waiting { new, .. } => new.iter().for_each(|hold| tracing::info!(stack, "{hold}")),
            _ => tracing::info!(stack, "{news}"),
        }
    }
}

/// Runs until it is told to stop.
pub async fn run(args: Args) -> ExitCode {
    let Tools { lease, store, ports } = match args.reach.tools() {
        Ok(tools) => tools,
        Err(error) => return fail(error),
    };
    let source = match args.reach.source(&args.source, &args.from, Duration::from_secs(args.git_poll.max(1))) {
        Ok(source) => source,
        Err(error) => return fail(error),
    };
    let pace = Pace {
        resync: Duration::from_secs(args.resync.max(1)),
        secrets: Duration::from_secs(args.secrets_poll.max(1)),
        ..Pace::default()
    };
    tracing::info!(source = args.source, state = %args.reach.state.display(), "evenkeel {}", env!("CARGO_PKG_VERSION"));
    let controller = Controller::new(ports, store, Arc::new(Log), pace);
    tokio::select! {
        () = follow(source, controller.clone()) => {}
        () = controller.clone().work() => {}
        () = controller.clone().listen() => {}
        () = told_to_stop() => {}
    }
    tracing::info!("stopping: what is under way is given a moment to finish; nothing that serves is touched");
    controller.stop().await;
    drop(lease);
    ExitCode::SUCCESS
}

/// A new revision is taken up; one that cannot be is reported, and the last good one goes on being reconciled.
async fn follow(mut source: Source, controller: Arc<Controller>) {
    loop {
        match source.load().await {
            Ok(revision) => {
                controller.set(revision.manifests).await;
                controller.set_source_conditions(Vec::new());
            }
            Err(SourceError::Invalid { revision, problems }) => {
                eprint!("{}", diagnostics::render(&problems, Style::of_stderr()));
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                let message = format!(
                    "revision {revision} was refused, {} problem(s), the first: {first}; correct it and commit again",
                    problems.len()
                );
                tracing::warn!("{message}");
                controller.set_source_conditions(vec![Condition {
                    kind: Kind::InvalidRevision,
                    subject: "source".into(),
                    message,
                }]);
            }
            Err(error) => {
                tracing::warn!("{error}");
                controller.set_source_conditions(vec![Condition {
                    kind: Kind::SourceUnavailable,
                    subject: "source".into(),
                    message: error.to_string(),
                }]);
            }
        }
        source.changed().await;
    }
}

/// SIGTERM, as `docker stop` sends it, or Ctrl-C.
pub(super) async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
