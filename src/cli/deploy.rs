//! `evenkeel deploy`

use std::process::ExitCode;

use super::operate::{Patience, Subject};

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel deploy shop\n  \
    evenkeel deploy shop/redis --wait\n\n\
    A release that failed, or whose migration failed, is tried again. A container that is deployed by hand \
    (deploy: manual) is replaced this once, by what its tag stands for now; it must be named. What was rolled back goes \
    forward again.")]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    patience: Patience,
}

/// Asks for it.
pub async fn run(args: &Args) -> ExitCode {
    args.subject.ask(Some(&args.patience), |known| Ok(known.deploy())).await
}
