//! What operators have asked for, as far as a plan heeds it.
//!
//! A *deploy* first clears away what was kept of earlier failures, which is what stands in the way of another try; from
//! then on a container that is deployed by hand is replaced like any other, until every instance is done or one has
//! failed. A *rollback* fixes a container to an earlier release (see [`resolve`](super::resolve)) until there is a newer
//! one than the one that was left. A *pause* lets no healthy container be taken away; an instance that is half done is
//! finished.

use jiff::Timestamp;

use super::{
    Facts, Plan,
    asked::command,
    collect::discard,
    container::is_ours,
    fleet, migration,
    node::{Look, Need},
    render::{label, release},
    resolve::{Known, answer},
    slot::Slot,
    view::View,
};
use crate::{
    action::{Action, Wish, WishKind},
    spec::{App, Container, Desired, Layer, container::Deploy, image},
    status::Kind,
    world::{ContainerSeen, Engine, Instance, Seen},
};

/// Forgets what was asked of apps and containers that are not declared. A manifest without any app is more likely a
/// mistake.
pub(super) fn forget_undeclared(plan: &mut Plan, desired: &Desired, facts: &Facts, now: Timestamp) {
    if desired.apps.is_empty() {
        return;
    }
    for wish in facts.wishes.iter().filter(|wish| find(desired, wish).is_none()) {
        plan.end(wish, format!("{} is not declared", wish.subject()), facts, now);
    }
}

/// The app that a wish is about, with the container, if it is about one.
fn find<'a>(desired: &'a Desired, wish: &Wish) -> Option<(&'a App, Option<&'a Container>)> {
    let app = desired.apps.iter().find(|app| app.is_docker() && app.name == wish.app)?;
    match &wish.container {
        None => Some((app, None)),
        Some(name) => Some((app, Some(app.containers.iter().find(|container| container.name == *name)?))),
    }
}

/// Tells what is paused, and clears the way for what is to be deployed.
pub(super) fn heed(plan: &mut Plan, known: &Known<'_>, layer: &Layer, staying: &[&Instance], slots: &[Slot<'_>]) {
    for wish in &known.facts.wishes {
        let Some((app, container)) = find(known.desired, wish).filter(|(app, _)| app.layer == layer.short_name) else {
            continue;
        };
        match wish.kind {
            WishKind::Pause => plan.condition(Kind::Paused, &app.name, paused(wish)),
            WishKind::Deploy { begun: false } => {
                if !clear_the_way(plan, known, wish, layer, staying, slots) {
                    begin(plan, known, wish, container);
                }
            }
            WishKind::Deploy { begun: true } | WishKind::Rollback(_) => {}
        }
    }
}

fn paused(wish: &Wish) -> String {
    let (app, at) = (&wish.app, wish.at.strftime("%F %H:%M:%S UTC"));
    format!(
        "rollouts are paused since {at}: no healthy container is taken away for another; {} lets them go on",
        command("resume", app)
    )
}

/// Removes what was kept of failures of what is declared. True when there was any.
fn clear_the_way(
    plan: &mut Plan,
    known: &Known<'_>,
    wish: &Wish,
    layer: &Layer,
    staying: &[&Instance],
    slots: &[Slot<'_>],
) -> bool {
    let by_name = |slot: &&Slot<'_>| wish.container.is_some() || slot.container.deploy != Deploy::Manual;
    let asked = slots.iter().filter(|slot| wish.is_about(&slot.app.name, &slot.container.name)).filter(by_name);
    let mut any = false;
    for slot in asked {
        let (name, release) = (slot.failed_name(), release(known.desired, slot));
        let is_in_the_way = |container: &&ContainerSeen| {
            is_ours(container, &known.desired.stack.name) && container.labels.get(label::RELEASE) == Some(&release)
        };
        let kept = known.engines.iter().filter_map(|(hostname, engine)| {
            Some((*hostname, name.clone(), engine.containers.get(&name).filter(is_in_the_way)?))
        });
        for (hostname, name, container) in kept.chain(migration::failed(known, layer, staying, slot)) {
            any = true;
            let instance = staying.iter().find(|instance| instance.hostname == hostname);
            if let Some(node) = instance.and_then(|it| fleet::node(&known.desired.stack, layer, it)) {
                let what = discard(&name, container);
                plan.attempt(hostname, Action::Engine { node, what }, known.facts, known.now);
            }
        }
    }
    if any {
        plan.hold(wish.subject(), "what was kept of earlier failures to be cleared away", None);
    }
    any
}

fn begin(plan: &mut Plan, known: &Known<'_>, wish: &Wish, container: Option<&Container>) {
    let Some(container) = container.filter(|container| container.deploy == Deploy::Manual) else {
        return plan.end(wish, "earlier failures do not count any more", known.facts, known.now);
    };
    match unanswered(known, wish, container) {
        Some(on) => plan.hold(wish.subject(), on, None),
        None => plan.attempt(&wish.subject(), Action::BeginWish { wish: wish.clone() }, known.facts, known.now),
    }
}

/// Why it is not known for certain which image the container is to run.
fn unanswered(known: &Known<'_>, wish: &Wish, container: &Container) -> Option<String> {
    let declared = &container.image;
    if image::digest(declared).is_some() || known.facts.rolled_back(&wish.app, &container.name).is_some() {
        return None;
    }
    match known.seen.registry.get(declared) {
        Some(Seen::Known(newest)) => {
            let begun = wish.kind == WishKind::Deploy { begun: true };
            let recorded = known.facts.releases.get(&(wish.app.clone(), container.name.clone()));
            let is_recorded = recorded.is_some_and(|last| last.release.digest == *newest);
            (begun && !is_recorded).then(|| format!("the release of {declared} to be recorded"))
        }
        unknown => Some(answer(declared, unknown.and_then(Seen::trouble))),
    }
}

/// Ends the deploys that are done, or have failed.
pub(super) fn conclude(plan: &mut Plan, known: &Known<'_>, layer: &Layer, views: &[View<'_>]) {
    for wish in known.facts.wishes.iter().filter(|wish| wish.kind == WishKind::Deploy { begun: true }) {
        let Some((app, Some(container))) = find(known.desired, wish) else { continue };
        if app.layer != layer.short_name {
            continue;
        }
        if container.deploy != Deploy::Manual {
            plan.end(wish, format!("{} is not deployed by hand any more", wish.subject()), known.facts, known.now);
            continue;
        }
        let looks = || {
            let all = views.iter().flat_map(|view| view.looks.iter().map(move |look| (view, look)));
            all.filter(|(_, look)| wish.is_about(&look.slot.app.name, &look.slot.container.name))
        };
        if let Some((view, look)) = looks().find(|(view, look)| has_failed(view.engine, look)) {
            plan.end(wish, format!("{} failed on {}", look.slot.name, view.hostname()), known.facts, known.now);
            continue;
        }
        let seen = views.len() >= layer.instances.count as usize && views.iter().all(|view| view.engine.is_some());
        let left = looks().find(|(_, look)| !look.done);
        match (unanswered(known, wish, container), left) {
            (Some(on), _) => plan.hold(wish.subject(), on, None),
            (None, None) if seen => {
                plan.end(wish, "every instance runs what is declared", known.facts, known.now);
            }
            (None, _) => {}
        }
    }
}

fn has_failed(engine: Option<&Engine>, look: &Look<'_>) -> bool {
    let kept = engine.and_then(|engine| engine.containers.get(&look.slot.failed_name()));
    kept.is_some_and(|kept| look.rendered.is_of(kept))
        || matches!(&look.need, Need::Stuck(condition) if condition.kind == Kind::ReleaseFailed)
}
