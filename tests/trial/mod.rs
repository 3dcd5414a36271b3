//! A stack in an imagined world, with faults, driven by the planner alone.

#![allow(dead_code, missing_docs)]

pub mod operator;
pub mod receiver;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evenkeel::{
    action::{Action, EngineAction, Lane, Migrated, Release, Scaled},
    plan::{Facts, Intent, Jobs, Plan, Released, imagine::World, plan},
    secret::{Sealed, Secret},
    spec::{
        Desired, File, Reference, image,
        stack::{LoadBalancer, Provider},
        upkeep::in_words,
        validate,
    },
    world::{
        Balancer, Class, ContainerSeen, Ec2, Engine, Figures, Health, Image, Instance, Leftover, Made, Observed,
        OpsWorks, Owned, Part, Provided, Rest, Seen, State, Subnet, Target, Trouble,
    },
};
use jiff::Timestamp;
use operator::Operator;
use receiver::Receivers;

/// What goes wrong with every container of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Unhealthy,
    /// Its health check never passes and never fails.
    Hangs,
    /// It ends after so many seconds.
    ExitsAfter(u32),
    Restarts,
    StartRefused,
    CreateRefused,
    PullRefused,
    /// Its migration ends with an error.
    MigrationFails,
    /// Its migration never ends.
    MigrationHangs,
}

#[derive(Clone)]
pub struct Trial {
    pub manifest: String,
    pub desired: Desired,
    pub world: World,
    pub facts: Facts,
    pub broken: BTreeMap<String, Broken>,
    /// What gives no answer, and why.
    pub unknown: BTreeMap<String, Trouble>,
    pub log: Vec<String>,
    /// On record: a crash does not lose them.
    pub intents: BTreeMap<String, Intent>,
    /// Likewise.
    pub releases: BTreeMap<(String, String), Released>,
    pub migrated: BTreeSet<(String, String, String)>,
    pub jobs: Jobs,
    pub scaled: BTreeMap<String, Scaled>,
    /// What the instances have to do, by hostname; `*` for all others.
    pub load: BTreeMap<String, Figures>,
    /// What CloudWatch tells of them, likewise.
    pub points: BTreeMap<String, Seen<Figures>>,
    pub operator: Operator,
    /// How many seconds the runs of an image take, and how they end; those of others end at once, and well.
    pub runs: BTreeMap<String, (u64, i64)>,
    /// The runs that were over when that was last said otherwise, by their containers' ids.
    pub over: BTreeSet<String>,
    /// What is on record of what there is to tell, and who hears it.
    pub receivers: Receivers,
    /// Actions that are refused, by the beginning of their key, and why.
    pub refused: BTreeMap<String, String>,
    /// Instances that reads miss.
    pub missed: BTreeSet<String>,
    /// Instances of which no container tells how full the disk is.
    pub untold: BTreeSet<String>,
    /// How everything stood just before each action, if that is kept.
    pub stops: Option<Vec<(Trial, Action)>>,
    /// Balancers that every layer serves beside those in the manifest.
    joined: Vec<String>,
    revision: u32,
}

pub fn beginning() -> Timestamp {
    "2026-01-05T12:00:00Z".parse().expect("a time")
}

pub fn decode(revision: &str, text: &str) -> Desired {
    match validate::load(revision, vec![File::new("manifest.yaml", text.as_bytes().to_vec())]) {
        Ok(manifests) => manifests.into_values().next().expect("one stack"),
        Err(problems) => panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// What a declared image, or a parameter that names one, stands for.
fn image_of(declared: &str) -> (String, Seen<Image>) {
    let id = if declared.starts_with("ami-") { declared.to_owned() } else { "ami-00000001".into() };
    (declared.to_owned(), Seen::Known(Image { id, root_device: "/dev/xvda".into() }))
}

/// The provider has nothing of the stack; on EC2 its subnets and images are there.
fn nothing(desired: &Desired) -> Rest {
    match desired.stack.provider {
        Provider::Opsworks => Rest::OpsWorks(OpsWorks {
            stack: Seen::Known(None),
            layers: Seen::Known(Vec::new()),
            apps: Seen::Known(Vec::new()),
            attached: Seen::Known(BTreeMap::new()),
            databases: Seen::Known(Vec::new()),
            load_scaling: Seen::Known(BTreeMap::new()),
        }),
        Provider::Ec2 => {
            let layers = &desired.stack.layers;
            let ids: BTreeSet<&String> = layers.iter().flat_map(|layer| &layer.subnet_ids).collect();
            let subnet = |(id, zone): (&String, char)| {
                (id.clone(), Subnet { zone: format!("zone-{zone}"), vpc_id: "vpc-1".into(), free: 200 })
            };
            Rest::Ec2(Ec2 {
                volumes: Seen::Known(Vec::new()),
                subnets: Seen::Known(ids.into_iter().zip('a'..).map(subnet).collect()),
                images: layers.iter().filter_map(|layer| layer.image.as_ref()).map(|image| image_of(image)).collect(),
                spent_tokens: BTreeSet::new(),
            })
        }
    }
}

/// Those that exist have no targets; those that are yet to be made do not exist.
fn balancers(desired: &Desired) -> BTreeMap<String, Seen<Balancer>> {
    let layers = &desired.stack.layers;
    let owned: Vec<_> = layers.iter().flat_map(|layer| &layer.owned_balancers).flat_map(|one| one.joined()).collect();
    let all = layers.iter().flat_map(|layer| &layer.load_balancers);
    all.map(|balancer| {
        let seen = match owned.contains(balancer) {
            true => Seen::Unknown(Trouble { class: Class::Terminal, message: "it does not exist".into() }),
            false => Seen::Known(Balancer { draining: Some(60), vpc_id: None, targets: BTreeMap::new() }),
        };
        (balancer.name().to_owned(), seen)
    })
    .collect()
}

/// What a tag stands for while nothing is said of it.
pub fn first_digest(image: &str) -> String {
    let hash = image
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("sha256:{hash:016x}{hash:048x}")
}

fn is_first(release: &Release) -> bool {
    release.digest == first_digest(&release.image)
}

/// The registry has every image that is declared.
pub fn registry(desired: &Desired) -> BTreeMap<String, Seen<String>> {
    let images = desired.apps.iter().flat_map(|app| &app.containers).map(|container| &container.image);
    images.map(|image| (image.clone(), Seen::Known(first_digest(image)))).collect()
}

/// Every value that is kept elsewhere can be read.
pub fn secrets(desired: &Desired) -> BTreeMap<Reference, Seen<Sealed>> {
    let values = desired.references().into_iter();
    values.map(|it| (it.clone(), Seen::Known(Secret::new(format!("the first {it}")).seal()))).collect()
}

/// A run takes its time, whatever an ideal world thinks of it.
fn go_on(container: &mut ContainerSeen, runs: &BTreeMap<String, (u64, i64)>, now: Timestamp) {
    let Some(started) = container.started_at else { return };
    let of = runs.iter().find(|(image, _)| container.image_id.contains(image.as_str()));
    let (seconds, exit_code) = of.map_or((0, 0), |(_, run)| *run);
    let over = started + Duration::from_secs(seconds);
    match container.state {
        State::Running if over <= now => {
            container.state = State::Exited { exit_code };
            container.finished_at = Some(over);
            container.last_words = (exit_code != 0).then(|| "no space left".into());
        }
        State::Exited { exit_code: 0 } if container.finished_at < Some(over) => {
            container.state = State::Running;
            container.finished_at = None;
        }
        _ => {}
    }
}

impl Trial {
    /// Nothing exists but the load balancers that are declared to exist.
    pub fn new(manifest: &str) -> Trial {
        let desired = decode("r1", manifest);
        let balancers = balancers(&desired);
        let owned = desired.stack.layers.iter().flat_map(|layer| &layer.owned_balancers);
        let declared = owned.map(|one| (one.name.clone(), Seen::Known(Made::default()))).collect();
        let seen = Observed {
            stale: None,
            provided: Provided { instances: Seen::Known(Vec::new()), rest: nothing(&desired) },
            balancers,
            owned: Owned { declared, ..Owned::default() },
            engines: BTreeMap::new(),
            registry: registry(&desired),
            secrets: secrets(&desired),
            figures: BTreeMap::new(),
            metered: BTreeMap::new(),
        };
        Trial {
            manifest: manifest.to_owned(),
            desired,
            world: World::new(seen, beginning()),
            facts: Facts::default(),
            broken: BTreeMap::new(),
            unknown: BTreeMap::new(),
            log: Vec::new(),
            intents: BTreeMap::new(),
            releases: BTreeMap::new(),
            migrated: BTreeSet::new(),
            jobs: Jobs::default(),
            scaled: BTreeMap::new(),
            load: BTreeMap::new(),
            points: BTreeMap::new(),
            operator: Operator::default(),
            runs: BTreeMap::new(),
            over: BTreeSet::new(),
            receivers: Receivers::default(),
            refused: BTreeMap::new(),
            missed: BTreeSet::new(),
            untold: BTreeSet::new(),
            stops: None,
            joined: Vec::new(),
            revision: 1,
        }
    }

    /// A new revision of the manifest.
    pub fn edit(&mut self, from: &str, to: &str) {
        assert!(self.manifest.contains(from), "the manifest has no {from:?}");
        let text = self.manifest.replace(from, to);
        self.declare(&text);
    }

    pub fn declare(&mut self, text: &str) {
        self.revision += 1;
        self.manifest = text.to_owned();
        self.desired = decode(&format!("r{}", self.revision), text);
        self.facts.failures.clear();
        if let Some(cloud) = self.world.seen.provided.ec2_mut() {
            let declared = self.desired.stack.layers.iter().filter_map(|layer| layer.image.as_ref());
            for (id, image) in declared.map(|image| image_of(image)) {
                cloud.images.entry(id).or_insert(image);
            }
        }
        for (image, digest) in registry(&self.desired) {
            self.world.seen.registry.entry(image).or_insert(digest);
        }
        for (reference, value) in secrets(&self.desired) {
            self.world.seen.secrets.entry(reference).or_insert(value);
        }
        self.join();
        self.look_at_balancers();
    }

    /// What is declared now is looked at, and what Evenkeel made and is not declared any more is found to be left over.
    fn look_at_balancers(&mut self) {
        let seen = &mut self.world.seen;
        for (key, balancer) in balancers(&self.desired) {
            seen.balancers.entry(key).or_insert(balancer);
        }
        let layers = &self.desired.stack.layers;
        let owned: BTreeMap<&str, _> =
            layers.iter().flat_map(|layer| &layer.owned_balancers).map(|one| (one.name.as_str(), one)).collect();
        for name in owned.keys() {
            seen.owned.declared.entry((*name).to_owned()).or_insert(Seen::Known(Made::default()));
        }
        let mut leftover = Vec::new();
        let registered = |key: &str| match seen.balancers.get(key) {
            Some(Seen::Known(balancer)) if !balancer.targets.is_empty() => {
                Some(format!("{} targets are registered", balancer.targets.len()))
            }
            _ => None,
        };
        for (name, made) in &mut seen.owned.declared {
            let Seen::Known(made) = made else { continue };
            let in_use: Vec<String> =
                made.groups.keys().filter_map(|group| registered(&format!("target group {group}"))).collect();
            if let Some(there) = made.balancer.take_if(|_| !owned.contains_key(name.as_str())) {
                let part = Part::Balancer { name: name.clone(), kind: there.kind, id: there.id };
                leftover.push(Leftover { part, in_use: in_use.first().cloned().or_else(|| registered(name)) });
            }
            let declared = |port: u16| owned.get(name.as_str()).is_some_and(|one| one.instance_ports().contains(&port));
            for (group, there) in &made.groups {
                if !declared(there.port) {
                    let part = Part::Group { name: group.clone(), arn: there.arn.clone() };
                    leftover.push(Leftover { part, in_use: registered(&format!("target group {group}")) });
                }
            }
        }
        seen.owned.declared.retain(|name, _| owned.contains_key(name.as_str()));
        let known = seen.owned.leftover.known_mut().expect("known");
        known.retain(|before| !leftover.iter().any(|found| found.part == before.part));
        known.extend(leftover);
    }

    /// One more balancer for every layer: OpsWorks itself attaches one only, so a manifest cannot say it yet.
    pub fn joined(&mut self, name: &str) {
        self.joined.push(name.to_owned());
        let balancer = Balancer { draining: Some(60), vpc_id: None, targets: BTreeMap::new() };
        self.world.seen.balancers.insert(name.to_owned(), Seen::Known(balancer));
        self.join();
    }

    fn join(&mut self) {
        for layer in &mut self.desired.stack.layers {
            layer.load_balancers.extend(self.joined.iter().cloned().map(LoadBalancer::Classic));
        }
    }

    pub fn crash(&mut self) {
        self.facts = Facts::at_first();
    }

    /// What a look gives now.
    pub fn look(&self) -> Observed {
        let mut seen = self.world.seen.clone();
        if let Some(instances) = seen.provided.instances.known_mut() {
            instances.retain(|instance| !self.missed.contains(&instance.hostname));
        }
        for name in &self.untold {
            seen.engines.get_mut(name).and_then(Seen::known_mut).expect("an engine").disk = None;
        }
        let scales = self.desired.stack.layers.iter().any(|layer| layer.instances.scaling.is_some());
        for hostname in seen.engines.keys().filter(|_| scales) {
            let figures = self.load.get(hostname).or(self.load.get("*")).copied();
            let figures = figures.map(|figures| Seen::Known(Figures { at: self.world.now, ..figures }));
            seen.figures.extend(figures.map(|figures| (hostname.clone(), figures)));
            let point = self.points.get(hostname).or(self.points.get("*")).cloned();
            seen.metered.extend(point.map(|point| (hostname.clone(), point)));
        }
        for (name, trouble) in &self.unknown {
            if let Some(engine) = seen.engines.get_mut(name) {
                *engine = Seen::Unknown(trouble.clone());
            }
            if let Some(figures) = seen.figures.get_mut(name) {
                *figures = Seen::Unknown(trouble.clone());
            }
            if let Some(balancer) = seen.balancers.get_mut(name) {
                *balancer = Seen::Unknown(trouble.clone());
            }
        }
        seen
    }

    /// What a tag stood for at first is on record at once.
    pub fn plan(&mut self) -> Plan {
        loop {
            let plan = self.plan_now();
            let first = |action: &&Action| matches!(action, Action::Record { release } if is_first(release));
            let records: Vec<Action> = plan.actions.iter().filter(first).cloned().collect();
            if records.is_empty() {
                return plan;
            }
            for record in &records {
                self.carry_out(record);
            }
        }
    }

    fn plan_now(&mut self) -> Plan {
        let seen = self.look();
        self.facts.scaled = self.scaled.clone();
        self.facts.note(&self.desired, &seen, self.world.now);
        self.facts.intents.extend(self.intents.clone());
        self.facts.releases = self.releases.clone();
        self.facts.history = self.operator.history();
        self.facts.migrated = self.migrated.clone();
        self.facts.jobs = self.jobs.clone();
        self.facts.wishes = self.operator.wishes.clone();
        self.receivers.remind(&mut self.facts);
        let plan = plan(&self.desired, &seen, &self.facts, self.world.now);
        self.facts.advance(&plan);
        self.facts.keep_wanted(|key| plan.wanted.contains(key));
        plan
    }

    /// Carries out one action, unless something that is broken refuses it.
    pub fn carry_out(&mut self, action: &Action) -> bool {
        if let Some(mut stops) = self.stops.take() {
            stops.push((self.clone(), action.clone()));
            self.stops = Some(stops);
        }
        let key = action.key();
        if let Some(trouble) = self.refusal(action) {
            self.log.push(format!("{key}: {}", trouble.message));
            self.fail(action, trouble);
            return false;
        }
        self.facts.succeeded(action, self.world.now);
        if let Action::Engine { node, what: EngineAction::RemoveImage { image } } = action {
            self.nobody_misses(&node.hostname, image);
        }
        if let Action::Record { release } = action {
            self.put_on_record(release);
            return true;
        }
        self.operator.note(action);
        self.receivers.note(action, self.world.now);
        if let Action::RecordMigration { migrated } = action {
            let Migrated { app, container, key, .. } = migrated.clone();
            self.migrated.insert((app, container, key));
        }
        match action {
            Action::NoteJob { note } => self.jobs.note(note),
            Action::Scale { scaled } => drop(self.scaled.insert(scaled.layer.clone(), scaled.clone())),
            Action::ForgetScale { layer } => drop(self.scaled.remove(layer)),
            _ => {}
        }
        self.log.push(key.clone());
        self.record(action);
        self.world.carry_out(action);
        self.afflict();
        true
    }

    /// An image that is removed is one that was pulled, and that no container is made from.
    fn nobody_misses(&mut self, hostname: &str, image: &str) {
        let (name, engine) = (image::familiar(image), self.engine(hostname));
        let found = engine.stored.iter().find(|(_, stored)| stored.names.contains(&name));
        let (id, stored) = found.unwrap_or_else(|| panic!("{image} is not on {hostname}"));
        assert!(stored.names.iter().all(|name| name.contains('@')), "{image} is somebody's: {:?}", stored.names);
        let user = engine.containers.iter().find(|(_, container)| container.image_id == *id);
        assert!(user.is_none(), "{image} is what {user:?} is made from");
    }

    /// Told only where the registry was said to be otherwise than at first.
    fn put_on_record(&mut self, release: &Release) {
        if !is_first(release) {
            self.log.push(Action::Record { release: release.clone() }.key());
        }
        let key = (release.app.clone(), release.container.clone());
        self.operator.record(release, self.world.now);
        self.releases.insert(key, Released { release: release.clone(), since: self.world.now });
    }

    /// What `evenkeel WORD SUBJECT` asks for, and says.
    pub fn ask(&mut self, word: &str, subject: &str) -> Vec<String> {
        self.facts.failures.clear();
        self.operator.ask(word, subject, &self.desired, self.world.now).unwrap_or_else(|refusal| vec![refusal])
    }

    fn record(&mut self, action: &Action) {
        if let (Some(key), Some(_)) = (action.intent(), action.token()) {
            let intent = Intent::of(action, self.intents.get(&key), self.world.now);
            self.intents.insert(key, intent);
        }
    }

    /// The planned action of this beginning is carried out, and its answer never comes.
    pub fn lose(&mut self, beginning: &str) {
        let plan = self.plan();
        let action = plan.actions.iter().find(|action| action.key().starts_with(beginning)).expect("planned");
        self.record(action);
        let before = self.world.seen.provided.instances.known().cloned().unwrap_or_default();
        self.world.carry_out(action);
        let launched = self.world.seen.provided.instances.known().cloned().unwrap_or_default();
        let new = launched.into_iter().find(|instance| before.iter().all(|old| old.id != instance.id));
        self.missed.extend(new.map(|instance| instance.hostname));
    }

    /// From now on it gives no answer, for this reason.
    pub fn silence(&mut self, name: &str, class: Class, said: &str) {
        self.unknown.insert(name.into(), Trouble { class, message: format!("{name} {said}") });
    }

    /// EC2's side.
    pub fn ec2(&mut self) -> &mut Ec2 {
        self.world.seen.provided.ec2_mut().expect("on EC2")
    }

    pub fn fail(&mut self, action: &Action, trouble: Trouble) {
        let times = self.facts.failures.get(&action.key()).map_or(0, |failure| failure.times) + 1;
        let wait = match trouble.class {
            Class::Terminal => Duration::from_secs(60),
            Class::NoRoom => Duration::from_secs(600),
            _ => Duration::from_millis(500 << times.min(7)),
        };
        self.facts.failed(action, trouble, self.world.now + wait);
    }

    fn refusal(&self, action: &Action) -> Option<Trouble> {
        let key = action.key();
        if let Some((_, why)) = self.refused.iter().find(|(beginning, _)| key.starts_with(beginning.as_str())) {
            return Some(Trouble { class: Class::Terminal, message: why.clone() });
        }
        let Action::Engine { node, what } = action else { return None };
        if let EngineAction::Pull { image } = what
            && let Some(disk) = self.world.seen.engines.get(&node.hostname)?.known()?.disk
            && disk.free < self.world.size(image)
        {
            return Some(Trouble { class: Class::NoRoom, message: "no space left on device".into() });
        }
        let image = match what {
            EngineAction::Pull { image } => image.clone(),
            EngineAction::Create { run } => run.image.clone(),
            EngineAction::Start { id, .. } => {
                let engine = self.world.seen.engines.get(&node.hostname)?.known()?;
                engine.containers.values().find(|c| &c.id == id)?.image_id.clone()
            }
            _ => return None,
        };
        let broken = self.broken.iter().find(|(name, _)| image.contains(name.as_str()))?.1;
        let (class, message) = match (what, broken) {
            (EngineAction::Pull { .. }, Broken::PullRefused) => (Class::Terminal, "no such image"),
            (EngineAction::Create { .. }, Broken::CreateRefused) => (Class::Terminal, "invalid mount"),
            (EngineAction::Start { .. }, Broken::StartRefused) => (Class::Transient, "exec: no such file"),
            _ => return None,
        };
        Some(Trouble { class, message: message.into() })
    }

    /// What is broken shows.
    pub fn afflict(&mut self) {
        let now = self.world.now;
        for engine in self.world.seen.engines.values_mut().filter_map(Seen::known_mut) {
            for container in engine.containers.values_mut() {
                if container.labels.contains_key("evenkeel.job") {
                    if !self.over.contains(&container.id) {
                        go_on(container, &self.runs, now);
                    }
                    continue;
                }
                let Some((_, broken)) = self.broken.iter().find(|(name, _)| container.image_id.contains(name.as_str()))
                else {
                    continue;
                };
                let migrates = container.labels.contains_key("evenkeel.migration");
                if migrates {
                    match (broken, container.state) {
                        (Broken::MigrationFails, State::Running) => {
                            container.state = State::Exited { exit_code: 1 };
                            container.finished_at = Some(now);
                            container.last_words = Some("no such table: users".into());
                        }
                        (Broken::MigrationHangs, State::Exited { .. })
                            if container.finished_at < container.started_at.map(|at| at + Duration::from_secs(50)) =>
                        {
                            container.state = State::Running;
                            container.finished_at = None;
                        }
                        _ => {}
                    }
                }
                if container.state != State::Running || migrates {
                    continue;
                }
                match broken {
                    Broken::Unhealthy => {
                        container.health = Some(Health::Unhealthy);
                        container.last_words = Some("503".into());
                    }
                    Broken::Hangs => container.health = Some(Health::Starting),
                    Broken::Restarts => {
                        container.state = State::Restarting { exit_code: 1 };
                        container.restarts += 1;
                        container.last_words = Some("cannot bind".into());
                    }
                    Broken::ExitsAfter(seconds)
                        if container
                            .started_at
                            .is_some_and(|at| now >= at + Duration::from_secs((*seconds).into())) =>
                    {
                        container.state = State::Exited { exit_code: 3 };
                        container.finished_at = Some(now);
                        container.last_words = Some("bye".into());
                    }
                    _ => {}
                }
            }
        }
    }

    /// One round: everything that may run side by side, or a moment of waiting. False when nothing more can happen.
    pub fn round(&mut self) -> bool {
        let plan = self.plan();
        if plan.actions.is_empty() {
            return !plan.is_done() && self.wait(&plan);
        }
        let mut lanes: BTreeSet<Lane> = BTreeSet::new();
        for action in &plan.actions {
            if lanes.insert(action.lane()) {
                self.carry_out(action);
            }
        }
        true
    }

    pub fn wait(&mut self, plan: &Plan) -> bool {
        let before = self.world.seen.clone();
        let now = self.world.now;
        let moved = self.world.let_time_pass(&self.desired, plan);
        self.afflict();
        // What is broken undoes what the ideal world mends: then only time passes.
        if moved && self.world.seen == before && self.world.now < now + Duration::from_secs(2) {
            let next = plan.holds.iter().filter_map(|hold| hold.until).filter(|until| *until > now).min();
            match next {
                Some(until) => self.world.now = until.max(self.world.now),
                None => return false,
            }
            self.afflict();
        }
        moved
    }

    /// Runs until nothing more happens; the number of rounds, or nothing if it never ends.
    pub fn run(&mut self, most: usize) -> Option<usize> {
        (0..most).find(|_| !self.round())
    }

    /// From now on the runs of an image take so many seconds, and end so.
    pub fn runs(&mut self, image: &str, seconds: u64, exit_code: i64) {
        let engines = self.world.seen.engines.values().filter_map(Seen::known);
        let over =
            engines.flat_map(|engine| engine.containers.values()).filter(|c| matches!(c.state, State::Exited { .. }));
        self.over.extend(over.map(|container| container.id.clone()));
        self.runs.insert(image.to_owned(), (seconds, exit_code));
    }

    pub fn engine(&mut self, hostname: &str) -> &mut Engine {
        self.world.seen.engines.get_mut(hostname).and_then(Seen::known_mut).expect("an engine")
    }

    pub fn container(&mut self, at: &str) -> &mut ContainerSeen {
        let (hostname, name) = at.split_once('/').expect("HOST/NAME");
        self.engine(hostname).containers.get_mut(name).unwrap_or_else(|| panic!("no container {at}"))
    }

    pub fn instance(&mut self, hostname: &str) -> &mut Instance {
        let instances = self.world.seen.provided.instances.known_mut().expect("instances");
        instances.iter_mut().find(|instance| instance.hostname == hostname).expect("an instance")
    }

    pub fn targets(&mut self, balancer: &str) -> &mut BTreeMap<String, Target> {
        &mut self.world.seen.balancers.get_mut(balancer).and_then(Seen::known_mut).expect("a balancer").targets
    }

    /// Every image that takes room: `docker1 registry/app:2 2 GiB`, and how much is free.
    pub fn images(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (hostname, engine) in &self.world.seen.engines {
            let Some(engine) = engine.known() else { continue };
            for (id, image) in engine.stored.iter().filter(|(_, image)| image.size > 0) {
                let id = image::shown(id.trim_start_matches("(image id of ").trim_end_matches(')'));
                lines.push(format!("{hostname} {id} {}", in_words(image.size)));
            }
            lines.extend(engine.disk.map(|disk| format!("{hostname} has {} free", in_words(disk.free))));
        }
        lines
    }

    /// Every container: `docker1/app0 registry/app:2 running healthy`.
    pub fn containers(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (hostname, engine) in &self.world.seen.engines {
            for (name, c) in engine.known().map(|engine| &engine.containers).into_iter().flatten() {
                let image = image::shown(c.image_id.trim_start_matches("(image id of ").trim_end_matches(')'));
                let health = c.health.map_or(String::new(), |health| format!(" {health:?}"));
                lines.push(format!("{hostname}/{name} {image} {:?}{health}", c.state));
            }
        }
        lines
    }
}
