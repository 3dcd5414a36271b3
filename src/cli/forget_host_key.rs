//! `evenkeel forget-host-key`

use std::{path::PathBuf, process::ExitCode};

use super::fail;
use crate::store::Store;

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel forget-host-key i-0123456789abcdef0\n  \
    evenkeel forget-host-key i-0123456789abcdef0 --state /srv/evenkeel\n\n\
    An instance that is reached over SSH is pinned to the host key that it showed first. Forget it only when you know \
    why the key changed; the next one that it shows is then pinned. A controller that is running takes it up by itself.")]
pub struct Args {
    /// The instance's EC2 id.
    instance: String,
    /// Directory of the controller's store.
    #[arg(long, value_name = "DIR", env = "EVENKEEL_STATE", default_value = "/var/lib/evenkeel")]
    state: PathBuf,
}

/// Forgets, and prints what that was.
pub fn run(args: &Args) -> ExitCode {
    let state = args.state.display();
    // A store that is not there is not made: the name of its directory is wrong then.
    match Store::open_existing(&args.state) {
        Ok(Some(_)) => {}
        Ok(None) => return fail(format!("there is no store in {state}: name the controller's directory with --state")),
        Err(error) => return fail(error),
    }
    match Store::open(&args.state).and_then(|store| store.forget_host_key(&args.instance)) {
        Ok(Some(pinned)) => {
            println!("{} is no longer pinned to {} (since {:.0})", args.instance, pinned.fingerprint, pinned.since);
            ExitCode::SUCCESS
        }
        Ok(None) => fail(format!("{} is pinned to no host key in {state}", args.instance)),
        Err(error) => fail(error),
    }
}
