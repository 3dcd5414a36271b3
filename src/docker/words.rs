//! The last words of a container that is not well: what it wrote, or what its health check said.

use bollard::{
    models::{ContainerInspectResponse, ContainerState},
    query_parameters::LogsOptionsBuilder,
};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use super::{MIGRATION_LABEL, transport::Client};
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
            let mut words = failed_checks(state).join("\n");
            // What a migration had to say is kept, however it went.
            if exit_code != 0 || seen.labels.contains_key(MIGRATION_LABEL) {
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
        Health::Starting => failed_checks(state).pop(),
        Health::Unhealthy => checks(state, 1).pop(),
    }
}

/// What the health check said each time since it last passed, as far as the engine remembers; the same only once in a
/// row. That a container ended in between says nothing: the engine calls any such container unhealthy, and the last
/// checks may have met it while it was being stopped.
fn failed_checks(state: &ContainerState) -> Vec<String> {
    let streak = state.health.as_ref().and_then(|health| health.failing_streak).unwrap_or_default();
    checks(state, streak.try_into().unwrap_or_default())
}

/// What the last so many checks said, the oldest first.
fn checks(state: &ContainerState, count: usize) -> Vec<String> {
    let log = state.health.as_ref().and_then(|health| health.log.as_deref()).unwrap_or_default();
    let mut said: Vec<String> = log[log.len().saturating_sub(count)..]
        .iter()
        .map(|check| match check.output.as_deref().unwrap_or_default().trim() {
            "" => format!("health check: exit code {}, no output", check.exit_code.unwrap_or_default()),
            output => format!("health check: {output}"),
        })
        .collect();
    said.dedup();
    said
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
    use bollard::models::{Health as Seen, HealthcheckResult};

    use super::*;

    fn state(failing_streak: i64, outputs: &[&str]) -> ContainerState {
        let check = |output: &&str| HealthcheckResult {
            exit_code: Some(1),
            output: Some((*output).to_owned()),
            ..Default::default()
        };
        let log = Some(outputs.iter().map(check).collect());
        ContainerState {
            health: Some(Seen { failing_streak: Some(failing_streak), log, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn why_a_check_failed_is_told_beside_what_it_met_while_the_container_was_being_stopped() {
        let state = state(4, &["fine", "503", "503\n", "503", "refused"]);
        assert_eq!(failed_checks(&state), ["health check: 503", "health check: refused"]);
    }

    #[test]
    fn a_container_that_was_healthy_when_it_ended_has_no_failed_check() {
        assert_eq!(failed_checks(&state(0, &["fine", "fine"])), Vec::<String>::new());
        assert_eq!(failed_checks(&ContainerState::default()), Vec::<String>::new());
    }

    #[test]
    fn the_end_of_a_text_never_begins_within_a_character() {
        assert_eq!(end("grüße", 100), "grüße");
        assert_eq!(end("grüße", 4), "ße");
        assert_eq!(end("grüße", 2), "e");
    }
}
