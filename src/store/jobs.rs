//! The schedules that hold and since when, and the runs of every job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::{Store, StoreError};
use crate::{
    action::{Begun, Ended, JobNote, Outcome, Scheduled, Turn},
    plan::{JobRun, Jobs},
};

/// Runs kept of each job, and of each on every instance where each has its own; older ones are dropped.
const KEPT: i64 = 30;
/// So much is kept of what a run said last.
const MOST_WORDS: usize = 4_000;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS schedules (
        stack TEXT NOT NULL, app TEXT NOT NULL, container TEXT NOT NULL, place TEXT NOT NULL, schedule TEXT NOT NULL,
        since TEXT NOT NULL,
        PRIMARY KEY (stack, app, container, place)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS runs (
        stack TEXT NOT NULL, app TEXT NOT NULL, container TEXT NOT NULL, place TEXT NOT NULL, due TEXT NOT NULL,
        hostname TEXT NOT NULL, image TEXT NOT NULL, begun TEXT NOT NULL, outcome TEXT, exit_code INTEGER, started TEXT,
        finished TEXT, words TEXT,
        PRIMARY KEY (stack, app, container, place, due)
    ) STRICT;
";

impl Store {
    /// Writes down, durably, what a job came to. A run that is on record stays as it was begun, and one that is over as
    /// it ended.
    ///
    /// # Errors
    /// When the store cannot be written; then nothing must be done for it.
    pub fn put_job(&self, stack: &str, note: &JobNote) -> Result<(), StoreError> {
        self.with("write", |c| {
            match note {
                JobNote::Schedule(Scheduled { app, container, place, schedule, since }) => c.execute(
                    "INSERT OR REPLACE INTO schedules (stack, app, container, place, schedule, since)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![stack, app, container, place, schedule, since.to_string()],
                )?,
                JobNote::Forget(Scheduled { app, container, place, .. }) => c.execute(
                    "DELETE FROM schedules WHERE stack = ?1 AND app = ?2 AND container = ?3 AND place = ?4",
                    params![stack, app, container, place],
                )?,
                JobNote::Begin(Begun { turn: Turn { app, container, due, place }, hostname, image, at }) => {
                    let all = c.unchecked_transaction()?;
                    // The times sort as texts: each is whole seconds in UTC.
                    all.execute(
                        "INSERT OR IGNORE INTO runs (stack, app, container, place, due, hostname, image, begun)
                            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                        params![stack, app, container, place, due.to_string(), hostname, image, at.to_string()],
                    )?;
                    all.execute(
                        "DELETE FROM runs WHERE stack = ?1 AND app = ?2 AND container = ?3 AND place = ?4
                            AND outcome IS NOT NULL AND due NOT IN (SELECT due FROM runs WHERE stack = ?1 AND app = ?2
                                AND container = ?3 AND place = ?4 ORDER BY due DESC LIMIT ?5)",
                        params![stack, app, container, place, KEPT],
                    )?;
                    all.commit()?;
                    0
                }
                JobNote::End(ended) => {
                    let Turn { app, container, due, place } = &ended.turn;
                    let words = last_of(&ended.words);
                    c.execute(
                        "UPDATE runs SET outcome = ?6, exit_code = ?7, started = ?8, finished = ?9, words = ?10
                            WHERE stack = ?1 AND app = ?2 AND container = ?3 AND place = ?4 AND due = ?5
                                AND outcome IS NULL",
                        params![
                            stack,
                            app,
                            container,
                            place,
                            due.to_string(),
                            ended.outcome.word(),
                            ended.exit_code,
                            ended.started.map(|at| at.to_string()),
                            ended.finished.to_string(),
                            words,
                        ],
                    )?
                }
            };
            Ok(())
        })
    }

    /// The schedules and runs of a stack that are on record; the runs in the order in which they were due.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn jobs(&self, stack: &str) -> Result<Jobs, StoreError> {
        self.with("read", |c| {
            // A store that an earlier version made, opened to be read only, has no such tables.
            if !c.table_exists(None, "runs")? {
                return Ok(Jobs::default());
            }
            let mut rows =
                c.prepare("SELECT app, container, place, schedule, since FROM schedules WHERE stack = ?1")?;
            let schedules = rows.query_map([stack], |row| {
                let since = time(row.get(4)?).unwrap_or(Timestamp::UNIX_EPOCH);
                Ok(((row.get(0)?, row.get(1)?, row.get(2)?), (row.get(3)?, since)))
            })?;
            let schedules = schedules.collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
            let mut rows = c.prepare(
                "SELECT app, container, place, due, hostname, image, begun, outcome, exit_code, started, finished, words
                    FROM runs WHERE stack = ?1 ORDER BY due, app, container, place",
            )?;
            let runs = rows.query_map([stack], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(Jobs { schedules, runs })
        })
    }
}

fn time(text: Option<String>) -> Option<Timestamp> {
    text?.parse().ok()
}

fn read(row: &Row<'_>) -> rusqlite::Result<JobRun> {
    let turn = Turn {
        app: row.get(0)?,
        container: row.get(1)?,
        place: row.get(2)?,
        due: time(row.get(3)?).unwrap_or(Timestamp::UNIX_EPOCH),
    };
    let hostname: String = row.get(4)?;
    let outcome: Option<String> = row.get(7)?;
    let ended = match outcome.as_deref().and_then(Outcome::of) {
        Some(outcome) => Some(Ended {
            turn: turn.clone(),
            hostname: hostname.clone(),
            outcome,
            exit_code: row.get(8)?,
            started: time(row.get(9)?),
            finished: time(row.get(10)?).unwrap_or(Timestamp::UNIX_EPOCH),
            words: row.get::<_, Option<String>>(11)?.unwrap_or_default(),
        }),
        None => None,
    };
    let at = time(row.get(6)?).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(JobRun { begun: Begun { turn, hostname, image: row.get(5)?, at }, ended })
}

/// The end of a text, cut at a character.
fn last_of(words: &str) -> &str {
    let mut from = words.len().saturating_sub(MOST_WORDS);
    while !words.is_char_boundary(from) {
        from += 1;
    }
    &words[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn turn(minute: i64) -> Turn {
        Turn { app: "shop".into(), container: "clean".into(), due: at(minute), place: String::new() }
    }

    fn begin(minute: i64, hostname: &str) -> JobNote {
        JobNote::Begin(Begun { turn: turn(minute), hostname: hostname.into(), image: "clean:1".into(), at: at(minute) })
    }

    fn end(minute: i64, outcome: Outcome, words: &str) -> JobNote {
        JobNote::End(Ended {
            turn: turn(minute),
            hostname: "docker1".into(),
            outcome,
            exit_code: Some(i64::from(outcome.has_failed())),
            started: Some(at(minute)),
            finished: at(minute + 1),
            words: words.into(),
        })
    }

    #[test]
    fn a_run_is_begun_once_and_ends_once_and_is_known_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.put_job("shop", &begin(5, "docker1")).unwrap();
        store.put_job("shop", &begin(5, "docker2")).unwrap();
        assert_eq!(store.jobs("shop").unwrap().runs[0].ended, None);
        store.put_job("shop", &end(5, Outcome::Failed, "no space left")).unwrap();
        store.put_job("shop", &end(5, Outcome::Succeeded, "")).unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        let jobs = store.jobs("shop").unwrap();
        assert_eq!((jobs.runs.len(), jobs.runs[0].begun.hostname.as_str()), (1, "docker1"));
        let JobNote::End(failed) = end(5, Outcome::Failed, "no space left") else { unreachable!() };
        assert_eq!(jobs.runs[0].ended.as_ref(), Some(&failed));
        assert_eq!(store.jobs("blog").unwrap(), Jobs::default());
    }

    #[test]
    fn a_schedule_holds_since_it_was_last_written_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let of = |schedule: &str, since| Scheduled {
            app: "shop".into(),
            container: "clean".into(),
            place: String::new(),
            schedule: schedule.into(),
            since,
        };
        store.put_job("shop", &JobNote::Schedule(of("0 3 * * * (UTC)", at(1)))).unwrap();
        store.put_job("shop", &JobNote::Schedule(of("0 4 * * * (UTC)", at(2)))).unwrap();
        let key = ("shop".to_owned(), "clean".to_owned(), String::new());
        assert_eq!(store.jobs("shop").unwrap().schedules[&key], ("0 4 * * * (UTC)".to_owned(), at(2)));
        store.put_job("shop", &JobNote::Forget(of("", at(3)))).unwrap();
        assert_eq!(store.jobs("shop").unwrap(), Jobs::default());
    }

    #[test]
    fn the_oldest_of_very_many_runs_are_dropped_and_none_that_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for minute in 0..KEPT + 5 {
            store.put_job("shop", &begin(minute, "docker1")).unwrap();
            if minute > 0 {
                store.put_job("shop", &end(minute, Outcome::Succeeded, "")).unwrap();
            }
        }
        let due: Vec<Timestamp> = store.jobs("shop").unwrap().runs.iter().map(|run| run.begun.turn.due).collect();
        assert_eq!((due.len(), due[0], due[1]), (31, at(0), at(5)));
    }

    #[test]
    fn of_very_many_words_the_last_are_kept() {
        let long = format!("{}é{}", "a".repeat(10), "b".repeat(MOST_WORDS - 1));
        assert_eq!(last_of(&long), "b".repeat(MOST_WORDS - 1));
        assert_eq!(last_of("short"), "short");
    }
}
