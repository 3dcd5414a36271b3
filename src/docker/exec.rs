//! Commands in a container that runs: somebody's, and questions that only a container can answer.

use std::{pin::Pin, time::Duration};

use bollard::{
    container::LogOutput,
    errors::Error,
    exec::{ResizeExecOptions, StartExecOptions, StartExecResults},
    models::ExecConfig,
};
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWrite;

use super::{Engines, transport::Client, trouble};
use crate::{
    action::Node,
    world::{Class, Trouble},
};

/// How long the engine may take to begin, and to tell the end.
const LIMIT: Duration = Duration::from_secs(15);

/// What is run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Its standard input is passed on.
    pub input: bool,
    /// It gets a terminal, of so many rows and columns.
    pub terminal: Option<(u16, u16)>,
    /// As whom; left out, as the container's user.
    pub user: Option<String>,
    /// Where; left out, in the container's working directory.
    pub directory: Option<String>,
}

/// A part of what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// On standard output, or on its terminal.
    Out(Vec<u8>),
    /// On standard error.
    Error(Vec<u8>),
}

/// A command that runs.
pub struct Session {
    node: Node,
    id: String,
    client: Client,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>,
    /// What is written here it reads.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("node", &self.node).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Engines {
    /// Runs a command in a container.
    ///
    /// # Errors
    /// When the engine cannot be reached, or the container does not run.
    pub async fn exec(&self, node: &Node, container: &str, command: &Command) -> Result<Session, Trouble> {
        let config = ExecConfig {
            attach_stdin: Some(command.input),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(command.terminal.is_some()),
            console_size: command.terminal.map(|(rows, columns)| vec![rows.into(), columns.into()]),
            cmd: Some(command.words.clone()),
            user: command.user.clone(),
            working_dir: command.directory.clone(),
            ..ExecConfig::default()
        };
        let options = StartExecOptions { tty: command.terminal.is_some(), ..StartExecOptions::default() };
        self.transport
            .within(node, LIMIT, |client| async move {
                let failed = |error| trouble::of(node, &error);
                let id = client.docker.create_exec(container, config).await.map_err(failed)?.id;
                match client.docker.start_exec(&id, Some(options)).await.map_err(failed)? {
                    StartExecResults::Attached { output, input } => {
                        Ok(Session { node: node.clone(), id, client, output, input })
                    }
                    StartExecResults::Detached => Err(no_sense(node)),
                }
            })
            .await
    }
}

impl Session {
    /// What it says next; nothing once it is over.
    ///
    /// # Errors
    /// When the connection breaks; the command may go on then.
    pub async fn next(&mut self) -> Option<Result<Said, Trouble>> {
        let part = self.output.next().await?;
        Some(match part {
            Ok(LogOutput::StdErr { message }) => Ok(Said::Error(message.to_vec())),
            Ok(LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message }) => {
                Ok(Said::Out(message.to_vec()))
            }
            Err(error) => Err(trouble::of(&self.node, &error)),
        })
    }

    /// Its terminal has another size now.
    pub async fn resize(&self, rows: u16, columns: u16) {
        let size = ResizeExecOptions { height: rows, width: columns };
        // It may be over; what it draws is nothing to fail for.
        let _ = self.client.docker.resize_exec(&self.id, size).await;
    }

    /// How it ended.
    ///
    /// # Errors
    /// When the engine does not tell.
    pub async fn exit_code(&self) -> Result<i64, Trouble> {
        let asked = tokio::time::timeout(LIMIT, self.client.docker.inspect_exec(&self.id));
        let told = asked.await.map_err(|_| trouble::no_answer(&self.node, LIMIT))?;
        told.map_err(|error| trouble::of(&self.node, &error))?.exit_code.ok_or_else(|| no_sense(&self.node))
    }
}

/// What a command in a container prints on standard output; nothing where that is more than so many bytes. The caller limits
/// the time.
pub(super) async fn answer(client: &Client, id: &str, command: &[&str], most: usize) -> Result<Option<String>, Error> {
    let cmd = command.iter().map(|word| (*word).to_owned()).collect();
    let config = ExecConfig { attach_stdout: Some(true), cmd: Some(cmd), ..ExecConfig::default() };
    let exec = client.docker.create_exec(id, config).await?;
    let mut told = Vec::new();
    if let StartExecResults::Attached { mut output, .. } =
        client.docker.start_exec(&exec.id, None::<StartExecOptions>).await?
    {
        while let Some(part) = output.next().await {
            if let LogOutput::StdOut { message } = part? {
                told.extend_from_slice(&message);
            }
            if told.len() > most {
                return Ok(None);
            }
        }
    }
    Ok(Some(String::from_utf8_lossy(&told).into_owned()))
}

fn no_sense(node: &Node) -> Trouble {
    Trouble {
        class: Class::Transient,
        message: format!("the Docker engine of {} does not tell what became of the command", node.hostname),
    }
}
