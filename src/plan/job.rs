//! What is run by the clock.
//!
//! A run is a container of its own, `NAME.TIME`, which ends. It is made first, then the run is put on record as begun,
//! and only then is it started, on that instance alone: so whatever becomes of the controller in between, no time has a
//! second run. What it came to is put on record before its container is removed. Which run is due is told from the
//! schedule, from what is on record and from what is on the engines; a run that goes on is nobody's business but its
//! own, and keeps no stack from being as declared.

mod hosts;
mod over;
mod record;
mod turn;

use jiff::Timestamp;

pub use record::{JobRun, Jobs};

use super::{
    Facts, Plan,
    container::is_live,
    lineup::Lineup,
    render::{Place, job_run, label},
    resolve::Known,
    slot::Slot,
};
use crate::{
    action::{Action, EngineAction, JobNote, Scheduled, StopHow},
    spec::{Container, Desired, Job, Layer, cron::RunOn},
    status::{JobStatus, Kind, RunStatus},
    world::{Engine, State},
};
use hosts::{Found, Host, found, hosts};

/// Plans the jobs of a layer. `slots` are its services.
pub(super) fn plan(
    plan: &mut Plan,
    known: &Known<'_>,
    layer: &Layer,
    lineup: &Lineup<'_>,
    jobs: &[Slot<'_>],
    slots: &[Slot<'_>],
) {
    let hosts = hosts(known, layer, lineup);
    let found = found(known, &hosts);
    for slot in jobs {
        let Some(job) = &slot.container.cron else { continue };
        let one = One { known, layer, slot, job, hosts: &hosts, slots };
        one.plan(plan, &found);
    }
    let is_declared = |one: &&Found<'_>| jobs.iter().any(|slot| one.turn.is_of(&slot.app.name, &slot.container.name));
    for stray in found.iter().filter(|one| !is_declared(one)) {
        over::stray(plan, known, stray);
    }
    over::lost(plan, known, &hosts, &found, jobs);
}

/// A job that is not declared any more, or elsewhere, begins anew when it is declared again. A manifest without any app
/// is more likely a mistake.
pub(super) fn forget_undeclared(plan: &mut Plan, desired: &Desired, facts: &Facts, now: Timestamp) {
    if desired.apps.is_empty() {
        return;
    }
    let declared = |app: &str, container: &str| -> Option<&Job> {
        let app = desired.apps.iter().find(|it| it.is_docker() && it.name == app)?;
        app.containers.iter().find(|it| it.name == container)?.cron.as_ref()
    };
    for ((app, container, place), (schedule, since)) in &facts.jobs.schedules {
        let holds = declared(app, container).is_some_and(|job| (job.run_on == RunOn::OneInstance) == place.is_empty());
        if !holds {
            let forgotten = Scheduled {
                app: app.clone(),
                container: container.clone(),
                place: place.clone(),
                schedule: schedule.clone(),
                since: *since,
            };
            let note = Box::new(JobNote::Forget(forgotten));
            plan.attempt(&format!("{app}/{container}"), Action::NoteJob { note }, facts, now);
        }
    }
}

/// A run that is made or goes on on an engine, by its name.
pub(super) fn running_on<'a>(engine: &'a Engine, stack: &str) -> Option<&'a str> {
    let runs = engine.containers.iter().filter(|(_, container)| {
        super::container::is_ours(container, stack) && container.labels.contains_key(label::JOB)
    });
    let mut going = runs.filter(|(_, container)| is_live(container) || container.state == State::Created);
    going.next().map(|(name, _)| name.as_str())
}

/// One job.
struct One<'a> {
    known: &'a Known<'a>,
    layer: &'a Layer,
    slot: &'a Slot<'a>,
    job: &'a Job,
    hosts: &'a [Host<'a>],
    slots: &'a [Slot<'a>],
}

impl One<'_> {
    fn subject(&self) -> String {
        format!("{}/{}", self.slot.app.name, self.slot.container.name)
    }

    fn note(&self, plan: &mut Plan, note: JobNote) {
        let action = Action::NoteJob { note: Box::new(note) };
        plan.attempt(&self.subject(), action, self.known.facts, self.known.now);
    }

    fn plan(&self, plan: &mut Plan, found: &[Found<'_>]) {
        let (app, container) = (&self.slot.app.name, &self.slot.container.name);
        let own: Vec<&Found<'_>> = found.iter().filter(|one| one.turn.is_of(app, container)).collect();
        if let Some(on) = &self.slot.unresolved {
            plan.hold(self.subject(), on, None);
        }
        let places: Vec<String> = match self.job.run_on {
            RunOn::OneInstance => vec![String::new()],
            RunOn::EveryInstance => {
                self.hosts.iter().filter(|host| host.stays).map(|host| host.hostname().to_owned()).collect()
            }
        };
        let mut waits = None;
        let mut due = Vec::new();
        for place in &places {
            let turn = self.turn(plan, place, &own);
            waits = waits.or(turn.waits);
            due.extend(turn.due.map(|at| (place.clone(), at)));
        }
        for one in &own {
            self.tend(plan, one, &due);
        }
        over::clear(plan, self.known, self.job, &own);
        self.tell(plan, &own, waits);
    }

    fn tell(&self, plan: &mut Plan, own: &[&Found<'_>], waits: Option<String>) {
        let (app, container) = (&self.slot.app.name, &self.slot.container.name);
        let next = self.job.schedule.next(self.known.now).filter(|_| !self.hosts.is_empty());
        plan.wake(next, self.known.now);
        let live = own.iter().filter(|one| is_live(one.container));
        let running =
            live.map(|one| RunStatus { due: one.turn.due, hostname: one.host.hostname().to_owned() }).collect();
        let runs = || self.known.facts.jobs.of(app, container);
        let last = runs().rev().find_map(|run| run.ended.clone());
        plan.jobs.push(JobStatus {
            app: app.clone(),
            container: container.clone(),
            schedule: self.job.schedule.to_string(),
            next,
            running,
            waits,
            last: last.map(Into::into),
        });
        // Where each instance has runs of its own, the last of each counts.
        let mut places: Vec<&str> = runs().map(|run| run.begun.turn.place.as_str()).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            if (self.job.run_on == RunOn::OneInstance) != place.is_empty() {
                continue;
            }
            let last = runs().rev().filter(|run| run.begun.turn.place == place).find_map(|run| run.ended.as_ref());
            let Some(last) = last.filter(|last| last.outcome.has_failed()) else { continue };
            let message = format!(
                "the run of {} {} on {}{}; the next one that goes well clears this",
                last.turn.due.strftime("%F %H:%M UTC"),
                last.how(),
                last.hostname,
                super::container::colon(last.words.trim()),
            );
            let on = if place.is_empty() { String::new() } else { format!(" on {place}") };
            plan.condition(Kind::JobFailed, format!("{}{on}", self.subject()), message);
        }
    }

    fn on(&self, plan: &mut Plan, host: &Host<'_>, what: EngineAction) {
        host.on(plan, self.known, what);
    }

    fn stop(&self, plan: &mut Plan, one: &Found<'_>) {
        let stop = stop_of(self.slot.container);
        let (id, name) = (one.container.id.clone(), one.name.to_owned());
        self.on(plan, one.host, EngineAction::Stop { id, name, stop, guard: None });
    }

    fn rendered(&self, host: &Host<'_>, due: Timestamp, place: &str) -> super::render::Rendered {
        job_run(self.known.desired, self.slot, Place::of(host.instance), due, place)
    }
}

fn stop_of(container: &Container) -> StopHow {
    StopHow { signal: container.stop.signal.clone(), timeout: container.stop.timeout }
}
