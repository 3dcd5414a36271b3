//! What a container has said, line by line.
//!
//! The engine tells it where the log driver can be read, or keeps a copy beside it ("Use docker logs to read container logs
//! for remote logging drivers", Docker manuals); with the driver `none` there is nothing.

use std::time::Duration;

use bollard::{container::LogOutput, errors::Error, query_parameters::LogsOptions};
use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{Engines, trouble};
use crate::{
    action::Node,
    world::{Class, Trouble},
};

/// How long the engine may take to begin.
const LIMIT: Duration = Duration::from_secs(15);
/// A line that is longer is told in pieces.
const LONGEST: usize = 64 * 1024;

/// Which lines.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// So many from the end; all of them where it is left out.
    pub tail: Option<u32>,
    /// What was said since then.
    pub since: Option<Timestamp>,
    /// Each with its time.
    pub timestamps: bool,
    /// Those too that are still to come, until the container ends.
    pub follow: bool,
}

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// It was said on standard error.
    pub is_error: bool,
    /// What was said; it need not be UTF-8.
    pub text: Vec<u8>,
}

impl Engines {
    /// Tells the lines of one container until there are no more, or nobody listens.
    ///
    /// # Errors
    /// When the engine cannot be reached or asked, or the log cannot be read.
    pub async fn logs(&self, node: &Node, id: &str, wanted: &Wanted, lines: mpsc::Sender<Line>) -> Result<(), Trouble> {
        let client = self.transport.within(node, LIMIT, |client| async move { Ok(client) }).await?;
        let options = LogsOptions {
            follow: wanted.follow,
            stdout: true,
            stderr: true,
            since: wanted.since.map_or(0, |since| i32::try_from(since.as_second()).unwrap_or(0)),
            timestamps: wanted.timestamps,
            tail: wanted.tail.map_or_else(|| "all".to_owned(), |tail| tail.to_string()),
            ..LogsOptions::default()
        };
        let mut parts = client.docker.logs(id, Some(options));
        let (mut out, mut err) = (Pieces::default(), Pieces::default());
        while let Some(part) = parts.next().await {
            let (pieces, is_error, said) = match part.map_err(|error| told(node, &error))? {
                LogOutput::StdErr { message } => (&mut err, true, message),
                LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                    (&mut out, false, message)
                }
            };
            for text in pieces.take(&said) {
                if lines.send(Line { is_error, text }).await.is_err() {
                    return Ok(());
                }
            }
        }
        for (pieces, is_error) in [(out, false), (err, true)] {
            if let Some(text) = pieces.rest() {
                // Nobody may be listening any more.
                let _ = lines.send(Line { is_error, text }).await;
            }
        }
        Ok(())
    }
}

fn told(node: &Node, error: &Error) -> Trouble {
    match error {
        Error::DockerResponseServerError { message, .. } if message.contains("does not support reading") => Trouble {
            class: Class::Terminal,
            message: format!(
                "the log of this container is kept nowhere that its engine can read ({}); look where its `logging` sends it",
                message.trim()
            ),
        },
        _ => trouble::of(node, error),
    }
}

/// What is left of a line whose end was not told yet.
#[derive(Default)]
struct Pieces(Vec<u8>);

impl Pieces {
    /// The lines that more of it completes.
    fn take(&mut self, more: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for piece in more.split_inclusive(|byte| *byte == b'\n') {
            self.0.extend_from_slice(piece);
            if self.0.ends_with(b"\n") || self.0.len() >= LONGEST {
                let mut line = std::mem::take(&mut self.0);
                while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                    line.pop();
                }
                lines.push(line);
            }
        }
        lines
    }

    fn rest(self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_once_its_end_is_there_however_it_arrives() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.take(b"one\ntw"), [b"one".to_vec()]);
        assert_eq!(pieces.take(b"o\r\n\nthree"), [b"two".to_vec(), Vec::new()]);
        assert_eq!(pieces.rest(), Some(b"three".to_vec()));
        assert_eq!(Pieces::default().rest(), None);
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.take(&vec![b'x'; LONGEST]).len(), 1);
        assert_eq!(pieces.rest(), None);
    }
}
