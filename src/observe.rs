//! Looks at everything that concerns one stack.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

mod evidence;

use crate::{
    action::{Lane, Node},
    plan::{fleet, slot},
    ports::{Balancers, Cloud, Engines},
    spec::{Desired, stack::Provider},
    world::{Balancer, Class, Engine, Observed, Owned, Provided, Seen, Trouble},
};

/// The ways to the world.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Ports {
    pub cloud: Arc<dyn Cloud>,
    pub balancers: Arc<dyn Balancers>,
    pub engines: Arc<dyn Engines>,
}

/// How old each part of a picture may be before it is looked at again.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Ages {
    pub cloud: Duration,
    pub balancers: Duration,
    pub engines: Duration,
}

impl Ages {
    /// Look at everything now.
    pub const NOW: Ages = Ages { cloud: Duration::ZERO, balancers: Duration::ZERO, engines: Duration::ZERO };
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
    /// Instances on which a container was stopped since they are out of their balancers, by hostname.
    stopped: BTreeSet<String>,
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

impl Picture {
    /// Nothing seen yet.
    pub fn new(ports: Ports) -> Picture {
        Picture {
            ports,
            cloud: None,
            answered: None,
            balancers: None,
            owned: None,
            engines: BTreeMap::new(),
            stopped: BTreeSet::new(),
        }
    }

    /// What the lane can change must be looked at again.
    pub fn touch(&mut self, lane: &Lane) {
        match lane {
            Lane::Cloud => {
                self.cloud = None;
                self.balancers = None;
            }
            Lane::Balancer(_) => {
                self.owned = None;
                self.balancers = None;
            }
            Lane::Node(hostname) => {
                self.balancers = None;
                self.touch_engine(hostname);
            }
            Lane::Pull(hostname) => self.touch_engine(hostname),
        }
    }

    /// The engine of this instance must be looked at again.
    pub fn touch_engine(&mut self, hostname: &str) {
        self.engines.retain(|node, _| node.hostname != hostname);
    }

    /// Looks at what is older than allowed, and tells the whole.
    pub async fn look(&mut self, desired: &Desired, ages: Ages) -> Observed {
        let stack = &desired.stack;
        let names: BTreeSet<String> = stack
            .layers
            .iter()
            .flat_map(|layer| layer.load_balancers.iter().map(|balancer| balancer.name().to_owned()))
            .collect();
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
        let (cloud, (balancers_at, balancers), (owned_at, owned)) = tokio::join!(cloud, balancers, owned);
        self.owned = Some((owned_at, owned.clone()));
        self.cloud = Some(cloud.clone());
        self.balancers = Some((balancers_at, balancers.clone()));

        let (provided, stale) = self.as_last_answered(cloud.seen);
        let mut seen = Observed { provided, stale, balancers, owned, engines: BTreeMap::new() };
        let nodes = fleet::nodes(desired, &seen);
        self.engines.retain(|node, _| nodes.contains(node));
        let looks = nodes.iter().map(|node| {
            let images = images_for(desired, node);
            let known = self.engines.get(node).filter(|look| look.is_fresh(&images, ages.engines)).cloned();
            let engines = &self.ports.engines;
            async move {
                let found = match known {
                    Some(found) => found,
                    None => {
                        let at = Instant::now();
                        let seen = engines.look(node, &images).await;
                        EngineLook { at, took: at.elapsed(), images, seen }
                    }
                };
                (node.clone(), found)
            }
        });
        for (node, found) in futures_util::future::join_all(looks).await {
            seen.engines.insert(node.hostname.clone(), found.seen.clone());
            self.engines.insert(node, found);
        }
        self.ask_who_is_connected(desired, &mut seen).await;
        seen
    }

    /// While the provider gives no clear answer, its side is told as it was: engines are still looked after. A clear
    /// refusal is an answer, and is not covered up.
    fn as_last_answered(&mut self, now: Provided) -> (Provided, Option<Trouble>) {
        match (now.unanswered(), &self.answered) {
            (None, _) => {
                self.answered = Some(now.clone());
                (now, None)
            }
            (Some(trouble), Some(before)) if trouble.class != Class::Terminal => {
                (before.clone(), Some(trouble.clone()))
            }
            _ => (now, None),
        }
    }

    /// The engines that were there at the last look.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.engines.keys()
    }
}

/// The images that an instance's layer wants on it.
fn images_for(desired: &Desired, node: &Node) -> BTreeSet<String> {
    desired
        .stack
        .layers
        .iter()
        .filter(|layer| fleet::index_in(layer, &node.hostname).is_some())
        .flat_map(|layer| slot::slots(desired, layer).into_iter().map(|slot| slot.container.image.clone()))
        .collect()
}
