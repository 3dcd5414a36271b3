//! EC2 as it really is: client tokens, instances that come and go in their own time, volumes that stay.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel::world::{Ec2, Engine, Health, Image, Instance, Rest, Seen, State, Target, Volume};

use crate::{
    dice::Dice,
    migrations::MIGRATION,
    real::{Ms, Real, is_live},
    watch::PAST,
};

/// For so long a terminated instance can still be told of, and its token stands for it.
const REMEMBERED: Ms = 3_600_000;

/// The images that there are.
pub const IMAGES: [&str; 3] = ["ami-00000001", "ami-00000002", "ami-00000003"];

/// A target that is not one of the stack's, and not counted on.
pub const STRANGER: &str = "i-stranger";

/// What was launched with a token.
#[derive(Clone)]
pub struct Sent {
    pub id: String,
    pub ended: Option<Ms>,
}

/// How long an engine has been silent.
#[derive(Clone)]
pub struct Silence {
    pub since: Ms,
    /// It is over since then, which may be seen by nobody yet: a look that comes later than the next silence sees but one,
    /// and a read of the past tells of an instance that runs.
    pub over: Option<Ms>,
}

/// What is not told of an instance, or not yet.
#[derive(Clone, Default)]
pub struct Machine {
    /// The volumes made with it, until it runs for the first time: not told before.
    pub devices: BTreeMap<String, String>,
    /// It has run: what was made with it is told.
    pub has_run: bool,
    /// So many devices its bootstrap waits for.
    pub mounts: usize,
    /// How long its engine takes to come up.
    pub takes: Ms,
    /// Its engine answers from then on.
    pub answers_at: Option<Ms>,
    /// Its volumes are free then.
    pub frees_at: Option<Ms>,
}

/// EC2's own side of the world.
#[derive(Clone, Default)]
pub struct Cloud {
    pub tokens: BTreeMap<String, Sent>,
    pub machines: BTreeMap<String, Machine>,
    /// What is on the volume of an engine's own files, by the volume's id.
    pub disks: BTreeMap<String, Engine>,
    /// Containers that ran when their engine went down: it starts them again when it comes up.
    asleep: BTreeSet<String>,
    /// When the target of an instance that was terminated leaves by itself.
    leaves: BTreeMap<String, Ms>,
    pub modifying: BTreeMap<String, Ms>,
    /// Zones without capacity until then.
    pub full: BTreeMap<String, Ms>,
    /// The controller reaches no engine until then.
    pub dark: Ms,
    /// Machines that are frozen until then: nothing on them answers anybody.
    pub frozen: BTreeMap<String, Ms>,
    /// Since when EC2 says that an instance is impaired, and until when.
    pub impaired: BTreeMap<String, (Ms, Ms)>,
    /// The engines of instances that run and are silent.
    pub silent: BTreeMap<String, Silence>,
    /// When an instance was gone.
    pub gone: BTreeMap<String, Ms>,
    /// Instances that the controller terminates because there is one too many.
    pub surplus: Vec<String>,
    /// Their hostnames, once they are gone: what was broken on one by hand is made good when another serves.
    pub left: BTreeSet<String>,
    /// When a volume got the tags that say what it is for.
    pub tagged: BTreeMap<String, Ms>,
    pub launches: u32,
    pub ends: u32,
    pub addresses: u32,
}

/// An instance that is there, or can be again.
pub fn is_alive(instance: &Instance) -> bool {
    matches!(instance.status.as_str(), "pending" | "running" | "stopping" | "stopped")
}

impl Real {
    pub fn on_ec2(&self) -> bool {
        matches!(self.world.seen.provided.rest, Rest::Ec2(_))
    }

    /// What is there before anything is launched.
    pub fn found_ec2(&mut self) {
        let Some(cloud) = self.world.seen.provided.ec2_mut() else { return };
        for id in IMAGES {
            let image = Image { id: id.into(), root_device: "/dev/xvda".into() };
            cloud.images.insert(id.into(), Seen::Known(image));
        }
        for balancer in self.world.seen.balancers.values_mut().filter_map(Seen::known_mut) {
            let why = Target::OutOfService("its health check fails".into());
            balancer.targets.insert(STRANGER.into(), why);
        }
    }

    pub fn ec2(&mut self) -> &mut Ec2 {
        self.world.seen.provided.ec2_mut().expect("on EC2")
    }

    pub fn volumes(&self) -> &[Volume] {
        self.world.seen.provided.ec2().and_then(|cloud| cloud.volumes.known()).map_or(&[], Vec::as_slice)
    }

    pub fn volume(&mut self, id: &str) -> Option<&mut Volume> {
        self.ec2().volumes.known_mut()?.iter_mut().find(|volume| volume.id == id)
    }

    pub fn alive(&self) -> impl Iterator<Item = &Instance> {
        self.instances().iter().filter(|instance| is_alive(instance))
    }

    pub fn by_id(&self, id: &str) -> Option<&Instance> {
        self.instances().iter().find(|instance| instance.id == id)
    }

    pub fn status(&mut self, id: &str, status: &str) {
        if let Some(instance) = self.instances_mut().iter_mut().find(|instance| instance.id == id) {
            instance.status = status.into();
        }
    }

    /// Its engine is up, whoever can reach it.
    pub fn has_booted(&self, id: &str) -> bool {
        self.cloud.machines.get(id).is_some_and(|machine| machine.answers_at.is_some_and(|at| at <= self.now))
    }

    pub fn was_sent(&self, token: &str) -> bool {
        self.cloud.tokens.contains_key(token)
    }

    /// The moments at which something changes by itself.
    pub fn cloud_moments(&self) -> impl Iterator<Item = Ms> {
        let machines = self.cloud.machines.values().flat_map(|machine| [machine.answers_at, machine.frees_at]);
        let timers = self.cloud.leaves.values().chain(self.cloud.modifying.values()).copied();
        machines.flatten().chain(timers).chain(self.cloud.impaired.values().map(|(_, until)| *until))
    }

    /// Something that ended is not over yet, or something comes up.
    pub fn cloud_is_busy(&self) -> bool {
        let later = |at: &Option<Ms>| at.is_some_and(|at| at > self.now);
        !self.cloud.leaves.is_empty()
            || !self.cloud.modifying.is_empty()
            || self.cloud.machines.values().any(|machine| later(&machine.answers_at) || machine.frees_at.is_some())
    }

    /// What EC2 does by itself until now.
    pub fn cloud_goes_on(&mut self, dice: &mut Dice) {
        let now = self.now;
        let due: Vec<String> =
            self.instance_at.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.instance_at.remove(&id);
            match self.by_id(&id).map(|instance| instance.status.clone()).as_deref() {
                Some("pending") => self.runs(&id),
                Some("stopping") => self.status(&id, "stopped"),
                Some("shutting-down") => self.is_terminated(&id, dice),
                _ => {}
            }
        }
        self.boots(dice);
        self.frees();
        let left: Vec<String> =
            self.cloud.leaves.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in left {
            self.cloud.leaves.remove(&id);
            self.forget_target(&id);
        }
        self.checks();
        self.hears();
        let done: Vec<String> =
            self.cloud.modifying.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in done {
            self.cloud.modifying.remove(&id);
            if let Some(volume) = self.volume(&id) {
                volume.modifying = None;
            }
        }
        let forgotten: Vec<String> = self
            .cloud
            .tokens
            .iter()
            .filter(|(_, sent)| sent.ended.is_some_and(|at| at + REMEMBERED <= now))
            .map(|(token, _)| token.clone())
            .collect();
        for token in forgotten {
            self.cloud.tokens.remove(&token);
            self.ec2().spent_tokens.remove(&token);
        }
        self.cloud.full.retain(|_, until| *until > now);
        self.cloud.frozen.retain(|_, until| *until > now);
    }

    fn runs(&mut self, id: &str) {
        self.status(id, "running");
        let Some(machine) = self.cloud.machines.get_mut(id) else { return };
        machine.has_run = true;
        let devices = std::mem::take(&mut machine.devices);
        if let Some(launched) = self.launched(id) {
            launched.devices.extend(devices);
        }
        self.begins_to_boot(id);
    }

    /// Its bootstrap waits for every volume that it is to mount.
    pub fn begins_to_boot(&mut self, id: &str) {
        let now = self.now;
        let Some(instance) = self.by_id(id).filter(|instance| instance.status == "running") else { return };
        let there = instance.launched.as_ref().map_or(0, |launched| launched.devices.len());
        let Some(machine) = self.cloud.machines.get_mut(id) else { return };
        if there >= machine.mounts && machine.answers_at.is_none() {
            machine.answers_at = Some(now + machine.takes);
        }
    }

    /// Engines that are up by now, with what was on the volume that they took over.
    fn boots(&mut self, dice: &mut Dice) {
        let up: Vec<(String, String)> = self
            .instances()
            .iter()
            .filter(|i| i.status == "running" && self.has_booted(&i.id))
            .map(|i| (i.id.clone(), i.hostname.clone()))
            .collect();
        for (id, hostname) in up {
            if !self.world.seen.engines.contains_key(&hostname) {
                let disk = self.disk_of(&id);
                let engine = disk.and_then(|disk| self.cloud.disks.remove(&disk)).unwrap_or_default();
                self.world.seen.engines.insert(hostname.clone(), Seen::Known(engine));
            }
            self.wakes(&hostname, dice);
        }
    }

    /// The engine starts what ran when it went down ("unless-stopped").
    fn wakes(&mut self, hostname: &str, dice: &mut Dice) {
        let now = self.clock();
        let Some(Seen::Known(engine)) = self.world.seen.engines.get_mut(hostname) else { return };
        let mut woken = Vec::new();
        for container in engine.containers.values_mut().filter(|container| self.cloud.asleep.remove(&container.id)) {
            container.state = State::Running;
            container.started_at = Some(now);
            container.health = container.health.map(|_| Health::Starting);
            woken.push(container.id.clone());
        }
        for id in woken {
            self.started(hostname, &id, dice);
        }
    }

    /// Its engine goes down, and everything with it. What runs once has no restart policy: it is not started again.
    pub fn sleeps(&mut self, hostname: &str) {
        let live = self.engine(hostname).into_iter().flat_map(|engine| engine.containers.values());
        let live = live.filter(|container| is_live(container) && !container.labels.contains_key(MIGRATION));
        let live: Vec<String> = live.map(|container| container.id.clone()).collect();
        self.cloud.asleep.extend(live);
        self.halt(hostname);
    }

    pub fn disk_of(&self, id: &str) -> Option<String> {
        self.by_id(id)?.launched.as_ref()?.devices.values().next().cloned()
    }

    fn frees(&mut self) {
        let now = self.now;
        let due: Vec<String> = self
            .cloud
            .machines
            .iter()
            .filter(|(_, machine)| machine.frees_at.is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.cloud.machines.remove(&id);
            for volume in self.ec2().volumes.known_mut().into_iter().flatten() {
                if volume.attached_to.as_ref() == Some(&id) {
                    volume.attached_to = None;
                    volume.state = "available".into();
                }
            }
        }
    }

    fn checks(&mut self) {
        let now = self.now;
        // Until no read of the past can tell of it any more.
        self.cloud.impaired.retain(|_, (_, until)| *until + PAST > now);
        let fails = self.cloud.impaired.iter().filter(|(_, (_, until))| *until > now);
        let impaired: Vec<String> = fails.map(|(id, _)| id.clone()).collect();
        for instance in self.instances_mut() {
            let fails = impaired.contains(&instance.id);
            if let Some(launched) = &mut instance.launched {
                launched.impaired = fails.then(|| "instance reachability failed".into());
            }
        }
    }

    /// Since when which engine is silent.
    fn hears(&mut self) {
        let now = self.now;
        let mut silences = std::mem::take(&mut self.cloud.silent);
        let is_silent = |instance: &Instance| instance.status == "running" && !self.answers(&instance.hostname);
        silences.retain(|id, silence| {
            if self.by_id(id).is_some_and(is_silent) {
                silence.over = None;
                return true;
            }
            *silence.over.get_or_insert(now) + PAST > now
        });
        for instance in self.instances().iter().filter(|instance| is_silent(instance)) {
            silences.entry(instance.id.clone()).or_insert(Silence { since: now, over: None });
        }
        self.cloud.silent = silences;
    }

    pub fn launched(&mut self, id: &str) -> Option<&mut evenkeel::world::Launched> {
        self.instances_mut().iter_mut().find(|instance| instance.id == id)?.launched.as_mut()
    }

    fn is_terminated(&mut self, id: &str, dice: &mut Dice) {
        let instances = self.instances_mut();
        let Some(at) = instances.iter().position(|instance| instance.id == id) else { return };
        let gone = instances.remove(at);
        let now = self.now;
        let token = gone.launched.and_then(|launched| launched.token);
        if let Some(token) = token {
            if let Some(sent) = self.cloud.tokens.get_mut(&token) {
                sent.ended = Some(now);
            }
            self.ec2().spent_tokens.insert(token);
        }
        self.cloud.leaves.insert(id.to_owned(), now + dice.between(1_000, 90_000));
        self.cloud.gone.retain(|_, at| *at + PAST > now);
        self.cloud.gone.insert(id.to_owned(), now);
        if self.cloud.surplus.iter().any(|other| other == id) {
            self.cloud.left.insert(gone.hostname);
        }
    }

    /// Whether it lacks a volume that it is to mount, so that it never comes up by itself, nor once it is started again.
    pub fn lacks_a_volume(&self, id: &str) -> bool {
        let devices = self.by_id(id).and_then(|i| i.launched.as_ref()).map_or(0, |launched| launched.devices.len());
        self.by_id(id).is_some_and(is_alive)
            && self.cloud.machines.get(id).is_some_and(|machine| machine.has_run && devices < machine.mounts)
    }
}
