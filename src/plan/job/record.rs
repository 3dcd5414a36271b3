//! What is on record of jobs.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::action::{Begun, Ended, JobNote, Scheduled, Turn};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Jobs {
    /// The schedules that hold, and since when, by app, container and place.
    pub schedules: BTreeMap<(String, String, String), (String, Timestamp)>,
    /// The runs, in the order in which they were due.
    pub runs: Vec<JobRun>,
}

/// A run on record.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRun {
    /// How it was begun.
    pub begun: Begun,
    /// How it ended, if it is over.
    pub ended: Option<Ended>,
}

impl Jobs {
    /// Takes something for recorded: a run that is on record stays as it was begun, and one that is over as it ended.
    pub fn note(&mut self, note: &JobNote) {
        match note {
            JobNote::Schedule(Scheduled { app, container, place, schedule, since }) => {
                let key = (app.clone(), container.clone(), place.clone());
                self.schedules.insert(key, (schedule.clone(), *since));
            }
            JobNote::Forget(Scheduled { app, container, place, .. }) => {
                self.schedules.remove(&(app.clone(), container.clone(), place.clone()));
            }
            JobNote::Begin(begun) => {
                if self.run(&begun.turn).is_none() {
                    self.runs.push(JobRun { begun: begun.clone(), ended: None });
                    self.runs.sort_by(|a, b| (a.begun.turn.due, &a.begun.turn).cmp(&(b.begun.turn.due, &b.begun.turn)));
                }
            }
            JobNote::End(ended) => {
                if let Some(run) = self.runs.iter_mut().find(|run| run.begun.turn == ended.turn) {
                    run.ended.get_or_insert_with(|| ended.clone());
                }
            }
        }
    }

    /// A run that is on record.
    pub fn run(&self, turn: &Turn) -> Option<&JobRun> {
        self.runs.iter().find(|run| run.begun.turn == *turn)
    }

    /// The runs of one job.
    pub fn of<'a>(&'a self, app: &'a str, container: &'a str) -> impl DoubleEndedIterator<Item = &'a JobRun> {
        self.runs.iter().filter(move |run| run.begun.turn.app == app && run.begun.turn.container == container)
    }
}
