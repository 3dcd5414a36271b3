//! Looks at everything that concerns one stack.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

mod answer;
mod evidence;
mod figures;
mod given;
mod metered;
mod registry;
mod room;
mod secrets;

use figures::Gauges;
use metered::Meters;
use registry::{Asked, Registry};
use secrets::Secrets;

use crate::{
    action::{Action, Node},
    plan::{Facts, fleet},
    ports::{Balancers, Cloud, Engines, Herald, Records, Vault},
    spec::{App, Container, Desired, image, stack::Provider},
    world::{Balancer, Class, Disk, Engine, Observed, Owned, Provided, Seen, Trouble},
};

/// The ways to the world.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Ports {
    pub cloud: Arc<dyn Cloud>,
    pub balancers: Arc<dyn Balancers>,
    pub engines: Arc<dyn Engines>,
    pub records: Arc<dyn Records>,
    pub vault: Arc<dyn Vault>,
    pub herald: Arc<dyn Herald>,
}

/// How old each part of a picture may be before it is looked at again.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Ages {
    pub cloud: Duration,
    pub balancers: Duration,
    pub engines: Duration,
    pub secrets: Duration,
}

impl Ages {
    /// Look at everything now.
    pub const NOW: Ages =
        Ages { cloud: Duration::ZERO, balancers: Duration::ZERO, engines: Duration::ZERO, secrets: Duration::ZERO };
}

/// The picture of one stack, each part of it no older than asked for.
///
/// A part that an action or an event may have changed is [touched](Picture::touch) and looked at again whatever its
/// age. So a rollout on one engine does not cost a round of AWS calls per step.
pub struct Picture {
    ports: Ports,
    cloud: Option<CloudLook>,
    /// The last look at the provider that was answered in every part.
    answered: Option<Provided>,
    balancers: Option<(Instant, BTreeMap<String, Seen<Balancer>>)>,
    /// How the balancers that Evenkeel makes are set up, which changes as seldom as the provider's side.
    owned: Option<(Instant, Owned)>,
    engines: BTreeMap<Node, EngineLook>,
    registry: Registry,
    secrets: Secrets,
    gauges: Gauges,
    meters: Meters,
    patience: Duration,
    /// Instances on which a container was stopped since they are out of their balancers, by hostname.
    stopped: BTreeSet<String>,
    /// The disks of the instances, by hostname, and when their containers were asked.
    disks: BTreeMap<String, (Instant, Option<Disk>)>,
}

/// One look at the provider.
#[derive(Clone)]
struct CloudLook {
    at: Instant,
    took: Duration,
    seen: Provided,
}

impl CloudLook {
    /// An API that hangs is not waited for on every pass either.
    fn is_fresh(&self, age: Duration) -> bool {
        let age = match self.seen.unanswered() {
            Some(_) => age.max(AFTER_NO_ANSWER).max(self.took * 2),
            None => age,
        };
        self.at.elapsed() < age
    }
}

/// One look at one engine.
#[derive(Clone)]
struct EngineLook {
    at: Instant,
    took: Duration,
    images: BTreeSet<String>,
    seen: Seen<Engine>,
}

impl EngineLook {
    /// What was seen, with what the engine's clock says by now.
    fn now(&self) -> Seen<Engine> {
        let mut seen = self.seen.clone();
        if let Some(clock) = seen.known_mut().and_then(|engine| engine.clock.as_mut()) {
            *clock += self.at.elapsed();
        }
        seen
    }

    /// An engine that hangs is not waited for on every pass: others would have to wait with it.
    fn is_fresh(&self, images: &BTreeSet<String>, age: Duration) -> bool {
        let age = match self.seen {
            Seen::Known(_) => age,
            Seen::Unknown(_) => age.max(self.took * 2),
        };
        self.images == *images && self.at.elapsed() < age
    }
}

/// How long an AWS answer that was none is left standing before it is asked for again.
const AFTER_NO_ANSWER: Duration = Duration::from_secs(3);
/// How long a look waits for the first answer about a tag.
const FIRST_ANSWER: Duration = Duration::from_millis(500);
/// The same, where there is only one look.
const ONLY_ANSWER: Duration = Duration::from_secs(30);

impl Picture {
    /// Nothing seen yet.
    pub fn new(ports: Ports) -> Picture {
        Picture {
            cloud: None,
            answered: None,
            balancers: None,
            owned: None,
            engines: BTreeMap::new(),
            stopped: BTreeSet::new(),
            disks: BTreeMap::new(),
            registry: Registry::new(ports.engines.clone()),
            secrets: Secrets::new(ports.vault.clone()),
            gauges: Gauges::new(ports.engines.clone()),
            meters: Meters::new(ports.cloud.clone()),
            patience: FIRST_ANSWER,
            ports,
        }
    }

    /// For who looks but once: every answer is waited for.
    pub fn at_leisure(self) -> Picture {
        Picture { patience: ONLY_ANSWER, ..self }
    }

    /// What the action changed must be looked at again. What is done on an engine changes nobody's place in a balancer;
    /// that its health does so shows in the balancer's own time, and is looked for then. One that went wrong may have
    /// done so because a balancer says something else by now.
    pub fn touch(&mut self, action: &Action, went_well: bool) {
        self.touch_disk(action);
        match action {
            Action::Engine { node, .. } => {
                self.touch_engine(&node.hostname);
                if !went_well {
                    self.balancers = None;
                }
            }
            Action::Register { .. } | Action::Deregister { .. } => self.balancers = None,
            // What is on record is read anew on every pass.
            Action::Record { .. }
            | Action::NoteJob { .. }
            | Action::Scale { .. }
            | Action::ForgetScale { .. }
            | Action::BeginWish { .. }
            | Action::EndWish { .. }
            | Action::Announce { .. }
            | Action::Deliver { .. }
            | Action::EndDelivery { .. } => {}
            Action::Owned { .. } => {
                self.owned = None;
                self.balancers = None;
            }
            _ => {
                self.cloud = None;
                self.balancers = None;
            }
        }
    }

    /// The engine of this instance must be looked at again.
    pub fn touch_engine(&mut self, hostname: &str) {
        self.engines.retain(|node, _| node.hostname != hostname);
    }

    /// Looks at what is older than allowed, and tells the whole. The releases on record tell which images to look for.
    pub async fn look(&mut self, desired: &Desired, facts: &Facts, ages: Ages) -> Observed {
        let stack = &desired.stack;
        let names: BTreeSet<String> = stack
            .layers
            .iter()
            .flat_map(|layer| layer.load_balancers.iter().map(|balancer| balancer.name().to_owned()))
            .collect();
        let wanted = desired.references();
        let now = Instant::now();
        let fresh = |at: Instant, age: Duration| now.duration_since(at) < age;
        let cloud = async {
            match &self.cloud {
                Some(look) if look.is_fresh(ages.cloud) => look.clone(),
                _ => {
                    let at = Instant::now();
                    let seen = self.ports.cloud.look(stack).await;
                    CloudLook { at, took: at.elapsed(), seen }
                }
            }
        };
        let balancers = async {
            match &self.balancers {
                Some((at, seen)) if fresh(*at, ages.balancers) && names.iter().all(|name| seen.contains_key(name)) => {
                    (*at, seen.clone())
                }
                _ if names.is_empty() => (Instant::now(), BTreeMap::new()),
                _ => (Instant::now(), self.ports.balancers.look(stack, &names).await),
            }
        };
        let owned = async {
            let declared = || stack.layers.iter().flat_map(|layer| &layer.owned_balancers);
            match &self.owned {
                Some((at, seen))
                    if fresh(*at, ages.cloud) && declared().all(|one| seen.declared.contains_key(&one.name)) =>
                {
                    (*at, seen.clone())
                }
                _ if stack.provider != Provider::Ec2 => (Instant::now(), Owned::default()),
                _ => (Instant::now(), self.ports.balancers.owned(stack).await),
            }
        };
        // Engines are looked at beside the balancers: after each step of a swap, one round of both is what it waits for.
        let fleet = async {
            let cloud = cloud.await;
            let (provided, stale) = self.as_last_answered(&cloud.seen);
            let (balancers, owned) = (BTreeMap::new(), Owned::default());
            let mut seen = Observed {
                provided,
                stale,
                balancers,
                owned,
                engines: BTreeMap::new(),
                registry: BTreeMap::new(),
                secrets: BTreeMap::new(),
                figures: BTreeMap::new(),
                metered: BTreeMap::new(),
            };
            let looks =
                fleet::nodes(desired, &seen).into_iter().map(|node| self.engine(desired, facts, node, ages.engines));
            let engines: BTreeMap<Node, EngineLook> = futures_util::future::join_all(looks).await.into_iter().collect();
            seen.engines = engines.iter().map(|(node, look)| (node.hostname.clone(), look.now())).collect();
            (cloud, seen, engines)
        };
        let secrets = self.secrets.look(stack, &wanted, ages.secrets, self.patience);
        let ((cloud, mut seen, engines), (balancers_at, balancers), (owned_at, owned), secrets) =
            tokio::join!(fleet, balancers, owned, secrets);
        seen.secrets = secrets;
        seen.balancers = balancers.clone();
        seen.owned = owned.clone();
        if cloud.seen.unanswered().is_none() {
            self.answered = Some(cloud.seen.clone());
        }
        self.cloud = Some(cloud);
        self.balancers = Some((balancers_at, balancers));
        self.owned = Some((owned_at, owned));
        self.engines = engines;
        self.ask_who_is_connected(desired, &mut seen).await;
        self.ask_for_room(desired, facts, &mut seen).await;
        let (mut asked, mut unread) = (BTreeMap::new(), BTreeMap::new());
        for (image, nodes) in self.tags(desired) {
            match self.login(desired, &image) {
                Ok(login) => drop(asked.insert(image, Asked { nodes, login })),
                Err(trouble) => drop(unread.insert(image, Seen::Unknown(trouble))),
            }
        }
        seen.registry = self.registry.look(&asked, &asked_for(desired, facts), self.patience).await;
        seen.registry.extend(unread);
        let answer = self.engines.iter().filter(|(_, look)| look.seen.known().is_some()).map(|(node, _)| node);
        let meters = self.meters.look(desired, &seen, self.patience);
        let (figures, metered) = tokio::join!(self.gauges.look(desired, answer, self.patience), meters);
        (seen.figures, seen.metered) = (figures, metered);
        for (node, look) in self.engines.iter().filter(|(node, _)| figures::are_wanted(desired, node)) {
            if let Seen::Unknown(trouble) = &look.seen {
                seen.figures.insert(node.hostname.clone(), Seen::Unknown(trouble.clone()));
            }
        }
        seen
    }

    async fn engine(&self, desired: &Desired, facts: &Facts, node: Node, age: Duration) -> (Node, EngineLook) {
        let images = images_for(desired, facts, &node);
        if let Some(known) = self.engines.get(&node).filter(|look| look.is_fresh(&images, age)) {
            return (node, known.clone());
        }
        let at = Instant::now();
        let seen = self.ports.engines.look(&node, &images).await;
        (node, EngineLook { at, took: at.elapsed(), images, seen })
    }

    /// The tags that are declared, each with the engines that can be asked what it stands for.
    fn tags(&self, desired: &Desired) -> BTreeMap<String, Vec<Node>> {
        let answers = |(node, look): (&Node, &EngineLook)| look.seen.known().map(|_| node.clone());
        let mut tags: BTreeMap<String, Vec<Node>> = BTreeMap::new();
        for node in self.engines.iter().filter_map(answers) {
            for (_, container) in containers_on(desired, &node) {
                if image::digest(&container.image).is_none() {
                    let nodes = tags.entry(container.image.clone()).or_default();
                    if !nodes.contains(&node) {
                        nodes.push(node.clone());
                    }
                }
            }
        }
        tags
    }

    /// While the provider gives no clear answer, its side is told as it was: engines are still looked after. A clear
    /// refusal is an answer, and is not covered up.
    fn as_last_answered(&self, now: &Provided) -> (Provided, Option<Trouble>) {
        match (now.unanswered(), &self.answered) {
            (Some(trouble), Some(before)) if trouble.class != Class::Terminal => {
                (before.clone(), Some(trouble.clone()))
            }
            _ => (now.clone(), None),
        }
    }

    /// The engines that were there at the last look.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.engines.keys()
    }
}

/// What an instance's layer runs.
fn containers_on<'a>(desired: &'a Desired, node: &Node) -> impl Iterator<Item = (&'a App, &'a Container)> {
    let layers = desired.stack.layers.iter().filter(|layer| fleet::index_in(layer, &node.hostname).is_some());
    let names: BTreeSet<&String> = layers.map(|layer| &layer.short_name).collect();
    let apps = desired.apps.iter().filter(move |app| app.is_docker() && names.contains(&app.layer));
    apps.flat_map(|app| app.containers.iter().map(move |container| (app, container)))
}

/// The tags of which somebody wants to know what they stand for now, and when it was asked for.
fn asked_for(desired: &Desired, facts: &Facts) -> BTreeMap<String, Timestamp> {
    let mut asked: BTreeMap<String, Timestamp> = BTreeMap::new();
    for (app, container) in desired.apps.iter().flat_map(|app| app.containers.iter().map(move |one| (app, one))) {
        if let Some(at) = facts.asked_at(&app.name, &container.name) {
            let last = asked.entry(container.image.clone()).or_insert(at);
            *last = at.max(*last);
        }
    }
    asked
}

/// The images that an instance's layer wants on it: as declared, and as its releases have fixed them.
fn images_for(desired: &Desired, facts: &Facts, node: &Node) -> BTreeSet<String> {
    let mut images = BTreeSet::new();
    for (app, container) in containers_on(desired, node) {
        images.insert(container.image.clone());
        if let Some(released) = facts.releases.get(&(app.name.clone(), container.name.clone())) {
            images.insert(image::pinned(&released.release.image, &released.release.digest));
        }
    }
    images
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        action::{EngineAction, JobNote, Migrated, Release, Wish},
        ports::{Given, Login, Progress},
        spec::{File, Stack, validate},
        world::{Ec2, Instance, Rest},
    };

    const MANIFEST: &str = include_str!("../tests/scenarios/manifests/ec2.yaml");

    /// One instance, and who was asked.
    #[derive(Default)]
    struct World(Mutex<Vec<&'static str>>);

    impl World {
        fn note(&self, who: &'static str) {
            self.0.lock().unwrap().push(who);
        }

        fn asked(&self) -> Vec<&'static str> {
            let mut asked = std::mem::take(&mut *self.0.lock().unwrap());
            asked.sort_unstable();
            asked
        }
    }

    #[async_trait]
    impl Cloud for World {
        async fn look(&self, _: &Stack) -> Provided {
            self.note("cloud");
            let instance = Instance {
                id: "i-1".into(),
                ec2_id: Some("i-1".into()),
                hostname: "docker1".into(),
                layer_ids: vec!["docker".into()],
                instance_type: "t3.small".into(),
                status: "running".into(),
                private_ip: Some("10.0.0.1".into()),
                public_ip: None,
                launched: None,
            };
            let rest = Ec2 {
                volumes: Seen::Known(Vec::new()),
                subnets: Seen::Known(BTreeMap::new()),
                images: BTreeMap::new(),
                spent_tokens: BTreeSet::new(),
            };
            Provided { instances: Seen::Known(vec![instance]), rest: Rest::Ec2(rest) }
        }

        async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }
    }

    #[async_trait]
    impl Balancers for World {
        async fn look(&self, _: &Stack, names: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
            self.note("balancers");
            let none = || Seen::Known(Balancer { draining: None, vpc_id: None, targets: BTreeMap::new() });
            names.iter().map(|name| (name.clone(), none())).collect()
        }

        async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }
    }

    #[async_trait]
    impl Engines for World {
        async fn look(&self, _: &Node, _: &BTreeSet<String>) -> Seen<Engine> {
            self.note("engine");
            Seen::Known(Engine::default())
        }

        async fn digest(&self, _: &Node, _: &str, _: Option<&Login>) -> Result<Seen<String>, Trouble> {
            Ok(Seen::Known("sha256:0".into()))
        }

        async fn apply(&self, _: &Node, _: &EngineAction, _: &Given, _: &Progress) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }

        async fn disk(&self, _: &Node) -> Option<Disk> {
            self.note("disk");
            Some(Disk { total: 100, free: 40 })
        }

        async fn watch(&self, _: &Node, _: mpsc::Sender<String>) {}
    }

    impl Vault for World {}

    impl Herald for World {}

    impl Records for World {
        fn record(&self, _: &str, _: &Release) -> Result<(), Trouble> {
            unreachable!("nothing is recorded")
        }

        fn record_migration(&self, _: &str, _: &Migrated) -> Result<(), Trouble> {
            unreachable!("nothing is recorded")
        }

        fn note_job(&self, _: &str, _: &JobNote) -> Result<(), Trouble> {
            unreachable!("nothing is recorded")
        }

        fn begin_wish(&self, _: &str, _: &Wish) -> Result<(), Trouble> {
            unreachable!("nothing is recorded")
        }

        fn end_wish(&self, _: &str, _: &Wish) -> Result<(), Trouble> {
            unreachable!("nothing is recorded")
        }
    }

    fn ports(world: &Arc<World>) -> Ports {
        Ports {
            cloud: world.clone(),
            balancers: world.clone(),
            engines: world.clone(),
            records: world.clone(),
            vault: world.clone(),
            herald: world.clone(),
        }
    }

    /// Who is asked again once an action is over, however old everything may be.
    async fn asked_after(went_well: bool, action: impl Fn(Node) -> Action) -> Vec<&'static str> {
        let files = vec![File::new("manifest.yaml", MANIFEST.as_bytes().to_vec())];
        let desired = validate::load("r1", files).unwrap().into_values().next().unwrap();
        let world = Arc::new(World::default());
        let (mut picture, day) = (Picture::new(ports(&world)), Duration::from_secs(86_400));
        let ages = Ages { cloud: day, balancers: day, engines: day, secrets: day };
        picture.look(&desired, &Facts::default(), ages).await;
        assert_eq!(world.asked(), ["balancers", "cloud", "disk", "engine"]);
        picture.look(&desired, &Facts::default(), ages).await;
        assert_eq!(world.asked(), [""; 0]);
        let node = picture.nodes().next().unwrap().clone();
        picture.touch(&action(node), went_well);
        picture.look(&desired, &Facts::default(), ages).await;
        world.asked()
    }

    fn start(node: Node) -> Action {
        Action::Engine { node, what: EngineAction::Start { name: "web0".into(), id: "1".into() } }
    }

    #[tokio::test]
    async fn what_was_done_on_an_engine_asks_that_engine_and_costs_no_call_to_aws() {
        assert_eq!(asked_after(true, start).await, ["engine"]);
    }

    #[tokio::test]
    async fn what_went_wrong_on_an_engine_asks_the_balancers_too() {
        assert_eq!(asked_after(false, start).await, ["balancers", "engine"]);
    }

    #[tokio::test]
    async fn a_pull_and_what_makes_room_for_it_ask_how_full_the_disk_is_whether_they_went_well_or_not() {
        let image = || "web:1".to_owned();
        let pull = |node| Action::Engine { node, what: EngineAction::Pull { image: image() } };
        let remove = |node| Action::Engine { node, what: EngineAction::RemoveImage { image: image() } };
        assert_eq!(asked_after(true, pull).await, ["disk", "engine"]);
        assert_eq!(asked_after(false, pull).await, ["balancers", "disk", "engine"]);
        assert_eq!(asked_after(true, remove).await, ["disk", "engine"]);
    }

    #[tokio::test]
    async fn a_pull_may_take_what_was_free_but_for_what_is_to_stay_free() {
        let files = vec![File::new("manifest.yaml", MANIFEST.as_bytes().to_vec())];
        let mut desired = validate::load("r1", files).unwrap().into_values().next().unwrap();
        desired.stack.layers[0].upkeep.reserve = crate::spec::upkeep::Reserve::Percent(10);
        let mut picture = Picture::new(ports(&Arc::new(World::default())));
        let seen = picture.look(&desired, &Facts::default(), Ages::NOW).await;
        assert_eq!(seen.engines["docker1"].known().unwrap().disk, Some(Disk { total: 100, free: 40 }));
        let node = picture.nodes().next().unwrap().clone();
        let pull = Action::Engine { node, what: EngineAction::Pull { image: "web:1".into() } };
        let given = picture.given(&desired, &pull).unwrap();
        assert_eq!(given.room, Some(crate::ports::Room { free: 40, reserve: 10 }));
    }

    #[tokio::test]
    async fn a_registration_asks_the_balancers_alone() {
        let register =
            |node: Node| Action::Register { balancer: "hello".into(), ec2_id: "i-1".into(), hostname: node.hostname };
        assert_eq!(asked_after(true, register).await, ["balancers"]);
    }
}
