//! What one instance's engine needs next, slot by slot.
//!
//! A swap keeps what it replaces: the old container is stopped and renamed `NAME.old`, the new one takes its place,
//! and only when every instance of the layer is done is the old one removed. If the new one fails it becomes
//! `NAME.failed` and the old one takes its place again: no pull, no create. Everything that must be known about a
//! rollout under way is thus on the engines themselves, and a controller that was killed needs no memory of it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    asked::{command, paused_on},
    container::{colon, is_live, is_ours},
    facts::Facts,
    releases::{Releases, given_up},
    render::{Place, Rendered, label, render},
    slot::Slot,
    start_first::starts_first,
    verdict::{Verdict, judge},
};
use crate::{
    action::{EngineAction, Guard, StopHow},
    spec::{Desired, image, rollout::OnFailure},
    status::{Condition, Kind},
    world::{ContainerSeen, Engine, Health, State},
};

/// What ended sooner after its start than this has not worked.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// How long it then rests, where the engine leaves that to Evenkeel.
const REST: Duration = Duration::from_secs(30);

/// What a slot needs next.
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// It is as declared, and healthy.
    Nothing,
    /// It is on the way, or waits for something.
    Wait {
        /// For what.
        on: String,
        /// When the waiting ends at the latest.
        until: Option<Timestamp>,
    },
    /// Something that takes nothing away from anybody.
    Do(EngineAction),
    /// Something that takes a running container away: only with the rollout's permission.
    Swap(EngineAction),
    /// Nothing can be done until something changes.
    Stuck(Condition),
}

/// One slot of one instance, looked at.
#[derive(Debug)]
pub struct Look<'a> {
    /// The slot.
    pub slot: &'a Slot<'a>,
    /// Filled in for the instance.
    pub rendered: Rendered,
    /// Whether it serves traffic.
    pub serves: bool,
    /// What it needs.
    pub need: Need,
    /// The image that must be on the engine and is not.
    pub missing_image: Option<String>,
    /// The id of the container that has its name, if there is one.
    pub id: Option<String>,
    /// True when its container runs and is healthy, whether or not it is as declared.
    pub up: bool,
    /// True when it runs what is declared, healthily.
    pub done: bool,
    /// True when what it needs is held up by itself (a failure a moment ago, an image that cannot be pulled, a link
    /// to what does not run), so that the slots after it need not wait.
    pub stalled: bool,
    /// True when what runs is something else than what is declared, and is to make way for it.
    pub replaced: bool,
    /// True while the container that it replaces is kept.
    pub swapping: bool,
    /// True when what it needs takes it back to the older container.
    pub going_back: bool,
    /// True when its new container is to be up before the old one is stopped.
    pub start_first: bool,
    /// True when it is not to be taken away, because the rollouts of its app are paused.
    pub paused: bool,
}

impl Look<'_> {
    /// True for another replica of the same container.
    pub fn is_sibling(&self, other: &Look<'_>) -> bool {
        self.slot.app.name == other.slot.app.name
            && self.slot.container.name == other.slot.container.name
            && self.slot.index != other.slot.index
    }

    /// Whether its image is known and on the engine, and no migration comes first; what it waits for, if not.
    /// `replaces`: a container that runs.
    fn may_begin(&mut self, engine: &Engine, hostname: &str, replaces: bool) -> bool {
        let image = &self.rendered.run.image;
        let waits = |on: &String| Need::Wait { on: on.clone(), until: None };
        if let Some(on) = &self.slot.unresolved {
            self.stalled = true;
            self.need = waits(on);
            return false;
        }
        if let Some(on) = &self.slot.unread {
            self.stalled = true;
            self.need = waits(on);
            return false;
        }
        if !engine.images.contains_key(image) {
            self.need = Need::Wait { on: format!("image {} to be on {hostname}", image::shown(image)), until: None };
            self.missing_image = Some(image.clone());
            return false;
        }
        let held = self.slot.held.as_ref().filter(|_| replaces);
        if let Some(on) = self.slot.migrating.as_ref().or(held) {
            self.stalled = true;
            self.need = waits(on);
            return false;
        }
        true
    }

    /// True between the end of one container and the health of the next.
    pub fn is_half_done(&self) -> bool {
        let moving = matches!(self.need, Need::Do(EngineAction::Rename { .. }));
        !self.up && (self.swapping || moving) && matches!(self.need, Need::Do(_) | Need::Wait { .. })
    }
}

/// One engine, with what has to be known to judge it.
pub struct Scene<'a> {
    /// What should be.
    pub desired: &'a Desired,
    /// Which instance it is.
    pub place: Place<'a>,
    /// What was seen on it.
    pub engine: &'a Engine,
    /// What failed anywhere.
    pub releases: &'a Releases,
    /// What is remembered.
    pub facts: &'a Facts,
    /// The time.
    pub now: Timestamp,
}

/// Looks at every slot of one engine.
pub fn looks<'a>(scene: &Scene<'_>, slots: &'a [Slot<'a>], serving: &[bool]) -> Vec<Look<'a>> {
    let containers = &scene.engine.containers;
    let paused = paused_on(scene.facts, scene.desired, scene.engine, slots);
    slots
        .iter()
        .zip(serving)
        .map(|(slot, &serves)| {
            let mut look = Look {
                slot,
                rendered: render(scene.desired, slot, scene.place, serves),
                serves,
                need: Need::Nothing,
                missing_image: None,
                id: containers.get(&slot.name).map(|container| container.id.clone()),
                up: false,
                done: false,
                stalled: false,
                replaced: false,
                swapping: containers.contains_key(&slot.old_name()),
                going_back: false,
                start_first: starts_first(slot, slots),
                paused: paused.contains(&slot.app.name.as_str()),
            };
            assess(&mut look, scene);
            look.stalled |= is_stalled(&look, scene);
            look
        })
        .collect()
}

fn is_stalled(look: &Look<'_>, scene: &Scene<'_>) -> bool {
    let failure = |what: String| scene.facts.failures.get(&format!("{}: {what}", scene.place.hostname));
    match (&look.need, &look.missing_image) {
        (Need::Do(what), _) => failure(what.to_string()).is_some_and(|failure| failure.retry_at > scene.now),
        (Need::Wait { .. }, Some(image)) => failure(format!("pull {}", image::shown(image))).is_some(),
        _ => false,
    }
}

fn assess(look: &mut Look<'_>, scene: &Scene<'_>) {
    let Scene { desired, place, engine, releases, facts, now } = *scene;
    let slot = look.slot;
    let stack = &desired.stack.name;
    let subject = format!("{}/{}", place.hostname, slot.name);
    let named = |name: &str| engine.containers.get(name);
    let (current, old, failed) = (named(&slot.name), named(&slot.old_name()), named(&slot.failed_name()));
    for (name, found) in [(&slot.name, current), (&slot.old_name(), old), (&slot.failed_name(), failed)] {
        if found.is_some_and(|container| !is_ours(container, stack))
            && !(desired.stack.adopt && *name != slot.failed_name())
        {
            look.need = Need::Stuck(Condition {
                kind: Kind::Conflict,
                subject,
                message: format!(
                    "a container {name} that Evenkeel did not make is on {}; remove or rename it, or set adopt: true \
                     in the stack's manifest to have it replaced",
                    place.hostname
                ),
            });
            return;
        }
    }
    let network = look.rendered.run.network.own().map(|name| (name, engine.networks.get(name)));
    if let Some((name, Some(seen))) = network
        && seen.labels.get(label::STACK) != Some(stack)
        && !desired.stack.adopt
    {
        look.need = Need::Stuck(Condition {
            kind: Kind::Conflict,
            subject,
            message: format!(
                "a network {name} that Evenkeel did not make is on {}; remove it, or set adopt: true in the stack's \
                 manifest to have it used",
                place.hostname
            ),
        });
        return;
    }
    // Before anything is stopped for it: where it cannot be made, what runs goes on.
    let network_first = network.and_then(|(name, seen)| match seen {
        Some(_) => None,
        None => Some(EngineAction::CreateNetwork { name: name.to_owned(), labels: marks(desired, slot) }),
    });
    let failure = releases.failed(&look.rendered.release);
    // A container of the same release was only linked otherwise; there is nothing to go back to. Nor is there when the
    // older one cannot work with what the migration has left behind.
    let no_way_back = slot.container.migration.as_ref().is_some_and(|migration| !migration.reversible);
    let fallback = old.filter(|_| !no_way_back).filter(|old| !look.rendered.is_of(old));
    let dragged = releases.is_dragged(place.hostname, &slot.name);
    let go_back = dragged
        || failure.is_some_and(|failure| {
            slot.app.rollout.on_failure == OnFailure::Rollback
                || failure.hostname == place.hostname
                || failed.is_some_and(|failed| look.rendered.is_of(failed))
        });
    let stop = |name: &str, container: &ContainerSeen| EngineAction::Stop {
        id: container.id.clone(),
        name: name.to_owned(),
        stop: StopHow { signal: slot.container.stop.signal.clone(), timeout: slot.container.stop.timeout },
        guard: None,
    };
    let rename = |container: &ContainerSeen, from: &str, to: &str| EngineAction::Rename {
        id: container.id.clone(),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let remove = |container: &ContainerSeen, name: &str| EngineAction::Remove {
        id: container.id.clone(),
        name: name.to_owned(),
    };
    let start = |container: &ContainerSeen| EngineAction::Start { id: container.id.clone(), name: slot.name.clone() };
    let start_old = |older: &ContainerSeen| EngineAction::Start { id: older.id.clone(), name: slot.old_name() };
    // Once the new one has been up for as long as it takes to be found, the older one may go.
    let relieve = |older: &ContainerSeen| {
        let up_since = current.and_then(|current| facts.up_since.get(&current.id)).copied().unwrap_or(now);
        let until = up_since + slot.app.rollout.settle;
        if now < until {
            return Need::Wait { on: format!("{} to be taken up (rollout.settle)", slot.name), until: Some(until) };
        }
        Need::Do(stop(&slot.old_name(), older))
    };
    let look_starts_first = look.start_first;

    let older_serves = look.start_first
        && old.is_some_and(|old| matches!(judge(old, slot, false, is_ours(old, stack), now), Verdict::Healthy));
    let Some(current) = current else {
        if let Some(old) = old {
            if old.state == State::Dead {
                look.need = Need::Do(remove(old, &slot.old_name()));
                return;
            }
            // Nothing runs here, so the quickest way to serve again is the container that did.
            if (go_back && fallback.is_some()) || look.rendered.matches(old, engine) {
                look.going_back = true;
                look.need = Need::Do(rename(old, &slot.old_name(), &slot.name));
                return;
            }
            if is_live(old) && !look.start_first {
                look.need = Need::Swap(stop(&slot.old_name(), old));
                return;
            }
        }
        // What serves meanwhile is the older one.
        look.up = older_serves;
        if !look.may_begin(engine, place.hostname, false) {
            // Until the new one may be made, the one that did serve goes on.
            if let Some(old) = old.filter(|_| look.missing_image.is_none()) {
                look.going_back = true;
                look.need = Need::Do(rename(old, &slot.old_name(), &slot.name));
            }
            return;
        }
        if let Some(missing) = look.rendered.needs.iter().find(|name| !named(name).is_some_and(is_live)) {
            look.stalled = true;
            look.need =
                Need::Wait { on: format!("{missing}, which {} is linked with, to run", slot.name), until: None };
            return;
        }
        if let Some(mount) = look.rendered.run.data_volumes.iter().find(|mount| !engine.volumes.contains(&mount.volume))
        {
            let labels = marks(desired, slot);
            look.need = Need::Do(EngineAction::CreateVolume { name: mount.volume.clone(), labels });
            return;
        }
        if let Some(what) = network_first {
            look.need = Need::Do(what);
            return;
        }
        look.need = Need::Do(EngineAction::Create { run: Box::new(look.rendered.for_engine(engine)) });
        return;
    };

    let mut verdict = judge(current, slot, fallback.is_some(), is_ours(current, stack), now);
    let starting = format!("{}: {}", place.hostname, start(current));
    if let (Verdict::NotStarted, Some(_), Some(failure)) = (&verdict, fallback, facts.failures.get(&starting))
        && given_up(failure)
    {
        verdict = Verdict::Bad(failure.trouble.message.clone());
    }
    let is_healthy = matches!(verdict, Verdict::Healthy);
    look.up = is_healthy || older_serves;
    // The way back begins with the older one, too, while the newer one serves.
    let back_first = |newer: &ContainerSeen| {
        let older = old.filter(|old| look_starts_first && is_healthy && old.state != State::Dead)?;
        Some(match judge(older, slot, false, is_ours(older, stack), now) {
            Verdict::Healthy => Need::Do(stop(&slot.name, newer)),
            Verdict::NotStarted => Need::Do(start_old(older)),
            Verdict::Bad(_) if matches!(older.state, State::Exited { .. }) => Need::Do(start_old(older)),
            Verdict::Soon { on, until } => {
                Need::Wait { on: format!("{} to be healthy again: {on}", slot.old_name()), until }
            }
            Verdict::Bad(why) => Need::Stuck(failing(&subject, &why)),
        })
    };
    if look.rendered.matches(current, engine) {
        if go_back && fallback.is_some() {
            look.going_back = true;
            look.need = if let Some(need) = back_first(current) {
                need
            } else if is_live(current) {
                Need::Swap(stop(&slot.name, current))
            } else if dragged && failure.is_none() {
                // It did not fail: nothing of it is kept that would count against it.
                Need::Do(remove(current, &slot.name))
            } else if let Some(earlier) = failed {
                Need::Do(remove(earlier, &slot.failed_name()))
            } else {
                Need::Do(rename(current, &slot.name, &slot.failed_name()))
            };
            return;
        }
        if network.is_some_and(|(_, seen)| !seen.is_some_and(|seen| seen.users.contains(&current.id)))
            && !is_live(current)
        {
            // Its network was removed while it was down. The engine knows that by its id, so another of that name does
            // not help: it could never be started.
            look.need = Need::Do(remove(current, &slot.name));
            return;
        }
        look.need = match verdict {
            Verdict::Healthy => match old.filter(|old| is_live(old)) {
                Some(older) => relieve(older),
                None => {
                    look.done = true;
                    Need::Nothing
                }
            },
            Verdict::Soon { on, until } => Need::Wait { on: format!("{} to be healthy: {on}", slot.name), until },
            Verdict::NotStarted => Need::Do(start(current)),
            // In the middle of a swap, a new container that fails makes way for the old one at once.
            Verdict::Bad(_) if fallback.is_some() => {
                look.going_back = true;
                if may_serve(current) && look.serves {
                    // It has ended before, and runs again: it may be serving, and is drained first.
                    Need::Swap(stop(&slot.name, current))
                } else if is_live(current) {
                    Need::Do(stop(&slot.name, current))
                } else if let Some(earlier) = failed {
                    Need::Do(remove(earlier, &slot.failed_name()))
                } else {
                    Need::Do(rename(current, &slot.name, &slot.failed_name()))
                }
            }
            Verdict::Bad(why) => match current.state {
                State::Exited { .. } => match rests_until(current, slot, now) {
                    Some(until) => {
                        look.stalled = true;
                        Need::Wait { on: format!("{} to be started again: {why}", slot.name), until: Some(until) }
                    }
                    None => Need::Do(start(current)),
                },
                State::Dead => Need::Do(remove(current, &slot.name)),
                _ if no_way_back && old.is_some() => Need::Stuck(irreversible(&subject, &why)),
                _ => Need::Stuck(failing(&subject, &why)),
            },
        };
        return;
    }

    // Something else than what is declared.
    let stopped_by_hand = matches!(current.state, State::Exited { .. }) && look.rendered.is_linked(current, engine);
    if slot.by_hand && (is_live(current) || stopped_by_hand) {
        look.done = look.up;
        look.need = match verdict {
            Verdict::Bad(_) if stopped_by_hand => Need::Do(start(current)),
            Verdict::Bad(why) => Need::Stuck(failing(&subject, &why)),
            Verdict::Soon { on, until } => Need::Wait { on: format!("{} to be healthy: {on}", slot.name), until },
            _ => Need::Nothing,
        };
        return;
    }
    // What was declared before is declared again, or was linked with what is there again.
    if old.is_some_and(|old| look.rendered.matches(old, engine) && old.state != State::Dead) {
        look.going_back = true;
        look.need = match back_first(current) {
            Some(need) => need,
            None if is_live(current) && older_serves => Need::Do(stop(&slot.name, current)),
            None if is_live(current) => Need::Swap(stop(&slot.name, current)),
            None => Need::Do(remove(current, &slot.name)),
        };
        return;
    }
    let where_and_why = match (failure, releases.pinned_by(place.hostname, &slot.name)) {
        (Some(failure), _) => Some(format!(
            "{} of revision {} failed at {}/{}{}",
            image::shown(&slot.image),
            desired.revision,
            failure.hostname,
            failure.name,
            colon(&failure.words)
        )),
        (None, Some(keeper)) => Some(format!("{} waits: {keeper}, which is linked with it, had to go back", slot.name)),
        (None, None) => None,
    };
    if let Some(where_and_why) = where_and_why {
        let changes = match slot.secrets.is_empty() {
            true => "the manifest or the image changes",
            false => "the manifest, the image or a value that is kept elsewhere changes",
        };
        let back = |state: &str| {
            Need::Stuck(Condition {
                kind: Kind::ReleaseFailed,
                subject: subject.clone(),
                message: format!(
                    "{where_and_why}; {state}. It is not tried again until {changes}, or {} asks for it",
                    command("deploy", &slot.app.name)
                ),
            })
        };
        look.need = match verdict {
            Verdict::NotStarted => Need::Do(start(current)),
            Verdict::Bad(_) if matches!(current.state, State::Exited { .. }) => Need::Do(start(current)),
            Verdict::Soon { on, until } => Need::Wait { on: format!("{} to be healthy again: {on}", slot.name), until },
            Verdict::Bad(why) => back(&format!("the old container does not come up either ({why})")),
            Verdict::Healthy => back("the old container serves"),
        };
        return;
    }
    // While its rollouts are paused, what dies comes back as it was.
    if look.paused && old.is_none() {
        match (current.state, verdict) {
            (State::Exited { .. }, _) => {
                look.need = Need::Do(start(current));
                return;
            }
            (State::Restarting { .. } | State::Paused, Verdict::Bad(why)) => {
                look.need = Need::Stuck(failing(&subject, &why));
                return;
            }
            _ => {}
        }
    }
    look.replaced = is_live(current);
    if !look.may_begin(engine, place.hostname, is_live(current)) {
        // Until it may be replaced, it goes on; one that was never started makes way for the one that did serve.
        match current.state {
            _ if look.missing_image.is_some() => {}
            State::Created if old.is_some() => look.need = Need::Do(remove(current, &slot.name)),
            State::Created | State::Exited { .. } => look.need = Need::Do(start(current)),
            _ => {}
        }
        return;
    }
    if let Some(what) = network_first {
        look.need = Need::Do(what);
        return;
    }
    look.need = match (current.state, old) {
        // It serves nobody, so nobody misses it.
        (State::Restarting { .. } | State::Paused, _) => Need::Do(stop(&slot.name, current)),
        // The last one that was good is this one, not the one before it.
        (State::Running, Some(older)) if is_healthy && !is_live(older) => Need::Do(remove(older, &slot.old_name())),
        (State::Running, Some(older)) if is_healthy && look.start_first => Need::Do(stop(&slot.old_name(), older)),
        (State::Running, Some(_)) if older_serves => Need::Do(stop(&slot.name, current)),
        (State::Running, None) if look.start_first => Need::Swap(rename(current, &slot.name, &slot.old_name())),
        (State::Running, _) => Need::Swap(stop(&slot.name, current)),
        (State::Created | State::Dead, _) | (State::Exited { .. }, Some(_)) => Need::Do(remove(current, &slot.name)),
        (State::Exited { .. }, None) => Need::Do(rename(current, &slot.name, &slot.old_name())),
    };
}

/// The mark on what an app needs on an engine beside its containers.
pub(super) fn marks(desired: &Desired, slot: &Slot<'_>) -> BTreeMap<String, String> {
    let marks = [(label::STACK, &desired.stack.name), (label::APP, &slot.app.name)];
    marks.map(|(name, value)| (name.to_owned(), value.clone())).into()
}

/// One that its engine does not start again (`restart`), and that ended soon after its start, is not started at once
/// either: it would hardly fare better, and the engine's own pauses between its starts are missing here.
fn rests_until(container: &ContainerSeen, slot: &Slot<'_>, now: Timestamp) -> Option<Timestamp> {
    let (started, finished) = (container.started_at?, container.finished_at?);
    let short = finished.duration_since(started).unsigned_abs() < SHORT_LIFE;
    Some(finished + REST).filter(|until| short && !slot.container.options.is_kept_up() && *until > now)
}

fn may_serve(container: &ContainerSeen) -> bool {
    container.state == State::Running && matches!(container.health, None | Some(Health::Healthy))
}

fn irreversible(subject: &str, why: &str) -> Condition {
    Condition {
        kind: Kind::ReleaseFailed,
        subject: subject.to_owned(),
        message: format!(
            "{why}. The older container is not put back, because the migration of this release is declared irreversible; \
             the release stays where it is: correct it with a new one"
        ),
    }
}

fn failing(subject: &str, why: &str) -> Condition {
    Condition {
        kind: Kind::Failing,
        subject: subject.to_owned(),
        message: format!("{why}. There is no older container to put back; look at its log and correct its manifest"),
    }
}

/// The same stop, with the balancers that must not be sending requests any more.
pub fn guarded(action: EngineAction, guard: Option<Guard>) -> EngineAction {
    match action {
        EngineAction::Stop { id, name, stop, .. } => EngineAction::Stop { id, name, stop, guard },
        other => other,
    }
}
