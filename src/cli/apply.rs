//! `evenkeel apply`

use std::{collections::BTreeMap, io::IsTerminal, process::ExitCode, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::{
    fail,
    reach::{From, Reach, Tools, load},
    run::told_to_stop,
};
use crate::{
    controller::{
        Controller,
        pace::Pace,
        report::{News, Reporter},
    },
    status::{Phase, StackStatus},
};

/// How long a stack may be blocked before `apply` gives up on it; some blocks are over a moment later.
const BLOCKED_FOR: Duration = Duration::from_secs(5);

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel apply deploy/examples/shop.yaml\n  \
    evenkeel apply git+file:///srv/stacks.git --branch main --timeout 1800\n\n\
    Exit code 0: everything is as declared. 1: it is not, and the conditions printed last say why.")]
pub struct Args {
    /// A manifest, a directory of them, or a git URL.
    source: String,
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    reach: Reach,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,
}

/// News as lines, with what is waited for at the bottom of a terminal.
struct Lines {
    bar: ProgressBar,
    began: Instant,
}

impl Lines {
    fn new() -> Lines {
        let bar = if std::io::stdout().is_terminal() {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        Lines { bar, began: Instant::now() }
    }

    fn line(&self, stack: &str, text: &str) {
        let line = format!("{:>7.1}s  {stack}  {text}", self.began.elapsed().as_secs_f64());
        if self.bar.is_hidden() {
            println!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Reporter for Lines {
    fn news(&self, stack: &str, news: &News) {
        match news {
            News::Started(_) => {}
            News::Progress(text) => self.bar.set_message(text.clone()),
            News::Waiting { all, new } => {
                self.bar.set_message(all.join("; "));
                // A terminal shows it at the bottom, and only there.
                if self.bar.is_hidden() {
                    new.iter().for_each(|hold| self.line(stack, &format!("  … {hold}")));
                }
            }
            other => self.line(stack, &other.to_string()),
        }
    }
}

/// Works until every stack is as declared.
pub async fn run(args: Args) -> ExitCode {
    let revision = match args.reach.source(&args.source, &args.from, Duration::from_secs(30)) {
        Ok(mut source) => match load(&mut source).await {
            Ok(revision) => revision,
            Err(error) => return fail(error),
        },
        Err(error) => return fail(error),
    };
    let Tools { lease: _lease, store, ports } = match args.reach.tools() {
        Ok(tools) => tools,
        Err(error) => return fail(error),
    };
    let names: Vec<String> = revision.manifests.keys().cloned().collect();
    if names.is_empty() {
        return fail(format!("{} declares no stack: there is nothing to apply", args.source));
    }
    let lines = Arc::new(Lines::new());
    let controller = Controller::new(ports, store, lines.clone(), Pace::default());
    controller.set(revision.manifests).await;
    let outcome = tokio::select! {
        () = controller.clone().work() => Err("the work ended".to_owned()),
        () = told_to_stop() => Err("stopped; what is declared can be applied again at any time".to_owned()),
        outcome = settled(&controller, &names) => outcome,
        () = tokio::time::sleep(Duration::from_secs(args.timeout)) => {
            Err(format!("not as declared after {}s:\n{}", args.timeout, outlook(&controller.statuses())))
        }
    };
    lines.bar.finish_and_clear();
    controller.stop().await;
    match outcome {
        Ok(()) => {
            println!("{} as declared in revision {}", list(&names), revision.id);
            ExitCode::SUCCESS
        }
        Err(why) => fail(why),
    }
}

fn list(names: &[String]) -> String {
    match names {
        [one] => format!("stack {one} is"),
        many => format!("stacks {} are", many.join(", ")),
    }
}

/// Waits until each stack is either as declared or blocked for good.
async fn settled(controller: &Controller, names: &[String]) -> Result<(), String> {
    let mut blocked_since: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let statuses = controller.statuses();
        let mut open = 0;
        let mut blocked = 0;
        for name in names {
            match statuses.get(name).map(|status| status.phase) {
                Some(Phase::Converged | Phase::Suspended) => {}
                Some(Phase::Blocked) => {
                    let since = blocked_since.entry(name.clone()).or_insert_with(Instant::now);
                    if since.elapsed() >= BLOCKED_FOR {
                        blocked += 1;
                    } else {
                        open += 1;
                    }
                    continue;
                }
                _ => open += 1,
            }
            blocked_since.remove(name);
        }
        if open == 0 && blocked == 0 {
            return Ok(());
        }
        if open == 0 {
            return Err(format!("not everything is as declared:\n{}", outlook(&statuses)));
        }
    }
}

/// What stands in the way.
fn outlook(statuses: &BTreeMap<String, StackStatus>) -> String {
    let mut lines = Vec::new();
    for status in statuses.values().filter(|status| status.phase != Phase::Converged) {
        lines.extend(status.conditions.iter().map(|condition| format!("  {}: {condition}", status.stack)));
        lines.extend(status.holds.iter().map(|hold| format!("  {}: {hold}", status.stack)));
    }
    lines.join("\n")
}
