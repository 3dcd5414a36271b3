//! `evenkeel pause` and `evenkeel resume`

use std::process::ExitCode;

use super::operate::{Patience, Subject};

/// Options of `pause`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel pause shop\n\n\
    No healthy container of the app is taken away for another, and no migration is begun; an instance that is half done \
    is finished. What dies comes back all the same, and new instances are filled.")]
pub struct Pause {
    #[command(flatten)]
    subject: Subject,
}

/// Options of `resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel resume shop --wait")]
pub struct Resume {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    patience: Patience,
}

/// Asks for a pause.
pub async fn pause(args: &Pause) -> ExitCode {
    args.subject.ask(None, |known| known.pause()).await
}

/// Asks to go on.
pub async fn resume(args: &Resume) -> ExitCode {
    args.subject.ask(Some(&args.patience), |known| known.resume()).await
}
