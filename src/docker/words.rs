//! The last words of a container that is not well: what it wrote, or what its health check said.

use bollard::{
    models::{ContainerInspectResponse, ContainerState},
    query_parameters::LogsOptionsBuilder,
};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use super::transport::Client;
use crate::world::{ContainerSeen, Health, State};

/// Lines of its log that are told; what it wrote to its two streams may be out of order.
const LINES: &str = "10";
/// Bytes that are told, from the end.
const TOLD: usize = 2048;
/// Bytes that are read at most: a line can be long.
const READ: usize = 64 * 1024;
/// One that was restarted by the engine and runs for less than this may be about to end again.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);

/// What is worth telling, if anything. A log that cannot be read is not worth failing a look.
pub(super) async fn last(
    client: &Client,
    seen: &ContainerSeen,
    inspected: &ContainerInspectResponse,
) -> Option<String> {
    let state = inspected.state.as_ref()?;
    let words = match seen.state {
        State::Created => state.error.clone().unwrap_or_default(),
        State::Restarting { .. } | State::Dead => log(client, seen, state).await,
        // One that was stopped because its check failed must not take the reason with it.
        State::Exited { exit_code } => {
            let mut words = failed_check(state).unwrap_or_default();
            if exit_code != 0 {
                words = format!("{}\n{words}", log(client, seen, state).await.trim_end());
            }
            words
        }
        State::Running => match health(seen, state) {
            Some(words) => words,
            None if seen.restarts > 0 && fresh(seen) => log(client, seen, state).await,
            None => return None,
        },
        State::Paused => return None,
    };
    Some(end(words.trim(), TOLD).to_owned()).filter(|words| !words.is_empty())
}

fn fresh(seen: &ContainerSeen) -> bool {
    seen.health != Some(Health::Healthy)
        && seen.started_at.is_some_and(|at| Timestamp::now().duration_since(at) < SETTLED)
}

/// What the health check said when it last failed, unless all is well.
fn health(seen: &ContainerSeen, state: &ContainerState) -> Option<String> {
    match seen.health? {
        Health::Healthy => None,
        Health::Starting => failed_check(state),
        Health::Unhealthy => check(state),
    }
}

/// What the health check said, if the last one failed. The engine calls any container that ended unhealthy.
fn failed_check(state: &ContainerState) -> Option<String> {
    state.health.as_ref()?.failing_streak.filter(|streak| *streak > 0)?;
    check(state)
}

fn check(state: &ContainerState) -> Option<String> {
    let last = state.health.as_ref()?.log.as_ref()?.last()?;
    let output = last.output.as_deref().unwrap_or_default().trim();
    let code = last.exit_code.unwrap_or_default();
    Some(match output {
        "" => format!("health check: exit code {code}, no output"),
        output => format!("health check: {output}"),
    })
}

async fn log(client: &Client, seen: &ContainerSeen, state: &ContainerState) -> String {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(LINES).build();
    let mut words = Vec::new();
    let mut lines = client.docker.logs(&seen.id, Some(options));
    while let Some(Ok(line)) = lines.next().await {
        words.extend_from_slice(&line.into_bytes());
        if words.len() > READ {
            break;
        }
    }
    let mut words = String::from_utf8_lossy(&words).into_owned();
    if let Some(error) = state.error.as_deref().filter(|error| !error.is_empty()) {
        words = format!("{}\n{error}", words.trim_end());
    }
    if state.oom_killed == Some(true) {
        words = format!("{}\n(killed: out of memory)", words.trim_end());
    }
    words
}

/// The last bytes of a text, at most so many, from the beginning of a character.
fn end(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_text_never_begins_within_a_character() {
        assert_eq!(end("grüße", 100), "grüße");
        assert_eq!(end("grüße", 4), "ße");
        assert_eq!(end("grüße", 2), "e");
    }
}
