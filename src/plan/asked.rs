//! What operators have asked for, where it is looked up: what is paused, what went back, what is being deployed.

use jiff::Timestamp;

use super::{
    Facts, Plan,
    render::{label, release},
    slot::Slot,
};
use crate::{
    action::{Action, Back, Wish, WishKind},
    spec::Desired,
    world::{ContainerSeen, Engine},
};

impl Facts {
    /// The pause of an app.
    pub(super) fn paused(&self, app: &str) -> Option<&Wish> {
        self.wishes.iter().find(|wish| wish.kind == WishKind::Pause && wish.app == app)
    }

    /// What a container was rolled back to.
    pub(super) fn rolled_back(&self, app: &str, container: &str) -> Option<(&Wish, &Back)> {
        Wish::rolled_back(&self.wishes, app, container)
    }

    /// True while a container that is deployed by hand is being deployed.
    pub(super) fn is_being_deployed(&self, app: &str, container: &str) -> bool {
        let begun = WishKind::Deploy { begun: true };
        self.wishes.iter().any(|wish| wish.kind == begun && wish.container.is_some() && wish.is_about(app, container))
    }

    /// Since when an answer of the registry counts, for a container that somebody has asked to deploy.
    pub fn asked_at(&self, app: &str, container: &str) -> Option<Timestamp> {
        let asked = |wish: &&Wish| matches!(wish.kind, WishKind::Deploy { .. }) && wish.is_about(app, container);
        self.wishes.iter().filter(asked).map(|wish| wish.at).max()
    }
}

impl Plan {
    /// Forgets what was asked for.
    pub(super) fn end(&mut self, wish: &Wish, why: impl Into<String>, facts: &Facts, now: Timestamp) {
        let action = Action::EndWish { wish: wish.clone(), why: why.into() };
        self.attempt(&wish.subject(), action, facts, now);
    }
}

/// What a rollout waits for while it is paused.
pub(super) fn waits_for_resume(app: &str) -> String {
    format!("{}: rollouts of the app are paused", command("resume", app))
}

/// A command for an operator to copy.
pub(super) fn command(word: &str, subject: &str) -> String {
    format!("evenkeel {word} {}", shell_words::quote(subject))
}

/// The apps of which no container is to be taken away on this engine, because their rollouts are paused. What is half
/// done there is finished first.
pub(super) fn paused_on<'a>(facts: &Facts, desired: &Desired, engine: &Engine, slots: &'a [Slot<'_>]) -> Vec<&'a str> {
    let is_begun = |slot: &Slot<'_>| {
        let is_new = |current: &ContainerSeen| current.labels.get(label::RELEASE) == Some(&release(desired, slot));
        engine.containers.contains_key(&slot.old_name()) && engine.containers.get(&slot.name).is_none_or(is_new)
    };
    let mut paused: Vec<&str> = Vec::new();
    for slot in slots {
        let app = slot.app.name.as_str();
        if facts.paused(app).is_some()
            && !paused.contains(&app)
            && !slots.iter().any(|other| other.app.name == app && is_begun(other))
        {
            paused.push(app);
        }
    }
    paused
}
