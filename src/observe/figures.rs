//! What the instances of the layers that are scaled by their load have to do: asked once in a while, beside the passes,
//! so that none of them waits for an engine that measures.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::answer::{Answer, is_due};
use crate::{
    action::Node,
    plan::fleet,
    ports::Engines,
    spec::{
        Desired,
        scaling::{Metric, Scaling, Source},
    },
    world::{Figures, Seen},
};

/// What an instance is asked for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    every: Duration,
    /// The load average too.
    load: bool,
}

/// See the module.
pub(super) struct Gauges {
    engines: Arc<dyn Engines>,
    known: Arc<Mutex<BTreeMap<Node, Known>>>,
    /// Counts the answers.
    news: Arc<watch::Sender<u64>>,
}

/// What is known of one instance.
#[derive(Default)]
struct Known {
    asking: bool,
    asked: Option<Instant>,
    answer: Answer,
}

impl Gauges {
    pub(super) fn new(engines: Arc<dyn Engines>) -> Gauges {
        Gauges { engines, known: Arc::default(), news: Arc::new(watch::Sender::new(0)) }
    }

    /// Asks whoever is due, of those whose engines answer, and tells what is known. Waits, but not for longer than
    /// `patience`, for those that were never asked.
    pub(super) async fn look<'a>(
        &self,
        desired: &Desired,
        nodes: impl Iterator<Item = &'a Node>,
        patience: Duration,
    ) -> BTreeMap<String, Seen<Figures>> {
        let wanted: BTreeMap<Node, Wanted> =
            nodes.filter_map(|node| Some((node.clone(), wanted(desired, &node.hostname)?))).collect();
        if wanted.is_empty() {
            lock(&self.known).clear();
            return BTreeMap::new();
        }
        let mut news = self.news.subscribe();
        self.ask(&wanted);
        let all_told = async { while self.is_first_asked() && news.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(patience, all_told).await;
        let known = lock(&self.known);
        let told = wanted.iter().filter_map(|(node, wanted)| Some((node, known.get(node)?.answer.seen(wanted.every)?)));
        told.map(|(node, seen)| (node.hostname.clone(), seen)).collect()
    }

    fn is_first_asked(&self) -> bool {
        lock(&self.known).values().any(|it| it.asking && !it.answer.is_told())
    }

    fn ask(&self, wanted: &BTreeMap<Node, Wanted>) {
        let mut all = lock(&self.known);
        all.retain(|node, _| wanted.contains_key(node));
        for (node, wanted) in wanted {
            let one = all.entry(node.clone()).or_default();
            if one.asking || !is_due(one.asked, wanted.every) {
                continue;
            }
            (one.asking, one.asked) = (true, Some(Instant::now()));
            let (engines, known, news) = (self.engines.clone(), self.known.clone(), self.news.clone());
            let (node, load) = (node.clone(), wanted.load);
            tokio::spawn(async move {
                let told = engines.figures(&node, load).await;
                if let Some(one) = lock(&known).get_mut(&node) {
                    one.asking = false;
                    one.answer.tell(told);
                }
                news.send_modify(|count| *count += 1);
            });
        }
    }
}

/// What is wanted of an instance; nothing where what its engine tells has nothing to do with how many there are.
fn wanted(desired: &Desired, hostname: &str) -> Option<Wanted> {
    let mut layers = desired.stack.layers.iter();
    let layer = layers.find(|layer| fleet::index_in(layer, hostname).is_some())?;
    let Some(Scaling { load: Some(rules), .. }) = &layer.instances.scaling else { return None };
    let load = rules.wants(Metric::Load);
    rules.asks(Source::Engines).then(|| Wanted { every: rules.every(Source::Engines), load })
}

/// True where what its engine tells has something to do with how many instances there are.
pub(super) fn are_wanted(desired: &Desired, node: &Node) -> bool {
    wanted(desired, &node.hostname).is_some()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::atomic::{AtomicU64, Ordering},
    };

    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        action::{Access, EngineAction},
        ports::{Given, Login, Progress},
        spec::{File, validate},
        world::{Class, Engine, Trouble},
    };

    const MANIFEST: &str = include_str!("../../tests/scenarios/manifests/ec2.yaml");

    /// Engines that tell how often they were asked.
    #[derive(Default)]
    struct Fake {
        asked: AtomicU64,
        silent: Mutex<bool>,
    }

    #[async_trait]
    impl Engines for Fake {
        async fn look(&self, _: &Node, _: &BTreeSet<String>) -> Seen<Engine> {
            unreachable!("nobody looks")
        }

        async fn digest(&self, _: &Node, _: &str, _: Option<&Login>) -> Result<Seen<String>, Trouble> {
            unreachable!("no registry is asked")
        }

        async fn figures(&self, _: &Node, load: bool) -> Result<Figures, Trouble> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            if *self.silent.lock().unwrap() {
                return Err(Trouble { class: Class::Transient, message: "silent".into() });
            }
            #[allow(clippy::cast_precision_loss)]
            Ok(Figures { cpu: Some(asked as f64), load: load.then_some(1.0), ..Figures::default() })
        }

        async fn apply(&self, _: &Node, _: &EngineAction, _: &Given, _: &Progress) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }

        async fn watch(&self, _: &Node, _: mpsc::Sender<String>) {}
    }

    fn desired(instances: &str) -> Desired {
        let text = MANIFEST.replace("{count: 2,", instances);
        let files = vec![File::new("manifest.yaml", text.into_bytes())];
        validate::load("r1", files).unwrap().into_values().next().unwrap()
    }

    fn node() -> Node {
        let access = Access::Tls { name: None };
        Node { hostname: "docker1".into(), endpoint: "192.0.2.1:2376".into(), access }
    }

    async fn told(gauges: &Gauges, desired: &Desired) -> Option<Seen<Option<f64>>> {
        let told = gauges.look(desired, [node()].iter(), Duration::from_secs(1)).await;
        // What is asked for beside the pass is there at the next one.
        tokio::time::sleep(Duration::from_millis(1)).await;
        told.get("docker1").map(|seen| match seen {
            Seen::Known(figures) => Seen::Known(figures.cpu),
            Seen::Unknown(trouble) => Seen::Unknown(trouble.clone()),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_is_asked_once_a_minute_whatever_happens_meanwhile() {
        let (fake, desired) = (Arc::new(Fake::default()), desired("{min: 1, max: 2, load: {},"));
        let gauges = Gauges::new(fake.clone());
        assert_eq!(told(&gauges, &desired).await, Some(Seen::Known(Some(1.0))));
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(told(&gauges, &desired).await, Some(Seen::Known(Some(1.0))));
        tokio::time::sleep(Duration::from_secs(10)).await;
        told(&gauges, &desired).await;
        assert_eq!(told(&gauges, &desired).await, Some(Seen::Known(Some(2.0))));
        assert_eq!(fake.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_asking_that_fails_is_made_up_for_by_the_figures_before_it_and_two_are_not() {
        let (fake, desired) = (Arc::new(Fake::default()), desired("{min: 1, max: 2, load: {},"));
        let gauges = Gauges::new(fake.clone());
        told(&gauges, &desired).await;
        *fake.silent.lock().unwrap() = true;
        tokio::time::sleep(Duration::from_secs(60)).await;
        told(&gauges, &desired).await;
        assert_eq!(told(&gauges, &desired).await, Some(Seen::Known(Some(1.0))));
        tokio::time::sleep(Duration::from_secs(60)).await;
        told(&gauges, &desired).await;
        assert!(matches!(told(&gauges, &desired).await, Some(Seen::Unknown(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_where_what_engines_tell_has_nothing_to_do_with_it() {
        let by_cloudwatch = "{min: 1, max: 2, load: {cpuFrom: cloudWatch},";
        for instances in ["{count: 2,", "{min: 1, schedule: {hours: [{min: 2}]},", by_cloudwatch] {
            let fake = Arc::new(Fake::default());
            assert_eq!(told(&Gauges::new(fake.clone()), &desired(instances)).await, None);
            assert_eq!(fake.asked.load(Ordering::SeqCst), 0);
        }
    }
}
