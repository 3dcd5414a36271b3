//! The last words of a container that is not well: what it wrote, or what its health check said.

use bollard::{
    models::{ContainerInspectResponse, ContainerState, HealthcheckResult},
    query_parameters::LogsOptionsBuilder,
};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use super::{JOB_LABEL, MIGRATION_LABEL, transport::Client};
use crate::world::{ContainerSeen, Health, State};

/// Lines of its log that are told; what it wrote to its two streams may be out of order.
const LINES: &str = "10";
/// Lines of one health check that are told, from the end.
const CHECK_LINES: usize = 5;
/// What the engine notes as the exit code of a check that did not come to an end of its own.
const NO_EXIT: i64 = -1;
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
            // What a migration or a run of a job had to say is kept, however it went.
            let is_kept = [MIGRATION_LABEL, JOB_LABEL].iter().any(|label| seen.labels.contains_key(*label));
            if exit_code != 0 || is_kept {
                words = format!("{}\n{words}", log(client, seen, state).await.trim_end());
            }
            words
        }
        State::Running => match health(seen, state) {
            Some(words) => words,
            None if seen.restarts > 0 && fresh(client, seen).await => log(client, seen, state).await,
            None => return None,
        },
        State::Paused => return None,
    };
    Some(end(words.trim(), TOLD).to_owned()).filter(|words| !words.is_empty())
}

async fn fresh(client: &Client, seen: &ContainerSeen) -> bool {
    // Its start is told by the engine's clock.
    let now = client.clock().await.ok().flatten().unwrap_or_else(Timestamp::now);
    seen.health != Some(Health::Healthy) && seen.started_at.is_some_and(|at| now.duration_since(at) < SETTLED)
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
/// checks may have met it while it was being stopped. The engine's own count leaves those of the start period out,
/// which are all there is of one that never became healthy.
fn failed_checks(state: &ContainerState) -> Vec<String> {
    checks(state, log_of(state).iter().rev().take_while(|check| check.exit_code != Some(0)).count())
}

/// What the last so many checks said, the oldest first.
fn checks(state: &ContainerState, count: usize) -> Vec<String> {
    let log = log_of(state);
    let mut said: Vec<String> = log[log.len().saturating_sub(count)..].iter().map(check).collect();
    said.dedup();
    said
}

fn log_of(state: &ContainerState) -> &[HealthcheckResult] {
    state.health.as_ref().and_then(|health| health.log.as_deref()).unwrap_or_default()
}

/// What one check said, with its exit code. One that the engine could not run, or cut off, has none: there the engine
/// tells the reason itself, and what the check had said till then.
fn check(check: &HealthcheckResult) -> String {
    let code = check.exit_code.unwrap_or(NO_EXIT);
    let lines: Vec<&str> = check.output.as_deref().unwrap_or_default().trim().lines().collect();
    let output = lines[lines.len().saturating_sub(CHECK_LINES)..].join("\n");
    match (code, output.as_str()) {
        (NO_EXIT, "") => "health check: no answer".to_owned(),
        (NO_EXIT, output) => format!("health check: {}", output.trim_end_matches([':', ' '])),
        (code, "") => format!("health check: exit code {code}, no output"),
        (code, output) => format!("health check (exit code {code}): {output}"),
    }
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
    use bollard::models::Health as Seen;

    use super::*;

    fn state(log: &[(i64, &str)]) -> ContainerState {
        let check = |(exit_code, output): &(i64, &str)| HealthcheckResult {
            exit_code: Some(*exit_code),
            output: Some((*output).to_owned()),
            ..Default::default()
        };
        let log = Some(log.iter().map(check).collect());
        ContainerState { health: Some(Seen { log, ..Default::default() }), ..Default::default() }
    }

    #[test]
    fn why_a_check_failed_is_told_beside_what_it_met_while_the_container_was_being_stopped() {
        let state = state(&[(0, "fine"), (1, "503"), (1, "503\n"), (1, "503"), (7, "refused")]);
        assert_eq!(failed_checks(&state), ["health check (exit code 1): 503", "health check (exit code 7): refused"]);
    }

    #[test]
    fn a_container_that_was_healthy_when_it_ended_has_no_failed_check() {
        assert_eq!(failed_checks(&state(&[(1, "not yet"), (0, "fine"), (0, "fine")])), Vec::<String>::new());
        assert_eq!(failed_checks(&ContainerState::default()), Vec::<String>::new());
    }

    #[test]
    fn of_a_check_that_says_much_the_last_lines_are_told() {
        let state = state(&[(2, "1\n2\n3\n4\n5\n6\n")]);
        assert_eq!(failed_checks(&state), ["health check (exit code 2): 2\n3\n4\n5\n6"]);
        assert_eq!(failed_checks(&self::state(&[(3, " \n")])), ["health check: exit code 3, no output"]);
    }

    #[test]
    fn one_that_was_cut_off_or_could_not_be_run_tells_so_in_the_engine_s_words() {
        let late = "Health check exceeded timeout (2s): ";
        let lost = "OCI runtime exec failed: \"up\": executable file not found in $PATH: unknown";
        let said = failed_checks(&state(&[(-1, late), (-1, lost)]));
        assert_eq!(said, ["health check: Health check exceeded timeout (2s)", &format!("health check: {lost}")]);
    }

    #[test]
    fn the_end_of_a_text_never_begins_within_a_character() {
        assert_eq!(end("grüße", 100), "grüße");
        assert_eq!(end("grüße", 4), "ße");
        assert_eq!(end("grüße", 2), "e");
    }
}
