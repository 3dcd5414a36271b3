//! What the controller's own work costs as a fleet grows: ratios, so that any machine may measure them.
//!
//!     make bench
//!
//! A plan, and a look at the fleet, must cost about as much an instance with 200 instances as with 10. Beyond the stated
//! factor it fails: something then grows faster than the fleet does.

#[path = "../tests/trial/mod.rs"]
mod trial;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use evenkeel::{
    action::{Action, EngineAction, JobNote, Migrated, Node, Release, Wish},
    observe::{Ages, Picture, Ports},
    ports::{Balancers, Cloud, Engines, Given, Herald, Login, Progress, Records, Vault},
    spec::Stack,
    world::{Balancer, Engine, Observed, Provided, Seen, Trouble},
};
use tokio::sync::mpsc;
use trial::Trial;

const SHOP: &str = include_str!("../tests/scenarios/manifests/shop.yaml");
const SMALL: u32 = 10;
const LARGE: u32 = 200;
/// An instance of the large fleet may cost so many times what one of the small fleet does.
const FACTOR: f64 = 5.0;
/// The quickest of so many is what it takes: whatever else the machine does only adds to it.
const TRIES: usize = 15;

fn main() -> ExitCode {
    println!("time an instance, of {SMALL} and of {LARGE} instances, and the ratio (at most {FACTOR})\n");
    let (mut small, mut large) = (shop(SMALL), shop(LARGE));
    let mut good = row("a plan, everything as declared", quickest(|| _ = small.plan()), quickest(|| _ = large.plan()));
    let seen = look(&small, &large);
    good &= row("a look at all of it", seen[0].0, seen[1].0);
    let calls = [(SMALL, seen[0].1), (LARGE, seen[1].1)];
    for trial in [&mut small, &mut large] {
        trial.edit("app:1", "app:2");
        // Images are pulled, and the first instance is on its way out.
        while !trial.log.iter().any(|done| done.starts_with("deregister")) {
            assert!(trial.round(), "the rollout does not begin: {:?}", trial.plan());
        }
    }
    good &= row("a plan, amid a rollout", quickest(|| _ = small.plan()), quickest(|| _ = large.plan()));
    for (count, calls) in calls {
        // One of the provider, one of all balancers, one of each engine.
        let most = count as usize + 2;
        good &= calls <= most;
        println!("  a look at {count:>3} instances: {calls} questions (at most {most})");
    }
    println!("\n{}", if good { "nothing grows faster than the fleet" } else { "FAILED: something grows faster" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The shop on so many instances, everything as declared.
fn shop(count: u32) -> Trial {
    let mut trial = Trial::new(&SHOP.replace("count: 2", &format!("count: {count}")));
    assert_eq!(trial.desired.stack.layers[0].instances.count, count, "the scenario's manifest has changed");
    trial.run(10_000).expect("the shop comes up");
    assert!(trial.plan().is_done(), "the shop is not as declared: {:?}", trial.plan());
    trial
}

fn quickest(mut what: impl FnMut()) -> Duration {
    let once = |_| {
        let began = Instant::now();
        what();
        began.elapsed()
    };
    (0..TRIES).map(once).min().unwrap_or_default()
}

fn row(what: &str, small: Duration, large: Duration) -> bool {
    let (small, large) = (small / SMALL, large / LARGE);
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    let verdict = if ratio <= FACTOR { "ok" } else { "FAILED" };
    println!("  {what:<32} {:>9.1} µs {:>9.1} µs {ratio:>7.2}  {verdict}", micros(small), micros(large));
    ratio <= FACTOR
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The time of a look at each fleet, and the questions it asked.
fn look(small: &Trial, large: &Trial) -> [(Duration, usize); 2] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    [small, large].map(|trial| {
        let world = Arc::new(World { seen: trial.look(), asked: AtomicUsize::new(0) });
        let ports = Ports {
            cloud: world.clone(),
            balancers: world.clone(),
            engines: world.clone(),
            records: world.clone(),
            herald: world.clone(),
            vault: world.clone(),
        };
        let time = quickest(|| {
            let mut picture = Picture::new(ports.clone());
            let seen = runtime.block_on(picture.look(&trial.desired, &trial.facts, Ages::NOW));
            assert_eq!(seen.engines.len(), world.seen.engines.len());
        });
        (time, world.asked.load(Ordering::Relaxed) / TRIES)
    })
}

/// Answers at once.
struct World {
    seen: Observed,
    asked: AtomicUsize,
}

impl World {
    fn asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Cloud for World {
    async fn look(&self, _: &Stack) -> Provided {
        self.asked();
        self.seen.provided.clone()
    }

    async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
        unreachable!("nothing is done")
    }
}

#[async_trait]
impl Balancers for World {
    async fn look(&self, _: &Stack, _: &BTreeSet<String>) -> BTreeMap<String, Seen<Balancer>> {
        self.asked();
        self.seen.balancers.clone()
    }

    async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
        unreachable!("nothing is done")
    }
}

#[async_trait]
impl Engines for World {
    async fn look(&self, node: &Node, _: &BTreeSet<String>) -> Seen<Engine> {
        self.asked();
        self.seen.engines[&node.hostname].clone()
    }

    async fn digest(&self, _: &Node, image: &str, _: Option<&Login>) -> Result<Seen<String>, Trouble> {
        self.asked();
        Ok(self.seen.registry.get(image).cloned().unwrap_or_else(|| Seen::Known(trial::first_digest(image))))
    }

    async fn apply(&self, _: &Node, _: &EngineAction, _: &Given, _: &Progress) -> Result<(), Trouble> {
        unreachable!("nothing is done")
    }

    async fn watch(&self, _: &Node, _: mpsc::Sender<String>) {}
}

impl Herald for World {}

impl Vault for World {}

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
