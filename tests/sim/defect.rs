//! Deliberate defects, as changes of what the planner is given or of what it says. The simulator must find each.

use std::collections::BTreeMap;

use evenkeel::{
    action::{Action, EngineAction, Node, StopHow, WishKind},
    plan::{Facts, Plan, fleet},
    spec::Desired,
    status::Kind,
    world::{Engine, Health, Observed, Rest, Seen, State, Target},
};

use crate::{
    driver::Sim,
    fleet::{is_outdated, is_surplus},
    real::is_live,
    scene::Scene,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Nothing is deregistered, and all the same taken for drained.
    DrainSkipped,
    /// A container whose check has not passed yet counts as healthy.
    RegisterBeforeHealthy,
    /// A target that drains counts as out.
    DrainingCountsAsOut,
    /// A target that drains counts as healthy.
    DrainingCountsAsHealthy,
    /// What could not be read is taken for absent.
    AbsenceFromFailedRead,
    /// As many as there are may be out at once.
    BudgetIgnored,
    /// What is kept to go back to is removed while the new one is not well.
    OldRemovedTooEarly,
    /// Creates are sent without their intent on record, and forgotten until they show.
    IntentsForgotten,
    /// What one read misses is made again.
    GoneAtOnce,
    /// Stops are not checked just before, and no balancer is asked first.
    StopWithoutGuard,
    /// `suspend` is not looked at.
    SuspendIgnored,
    /// What bears no mark is taken for ours.
    ForeignIsOurs,
    /// An empty declaration deletes.
    EmptyDeletes,
    /// A drain that took too long is not recorded.
    TimeoutUnrecorded,
    /// Every launch is sent with a new token.
    NewTokenEachTry,
    /// That no engine answers is no reason to doubt that one is lost.
    HealWithoutDoubt,
    /// An instance that leaves is terminated without being drained.
    TerminateWithoutDrain,
    /// An instance that is to be replaced leaves before the new one serves.
    OldLeavesFirst,
    /// A new instance does not take over its predecessor's volumes.
    VolumesForgotten,
    /// A token whose instance has ended is sent again and again.
    SpentTokenKept,
    /// Another controller works before this one has ended.
    LeaseIgnored,
    /// A controller that begins works with what was declared before.
    OldRevision,
    /// A revision that is refused is taken for one that declares nothing.
    InvalidIsEmpty,
    /// A container makes way before the image of the next one is there.
    PullForgotten,
    /// A target that still has connections which are kept alive is taken for drained once no request is under way.
    KeepAliveForgotten,
    /// What is on record of migrations that went well is not looked at.
    MigrationsForgotten,
    /// That an operator has paused an app is not looked at.
    PauseIgnored,
    /// Where the new container is to be up first, the old one is stopped all the same.
    StartsLast,
}

impl Defect {
    pub const ALL: [Defect; 28] = [
        Defect::DrainSkipped,
        Defect::RegisterBeforeHealthy,
        Defect::DrainingCountsAsOut,
        Defect::DrainingCountsAsHealthy,
        Defect::AbsenceFromFailedRead,
        Defect::BudgetIgnored,
        Defect::OldRemovedTooEarly,
        Defect::IntentsForgotten,
        Defect::GoneAtOnce,
        Defect::StopWithoutGuard,
        Defect::SuspendIgnored,
        Defect::ForeignIsOurs,
        Defect::EmptyDeletes,
        Defect::TimeoutUnrecorded,
        Defect::NewTokenEachTry,
        Defect::HealWithoutDoubt,
        Defect::TerminateWithoutDrain,
        Defect::OldLeavesFirst,
        Defect::VolumesForgotten,
        Defect::SpentTokenKept,
        Defect::LeaseIgnored,
        Defect::OldRevision,
        Defect::InvalidIsEmpty,
        Defect::PullForgotten,
        Defect::KeepAliveForgotten,
        Defect::MigrationsForgotten,
        Defect::PauseIgnored,
        Defect::StartsLast,
    ];

    /// The scenes in which it can show.
    pub fn shows_in(self, scene: Scene) -> bool {
        match self {
            Defect::NewTokenEachTry
            | Defect::HealWithoutDoubt
            | Defect::TerminateWithoutDrain
            | Defect::OldLeavesFirst
            | Defect::VolumesForgotten
            | Defect::SpentTokenKept => scene.on_ec2(),
            Defect::StartsLast => scene == Scene::Three,
            Defect::MigrationsForgotten => matches!(scene, Scene::Three | Scene::Fresh | Scene::Ec2Shop),
            Defect::EmptyDeletes | Defect::InvalidIsEmpty | Defect::IntentsForgotten => !scene.on_ec2(),
            _ => true,
        }
    }

    /// Changes what the planner is given.
    pub fn input(self, sim: &Sim, desired: &mut Desired, seen: &mut Observed) {
        let stack = desired.stack.name.clone();
        let targets = |seen: &mut Observed, change: &dyn Fn(&mut BTreeMap<String, Target>)| {
            seen.balancers.values_mut().filter_map(Seen::known_mut).for_each(|b| change(&mut b.targets));
        };
        match self {
            Defect::DrainSkipped => {
                let out: Vec<String> = sim
                    .real
                    .instances()
                    .iter()
                    .filter(|i| sim.pretend_out.contains(&i.hostname))
                    .filter_map(|i| i.ec2_id.clone())
                    .collect();
                targets(seen, &|targets| targets.retain(|id, _| !out.contains(id)));
            }
            Defect::RegisterBeforeHealthy => {
                for engine in seen.engines.values_mut().filter_map(Seen::known_mut) {
                    for container in engine.containers.values_mut() {
                        if container.state == State::Running && container.health == Some(Health::Starting) {
                            container.health = Some(Health::Healthy);
                        }
                    }
                }
            }
            Defect::DrainingCountsAsOut => targets(seen, &|all| all.retain(|_, t| *t != Target::Draining)),
            Defect::DrainingCountsAsHealthy => targets(seen, &|all| {
                all.values_mut().filter(|t| **t == Target::Draining).for_each(|t| *t = Target::InService);
            }),
            Defect::AbsenceFromFailedRead => {
                let stale = seen.stale.take().is_some();
                if stale || seen.provided.instances.known().is_none() {
                    seen.provided.instances = Seen::Known(Vec::new());
                }
                match &mut seen.provided.rest {
                    Rest::OpsWorks(cloud) => {
                        if stale {
                            cloud.apps = Seen::Known(Vec::new());
                        }
                        if cloud.stack.known().is_none() {
                            cloud.stack = Seen::Known(None);
                        }
                        if cloud.layers.known().is_none() {
                            cloud.layers = Seen::Known(Vec::new());
                        }
                        if cloud.apps.known().is_none() {
                            cloud.apps = Seen::Known(Vec::new());
                        }
                    }
                    Rest::Ec2(cloud) => {
                        if stale || cloud.volumes.known().is_none() {
                            cloud.volumes = Seen::Known(Vec::new());
                        }
                    }
                }
            }
            Defect::BudgetIgnored => {
                for app in &mut desired.apps {
                    app.rollout.max_unavailable = 99;
                    app.rollout.min_in_service = 0;
                }
            }
            Defect::OldRevision => {
                if let Some(before) = &sim.before {
                    *desired = before.clone();
                }
            }
            Defect::InvalidIsEmpty if sim.invalid => desired.apps.clear(),
            Defect::PullForgotten => {
                let images: Vec<&String> =
                    desired.apps.iter().flat_map(|app| &app.containers).map(|container| &container.image).collect();
                for engine in seen.engines.values_mut().filter_map(Seen::known_mut) {
                    for image in &images {
                        engine.images.entry((*image).clone()).or_insert_with(|| format!("(image id of {image})"));
                    }
                }
            }
            Defect::KeepAliveForgotten => {
                let busy = |name: &str, id: &str| {
                    let mut flights = sim.real.flights.iter().filter(|f| f.balancer == name && f.ec2_id == id);
                    flights.any(|f| f.every.is_none())
                };
                for (name, balancer) in &mut seen.balancers {
                    let Some(balancer) = balancer.known_mut() else { continue };
                    balancer.targets.retain(|id, target| *target != Target::Draining || busy(name, id));
                }
            }
            Defect::SuspendIgnored => desired.stack.suspend = false,
            Defect::ForeignIsOurs => {
                for engine in seen.engines.values_mut().filter_map(Seen::known_mut) {
                    for container in engine.containers.values_mut() {
                        container.labels.entry("evenkeel.stack".into()).or_insert_with(|| stack.clone());
                    }
                }
            }
            Defect::HealWithoutDoubt => {
                seen.engines.insert("(another)".into(), Seen::Known(Engine::default()));
            }
            Defect::OldLeavesFirst => {
                let up = sim.real.alive().filter(|i| i.status == "running" && !is_outdated(&sim.real, &sim.desired, i));
                let up: Vec<String> = up.map(|instance| instance.id.clone()).collect();
                for balancer in seen.balancers.values_mut().filter_map(Seen::known_mut) {
                    balancer.targets.extend(up.iter().map(|id| (id.clone(), Target::InService)));
                }
            }
            Defect::VolumesForgotten => {
                for volume in desired.stack.layers.iter_mut().flat_map(|layer| &mut layer.volumes) {
                    volume.reuse = false;
                }
            }
            Defect::SpentTokenKept => {
                if let Some(cloud) = seen.provided.ec2_mut() {
                    cloud.spent_tokens.clear();
                }
            }
            _ => {}
        }
    }

    pub fn facts(self, facts: &mut Facts) {
        if matches!(self, Defect::GoneAtOnce | Defect::AbsenceFromFailedRead) {
            facts.gone_since.clear();
            facts.present.clear();
        }
        if self == Defect::MigrationsForgotten {
            facts.migrated.clear();
        }
        if self == Defect::PauseIgnored {
            facts.wishes.retain(|wish| wish.kind != WishKind::Pause);
        }
        if self == Defect::NewTokenEachTry {
            facts.intents.retain(|_, sent| sent.token.is_none());
        }
    }

    pub fn skips_preconditions(self) -> bool {
        matches!(
            self,
            Defect::StopWithoutGuard
                | Defect::DrainingCountsAsOut
                | Defect::DrainingCountsAsHealthy
                | Defect::BudgetIgnored
                | Defect::DrainSkipped
                | Defect::KeepAliveForgotten
                | Defect::TerminateWithoutDrain
        )
    }

    /// Changes what the planner says.
    pub fn output(self, sim: &Sim, seen: &Observed, plan: &mut Plan) {
        let nodes: Vec<Node> = fleet::nodes(&sim.desired, seen);
        match self {
            Defect::StartsLast => {
                let stop = StopHow { signal: None, timeout: std::time::Duration::from_secs(1) };
                for action in &mut plan.actions {
                    if let Action::Engine { what, .. } = action
                        && let EngineAction::Rename { id, from, to } = what
                        && *to == format!("{from}.old")
                        && from.starts_with("worker")
                    {
                        *what =
                            EngineAction::Stop { id: id.clone(), name: from.clone(), stop: stop.clone(), guard: None };
                    }
                }
            }
            Defect::OldRemovedTooEarly => {
                for node in nodes {
                    let Some(engine) = seen.engines.get(&node.hostname).and_then(Seen::known) else { continue };
                    for (name, container) in
                        engine.containers.iter().filter(|(n, c)| n.ends_with(".old") && !is_live(c))
                    {
                        let what = EngineAction::Remove { id: container.id.clone(), name: name.clone() };
                        plan.actions.insert(0, Action::Engine { node: node.clone(), what });
                    }
                }
            }
            Defect::StopWithoutGuard => {
                for action in &mut plan.actions {
                    // The deregistration is left out: the stop that it makes way for comes at once.
                    let Action::Deregister { hostname, .. } = action else { continue };
                    let Some(node) = nodes.iter().find(|node| node.hostname == *hostname) else { continue };
                    let Some(engine) = seen.engines.get(hostname.as_str()).and_then(Seen::known) else { continue };
                    let found = ["app0", "web0"].iter().find_map(|name| engine.containers.get_key_value(*name));
                    let Some((name, app)) = found.filter(|(_, c)| is_live(c)) else { continue };
                    let stop = sim.desired.apps[0].containers[0].stop.clone();
                    let what = EngineAction::Stop {
                        id: app.id.clone(),
                        name: name.clone(),
                        stop: evenkeel::action::StopHow { signal: stop.signal, timeout: stop.timeout },
                        guard: None,
                    };
                    *action = Action::Engine { node: node.clone(), what };
                }
            }
            Defect::TerminateWithoutDrain => {
                for action in &mut plan.actions {
                    let Action::Deregister { hostname, ec2_id, .. } = action else { continue };
                    let Some(instance) = sim.real.by_id(ec2_id) else { continue };
                    let outdated = is_outdated(&sim.real, &sim.desired, instance);
                    if outdated && is_surplus(&sim.real, &sim.desired) {
                        *action =
                            Action::TerminateInstance { id: ec2_id.clone(), hostname: hostname.clone(), drained: true };
                    }
                }
            }
            Defect::TimeoutUnrecorded => plan.conditions.retain(|condition| condition.kind != Kind::DrainTimedOut),
            Defect::EmptyDeletes | Defect::InvalidIsEmpty if sim.desired.apps.is_empty() || sim.invalid => {
                for app in seen.provided.opsworks().expect("on OpsWorks").apps.known().into_iter().flatten() {
                    let (id, name) = (app.id.clone(), app.settings.name.clone());
                    plan.actions.push(Action::DeleteApp { id, name });
                }
            }
            _ => {}
        }
    }
}
