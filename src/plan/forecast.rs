//! What will happen: the plan played forward in an ideal world, where every action succeeds and everything that
//! is waited for comes about.
//!
//! This is how every step of a rollout, with its order and what it waits for, can be shown before the first one is
//! taken, without a second planner that could disagree with the first.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{Facts, Plan, fleet, plan};
use crate::{
    action::{Action, EngineAction, Lane, Run},
    spec::Desired,
    status::Hold,
    world::{
        Balancer, ContainerSeen, Engine, Health, Observed, OwApp, OwInstance, OwLayer, OwStack, Seen, State, Target,
    },
};

/// More steps than any real stack needs; a forecast that is not over by then says so.
const MOST_STEPS: usize = 20_000;

/// One step of the forecast.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// From 1.
    pub number: usize,
    /// What is done; the actions of one number may run side by side.
    pub action: Action,
    /// What had to come about before it.
    pub after: Vec<String>,
}

/// The whole way from what was seen to what is declared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// What would still be waited for at the end, were everything to go well; normally nothing.
    pub stuck_on: Vec<Hold>,
    /// The plan at the end; its conditions are those that will remain.
    pub end: Plan,
}

/// Plays the plan forward.
pub fn forecast(desired: &Desired, seen: &Observed, facts: &Facts, now: Timestamp) -> Forecast {
    let mut world = World { desired, seen: seen.clone(), now, made: 0 };
    let mut facts = Facts { busy: BTreeSet::new(), ..facts.clone() };
    let mut steps: Vec<Step> = Vec::new();
    let mut waited: Vec<String> = Vec::new();
    let mut number = 0;
    loop {
        facts.note(desired, &world.seen, world.now);
        let next = plan(desired, &world.seen, &facts, world.now);
        if !next.actions.is_empty() && steps.len() < MOST_STEPS {
            number += 1;
            let mut lanes: BTreeSet<Lane> = BTreeSet::new();
            for action in next.actions {
                if lanes.insert(action.lane()) {
                    world.carry_out(&action);
                    steps.push(Step { number, action, after: waited.clone() });
                }
            }
            waited.clear();
        } else if next.is_done() || !world.let_time_pass(&next) {
            return Forecast { steps, stuck_on: next.holds.clone(), end: next };
        } else {
            for hold in &next.holds {
                let text = format!("{} waits for {}", hold.subject, hold.on);
                if !waited.contains(&text) {
                    waited.push(text);
                }
            }
        }
    }
}

/// The ideal world.
struct World<'a> {
    desired: &'a Desired,
    seen: Observed,
    now: Timestamp,
    made: usize,
}

impl World<'_> {
    fn id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("new-{kind}-{}", self.made)
    }

    fn carry_out(&mut self, action: &Action) {
        self.now += Duration::from_millis(1);
        match action.clone() {
            Action::CreateStack { settings } => {
                let id = self.id("stack");
                self.seen.opsworks.stack = Seen::Known(Some(OwStack { id, ours: true, settings }));
                for_known(&mut self.seen.opsworks.layers, Vec::new);
                for_known(&mut self.seen.opsworks.apps, Vec::new);
                for_known(&mut self.seen.opsworks.instances, Vec::new);
            }
            Action::UpdateStack { settings, .. } => {
                if let Some(Some(stack)) = self.seen.opsworks.stack.known_mut() {
                    stack.settings = settings;
                    stack.ours = true;
                }
            }
            Action::CreateLayer { settings, .. } => {
                let id = self.id("layer");
                self.layers().push(OwLayer { id, ours: true, settings });
            }
            Action::UpdateLayer { id, settings, .. } => {
                if let Some(layer) = self.layers().iter_mut().find(|layer| layer.id == id) {
                    layer.settings = settings;
                    layer.ours = true;
                }
            }
            Action::CreateApp { settings, .. } => {
                let id = self.id("app");
                self.apps().push(OwApp { id, ours: true, settings });
            }
            Action::UpdateApp { id, settings, .. } => {
                if let Some(app) = self.apps().iter_mut().find(|app| app.id == id) {
                    app.settings = settings;
                    app.ours = true;
                }
            }
            Action::DeleteApp { id, .. } => self.apps().retain(|app| app.id != id),
            Action::CreateInstance { layer_id, hostname, instance_type, .. } => {
                let id = self.id("instance");
                self.instances().push(OwInstance {
                    id,
                    ec2_id: None,
                    hostname,
                    layer_ids: vec![layer_id],
                    instance_type,
                    status: "stopped".into(),
                    private_ip: None,
                    public_ip: None,
                });
            }
            Action::StartInstance { id, .. } => self.set_status(&id, "requested"),
            Action::StopInstance { id, .. } => self.set_status(&id, "stopping"),
            Action::DeleteInstance { id, .. } => self.instances().retain(|instance| instance.id != id),
            Action::AttachBalancer { layer_id, balancer, .. } => {
                if let Some(attached) = self.seen.opsworks.attached.known_mut() {
                    attached.insert(layer_id, balancer);
                }
            }
            Action::DetachBalancer { layer_id, .. } => {
                if let Some(attached) = self.seen.opsworks.attached.known_mut() {
                    attached.remove(&layer_id);
                }
            }
            Action::Register { balancer, ec2_id, .. } => {
                if let Some(found) = self.balancer(&balancer) {
                    found.targets.insert(ec2_id, Target::OutOfService("registration in progress".into()));
                }
            }
            Action::Deregister { balancer, ec2_id, .. } => {
                if let Some(found) = self.balancer(&balancer) {
                    match found.draining {
                        Some(_) => found.targets.insert(ec2_id, Target::Draining),
                        None => found.targets.remove(&ec2_id),
                    };
                }
            }
            Action::Engine { node, what } => {
                let id = self.id("container");
                let now = self.now;
                if let Some(engine) = self.seen.engines.get_mut(&node.hostname).and_then(Seen::known_mut) {
                    on_engine(engine, what, id, now);
                }
            }
        }
    }

    /// Brings about one thing that is waited for; false when there is nothing that could come about.
    fn let_time_pass(&mut self, plan: &Plan) -> bool {
        if self.start_or_stop_instances() | self.settle_targets() | self.settle_containers() {
            self.now += Duration::from_secs(1);
            return true;
        }
        match plan.holds.iter().filter_map(|hold| hold.until).filter(|until| *until > self.now).min() {
            Some(until) => {
                self.now = until;
                true
            }
            None => false,
        }
    }

    fn start_or_stop_instances(&mut self) -> bool {
        let mut changed = false;
        let mut online = Vec::new();
        let fresh = format!("(address of new instance {})", self.made);
        for instance in self.instances().iter_mut() {
            match fleet::phase(&instance.status) {
                fleet::Phase::Starting => {
                    instance.status = "online".into();
                    instance.ec2_id.get_or_insert_with(|| format!("i-new-{}", instance.hostname));
                    instance.private_ip.get_or_insert_with(|| fresh.clone());
                    instance.public_ip.get_or_insert_with(|| fresh.clone());
                    online.push(instance.hostname.clone());
                    changed = true;
                }
                fleet::Phase::Stopping => {
                    instance.status = "stopped".into();
                    changed = true;
                }
                _ => {}
            }
        }
        // An engine is looked at as soon as its instance is online.
        for node in fleet::nodes(self.desired, &self.seen) {
            if let std::collections::btree_map::Entry::Vacant(e) = self.seen.engines.entry(node.hostname) {
                e.insert(Seen::Known(Engine::default()));
                changed = true;
            }
        }
        changed
    }

    fn settle_targets(&mut self) -> bool {
        let mut changed = false;
        for balancer in self.seen.balancers.values_mut().filter_map(Seen::known_mut) {
            let before = balancer.targets.clone();
            balancer.targets.retain(|_, target| *target != Target::Draining);
            for target in balancer.targets.values_mut() {
                *target = Target::InService;
            }
            changed |= before != balancer.targets;
        }
        changed
    }

    fn settle_containers(&mut self) -> bool {
        let mut changed = false;
        for engine in self.seen.engines.values_mut().filter_map(Seen::known_mut) {
            for container in engine.containers.values_mut() {
                if container.state == State::Running && container.health == Some(Health::Starting) {
                    container.health = Some(Health::Healthy);
                    changed = true;
                }
            }
        }
        changed
    }

    fn layers(&mut self) -> &mut Vec<OwLayer> {
        for_known(&mut self.seen.opsworks.layers, Vec::new)
    }

    fn apps(&mut self) -> &mut Vec<OwApp> {
        for_known(&mut self.seen.opsworks.apps, Vec::new)
    }

    fn instances(&mut self) -> &mut Vec<OwInstance> {
        for_known(&mut self.seen.opsworks.instances, Vec::new)
    }

    fn set_status(&mut self, id: &str, status: &str) {
        if let Some(instance) = self.instances().iter_mut().find(|instance| instance.id == id) {
            instance.status = status.to_owned();
        }
    }

    fn balancer(&mut self, name: &str) -> Option<&mut Balancer> {
        self.seen.balancers.get_mut(name)?.known_mut()
    }
}

/// The known value; an action on something unknown is never planned, so making it known loses nothing.
fn for_known<T>(seen: &mut Seen<T>, empty: impl FnOnce() -> T) -> &mut T {
    if let Seen::Unknown(_) = seen {
        *seen = Seen::Known(empty());
    }
    match seen {
        Seen::Known(value) => value,
        Seen::Unknown(_) => unreachable!("made known above"),
    }
}

fn on_engine(engine: &mut Engine, what: EngineAction, id: String, now: Timestamp) {
    match what {
        EngineAction::Pull { image } => {
            engine.images.insert(image.clone(), format!("(image id of {image})"));
        }
        EngineAction::CreateVolume { name, .. } => {
            engine.volumes.insert(name);
        }
        EngineAction::Create { run } => {
            engine.containers.insert(run.name.clone(), created(&run, id));
        }
        EngineAction::Start { name, .. } => {
            if let Some(container) = engine.containers.get_mut(&name) {
                container.state = State::Running;
                container.started_at = Some(now);
                container.restarts = 0;
                if container.health.is_some() {
                    container.health = Some(Health::Starting);
                }
            }
        }
        EngineAction::Stop { name, .. } => {
            if let Some(container) = engine.containers.get_mut(&name) {
                container.state = State::Exited { exit_code: 0 };
            }
        }
        EngineAction::Rename { from, to, .. } => {
            if let Some(container) = engine.containers.remove(&from) {
                engine.containers.insert(to, container);
            }
        }
        EngineAction::Remove { name, .. } => {
            engine.containers.remove(&name);
        }
    }
}

fn created(run: &Run, id: String) -> ContainerSeen {
    ContainerSeen {
        id,
        labels: run.labels.clone(),
        state: State::Created,
        image_id: String::new(),
        restarts: 0,
        health: run.health_check.as_ref().map(|_| Health::Starting),
        started_at: None,
        last_words: None,
    }
}
