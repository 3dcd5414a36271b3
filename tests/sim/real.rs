//! What is really there: the provider, balancers with requests in flight, engines; and how time changes it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use evenkeel::{
    action::{Action, EngineAction, Node},
    plan::{fleet, imagine::World},
    spec::{Desired, image},
    world::{
        Balancer, Class, ContainerSeen, Engine, Health, Instance, Observed, Owned, Provided, Seen, State, Target,
        Trouble,
    },
};
use jiff::Timestamp;

use crate::{
    cloud::{Cloud, is_alive},
    dice::Dice,
    migrations::MIGRATION,
    registry::Registry,
    trial,
    watch::PAST,
};

/// Milliseconds of virtual time.
pub type Ms = u64;

pub use crate::{
    engines::{Change, Fate},
    traffic::Flight,
};

#[derive(Clone)]
pub struct Real {
    pub world: World,
    pub now: Ms,
    /// What goes wrong with the containers of an image.
    pub fates: BTreeMap<String, Fate>,
    pub changes: BTreeMap<String, (Ms, Change)>,
    /// When a target is in service at the earliest.
    pub ready_at: BTreeMap<(String, String), Ms>,
    /// Since when a target drains.
    pub drain_began: BTreeMap<(String, String), Ms>,
    /// Targets that are stuck until then.
    pub stuck: BTreeMap<String, Ms>,
    /// Since when an instance that is in service does not serve well.
    pub sick_since: BTreeMap<String, Ms>,
    pub instance_at: BTreeMap<String, Ms>,
    pub cloud: Cloud,
    pub registry: Registry,
    /// The migrations that went well, by their keys, and the instance each ran on.
    pub migrated: BTreeMap<String, String>,
    /// The images that somebody went back to, by the container's key.
    pub backs: BTreeMap<String, String>,
    /// The apps that somebody has paused.
    pub paused: BTreeSet<String>,
    /// Those that are on record.
    pub recorded: BTreeSet<String>,
    pub flights: Vec<Flight>,
    /// Engines that do not answer until then.
    pub hung: BTreeMap<String, Ms>,
    /// Instances on which something was broken on purpose, and when last, until they serve again.
    pub excused: BTreeMap<String, Ms>,
    past: VecDeque<(Ms, Provided, BTreeMap<String, Seen<Balancer>>)>,
    /// Effective creates and deletes of AWS things.
    pub made: BTreeMap<String, u32>,
    pub lost: u64,
    pub served: u64,
    /// What was done that must never be.
    pub violation: Option<String>,
    /// Any replica will do: the instance is swapped in place.
    pub any_replica: bool,
    pub elb_drain: Ms,
    /// No image can be pulled until then.
    pub registry_down: Ms,
    /// The last look was not of the past.
    pub clear_sight: bool,
    /// A container became healthy or not, or ended.
    pub stirred: bool,
    pub reborn: u32,
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

pub fn refuse(class: Class, message: &str) -> Trouble {
    Trouble { class, message: message.into() }
}

impl Real {
    pub fn new(text: &str) -> Real {
        let mut real = Real {
            world: trial::Trial::new(text).world,
            now: 0,
            fates: BTreeMap::new(),
            changes: BTreeMap::new(),
            ready_at: BTreeMap::new(),
            drain_began: BTreeMap::new(),
            stuck: BTreeMap::new(),
            sick_since: BTreeMap::new(),
            instance_at: BTreeMap::new(),
            cloud: Cloud::default(),
            registry: Registry::default(),
            migrated: BTreeMap::new(),
            recorded: BTreeSet::new(),
            paused: BTreeSet::new(),
            backs: BTreeMap::new(),
            flights: Vec::new(),
            hung: BTreeMap::new(),
            excused: BTreeMap::new(),
            past: VecDeque::new(),
            made: BTreeMap::new(),
            lost: 0,
            served: 0,
            violation: None,
            any_replica: false,
            elb_drain: 60_000,
            registry_down: 0,
            clear_sight: true,
            stirred: false,
            reborn: 0,
        };
        real.found_ec2();
        real
    }

    pub fn clock(&self) -> Timestamp {
        trial::beginning() + Duration::from_millis(self.now)
    }

    pub fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub fn instances(&self) -> &[Instance] {
        self.world.seen.provided.instances.known().map_or(&[], Vec::as_slice)
    }

    pub fn instances_mut(&mut self) -> &mut Vec<Instance> {
        self.world.seen.provided.instances.known_mut().expect("instances")
    }

    /// The instance of a hostname: on EC2 another may be on its way out.
    pub fn instance(&self, hostname: &str) -> Option<&Instance> {
        let mut all = self.instances().iter().filter(|i| i.hostname == hostname);
        if self.on_ec2() { all.find(|instance| is_alive(instance)) } else { all.next() }
    }

    pub fn is_up(&self, hostname: &str) -> bool {
        self.instance(hostname).is_some_and(|instance| fleet::phase(&instance.status) == fleet::Phase::Online)
    }

    /// The controller can reach the engine.
    pub fn answers(&self, hostname: &str) -> bool {
        let booted = || self.instance(hostname).is_some_and(|instance| self.has_booted(&instance.id));
        self.is_up(hostname)
            && !self.hung.contains_key(hostname)
            && self.cloud.dark <= self.now
            && (!self.on_ec2() || booted())
    }

    pub fn host_of(&self, ec2_id: &str) -> Option<String> {
        self.instances().iter().find(|i| i.ec2_id.as_deref() == Some(ec2_id)).map(|i| i.hostname.clone())
    }

    pub fn engine(&self, hostname: &str) -> Option<&Engine> {
        self.world.seen.engines.get(hostname)?.known()
    }

    pub fn engine_mut(&mut self, hostname: &str) -> Option<&mut Engine> {
        self.world.seen.engines.get_mut(hostname)?.known_mut()
    }

    pub fn balancers(&self) -> impl Iterator<Item = (&String, &Balancer)> {
        self.world.seen.balancers.iter().filter_map(|(name, b)| Some((name, b.known()?)))
    }

    pub fn targets_mut(&mut self, balancer: &str) -> Option<&mut BTreeMap<String, Target>> {
        Some(&mut self.world.seen.balancers.get_mut(balancer)?.known_mut()?.targets)
    }

    pub fn target(&self, balancer: &str, ec2_id: &str) -> Option<&Target> {
        self.world.seen.balancers.get(balancer)?.known()?.targets.get(ec2_id)
    }

    /// Keeps what can be read from the past.
    pub fn remember(&mut self) {
        let (cloud, balancers) = (&self.world.seen.provided, &self.world.seen.balancers);
        if self.past.back().is_none_or(|(_, c, b)| c != cloud || b != balancers) {
            self.past.push_back((self.now, cloud.clone(), balancers.clone()));
        }
        while self.past.len() > 1 && self.past[1].0 + 30_000 < self.now {
            self.past.pop_front();
        }
    }

    /// A look: cloud, volumes and balancers as they were so long ago.
    pub fn look(&self, desired: &Desired, cloud_lag: Ms, volume_lag: Ms, balancer_lag: Ms) -> Observed {
        let then = |lag: Ms| self.past.iter().rev().find(|(at, ..)| *at + lag <= self.now).or(self.past.front());
        let cloud = |lag: Ms| then(lag).map_or(&self.world.seen.provided, |(_, cloud, _)| cloud);
        let mut provided = cloud(cloud_lag).clone();
        if volume_lag != cloud_lag
            && let (Some(ec2), Some(then)) = (provided.ec2_mut(), cloud(volume_lag).ec2())
        {
            ec2.volumes = then.volumes.clone();
        }
        let balancers = then(balancer_lag).map_or(&self.world.seen.balancers, |(_, _, balancers)| balancers).clone();
        let owned = Owned::default();
        let (engines, registry, secrets) = (BTreeMap::new(), BTreeMap::new(), trial::secrets(desired));
        let (figures, metered) = (BTreeMap::new(), BTreeMap::new());
        let mut seen =
            Observed { provided, stale: None, balancers, owned, engines, registry, secrets, figures, metered };
        for node in fleet::nodes(desired, &seen) {
            let engine = match self.engine(&node.hostname) {
                Some(engine) if self.is_at(&node) && self.answers(&node.hostname) => Seen::Known(engine.clone()),
                _ => Seen::Unknown(refuse(Class::Transient, "the engine does not answer")),
            };
            seen.engines.insert(node.hostname, engine);
        }
        let asked = seen.engines.values().any(|engine| engine.known().is_some());
        seen.registry = self.registry(desired, asked);
        seen
    }

    /// The node is the instance that has its hostname now.
    pub fn is_at(&self, node: &Node) -> bool {
        let address = node.endpoint.split(':').next();
        !self.on_ec2() || self.instance(&node.hostname).is_some_and(|i| i.private_ip.as_deref() == address)
    }

    /// An instance is on its way up or down, or about to be healed.
    pub fn is_booting(&self) -> bool {
        !self.instance_at.is_empty() || self.cloud_is_busy()
    }

    /// The moment of the next change that time brings.
    pub fn next(&self) -> Option<Ms> {
        let changes = self.changes.values().map(|(at, _)| *at);
        let ready = self.ready_at.values().copied();
        let sick = self.sick_since.values().map(|at| at + 3_000);
        let draining = self.drain_began.iter().map(|(key, at)| self.drain_ends(key, *at));
        let hung = self.hung.values().copied();
        let instances = self.instance_at.values().copied().chain(self.cloud_moments());
        changes.chain(ready).chain(sick).chain(draining).chain(hung).chain(instances).filter(|at| *at > self.now).min()
    }

    /// Time goes on to `to`; nothing changes in between.
    pub fn advance(&mut self, to: Ms, dice: &mut Dice) {
        self.now = to.max(self.now);
        self.world.now = self.clock();
        let now = self.now;
        self.hung.retain(|_, until| *until > now);
        self.stuck.retain(|_, until| *until > now);
        self.containers(dice);
        if self.on_ec2() {
            self.cloud_goes_on(dice);
        } else {
            self.booting(dice);
        }
        self.targets(dice);
        self.requests(dice);
        self.well_again();
        self.remember();
    }

    fn containers(&mut self, dice: &mut Dice) {
        let due: Vec<(String, Change)> =
            self.changes.iter().filter(|(_, (at, _))| *at <= self.now).map(|(id, (_, c))| (id.clone(), *c)).collect();
        for (id, change) in due {
            self.changes.remove(&id);
            self.stirred = true;
            let (mut fell, mut ended) = (None, None);
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
                        ended = container.labels.get(MIGRATION).cloned().map(|key| (key, hostname.clone()));
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
            if let Some((key, hostname)) = ended {
                let on = self.instances().iter().find(|instance| instance.hostname == hostname);
                let on = on.map(|instance| instance.id.clone()).unwrap_or_default();
                self.migrated.insert(key, on);
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

    /// An injected fault concerns this instance: what it loses is the fault's, until it serves again.
    pub fn excuse(&mut self, hostname: &str) {
        self.excused.insert(hostname.to_owned(), self.now);
    }

    /// What was broken on it may not have been seen yet.
    pub fn broke_lately(&self, hostname: &str) -> bool {
        self.excused.get(hostname).is_some_and(|at| at + PAST > self.now)
    }

    fn well_again(&mut self) {
        let back: Vec<String> = self
            .excused
            .keys()
            .filter(|hostname| self.is_whole(hostname, false) && self.is_in(hostname))
            .cloned()
            .collect();
        for hostname in back {
            self.excused.remove(&hostname);
        }
        if !self.cloud.left.is_empty() && self.instances().iter().any(|instance| self.is_in(&instance.hostname)) {
            for hostname in std::mem::take(&mut self.cloud.left) {
                self.excused.remove(&hostname);
            }
        }
    }

    pub fn is_in(&self, hostname: &str) -> bool {
        let Some(id) = self.instance(hostname).and_then(|i| i.ec2_id.clone()) else { return false };
        self.balancers().all(|(_, b)| b.targets.get(&id) == Some(&Target::InService))
    }

    /// Checks what is checked just before: the error is the answer of the other side. Whom the same controller is about to
    /// take out of a balancer is not counted on any more (`aws/door.rs`).
    pub fn precondition(&self, action: &Action, leaving: &BTreeSet<(String, String)>) -> Result<(), Trouble> {
        match action {
            Action::Deregister { balancer, ec2_id, keep, .. } => {
                let others = self.world.seen.balancers[balancer].known().expect("a balancer");
                let stays = |id: &String| id != ec2_id && !leaving.contains(&(balancer.clone(), id.clone()));
                let in_service = |(id, t): (&String, &Target)| *t == Target::InService && stays(id);
                let left = others.targets.iter().filter(|(id, t)| in_service((id, t))).count();
                if self.target(balancer, ec2_id) == Some(&Target::InService) && left < *keep as usize {
                    return Err(refuse(Class::Transient, "fewer than minInService would be left"));
                }
            }
            Action::TerminateInstance { id, drained, .. } | Action::StopInstance { ec2_id: Some(id), drained, .. } => {
                self.gets_no_requests(id, *drained)?
            }
            Action::Engine { what: EngineAction::Stop { guard: Some(guard), .. }, .. } => {
                for name in &guard.balancers {
                    let target = self.target(name, &guard.ec2_id);
                    if target.is_some_and(|target| guard.drained || *target != Target::Draining) {
                        return Err(refuse(Class::Transient, "the balancer still knows it"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn gets_no_requests(&self, ec2_id: &str, drained: bool) -> Result<(), Trouble> {
        let gets_some = |target: &&Target| drained || !matches!(target, Target::Draining);
        match self.balancers().filter_map(|(_, b)| b.targets.get(ec2_id)).find(gets_some) {
            Some(_) => Err(refuse(Class::Transient, "a balancer sends it requests, or is about to")),
            None => Ok(()),
        }
    }

    /// The action takes effect.
    pub fn effect(&mut self, action: &Action, dice: &mut Dice) -> Result<(), Trouble> {
        let result = self.take_effect(action, dice);
        self.remember();
        result
    }

    fn take_effect(&mut self, action: &Action, dice: &mut Dice) -> Result<(), Trouble> {
        if let Some(trouble) = self.nonsense(action) {
            return Err(trouble);
        }
        if let Some(result) = self.ec2_effect(action, dice) {
            return result;
        }
        self.count(action)?;
        match action {
            Action::Register { balancer, ec2_id, .. } => {
                if !matches!(self.target(balancer, ec2_id), Some(Target::InService)) {
                    let key = (balancer.clone(), ec2_id.clone());
                    self.drain_began.remove(&key);
                    self.ready_at.insert(key, self.now + dice.between(1_000, 6_000));
                    let why = Target::OutOfService("registration in progress".into());
                    self.targets_mut(balancer).expect("a balancer").insert(ec2_id.clone(), why);
                }
                return Ok(());
            }
            Action::Deregister { balancer, ec2_id, hostname, .. } => {
                // When it was sent it was out, as every other one was: it has come in meanwhile.
                if self.precondition(action, &BTreeSet::new()).is_err() {
                    self.excuse(hostname);
                }
                if !matches!(self.target(balancer, ec2_id), None | Some(Target::Draining)) {
                    self.drain_began.insert((balancer.clone(), ec2_id.clone()), self.now);
                    self.targets_mut(balancer).expect("a balancer").insert(ec2_id.clone(), Target::Draining);
                }
                return Ok(());
            }
            Action::StartInstance { id, .. } => {
                self.instance_at.insert(id.clone(), self.now + dice.between(2_000, 20_000));
            }
            Action::StopInstance { id, hostname, .. } => {
                self.lose_flights(hostname);
                self.instance_at.insert(id.clone(), self.now + dice.between(2_000, 20_000));
            }
            _ => {}
        }
        let served = match action {
            Action::Engine { node, .. } => Some((node.hostname.clone(), self.serves_well(&node.hostname))),
            _ => None,
        };
        self.world.carry_out(action);
        self.world.now = self.clock();
        if let Some((hostname, true)) = &served
            && !self.serves_well(hostname)
        {
            self.lose_flights(hostname);
        }
        if let Action::Engine { node, what: EngineAction::Start { id, .. } } = action {
            self.started(&node.hostname, id, dice);
        }
        Ok(())
    }
}
