//! `evenkeel exec`

use std::{
    io::{self, Read, Write},
    process::ExitCode,
    thread,
};

use jiff::Timestamp;
use tokio::{
    io::AsyncWriteExt,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    fail,
    replicas::{Replica, Replicas, Whose},
    terminal,
};
use crate::{
    docker::{Command, Said, Session},
    status::Event,
};

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    evenkeel exec shop/web -- env\n  \
    evenkeel exec shop/web1 --instance docker2 -it -- sh\n  \
    evenkeel exec shop/web -i -- psql < fix.sql\n\n\
    Without an index and an instance the first replica that runs is taken, and named on standard error. The exit code is that of \
    the command. That somebody did it is an event of the stack (evenkeel status); what was called is not told there.")]
pub struct Args {
    #[command(flatten)]
    whose: Whose,
    /// Pass standard input on.
    #[arg(long, short)]
    interactive: bool,
    /// Give it a terminal; standard input and output must be one.
    #[arg(long, short)]
    tty: bool,
    /// As whom; left out, as the container's user.
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// In which directory.
    #[arg(long, short = 'w', value_name = "DIR")]
    workdir: Option<String>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs a command in a container.
pub async fn run(args: &Args) -> ExitCode {
    match attempt(args).await {
        Ok(code) => code,
        Err(error) => fail(error),
    }
}

async fn attempt(args: &Args) -> Result<ExitCode, String> {
    if args.tty && !terminal::is_there() {
        return Err("--tty wants a terminal, and standard input or output is none: leave it out".into());
    }
    let replicas = args.whose.find()?;
    let replica = pick(&replicas).await?;
    let command = Command {
        words: args.command.clone(),
        input: args.interactive,
        terminal: args.tty.then(terminal::size),
        user: args.user.clone(),
        directory: args.workdir.clone(),
    };
    let event = Event {
        stack: replicas.found.status().stack.clone(),
        at: Timestamp::now(),
        text: format!("somebody runs a command in {}/{}", replica.node.hostname, replica.name),
    };
    replicas.found.store().add_event(&event).map_err(|error| error.to_string())?;
    let session = replicas.engines.exec(&replica.node, &replica.id, &command).await;
    let mut session = session.map_err(|trouble| format!("{}: {}", replica.name, trouble.message))?;
    let raw = args.tty.then(terminal::Raw::new).transpose().map_err(|error| format!("the terminal: {error}"))?;
    if let Some((rows, columns)) = command.terminal {
        // Engines before API 1.42 take no size when a command is made.
        session.resize(rows, columns).await;
    }
    let passed = pass(&mut session, args).await;
    drop(raw);
    passed?;
    let code = session.exit_code().await.map_err(|trouble| trouble.message)?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The container that is meant.
async fn pick(replicas: &Replicas) -> Result<Replica, String> {
    let (found, troubles) = replicas.look().await;
    let running: Vec<Replica> = found.iter().filter(|one| one.runs && one.serves).cloned().collect();
    let named = |one: &Replica| format!("{}/{}", one.node.hostname, one.name);
    match running.first() {
        Some(first) if running.len() == 1 => Ok(first.clone()),
        Some(first) => {
            eprintln!("in {}, one of {}", named(first), running.iter().map(named).collect::<Vec<_>>().join(", "));
            Ok(first.clone())
        }
        None if troubles.is_empty() => {
            Err(format!("no container of {} runs; evenkeel logs tells what they said last", replicas.words()))
        }
        None => Err(troubles.join("; ")),
    }
}

/// Passes on what is said to either side, until the command is over.
async fn pass(session: &mut Session, args: &Args) -> Result<(), String> {
    let mut input = args.interactive.then(standard_input);
    let mut resized = signal(SignalKind::window_change()).map_err(|error| error.to_string())?;
    loop {
        tokio::select! {
            said = session.next() => match said {
                None => return Ok(()),
                Some(Ok(said)) => {
                    let written = match said {
                        Said::Out(bytes) => io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()),
                        Said::Error(bytes) => io::stderr().write_all(&bytes),
                    };
                    if written.is_err() {
                        // Nobody reads it any more.
                        return Ok(());
                    }
                }
                Some(Err(trouble)) => return Err(trouble.message),
            },
            typed = next(&mut input), if input.is_some() => {
                let sent = match &typed {
                    Some(bytes) => session.input.write_all(bytes).await,
                    None => session.input.shutdown().await,
                };
                // One that reads no more may still have something to say.
                if typed.is_none() || sent.is_err() {
                    input = None;
                }
            }
            Some(()) = resized.recv(), if args.tty => {
                let (rows, columns) = terminal::size();
                session.resize(rows, columns).await;
            }
        }
    }
}

async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    input.as_mut()?.recv().await
}

/// What is typed. A thread of its own reads it: nothing else can end while a read of a terminal waits for a key.
fn standard_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(read) = io::stdin().read(&mut buffer) {
            if read == 0 || sender.blocking_send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
