//! `evenkeel status`

use std::{process::ExitCode, time::Duration};

use super::{fail, show};
use crate::{
    controller::lease,
    store::{Store, StoreError},
};

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel status\n  \
    evenkeel status --watch\n  \
    evenkeel status --json | jq -r '.stacks[] | .stack + \" \" + .phase'")]
pub struct Args {
    /// Only this stack.
    stack: Option<String>,
    /// Directory of the running controller's store.
    #[arg(long, value_name = "DIR", env = "EVENKEEL_STATE", default_value = "/var/lib/evenkeel")]
    state: std::path::PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Show it again every second until interrupted.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// How many of the last events to show.
    #[arg(long, value_name = "N", default_value_t = 5)]
    events: u32,
}

/// Prints what the controller wrote down last.
pub async fn run(args: &Args) -> ExitCode {
    loop {
        let text = match text(args) {
            Ok(Some(text)) => text,
            Ok(None) => {
                return fail(format!(
                    "there is no store in {}: start a controller with evenkeel run --state {}, or name its directory \
                     with --state",
                    args.state.display(),
                    args.state.display()
                ));
            }
            Err(error) => return fail(error),
        };
        if args.watch {
            // Clears the screen and goes home, as `watch` does.
            print!("\x1b[2J\x1b[H");
        }
        println!("{}", text.trim_end());
        if !args.watch {
            return ExitCode::SUCCESS;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn text(args: &Args) -> Result<Option<String>, StoreError> {
    let Some(store) = Store::open_existing(&args.state)? else { return Ok(None) };
    let mut statuses = store.statuses()?;
    if let Some(only) = &args.stack {
        statuses.retain(|status| &status.stack == only);
    }
    let controller = lease::holder(&args.state);
    if args.json {
        let calls = store.calls()?;
        return Ok(Some(
            serde_json::json!({ "controller": controller, "stacks": statuses, "calls": calls }).to_string(),
        ));
    }
    let mut out = String::new();
    if controller.is_none() {
        out.push_str("no controller is running with this store: this is how things were when one last looked\n");
    }
    for status in &statuses {
        out.push_str(&show::status_text(status, &store.events(&status.stack, args.events)?));
    }
    if statuses.is_empty() {
        out.push_str("no stack has been looked at yet\n");
    }
    Ok(Some(out))
}
