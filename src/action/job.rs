//! What is put on record of a job: its schedule, and each of its runs.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum JobNote {
    /// Since when a schedule holds: what was due before is not missed.
    Schedule(Scheduled),
    /// It is not declared any more.
    Forget(Scheduled),
    /// A run is about to be started. Whatever comes of it, there is no second one of its time.
    Begin(Begun),
    /// A run is over.
    End(Ended),
}

/// A schedule, where it holds, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduled {
    /// The app's name.
    pub app: String,
    /// The container's key.
    pub container: String,
    /// The instance's hostname where each has runs of its own; empty where one is enough for all.
    pub place: String,
    /// Its fields and zone.
    pub schedule: String,
    /// Since when.
    pub since: Timestamp,
}

/// Which run it is: there is one of each time, or one on each instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// The app's name.
    pub app: String,
    /// The container's key.
    pub container: String,
    /// When it was due.
    pub due: Timestamp,
    /// As [`Scheduled::place`].
    pub place: String,
}

/// A run that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    /// Which run.
    pub turn: Turn,
    /// Where.
    pub hostname: String,
    /// The image.
    pub image: String,
    /// When.
    pub at: Timestamp,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Which run.
    pub turn: Turn,
    /// Where it was.
    pub hostname: String,
    /// How it went.
    pub outcome: Outcome,
    /// Its exit code, where it came to have one.
    pub exit_code: Option<i64>,
    /// When its process was started.
    pub started: Option<Timestamp>,
    /// When it ended, or was found to be over.
    pub finished: Timestamp,
    /// What it said last, or what is known instead.
    pub words: String,
}

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It ended with exit code 0 in its time.
    Succeeded,
    /// It ended with another exit code, or could not be started.
    Failed,
    /// It was stopped after its timeout.
    TimedOut,
    /// It was stopped for the next one.
    Replaced,
    /// Its container or its instance is gone, and nobody knows how it went.
    Lost,
}

impl Outcome {
    /// True when a person should know.
    pub fn has_failed(self) -> bool {
        matches!(self, Outcome::Failed | Outcome::TimedOut | Outcome::Lost)
    }

    /// As the store and `history` tell it.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed out",
            Outcome::Replaced => "replaced",
            Outcome::Lost => "lost",
        }
    }

    /// From its word.
    pub fn of(word: &str) -> Option<Outcome> {
        let all = [Outcome::Succeeded, Outcome::Failed, Outcome::TimedOut, Outcome::Replaced, Outcome::Lost];
        all.into_iter().find(|outcome| outcome.word() == word)
    }
}

impl Ended {
    /// How it ended, in words.
    pub fn how(&self) -> String {
        match (self.outcome, self.exit_code) {
            (Outcome::Lost, _) => "is lost".to_owned(),
            (Outcome::TimedOut, Some(code)) => format!("was stopped at its timeout (exit code {code})"),
            (Outcome::TimedOut, None) => "was stopped at its timeout".to_owned(),
            (Outcome::Replaced, _) => "was stopped for the next one".to_owned(),
            (_, Some(code)) => format!("ended with exit code {code}"),
            (_, None) => "could not be started".to_owned(),
        }
    }
}

const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// The name of the container of a run: after its container, and when it was due. So there is one of it on an engine
/// whatever becomes of a controller that asks for it.
pub fn run_name(container: &str, due: Timestamp) -> String {
    format!("{container}.{}", due.strftime(STAMP))
}

/// True for the name of a run. What else is made ends with the index of a replica, or with what became of one.
pub fn is_run_name(name: &str) -> bool {
    let Some((_, stamp)) = name.rsplit_once('.') else { return false };
    stamp.len() == 16
        && stamp.bytes().zip(b"00000000T000000Z").all(|(is, like)| match like {
            b'0' => is.is_ascii_digit(),
            like => is == *like,
        })
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of {}", self.app, self.container, self.due.strftime("%F %H:%M UTC"))
    }
}

impl JobNote {
    /// What it is about; what is noted of one thing is noted one after the other.
    pub fn subject(&self) -> String {
        match self {
            JobNote::Schedule(it) | JobNote::Forget(it) => format!("{}/{} {}", it.app, it.container, it.place),
            JobNote::Begin(Begun { turn, .. }) | JobNote::End(Ended { turn, .. }) => format!("{turn} {}", turn.place),
        }
    }
}

impl fmt::Display for JobNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |place: &str| if place.is_empty() { String::new() } else { format!(" on {place}") };
        match self {
            JobNote::Schedule(it) => {
                write!(f, "record schedule {}/{}: {}{}", it.app, it.container, it.schedule, on(&it.place))
            }
            JobNote::Forget(it) => write!(f, "forget schedule {}/{}{}", it.app, it.container, on(&it.place)),
            JobNote::Begin(it) => write!(f, "record run {}: begun on {}", it.turn, it.hostname),
            JobNote::End(it) => write!(f, "record run {}: it {} on {}", it.turn, it.how(), it.hostname),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_run_is_known_as_one_and_no_other_name_is() {
        let name = run_name("clean-up", "2026-01-05T12:30:00Z".parse().unwrap());
        assert_eq!(name, "clean-up.20260105T123000Z");
        assert!(is_run_name(&name));
        let others =
            ["app0", "app0.old", "app0.migration", "app.20260105T123000Z0", "app.20260105T1230Z", "app.é60105T123000Z"];
        assert!(others.iter().all(|name| !is_run_name(name)));
    }

    #[test]
    fn an_outcome_is_known_by_its_word() {
        for outcome in [Outcome::Succeeded, Outcome::Failed, Outcome::TimedOut, Outcome::Replaced, Outcome::Lost] {
            assert_eq!(Outcome::of(outcome.word()), Some(outcome));
        }
        assert_eq!(Outcome::of("well"), None);
    }
}
