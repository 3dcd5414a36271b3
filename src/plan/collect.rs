//! What is left over on an engine: containers that are no longer declared, those kept for a rollout that is over, and
//! networks that nothing is in any more.

use super::{
    Facts,
    container::{is_live, is_ours},
    migration::is_kept,
    node::{Look, Need},
    render::label,
    slot::{FAILED, OLD, Slot},
};
use crate::{
    action::{EngineAction, StopHow},
    spec::Desired,
    world::{ContainerSeen, Engine, NetworkSeen},
};

/// How long an undeclared container has to end.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// What is to be done about one leftover, and whether the container concerned serves traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Leftover {
    /// The container's name.
    pub name: String,
    /// Whether it serves traffic.
    pub serves: bool,
    /// What to do.
    pub need: Need,
}

/// The leftovers of one engine. `over` tells whether the rollout of a container (app, key) is over on every instance.
///
/// With no slot declared at all nothing is left over: an empty declaration is more likely a mistake than a wish.
pub fn leftovers(
    desired: &Desired,
    looks: &[Look<'_>],
    engine: &Engine,
    facts: &Facts,
    over: &dyn Fn(&str, &str) -> bool,
) -> Vec<Leftover> {
    if looks.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let slots: Vec<&Slot<'_>> = looks.iter().map(|look| look.slot).collect();
    for (name, container) in &engine.containers {
        let taken_over = desired.stack.adopt && looks.iter().any(|look| *name == look.slot.old_name());
        if !(is_ours(container, &desired.stack.name) || taken_over) || looks.iter().any(|look| &look.slot.name == name)
        {
            continue;
        }
        // Those of jobs are looked after by themselves.
        if container.labels.contains_key(label::JOB) {
            continue;
        }
        if container.labels.contains_key(label::MIGRATION) {
            if !is_kept(container, facts, &slots, over) {
                found.push(leftover(name, container));
            }
            continue;
        }
        let kept_for = looks.iter().find(|look| *name == look.slot.old_name() || *name == look.slot.failed_name());
        let unwanted = match kept_for {
            Some(look) if name.ends_with(OLD) => look.done && over(&look.slot.app.name, &look.slot.container.name),
            Some(look) if name.ends_with(FAILED) => !look.rendered.is_of(container) && look.done,
            _ => true,
        };
        if unwanted {
            found.push(leftover(name, container));
        }
    }
    found.extend(networks(desired, looks, engine));
    found
}

/// Networks of the stack's apps that nothing declares any more, once the last container in them is gone.
fn networks(desired: &Desired, looks: &[Look<'_>], engine: &Engine) -> Vec<Leftover> {
    let is_wanted = |name: &str| looks.iter().any(|look| look.rendered.run.network.own() == Some(name));
    let is_over = |(name, network): &(&String, &NetworkSeen)| {
        network.labels.get(label::STACK) == Some(&desired.stack.name) && !is_wanted(name) && !engine.is_used(network)
    };
    let over = engine.networks.iter().filter(is_over);
    over.map(|(name, network)| Leftover {
        name: name.clone(),
        serves: false,
        need: Need::Do(EngineAction::RemoveNetwork { id: network.id.clone(), name: name.clone() }),
    })
    .collect()
}

fn leftover(name: &str, container: &ContainerSeen) -> Leftover {
    let serves = container.labels.get(label::TRAFFIC).is_some_and(|value| value == "true");
    let action = discard(name, container);
    let need = if serves && is_live(container) { Need::Swap(action) } else { Need::Do(action) };
    Leftover { name: name.to_owned(), serves, need }
}

/// What takes away a container that is not needed: it is stopped first if it runs.
pub(super) fn discard(name: &str, container: &ContainerSeen) -> EngineAction {
    let (id, name) = (container.id.clone(), name.to_owned());
    if !is_live(container) {
        return EngineAction::Remove { id, name };
    }
    EngineAction::Stop { id, name, stop: StopHow { signal: None, timeout: STOP_TIMEOUT }, guard: None }
}
