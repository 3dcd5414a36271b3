//! What one instance's engine needs next, slot by slot.
//!
//! A swap keeps what it replaces: the old container is stopped and renamed `NAME.old`, the new one takes its place,
//! and only when every instance of the layer is done is the old one removed. If the new one fails it becomes
//! `NAME.failed` and the old one takes its place again: no pull, no create. Everything that must be known about a
//! rollout under way is thus on the engines themselves, and a controller that was killed needs no memory of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    render::{Place, Rendered, label, render},
    slot::Slot,
};
use crate::{
    action::{EngineAction, Guard, StopHow},
    spec::{Desired, container::Deploy, rollout::OnFailure},
    status::{Condition, Kind},
    world::{ContainerSeen, Engine, Health, State},
};

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
}

/// What is known of a layer's releases across its instances.
#[derive(Debug, Default)]
pub struct Releases {
    /// Releases that failed on some instance → where, and what was said.
    pub failed: BTreeMap<String, (String, String)>,
}

impl Releases {
    /// Reads the failed releases off the engines.
    pub fn read<'a>(engines: impl Iterator<Item = (&'a str, &'a Engine)>, stack: &str) -> Releases {
        let mut failed = BTreeMap::new();
        for (hostname, engine) in engines {
            for (name, container) in &engine.containers {
                if name.ends_with(super::slot::FAILED)
                    && is_ours(container, stack)
                    && let Some(release) = container.labels.get(label::RELEASE)
                {
                    let words = last_words(container);
                    failed.entry(release.clone()).or_insert_with(|| (format!("{hostname}/{}", plain(name)), words));
                }
            }
        }
        Releases { failed }
    }
}

fn plain(name: &str) -> &str {
    name.trim_end_matches(super::slot::FAILED)
}

/// True when a container bears this stack's mark.
pub fn is_ours(container: &ContainerSeen, stack: &str) -> bool {
    container.labels.get(label::STACK).is_some_and(|found| found == stack)
}

/// True for a container whose process exists.
pub fn is_live(container: &ContainerSeen) -> bool {
    matches!(container.state, State::Running | State::Paused | State::Restarting { .. })
}

/// Looks at every slot of one engine.
pub fn looks<'a>(
    desired: &Desired,
    slots: &'a [Slot<'a>],
    serving: &[bool],
    place: Place<'_>,
    engine: &Engine,
    releases: &Releases,
    now: Timestamp,
) -> Vec<Look<'a>> {
    slots
        .iter()
        .zip(serving)
        .map(|(slot, &serves)| {
            let rendered = render(desired, slot, place, serves);
            let mut look = Look {
                slot,
                rendered,
                serves,
                need: Need::Nothing,
                missing_image: None,
                id: engine.containers.get(&slot.name).map(|container| container.id.clone()),
                up: false,
                done: false,
            };
            assess(&mut look, desired, place, engine, releases, now);
            look
        })
        .collect()
}

fn assess(
    look: &mut Look<'_>,
    desired: &Desired,
    place: Place<'_>,
    engine: &Engine,
    releases: &Releases,
    now: Timestamp,
) {
    let slot = look.slot;
    let stack = &desired.stack.name;
    let subject = format!("{}/{}", place.hostname, slot.name);
    let named = |name: &str| engine.containers.get(name);
    let (current, old, failed) = (named(&slot.name), named(&slot.old_name()), named(&slot.failed_name()));
    for (name, found) in [(&slot.name, current), (&slot.old_name(), old), (&slot.failed_name(), failed)] {
        if found.is_some_and(|container| !is_ours(container, stack)) && !(desired.stack.adopt && name == &slot.name) {
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
    let has_image = engine.images.contains_key(&look.rendered.run.image);
    let failure = releases.failed.get(&look.rendered.release);
    let go_back = failure.is_some()
        && (slot.app.rollout.on_failure == OnFailure::Rollback
            || failed.is_some_and(|f| f.labels.get(label::RELEASE) == Some(&look.rendered.release)));
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

    let Some(current) = current else {
        if let Some(old) = old {
            // Nothing runs here, so the quickest way to serve again is the container that did.
            if go_back || look.rendered.matches(old, engine) {
                look.need = Need::Do(rename(old, &slot.old_name(), &slot.name));
                return;
            }
        }
        if !has_image {
            look.missing_image = Some(look.rendered.run.image.clone());
            look.need = Need::Wait {
                on: format!("image {} to be on {}", look.rendered.run.image, place.hostname),
                until: None,
            };
            return;
        }
        if let Some(missing) = look.rendered.needs.iter().find(|name| !named(name).is_some_and(is_live)) {
            look.need =
                Need::Wait { on: format!("{missing}, which {} is linked with, to run", slot.name), until: None };
            return;
        }
        if let Some(mount) = look.rendered.run.data_volumes.iter().find(|mount| !engine.volumes.contains(&mount.volume))
        {
            let labels = BTreeMap::from([
                (label::STACK.to_owned(), stack.clone()),
                (label::APP.to_owned(), slot.app.name.clone()),
            ]);
            look.need = Need::Do(EngineAction::CreateVolume { name: mount.volume.clone(), labels });
            return;
        }
        look.need = Need::Do(EngineAction::Create { run: Box::new(look.rendered.for_engine(engine)) });
        return;
    };

    let verdict = verdict(current, slot, old.is_some(), now);
    look.up = matches!(verdict, Verdict::Healthy);
    if look.rendered.matches(current, engine) {
        if go_back && let Some(_kept) = old {
            look.need = if is_live(current) {
                Need::Swap(stop(&slot.name, current))
            } else if let Some(earlier) = failed {
                Need::Do(remove(earlier, &slot.failed_name()))
            } else {
                Need::Do(rename(current, &slot.name, &slot.failed_name()))
            };
            return;
        }
        look.need = match verdict {
            Verdict::Healthy => {
                look.done = true;
                Need::Nothing
            }
            Verdict::Soon { on, until } => Need::Wait { on: format!("{} to be healthy: {on}", slot.name), until },
            Verdict::NotStarted => Need::Do(start(current)),
            // In the middle of a swap, a new container that fails makes way for the old one at once.
            Verdict::Bad(_) if old.is_some() => {
                if is_live(current) {
                    Need::Do(stop(&slot.name, current))
                } else if let Some(earlier) = failed {
                    Need::Do(remove(earlier, &slot.failed_name()))
                } else {
                    Need::Do(rename(current, &slot.name, &slot.failed_name()))
                }
            }
            Verdict::Bad(why) => match current.state {
                State::Exited { .. } => Need::Do(start(current)),
                State::Dead => Need::Do(remove(current, &slot.name)),
                _ => Need::Stuck(failing(&subject, &why)),
            },
        };
        return;
    }

    // Something else than what is declared.
    if slot.container.deploy == Deploy::Manual && is_live(current) {
        look.done = look.up;
        look.need = match verdict {
            Verdict::Bad(why) => Need::Stuck(failing(&subject, &why)),
            Verdict::Soon { on, until } => Need::Wait { on: format!("{} to be healthy: {on}", slot.name), until },
            _ => Need::Nothing,
        };
        return;
    }
    if let Some((place_of_failure, words)) = failure {
        let back = Condition {
            kind: Kind::ReleaseFailed,
            subject: subject.clone(),
            message: format!(
                "{} of revision {} failed at {place_of_failure}: {words}; the old container serves. It is not tried \
                 again until its manifest changes",
                slot.container.image, desired.revision
            ),
        };
        look.need = match verdict {
            Verdict::NotStarted => Need::Do(start(current)),
            Verdict::Bad(_) if matches!(current.state, State::Exited { .. }) => Need::Do(start(current)),
            Verdict::Soon { on, until } => Need::Wait { on: format!("{} to be healthy again: {on}", slot.name), until },
            _ => Need::Stuck(back),
        };
        return;
    }
    if !has_image {
        look.missing_image = Some(look.rendered.run.image.clone());
        look.need =
            Need::Wait { on: format!("image {} to be on {}", look.rendered.run.image, place.hostname), until: None };
        return;
    }
    look.need = match (is_live(current), old) {
        // The last one that was good is this one, not the one before it.
        (true, Some(older)) if look.up => Need::Do(remove(older, &slot.old_name())),
        (true, _) => Need::Swap(stop(&slot.name, current)),
        (false, Some(_)) => Need::Do(remove(current, &slot.name)),
        (false, None) => Need::Do(rename(current, &slot.name, &slot.old_name())),
    };
}

fn failing(subject: &str, why: &str) -> Condition {
    Condition {
        kind: Kind::Failing,
        subject: subject.to_owned(),
        message: format!("{why}. There is no older container to put back; look at its log and correct its manifest"),
    }
}

/// How well a container does.
enum Verdict {
    Healthy,
    Soon { on: String, until: Option<Timestamp> },
    NotStarted,
    Bad(String),
}

/// `swapping`: an older container is still there to go back to, so one that had to be started again has failed.
fn verdict(container: &ContainerSeen, slot: &Slot<'_>, swapping: bool, now: Timestamp) -> Verdict {
    let words = last_words(container);
    match container.state {
        State::Created => Verdict::NotStarted,
        State::Exited { exit_code } => Verdict::Bad(format!("it ended with exit code {exit_code}{}", colon(&words))),
        State::Restarting { exit_code } => {
            Verdict::Bad(format!("it keeps ending with exit code {exit_code}{}", colon(&words)))
        }
        State::Dead => Verdict::Bad("the engine could not remove it completely".into()),
        State::Paused => Verdict::Bad("it was paused by hand; docker unpause lets it go on".into()),
        State::Running if swapping && container.restarts > 0 => {
            Verdict::Bad(format!("it ended and was started again {} times{}", container.restarts, colon(&words)))
        }
        State::Running => {
            let started = container.started_at.unwrap_or(now);
            match container.health {
                Some(Health::Healthy) => Verdict::Healthy,
                Some(Health::Unhealthy) => Verdict::Bad(format!("its health check fails{}", colon(&words))),
                Some(Health::Starting) => {
                    let until = started + slot.app.rollout.progress_deadline;
                    if now >= until {
                        let allowed = slot.app.rollout.progress_deadline.as_secs();
                        Verdict::Bad(format!("it was not healthy after {allowed}s{}", colon(&words)))
                    } else {
                        Verdict::Soon { on: "its health check has not passed yet".into(), until: Some(until) }
                    }
                }
                None => {
                    let until = started + slot.container.startup_time;
                    if now >= until {
                        Verdict::Healthy
                    } else {
                        let seconds = slot.container.startup_time.as_secs();
                        Verdict::Soon { on: format!("startupTime of {seconds}s"), until: Some(until) }
                    }
                }
            }
        }
    }
}

fn last_words(container: &ContainerSeen) -> String {
    container.last_words.as_deref().unwrap_or("").trim().to_owned()
}

fn colon(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// The same stop, with the balancers that must not be sending requests any more.
pub fn guarded(action: EngineAction, guard: Option<Guard>) -> EngineAction {
    match action {
        EngineAction::Stop { id, name, stop, .. } => EngineAction::Stop { id, name, stop, guard },
        other => other,
    }
}
