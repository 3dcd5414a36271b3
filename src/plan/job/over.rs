//! Runs that are over: put on record, and cleared away when enough newer ones are kept.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{Found, Host};
use crate::{
    action::{Action, Begun, Ended, EngineAction, JobNote, Outcome},
    plan::{GONE_GRACE, Plan, container::last_words, resolve::Known, slot::Slot},
    spec::{Job, cron::Concurrency},
    world::State,
};

/// How much longer than its time a run on an engine that gives no answer may be thought to go on.
const SILENCE: Duration = Duration::from_secs(60);

impl Found<'_> {
    pub(super) fn ended(&self, outcome: Outcome, exit_code: Option<i64>, at: Timestamp, words: String) -> Ended {
        Ended {
            turn: self.turn.clone(),
            hostname: self.host.hostname().to_owned(),
            outcome,
            exit_code,
            started: self.container.started_at,
            finished: self.container.finished_at.unwrap_or(at),
            words,
        }
    }

    fn exit_code(&self) -> Option<i64> {
        match self.container.state {
            State::Exited { exit_code } => Some(exit_code),
            _ => None,
        }
    }

    /// How it went, as far as its container tells.
    fn outcome(&self, job: Option<&Job>) -> Outcome {
        let (started, finished) = (self.container.started_at, self.container.finished_at);
        let late = |job: &Job| matches!((started, finished), (Some(from), Some(to)) if to > from + job.timeout);
        // What was stopped for the next one was so when the next one was due.
        let replaced = |job: &Job| {
            let next = job.schedule.next(self.turn.due);
            job.concurrency == Concurrency::Replace && matches!((next, finished), (Some(next), Some(to)) if next <= to)
        };
        match self.exit_code() {
            _ if job.is_some_and(late) => Outcome::TimedOut,
            Some(0) => Outcome::Succeeded,
            Some(_) if job.is_some_and(replaced) => Outcome::Replaced,
            _ => Outcome::Failed,
        }
    }

    /// So old that its record has been dropped, or never was on this one's.
    fn is_forgotten(&self, known: &Known<'_>) -> bool {
        let mut runs = known.facts.jobs.of(&self.turn.app, &self.turn.container);
        runs.find(|run| run.begun.turn.place == self.turn.place)
            .is_some_and(|oldest| self.turn.due < oldest.begun.turn.due)
    }
}

fn note(plan: &mut Plan, known: &Known<'_>, note: JobNote) {
    let subject = note.subject();
    plan.attempt(&subject, Action::NoteJob { note: Box::new(note) }, known.facts, known.now);
}

/// Puts a run on record that was started and is not, because the record was lost.
pub(super) fn adopt(plan: &mut Plan, known: &Known<'_>, one: &Found<'_>) {
    if known.facts.jobs.run(&one.turn).is_none() && !one.is_forgotten(known) {
        let at = one.container.started_at.unwrap_or(known.now);
        let (turn, image) = (one.turn.clone(), one.container.image.clone());
        note(plan, known, JobNote::Begin(Begun { turn, hostname: one.host.hostname().to_owned(), image, at }));
    }
}

/// Puts on record how a run ended.
pub(super) fn record(plan: &mut Plan, known: &Known<'_>, one: &Found<'_>, job: Option<&Job>) {
    match known.facts.jobs.run(&one.turn) {
        None => adopt(plan, known, one),
        Some(run) if run.ended.is_none() && run.begun.hostname == one.host.hostname() => {
            let ended = one.ended(one.outcome(job), one.exit_code(), known.now, last_words(one.container));
            note(plan, known, JobNote::End(ended));
        }
        Some(_) => {}
    }
}

/// How a run went whose container may be removed: that is on record.
fn recorded(known: &Known<'_>, one: &Found<'_>, job: Option<&Job>) -> Option<Outcome> {
    if !matches!(one.container.state, State::Exited { .. } | State::Dead) {
        return None;
    }
    match known.facts.jobs.run(&one.turn) {
        None => one.is_forgotten(known).then(|| one.outcome(job)),
        // It is not the one that was begun.
        Some(run) if run.begun.hostname != one.host.hostname() => Some(Outcome::Lost),
        Some(run) => run.ended.as_ref().map(|ended| ended.outcome),
    }
}

fn remove(plan: &mut Plan, known: &Known<'_>, one: &Found<'_>) {
    let (id, name) = (one.container.id.clone(), one.name.to_owned());
    one.host.on(plan, known, EngineAction::Remove { id, name });
}

/// Removes what is over and on record, and older than the newest that are kept.
pub(super) fn clear(plan: &mut Plan, known: &Known<'_>, job: &Job, own: &[&Found<'_>]) {
    let mut over: Vec<(&Found<'_>, Outcome)> =
        own.iter().filter_map(|one| Some((*one, recorded(known, one, Some(job))?))).collect();
    over.sort_by_key(|(one, _)| std::cmp::Reverse(one.turn.due));
    let mut kept: BTreeMap<(&str, bool), u32> = BTreeMap::new();
    for (one, outcome) in over {
        let went_well = outcome == Outcome::Succeeded;
        let count = kept.entry((&one.turn.place, went_well)).or_default();
        *count += 1;
        let most = if went_well { job.history.succeeded } else { job.history.failed };
        if *count > most {
            remove(plan, known, one);
        }
    }
}

/// A run of what is not declared here any more goes on to its end; then its result is put on record, and it is removed.
pub(super) fn stray(plan: &mut Plan, known: &Known<'_>, one: &Found<'_>) {
    match one.container.state {
        State::Created => remove(plan, known, one),
        State::Exited { .. } | State::Dead if recorded(known, one, None).is_some() => remove(plan, known, one),
        State::Exited { .. } | State::Dead => record(plan, known, one, None),
        State::Running | State::Paused | State::Restarting { .. } => {}
    }
}

/// Runs that were begun, and of which nothing is left that could tell how they went.
pub(super) fn lost(plan: &mut Plan, known: &Known<'_>, hosts: &[Host<'_>], found: &[Found<'_>], jobs: &[Slot<'_>]) {
    for run in known.facts.jobs.runs.iter().filter(|run| run.ended.is_none()) {
        let (turn, hostname) = (&run.begun.turn, &run.begun.hostname);
        let slot = jobs.iter().find(|slot| turn.is_of(&slot.app.name, &slot.container.name));
        let host = hosts.iter().find(|host| host.hostname() == hostname);
        let is_there = found.iter().any(|one| one.turn == *turn && one.host.hostname() == hostname);
        if is_there || (slot.is_none() && host.is_none()) {
            continue;
        }
        let instances = known.seen.provided.instances.known().filter(|_| known.seen.stale.is_none());
        let is_gone = instances.is_some_and(|all| all.iter().all(|instance| instance.hostname != *hostname));
        let timeout = slot.and_then(|slot| slot.container.cron.as_ref()).map_or(GONE_GRACE, |job| job.timeout);
        let (certain, words) = match host.map(|host| host.engine) {
            None if is_gone => (run.begun.at + GONE_GRACE, "its instance is gone".to_owned()),
            Some(Some(_)) => (run.begun.at + GONE_GRACE, "its container was removed".to_owned()),
            _ => (run.begun.at + timeout + SILENCE, "its instance gave no answer until its time was over".to_owned()),
        };
        if certain > known.now {
            plan.wake(Some(certain), known.now);
            continue;
        }
        let (turn, hostname, finished) = (turn.clone(), hostname.clone(), known.now);
        let (outcome, exit_code, started) = (Outcome::Lost, None, None);
        note(plan, known, JobNote::End(Ended { turn, hostname, outcome, exit_code, started, finished, words }));
    }
}
