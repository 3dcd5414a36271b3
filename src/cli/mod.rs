//! The commands, one file each.

mod apply;
mod certs;
mod deploy;
mod diagnostics;
mod exec;
mod forget_host_key;
mod history;
mod import;
mod logs;
mod operate;
mod pause;
mod plan;
mod reach;
mod replicas;
mod rollback;
mod run;
mod show;
mod status;
mod terminal;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps Docker apps running on a fleet of AWS instances, and swaps their containers without losing a request.
#[derive(Debug, Parser)]
#[command(
    name = "evenkeel",
    version,
    propagate_version = true,
    max_term_width = 110,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        evenkeel validate deploy/examples/shop.yaml\n  \
        evenkeel plan deploy/examples/shop.yaml\n  \
        evenkeel run --source https://git.example.com/ops/stacks.git\n  \
        evenkeel status --watch"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reconcile for ever: follow a directory or a git repository and keep everything as it declares.
    Run(run::Args),
    /// Check manifests without touching anything.
    Validate(validate::Args),
    /// Show every change that would be made, in order, and what each waits for. Changes nothing.
    Plan(plan::Args),
    /// Make the changes, show them as they go, and end when everything is as declared.
    Apply(apply::Args),
    /// Show how the stacks are.
    Status(status::Args),
    /// Roll out what is declared: try again what failed, replace what is deployed by hand, end a rollback.
    Deploy(deploy::Args),
    /// Run an earlier release.
    Rollback(rollback::Args),
    /// Show the releases of an app.
    History(history::Args),
    /// Take no healthy container of an app away until it is resumed.
    Pause(pause::Pause),
    /// Let the rollouts of an app go on.
    Resume(pause::Resume),
    /// Show what the containers of an app have said.
    Logs(logs::Args),
    /// Run a command in a container.
    Exec(exec::Args),
    /// Translate a Stack JSON of OpsWorks into manifests.
    Import(import::Args),
    /// Make the certificates that the controller and the Docker engines show each other.
    Certs(certs::Args),
    /// Let an instance that is reached over SSH show another host key.
    ForgetHostKey(forget_host_key::Args),
}

/// Runs the command that was asked for.
pub async fn main(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(args) => run::run(args).await,
        Command::Validate(args) => validate::run(args).await,
        Command::Plan(args) => plan::run(args).await,
        Command::Apply(args) => apply::run(args).await,
        Command::Status(args) => status::run(&args).await,
        Command::Deploy(args) => deploy::run(&args).await,
        Command::Rollback(args) => rollback::run(&args).await,
        Command::History(args) => history::run(&args),
        Command::Pause(args) => pause::pause(&args).await,
        Command::Resume(args) => pause::resume(&args).await,
        Command::Logs(args) => logs::run(&args).await,
        Command::Exec(args) => exec::run(&args).await,
        Command::Import(args) => import::run(&args),
        Command::Certs(args) => certs::run(args).await,
        Command::ForgetHostKey(args) => forget_host_key::run(&args),
    }
}

/// Something a command could not do; one message for the person who called it.
fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}
