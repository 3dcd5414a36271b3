//! Engines and their containers: what becomes of each once it is started, and what an engine refuses.

use evenkeel::{
    action::{Action, EngineAction},
    world::{Class, State, Trouble},
};

use crate::real::{Real, SERVING, is_live, is_well, refuse};

/// What a container of an image does once it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Unhealthy,
    Hangs,
    Exits,
    Slow,
    /// It is healthy, and ends later.
    Dies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Healthy,
    Unhealthy,
    Exit,
    /// A migration has done its work.
    Finish,
}

/// A container's name without its number: `app1` → `app`.
fn kind(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

impl Real {
    /// Something is still to end that was begun while it was broken: it comes back, and only then all is quiet.
    pub fn has_deaths_ahead(&self) -> bool {
        self.changes.values().any(|(_, change)| *change == Change::Exit)
    }

    /// A request to the instance is answered: every kind of container that serves is well.
    pub fn serves_well(&self, hostname: &str) -> bool {
        self.is_whole(hostname, self.any_replica)
    }

    /// The same, of one that may be on its way out while another has its hostname.
    pub fn is_well(&self, ec2_id: &str, hostname: &str) -> bool {
        let named = self.instance(hostname).and_then(|instance| instance.ec2_id.as_deref());
        named == Some(ec2_id) && self.serves_well(hostname)
    }

    pub fn is_whole(&self, hostname: &str, any_replica: bool) -> bool {
        let Some(engine) = self.engine(hostname) else { return false };
        if !self.is_up(hostname) || self.cloud.frozen.contains_key(hostname) {
            return false;
        }
        let slots = |name: &str| {
            engine
                .containers
                .iter()
                .filter(|(slot, c)| kind(slot) == name && c.labels.contains_key("evenkeel.stack"))
                .map(|(_, c)| is_well(c))
                .collect::<Vec<_>>()
        };
        let kinds: Vec<&str> =
            if engine.containers.keys().any(|name| kind(name) == "web") { vec!["web"] } else { SERVING[..4].to_vec() };
        kinds.into_iter().all(|name| {
            let well = slots(name);
            let needed = if name == "app" && !any_replica { 2 } else { 1 };
            well.iter().filter(|well| **well).count() >= needed && (any_replica || well.iter().all(|well| *well))
        })
    }

    /// Everything on an instance ends.
    pub fn halt(&mut self, hostname: &str) {
        if let Some(engine) = self.engine_mut(hostname) {
            for container in engine.containers.values_mut().filter(|c| is_live(c)) {
                container.state = State::Exited { exit_code: 137 };
            }
        }
    }

    /// A container ends by itself or by hand.
    pub fn kill(&mut self, hostname: &str, name: &str, removed: bool) {
        self.excuse(hostname);
        let Some(engine) = self.engine_mut(hostname) else { return };
        if removed {
            engine.containers.remove(name);
        } else if let Some(container) = engine.containers.get_mut(name) {
            container.state = State::Exited { exit_code: 137 };
        }
    }

    /// What the other side says to an action that makes no sense to it.
    pub fn nonsense(&self, action: &Action) -> Option<Trouble> {
        let Action::Engine { node, what } = action else { return None };
        let reached = self.is_at(node) && self.is_up(&node.hostname);
        let engine = self.engine(&node.hostname).filter(|_| reached);
        let Some(engine) = engine else { return Some(refuse(Class::Transient, "connection refused")) };
        let missing = || Some(refuse(Class::Terminal, "no such container"));
        match what {
            EngineAction::Create { run } if engine.containers.contains_key(&run.name) => {
                Some(refuse(Class::Terminal, "the name is in use"))
            }
            EngineAction::Create { run } if !engine.images.contains_key(&run.image) => {
                Some(refuse(Class::Terminal, "no such image"))
            }
            EngineAction::Create { run }
                if run.network.own().is_some_and(|name| !engine.networks.contains_key(name)) =>
            {
                Some(refuse(Class::Terminal, "no such network"))
            }
            EngineAction::RemoveNetwork { id, .. }
                if engine.networks.values().any(|network| network.id == *id && engine.is_used(network)) =>
            {
                Some(refuse(Class::Terminal, "the network has active endpoints"))
            }
            EngineAction::Pull { .. } if self.registry_down > self.now => {
                Some(refuse(Class::Transient, "the registry gives no answer"))
            }
            EngineAction::Start { id, .. } | EngineAction::Stop { id, .. } | EngineAction::Remove { id, .. } => {
                if engine.containers.values().any(|c| c.id == *id) {
                    None
                } else {
                    missing()
                }
            }
            EngineAction::Rename { id, to, .. } => {
                if engine.containers.contains_key(to) || !engine.containers.values().any(|c| c.id == *id) {
                    missing()
                } else {
                    None
                }
            }
            _ => None,
        }
    }
}
