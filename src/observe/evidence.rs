//! Who is still connected to an instance that its load balancers say is out.
//!
//! That is asked of the containers themselves, which takes longer than a look: so only of an instance that is out, and
//! only until the first container of it was stopped. From then on everybody was seen to have gone, or was given up.

use super::Picture;
use crate::{
    action::Node,
    plan::{container::is_ours, fleet, render::label},
    spec::Desired,
    world::{ContainerSeen, Observed, Seen, State},
};

impl Picture {
    /// A container of the instance was stopped.
    pub fn stopped(&mut self, hostname: &str) {
        self.stopped.insert(hostname.to_owned());
    }

    /// Adds the connections to what was seen of the engines of the instances that are out.
    pub(super) async fn ask_who_is_connected(&mut self, desired: &Desired, seen: &mut Observed) {
        let out: Vec<Node> = self.engines.keys().filter(|node| is_out(desired, seen, node)).cloned().collect();
        self.stopped.retain(|hostname| out.iter().any(|node| node.hostname == *hostname));
        for node in out.iter().filter(|node| !self.stopped.contains(&node.hostname)) {
            let Some(engine) = seen.engines.get_mut(&node.hostname).and_then(Seen::known_mut) else { continue };
            let serving = engine.containers.iter().filter(|(_, container)| serves(desired, container));
            let asked = serving.map(|(name, container)| async {
                let count = self.ports.engines.connections(node, &container.id).await;
                Some((name.clone(), count?))
            });
            engine.connections = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        }
    }
}

fn serves(desired: &Desired, container: &ContainerSeen) -> bool {
    is_ours(container, &desired.stack.name)
        && container.state == State::Running
        && container.labels.get(label::TRAFFIC).is_some_and(|value| value == "true")
}

/// Every load balancer was asked, and none lists it any more.
fn is_out(desired: &Desired, seen: &Observed, node: &Node) -> bool {
    let instances = seen.provided.instances.known();
    let instance = instances.and_then(|all| all.iter().find(|instance| instance.hostname == node.hostname));
    let Some((instance, ec2_id)) = instance.and_then(|it| Some((it, it.ec2_id.as_ref()?))) else { return false };
    let mut balancers = fleet::balancers_of(desired, seen, instance).into_iter().peekable();
    balancers.peek().is_some()
        && balancers.all(|name| {
            let known = seen.balancers.get(name).and_then(Seen::known);
            known.is_some_and(|balancer| !balancer.targets.contains_key(ec2_id))
        })
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use async_trait::async_trait;
    use jiff::Timestamp;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        action::{Action, EngineAction, JobNote, Migrated, Release, Wish},
        observe::{Ages, Ports},
        plan::{Facts, imagine::World, plan},
        ports::{Balancers, Cloud, Engines, Given, Herald, Login, Progress, Records, Vault},
        spec::{File, Stack, validate},
        world::{Balancer, Engine, OpsWorks, Owned, Provided, Rest, Trouble},
    };

    const MANIFEST: &str = include_str!("../../tests/scenarios/manifests/web.yaml");

    /// An imagined world, in which one is connected to every container that is asked.
    struct Fake {
        world: Mutex<World>,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Cloud for Fake {
        async fn look(&self, _: &Stack) -> Provided {
            self.world.lock().unwrap().seen.provided.clone()
        }

        async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }
    }

    #[async_trait]
    impl Balancers for Fake {
        async fn look(&self, _: &Stack, _: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
            self.world.lock().unwrap().seen.balancers.clone()
        }

        async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }
    }

    #[async_trait]
    impl Engines for Fake {
        async fn look(&self, node: &Node, _: &BTreeSet<String>) -> Seen<Engine> {
            self.world.lock().unwrap().seen.engines[&node.hostname].clone()
        }

        async fn digest(&self, _: &Node, image: &str, _: Option<&Login>) -> Result<Seen<String>, Trouble> {
            Ok(self.world.lock().unwrap().seen.registry[image].clone())
        }

        async fn connections(&self, _: &Node, _: &str) -> Option<u32> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Some(1)
        }

        async fn apply(&self, _: &Node, _: &EngineAction, _: &Given, _: &Progress) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }

        async fn watch(&self, _: &Node, _: mpsc::Sender<String>) {}
    }

    impl Vault for Fake {}

    impl Herald for Fake {}

    impl Records for Fake {
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

    /// Everything is as declared.
    fn converged() -> (Desired, World) {
        let files = vec![File::new("manifest.yaml", MANIFEST.as_bytes().to_vec())];
        let desired = validate::load("r1", files).unwrap().into_values().next().unwrap();
        let containers =
            || desired.apps.iter().flat_map(|app| &app.containers).map(|container| container.image.clone());
        let rest = Rest::OpsWorks(OpsWorks {
            stack: Seen::Known(None),
            layers: Seen::Known(Vec::new()),
            apps: Seen::Known(Vec::new()),
            attached: Seen::Known(BTreeMap::new()),
            databases: Seen::Known(Vec::new()),
            load_scaling: Seen::Known(BTreeMap::new()),
        });
        let balancer = Balancer { draining: Some(60), vpc_id: None, targets: BTreeMap::new() };
        let seen = Observed {
            provided: Provided { instances: Seen::Known(Vec::new()), rest },
            stale: None,
            balancers: BTreeMap::from([("hello".into(), Seen::Known(balancer))]),
            owned: Owned::default(),
            engines: BTreeMap::new(),
            registry: containers().map(|image| (image, Seen::Known(format!("sha256:{:064}", 1)))).collect(),
            secrets: BTreeMap::new(),
            figures: BTreeMap::new(),
            metered: BTreeMap::new(),
        };
        let mut world = World::new(seen, Timestamp::UNIX_EPOCH);
        let mut facts = Facts::default();
        loop {
            facts.note(&desired, &world.seen, world.now);
            let next = plan(&desired, &world.seen, &facts, world.now);
            if facts.record_all(&next.actions, world.now) {
                continue;
            }
            match next.actions.first() {
                Some(action) => world.carry_out(action),
                None if next.is_done() => return (desired, world),
                None => assert!(world.let_time_pass(&desired, &next)),
            }
        }
    }

    #[tokio::test]
    async fn an_instance_is_asked_who_is_connected_while_it_is_out_and_nothing_of_it_was_stopped() {
        let (desired, world) = converged();
        let fake = Arc::new(Fake { world: Mutex::new(world), asked: AtomicUsize::new(0) });
        let ports = Ports {
            cloud: fake.clone(),
            balancers: fake.clone(),
            engines: fake.clone(),
            records: fake.clone(),
            vault: fake.clone(),
            herald: fake.clone(),
        };
        let mut picture = Picture::new(ports);
        let set_out = |out: bool| {
            let mut world = fake.world.lock().unwrap();
            let id = world.seen.provided.instances.known().unwrap()[0].ec2_id.clone().unwrap();
            let targets = &mut world.seen.balancers.get_mut("hello").unwrap().known_mut().unwrap().targets;
            if out {
                targets.remove(&id)
            } else {
                targets.insert(id, crate::world::Target::InService)
            };
        };
        let connections = async |picture: &mut Picture| {
            let seen = picture.look(&desired, &Facts::default(), Ages::NOW).await;
            let engine = |host: &str| seen.engines[host].known().unwrap().connections.clone();
            (engine("docker1"), engine("docker2"))
        };
        let (none, one) = (BTreeMap::new(), BTreeMap::from([("web0".to_owned(), 1)]));
        assert_eq!(connections(&mut picture).await, (none.clone(), none.clone()));
        set_out(true);
        assert_eq!(connections(&mut picture).await, (one.clone(), none.clone()));
        assert_eq!(fake.asked.load(Ordering::Relaxed), 1, "what serves nobody is not asked");
        picture.stopped("docker1");
        assert_eq!(connections(&mut picture).await, (none.clone(), none.clone()));
        set_out(false);
        assert_eq!(connections(&mut picture).await, (none.clone(), none.clone()));
        set_out(true);
        assert_eq!(connections(&mut picture).await, (one, none));
    }
}
