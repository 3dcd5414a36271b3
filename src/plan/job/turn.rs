//! Which run is due, and the way to its start.

use jiff::Timestamp;

use super::{Found, Host, One};
use crate::{
    action::{Begun, EngineAction, JobNote, Outcome, Scheduled, Turn, run_name},
    plan::{
        Plan,
        container::{is_live, is_ours},
        disk,
        node::marks,
        releases::given_up,
        render::Rendered,
        secrets,
    },
    spec::{cron::Concurrency, image},
    status::Kind,
    world::{Engine, State},
};

/// What is due.
#[derive(Default)]
pub(super) struct Due {
    /// The time whose run is to be begun.
    pub(super) due: Option<Timestamp>,
    /// What it waits for.
    pub(super) waits: Option<String>,
}

impl Turn {
    pub(super) fn is_of(&self, app: &str, container: &str) -> bool {
        self.app == app && self.container == container
    }
}

impl One<'_> {
    /// Tells which run of a place is due, and takes the next step towards its start.
    pub(super) fn turn(&self, plan: &mut Plan, place: &str, own: &[&Found<'_>]) -> Due {
        let Some(due) = self.due(plan, place, own) else {
            if let Some(host) = self.host(place, own, None) {
                self.is_pulled(plan, host);
            }
            return Due::default();
        };
        let waits = self.advance(plan, place, due, own);
        Due { due: Some(due), waits }
    }

    /// The last time that was due, if it has had no run and is not too long ago.
    fn due(&self, plan: &mut Plan, place: &str, own: &[&Found<'_>]) -> Option<Timestamp> {
        let (app, container) = (&self.slot.app.name, &self.slot.container.name);
        let (facts, now) = (self.known.facts, self.known.now);
        let schedule = self.job.schedule.to_string();
        let key = (app.clone(), container.clone(), place.to_owned());
        let Some((_, since)) = facts.jobs.schedules.get(&key).filter(|(known, _)| *known == schedule) else {
            let (app, container, place) = key;
            self.note(plan, JobNote::Schedule(Scheduled { app, container, place, schedule, since: now }));
            return None;
        };
        if facts.idle {
            return None;
        }
        let recorded = facts.jobs.of(app, container).map(|run| &run.begun.turn);
        // What is on the engines tells as much as a record that was lost.
        let seen = own.iter().filter(|one| one.container.state != State::Created).map(|one| &one.turn);
        let last = recorded.chain(seen).filter(|turn| turn.place == place).map(|turn| turn.due).max();
        let deadline = now.checked_sub(self.job.starting_deadline).unwrap_or(*since);
        self.job.schedule.last((*since).max(deadline).max(last.unwrap_or(*since)), now)
    }

    /// The instance that the run is to be on: one that it is made on already, else the first that can.
    fn host(&self, place: &str, own: &[&Found<'_>], due: Option<Timestamp>) -> Option<&Host<'_>> {
        let can = |host: &&Host<'_>| host.is_up() && (place.is_empty() || host.hostname() == place);
        let is_made = |host: &&Host<'_>| {
            own.iter().any(|one| {
                one.host.hostname() == host.hostname() && Some(one.turn.due) == due && one.turn.place == place
            })
        };
        let mut able = self.hosts.iter().filter(can);
        able.clone().find(is_made).or_else(|| able.next())
    }

    /// The next step; what it waits for, if there is none.
    fn advance(&self, plan: &mut Plan, place: &str, due: Timestamp, own: &[&Found<'_>]) -> Option<String> {
        let host = self.host(place, own, Some(due));
        if let Some(host) = host {
            self.is_pulled(plan, host);
        }
        if let Some(waits) = self.another(plan, place, own) {
            return Some(waits);
        }
        let Some(host) = host else {
            let which = if place.is_empty() { "an instance" } else { place };
            return Some(format!("{which} to be up"));
        };
        let hold = |plan: &mut Plan, on: String| {
            plan.hold(self.subject(), &on, None);
            Some(on)
        };
        if let Some(on) = &self.slot.unresolved {
            return Some(on.clone());
        }
        if let Some(on) = &self.slot.unread {
            return hold(plan, on.clone());
        }
        if let Some(on) = self.migrating() {
            return hold(plan, on);
        }
        let name = run_name(&self.slot.container.name, due);
        let engine = host.engine?;
        let turn = Turn {
            app: self.slot.app.name.clone(),
            container: self.slot.container.name.clone(),
            due,
            place: place.to_owned(),
        };
        if let Some(made) = engine.containers.get(&name) {
            if own.iter().any(|one| one.container.id == made.id && self.is_current(one)) {
                let (hostname, image) = (host.hostname().to_owned(), self.slot.image.clone());
                self.note(plan, JobNote::Begin(Begun { turn, hostname, image, at: self.known.now }));
            } else if !is_ours(made, &self.known.desired.stack.name) {
                let message = format!(
                    "a container {name} that Evenkeel did not make is on {}; remove or rename it",
                    host.hostname()
                );
                plan.condition(Kind::Conflict, format!("{}/{name}", host.hostname()), message);
            }
            return None;
        }
        if !engine.images.contains_key(&self.slot.image) {
            return hold(plan, format!("image {} to be on {}", image::shown(&self.slot.image), host.hostname()));
        }
        let rendered = self.rendered(host, due, place);
        let is_up = |name: &&String| engine.containers.get(*name).is_some_and(is_live);
        if let Some(missing) = rendered.needs.iter().find(|name| !is_up(name)) {
            return hold(plan, format!("{missing}, which it is linked with, to run on {}", host.hostname()));
        }
        self.on(plan, host, self.make(&rendered, engine));
        None
    }

    /// The container, or what has to be there before it.
    fn make(&self, rendered: &Rendered, engine: &Engine) -> EngineAction {
        let labels = || marks(self.known.desired, self.slot);
        let volume = rendered.run.data_volumes.iter().find(|mount| !engine.volumes.contains(&mount.volume));
        let network = rendered.run.network.own().filter(|name| !engine.networks.contains_key(*name));
        match (volume, network) {
            (Some(mount), _) => EngineAction::CreateVolume { name: mount.volume.clone(), labels: labels() },
            (None, Some(name)) => EngineAction::CreateNetwork { name: name.to_owned(), labels: labels() },
            (None, None) => EngineAction::Create { run: Box::new(rendered.for_engine(engine)) },
        }
    }

    /// What another run of the same job makes it wait for.
    fn another(&self, plan: &mut Plan, place: &str, own: &[&Found<'_>]) -> Option<String> {
        if self.job.concurrency == Concurrency::Allow {
            return None;
        }
        let is_here = |turn: &Turn| turn.place == place;
        let live: Vec<&&Found<'_>> = own.iter().filter(|one| is_here(&one.turn) && is_live(one.container)).collect();
        let runs = self.known.facts.jobs.of(&self.slot.app.name, &self.slot.container.name);
        let begun = runs.filter(|run| run.ended.is_none() && is_here(&run.begun.turn));
        let (before, hostname) = live
            .first()
            .map(|one| (one.turn.due, one.host.hostname().to_owned()))
            .or_else(|| begun.map(|run| (run.begun.turn.due, run.begun.hostname.clone())).next())?;
        if self.job.concurrency == Concurrency::Replace {
            for one in live {
                self.stop(plan, one);
            }
        }
        Some(format!("the run of {} on {hostname} to end", before.strftime("%F %H:%M UTC")))
    }

    /// A migration of what it has the image of.
    fn migrating(&self) -> Option<String> {
        let (app, image) = (&self.slot.app.name, &self.slot.container.image);
        let same = |slot: &&super::Slot<'_>| slot.app.name == *app && slot.container.image == *image;
        self.slots.iter().filter(same).find_map(|slot| slot.migrating.clone())
    }

    fn is_pulled(&self, plan: &mut Plan, host: &Host<'_>) {
        let image = &self.slot.image;
        let is_there = host.engine.is_some_and(|engine| engine.images.contains_key(image));
        if is_there || self.slot.unresolved.is_some() {
            return;
        }
        if let Some(reference) = secrets::unread_login(self.known.desired, self.known.seen, image) {
            let on = format!("{reference} to be read, with which {} is pulled", image::shown(image));
            return plan.hold(host.hostname(), on, None);
        }
        let room = host.engine.map(|engine| {
            let (known, layer, hostname) = (self.known, self.layer, host.hostname());
            disk::Place { known, layer, hostname, engine }.room(image)
        });
        if let (Some(room), Some(node)) = (room, &host.node)
            && !room.make(plan, node, image, self.known.facts, self.known.now)
        {
            return;
        }
        self.on(plan, host, EngineAction::Pull { image: image.clone() });
    }

    /// It was made as its next run is to be, and not begun.
    fn is_current(&self, one: &Found<'_>) -> bool {
        let wanted = self.rendered(one.host, one.turn.due, &one.turn.place);
        one.container.state == State::Created && wanted.is_of(one.container)
    }

    /// Takes the next step of a run that is there. `due` are the times, by place, whose runs are to be begun.
    pub(super) fn tend(&self, plan: &mut Plan, one: &Found<'_>, due: &[(String, Timestamp)]) {
        let (id, name) = (one.container.id.clone(), one.name.to_owned());
        let recorded = self.known.facts.jobs.run(&one.turn);
        match (one.container.state, recorded) {
            (State::Created, None) => {
                let is_due = due.iter().any(|(place, at)| (place, *at) == (&one.turn.place, one.turn.due));
                let stays = self.known.facts.idle || (is_due && self.is_current(one));
                if !stays {
                    self.on(plan, one.host, EngineAction::Remove { id, name });
                }
            }
            (State::Created, Some(run)) if run.ended.is_some() || run.begun.hostname != one.host.hostname() => {
                self.on(plan, one.host, EngineAction::Remove { id, name });
            }
            (State::Created, Some(_)) => {
                let start = EngineAction::Start { id, name };
                let failure = self.known.facts.failures.get(&format!("{}: {start}", one.host.hostname()));
                match failure.filter(|failure| given_up(failure)) {
                    Some(failure) => {
                        let words = failure.trouble.message.clone();
                        let ended = one.ended(Outcome::Failed, None, self.known.now, words);
                        self.note(plan, JobNote::End(ended));
                    }
                    None => self.on(plan, one.host, start),
                }
            }
            (State::Running | State::Paused | State::Restarting { .. }, _) => {
                super::over::adopt(plan, self.known, one);
                let until = one.container.started_at.map(|at| at + self.job.timeout);
                match until {
                    Some(until) if until <= self.known.now => self.stop(plan, one),
                    until => plan.wake(until, self.known.now),
                }
            }
            (State::Exited { .. } | State::Dead, _) => super::over::record(plan, self.known, one, Some(self.job)),
        }
    }
}
