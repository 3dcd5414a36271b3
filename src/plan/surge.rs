//! One instance more than declared for the time of a rollout, so that as many serve as without one (`rollout.surge`).
//!
//! It is made when a container that serves is to be taken away, and leaves like any that is too many once nothing is
//! under way any more. Both are read off the engines, so that a controller that was killed finds its way.

use jiff::Timestamp;

use super::{
    Facts, Plan, fleet,
    node::{Look, Need, Scene, looks},
    releases::Releases,
    render::Place,
    resolve::{Known, resolve},
    slot::slots,
    traffic,
};
use crate::{
    action::EngineAction,
    spec::{Desired, Layer, container::Way},
    world::{Engine, Instance, Observed, Seen},
};

/// Whether there should be one more than declared.
pub(super) fn is_wanted(
    desired: &Desired,
    layer: &Layer,
    members: &[(u32, &Instance)],
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) -> bool {
    let mut slots = slots(desired, layer);
    if layer.instances.count == 0 || !slots.iter().any(|slot| slot.app.rollout.surge) {
        return false;
    }
    let is_there = members.len() > layer.instances.count as usize;
    let mut engines: Vec<(&Instance, &Engine)> = Vec::new();
    for (_, instance) in members {
        match seen.engines.get(&instance.hostname) {
            Some(Seen::Known(engine)) => engines.push((instance, engine)),
            // What cannot be seen may be half done: nobody leaves because of that.
            _ if is_there && fleet::node(&desired.stack, layer, instance).is_some() => return true,
            _ => {}
        }
    }
    let named: Vec<(&str, &Engine)> =
        engines.iter().map(|(instance, engine)| (instance.hostname.as_str(), *engine)).collect();
    // What is to be recorded, and what is to be told, the rollout itself says.
    resolve(&mut Plan::default(), &Known { desired, engines: &named, seen, facts, now }, &mut slots);
    let releases = Releases::read(desired, &slots, &named, facts);
    let serving = traffic::serving(&slots);
    engines.iter().any(|(instance, engine)| {
        let place = Place::of(instance);
        let scene = Scene { desired, place, engine, releases: &releases, facts, now };
        let needs = if is_there { is_under_way } else { begins };
        let waits = |look: &Look<'_>| !is_there && (look.paused || look.slot.container.strategy == Some(Way::InPlace));
        looks(&scene, &slots, &serving).iter().any(|look| look.serves && needs(look) && !waits(look))
    })
}

/// A container that serves well is to make way for another.
fn begins(look: &Look<'_>) -> bool {
    look.up && !look.stalled && !look.going_back && matches!(look.need, Need::Swap(EngineAction::Stop { .. }))
}

fn is_under_way(look: &Look<'_>) -> bool {
    !look.done && !matches!(look.need, Need::Stuck(_))
}
