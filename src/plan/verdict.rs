//! How well a container does: healthy, on its way, not started, or bad.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    container::{colon, last_words},
    slot::Slot,
};
use crate::world::{ContainerSeen, Health, State};

/// How long a container without a health check must be seen to run, whatever its `startupTime`: one that ends at
/// once is not healthy between its start and its end.
const OBSERVED: Duration = Duration::from_secs(3);

/// Starts by the engine itself after which a container that is not healthy yet is not waited for any longer.
const RESTARTS: u32 = 3;

/// How well a container does.
pub(super) enum Verdict {
    Healthy,
    Soon { on: String, until: Option<Timestamp> },
    NotStarted,
    Bad(String),
}

/// `swapping`: an older container is still there to go back to, so one that had to be started again has failed.
/// `ours`: of what is not ours only its state is known.
pub(super) fn judge(container: &ContainerSeen, slot: &Slot<'_>, swapping: bool, ours: bool, now: Timestamp) -> Verdict {
    let words = last_words(container);
    match container.state {
        State::Created => Verdict::NotStarted,
        State::Exited { exit_code } => Verdict::Bad(format!("it ended with exit code {exit_code}{}", colon(&words))),
        State::Restarting { exit_code } => {
            Verdict::Bad(format!("it keeps ending with exit code {exit_code}{}", colon(&words)))
        }
        State::Dead => Verdict::Bad("the engine could not remove it completely".into()),
        State::Paused => Verdict::Bad("it was paused by hand; docker unpause lets it go on".into()),
        State::Running if swapping && container.restarts > 0 => Verdict::Bad(keeps_ending(container, &words)),
        State::Running if !ours => Verdict::Healthy,
        State::Running => {
            let shaky = container.restarts >= RESTARTS;
            let started = container.started_at.unwrap_or(now);
            match container.health {
                Some(Health::Healthy) => Verdict::Healthy,
                Some(Health::Unhealthy) => Verdict::Bad(format!("its health check fails{}", colon(&words))),
                Some(Health::Starting) => {
                    let until = started + slot.app.rollout.progress_deadline;
                    if shaky {
                        Verdict::Bad(keeps_ending(container, &words))
                    } else if now >= until {
                        let allowed = slot.app.rollout.progress_deadline.as_secs();
                        Verdict::Bad(format!("it was not healthy after {allowed}s{}", colon(&words)))
                    } else {
                        let said = words.lines().next().unwrap_or_default();
                        let on = format!("its health check has not passed yet{}", colon(said));
                        Verdict::Soon { on, until: Some(until) }
                    }
                }
                None => {
                    let asked = slot.container.startup_time;
                    let until = started + asked.max(OBSERVED);
                    if now >= until {
                        Verdict::Healthy
                    } else if shaky {
                        Verdict::Bad(keeps_ending(container, &words))
                    } else if asked < OBSERVED {
                        Verdict::Soon { on: format!("{}s without an end", OBSERVED.as_secs()), until: Some(until) }
                    } else {
                        Verdict::Soon { on: format!("startupTime of {}s", asked.as_secs()), until: Some(until) }
                    }
                }
            }
        }
    }
}

fn keeps_ending(container: &ContainerSeen, words: &str) -> String {
    format!("it ended and was started again {} times{}", container.restarts, colon(words))
}
