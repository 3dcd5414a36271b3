//! `evenkeel logs`

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    fail,
    replicas::{Replica, Replicas, Whose},
};
use crate::docker::{Line, Wanted};

/// How often it is looked for containers that are new.
const LOOK: Duration = Duration::from_secs(2);

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel logs shop/web --tail 50\n  \
    evenkeel logs shop/web1 --instance docker2 --since 10m\n  \
    evenkeel logs 'amazing application' --follow\n\n\
    Every replica on every instance is asked, what is kept aside and what ran once included. Lines of several containers \
    begin with INSTANCE/NAME. With --follow those that a rollout makes are followed too.")]
pub struct Args {
    #[command(flatten)]
    whose: Whose,
    /// Only the last lines of each container.
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
    /// Only what was said in this time, as 90s, 10m or 2h; or since a moment, as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Begin each line with its time.
    #[arg(long, short)]
    timestamps: bool,
    /// Go on with what is said from now on, until it is interrupted.
    #[arg(long, short)]
    follow: bool,
}

fn since(text: &str) -> Result<Timestamp, String> {
    let ago = text.parse::<SignedDuration>().ok().and_then(|ago| Timestamp::now().checked_sub(ago).ok());
    ago.or_else(|| text.parse().ok())
        .ok_or_else(|| "neither a time as 90s, 10m or 2h nor a moment as 2026-01-31T12:00:00Z".to_owned())
}

/// Prints what containers say.
pub async fn run(args: &Args) -> ExitCode {
    let replicas = match args.whose.find() {
        Ok(replicas) => replicas,
        Err(error) => return fail(error),
    };
    tokio::select! {
        code = print(args, &replicas) => code,
        _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
    }
}

async fn print(args: &Args, replicas: &Replicas) -> ExitCode {
    let (found, troubles) = replicas.look().await;
    for trouble in &troubles {
        eprintln!("error: {trouble}");
    }
    if found.is_empty() && !args.follow {
        return fail(format!("there is no container of {}; evenkeel status shows what there is", replicas.words()));
    }
    let mut wanted = Wanted { tail: args.tail, since: args.since, timestamps: args.timestamps, follow: args.follow };
    let named = args.follow || found.len() > 1;
    let mut readers = JoinSet::new();
    let (sender, mut lines) = mpsc::channel(256);
    let mut known = BTreeSet::new();
    let mut begin = |readers: &mut JoinSet<_>, found: Vec<Replica>, wanted: &Wanted| {
        for replica in found.into_iter().filter(|replica| known.insert(replica.id.clone())) {
            let (engines, wanted, sender) = (replicas.engines.clone(), wanted.clone(), sender.clone());
            readers.spawn(async move {
                let (piece, mut pieces) = mpsc::channel(64);
                let prefix =
                    if named { format!("{}/{} | ", replica.node.hostname, replica.name) } else { String::new() };
                let pass_on = async {
                    while let Some(line) = pieces.recv().await {
                        if sender.send((prefix.clone(), line)).await.is_err() {
                            break;
                        }
                    }
                };
                let (read, ()) = tokio::join!(engines.logs(&replica.node, &replica.id, &wanted, piece), pass_on);
                read.map_err(|trouble| format!("{}: {}", replica.name, trouble.message))
            });
        }
    };
    begin(&mut readers, found, &wanted);
    // What comes later is told from its beginning.
    (wanted.tail, wanted.since) = (None, None);
    let mut again = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
    let mut failed = !troubles.is_empty();
    loop {
        tokio::select! {
            biased;
            Some((prefix, line)) = lines.recv() => {
                if write(&prefix, &line).is_err() {
                    // Nobody reads it any more: a pager was closed.
                    return ExitCode::SUCCESS;
                }
            }
            ended = readers.join_next(), if !readers.is_empty() => {
                if let Some(Ok(Err(trouble))) = ended {
                    eprintln!("error: {trouble}");
                    failed = true;
                }
            }
            _ = again.tick(), if args.follow => begin(&mut readers, replicas.look().await.0, &wanted),
            else => break,
        }
        if !args.follow && readers.is_empty() && lines.is_empty() {
            break;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn write(prefix: &str, line: &Line) -> io::Result<()> {
    let whole = [prefix.as_bytes(), &line.text, b"\n"].concat();
    if line.is_error { io::stderr().write_all(&whole) } else { io::stdout().write_all(&whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_by_how_long_ago_it_was_or_as_a_moment() {
        let ago = since("10m").unwrap();
        assert!((Timestamp::now().as_second() - ago.as_second() - 600).abs() < 5);
        assert_eq!(since("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
        assert!(since("yesterday").unwrap_err().contains("10m"));
    }
}
