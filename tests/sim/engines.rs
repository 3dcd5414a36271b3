//! Engines and their containers: what becomes of each once it is started, and what an engine refuses.

use evenkeel::{
    action::{Action, EngineAction},
    spec::image,
    world::{Class, ContainerSeen, Health, State, Trouble},
};

use crate::{
    dice::Dice,
    migrations::MIGRATION,
    real::{Real, refuse},
};

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

pub const SERVING: [&str; 5] = ["redis", "app", "haproxy", "nginx", "web"];

pub fn serves(container: &ContainerSeen) -> bool {
    container.labels.get("evenkeel.traffic").is_some_and(|value| value == "true")
}

pub fn is_well(container: &ContainerSeen) -> bool {
    container.state == State::Running && matches!(container.health, None | Some(Health::Healthy))
}

pub fn is_live(container: &ContainerSeen) -> bool {
    matches!(container.state, State::Running | State::Paused | State::Restarting { .. })
}

/// A container's name without its number: `app1` → `app`.
fn kind(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
}

impl Real {
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

    /// What containers do by themselves until now.
    pub fn containers(&mut self, dice: &mut Dice) {
        let due: Vec<(String, Change)> =
            self.changes.iter().filter(|(_, (at, _))| *at <= self.now).map(|(id, (_, c))| (id.clone(), *c)).collect();
        for (id, change) in due {
            self.changes.remove(&id);
            self.stirred = true;
            let mut fell = None;
            for (hostname, engine) in &mut self.world.seen.engines {
                let Some(container) =
                    engine.known_mut().and_then(|e| e.containers.values_mut().find(|container| container.id == id))
                else {
                    continue;
                };
                if container.state != State::Running {
                    continue;
                }
                match change {
                    Change::Healthy if container.health.is_some() => container.health = Some(Health::Healthy),
                    Change::Healthy => {}
                    Change::Unhealthy => container.health = Some(Health::Unhealthy),
                    Change::Exit => container.state = State::Exited { exit_code: 3 },
                    Change::Finish => container.state = State::Exited { exit_code: 0 },
                }
                container.finished_at = (container.state != State::Running).then_some(self.world.now);
                if container.labels.contains_key(MIGRATION) {
                    if change == Change::Finish {
                        self.migrated.extend(container.labels.get(MIGRATION).cloned());
                    }
                } else if change != Change::Healthy {
                    fell = Some(hostname.clone());
                } else if self
                    .fates
                    .iter()
                    .any(|(image, fate)| image::tagged(&container.image) == image && *fate == Fate::Dies)
                {
                    self.changes.insert(id.clone(), (self.now + dice.between(500, 30_000), Change::Exit));
                }
            }
            if let Some(hostname) = fell {
                self.excuse(&hostname);
            }
        }
    }

    pub fn started(&mut self, hostname: &str, id: &str, dice: &mut Dice) {
        let Some(container) = self.engine(hostname).and_then(|e| e.containers.values().find(|c| c.id == id)) else {
            return;
        };
        if container.labels.contains_key(MIGRATION) {
            let container = container.clone();
            return self.migrates(&container, dice);
        }
        let fate = self.fates.get(image::tagged(&container.image)).copied();
        let at = match fate {
            Some(Fate::Slow) => self.now + dice.between(20_000, 90_000),
            _ => self.now + dice.between(300, 6_000),
        };
        let change = match fate {
            None | Some(Fate::Slow | Fate::Dies) => Change::Healthy,
            Some(Fate::Unhealthy) => Change::Unhealthy,
            Some(Fate::Exits) => Change::Exit,
            Some(Fate::Hangs) => return,
        };
        self.changes.insert(id.to_owned(), (at, change));
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
