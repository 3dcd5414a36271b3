//! `evenkeel rollback`

use std::process::ExitCode;

use super::operate::{Patience, Subject};

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel rollback shop\n  \
    evenkeel rollback shop/web --to 1.0 --wait\n\n\
    The image goes back, instance by instance and drained like any release; everything else stays as the manifest \
    declares it. That holds until the manifest names another image, the tag stands for a newer one, or evenkeel deploy \
    ends it. Of a whole app, what changed last goes back.")]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    /// The release to go back to: its number in evenkeel history, the beginning of its digest, or its tag. Left out, the
    /// one before the present one.
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

/// Asks for it.
pub async fn run(args: &Args) -> ExitCode {
    args.subject.ask(Some(&args.patience), |known| known.rollback(args.to.as_deref())).await
}
