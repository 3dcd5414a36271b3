//! What the tags stand for in their registries, asked rarely and never waited for long.
//!
//! One engine asks for all: the answer is the same for every instance. Another one asks when that one is silent, or
//! got no answer. A pass is not held up by a registry that hangs: it is asked beside the passes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use crate::{
    action::Node,
    ports::{Engines, Login},
    spec::image,
    world::{Class, Seen, Trouble},
};

/// How old an answer may be.
const EVERY: Duration = Duration::from_secs(60);
/// The same for Docker Hub, which counts such a question as a pull. Source: "Docker Hub usage and limits".
const EVERY_ON_DOCKER_HUB: Duration = Duration::from_secs(15 * 60);
/// How many engines ask for one answer.
const ENGINES: usize = 3;

/// Whom to ask about a reference, and in whose name.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) nodes: Vec<Node>,
    pub(super) login: Option<Login>,
}

/// See the module.
pub(super) struct Registry {
    engines: Arc<dyn Engines>,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    /// Counts the answers.
    news: Arc<watch::Sender<u64>>,
}

/// What is known of one reference.
struct Answer {
    seen: Option<Seen<String>>,
    asking: bool,
    /// When it is asked for again.
    due: Instant,
    /// Which engine asks next.
    turn: usize,
    /// For whom it was asked last: when somebody had wanted to know.
    asked_for: Option<Timestamp>,
}

impl Registry {
    pub(super) fn new(engines: Arc<dyn Engines>) -> Registry {
        Registry { engines, answers: Arc::default(), news: Arc::new(watch::Sender::new(0)) }
    }

    /// Asks for what is due: references, each with the engines that can be asked. Waits, but not for longer than
    /// `patience`, for those that were never answered. Tells all the answers, of those that somebody has asked for only
    /// one that is newer.
    pub(super) async fn look(
        &self,
        wanted: &BTreeMap<String, Asked>,
        asked_for: &BTreeMap<String, Timestamp>,
        patience: Duration,
    ) -> BTreeMap<String, Seen<String>> {
        let mut news = self.news.subscribe();
        self.ask(wanted, asked_for);
        let all_told = async { while self.is_first_asked() && news.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(patience, all_told).await;
        let answers = lock(&self.answers);
        let is_due = |image: &String, answer: &&Answer| {
            asked_for.get(image).is_none_or(|asked| answer.asked_for == Some(*asked))
        };
        let told = answers.iter().filter(|(image, answer)| is_due(image, answer));
        told.filter_map(|(image, answer)| Some((image.clone(), answer.seen.clone()?))).collect()
    }

    fn is_first_asked(&self) -> bool {
        lock(&self.answers).values().any(|answer| answer.asking && answer.seen.is_none())
    }

    fn ask(&self, wanted: &BTreeMap<String, Asked>, asked_for: &BTreeMap<String, Timestamp>) {
        let now = Instant::now();
        let mut answers = lock(&self.answers);
        answers.retain(|image, _| wanted.contains_key(image));
        for (image, asked) in wanted.iter().filter(|(_, asked)| !asked.nodes.is_empty()) {
            let new = || Answer { seen: None, asking: false, due: now, turn: 0, asked_for: None };
            let answer = answers.entry(image.clone()).or_insert_with(new);
            let since = asked_for.get(image).copied();
            let is_wanted_anew = since.is_some() && answer.asked_for != since;
            if answer.asking || (answer.due > now && !is_wanted_anew) {
                continue;
            }
            if is_wanted_anew {
                answer.seen = None;
                answer.asked_for = since;
            }
            answer.asking = true;
            let (engines, answers, news) = (self.engines.clone(), self.answers.clone(), self.news.clone());
            let (image, asked, turn) = (image.clone(), asked.clone(), answer.turn);
            tokio::spawn(async move {
                let seen = first_answer(&*engines, &image, &asked, turn).await;
                if let Some(answer) = lock(&answers).get_mut(&image) {
                    answer.asking = false;
                    answer.due = Instant::now() + until_next(&image, &seen);
                    answer.turn = if seen.known().is_some() { turn } else { turn + 1 };
                    answer.seen = Some(seen);
                }
                news.send_modify(|count| *count += 1);
            });
        }
    }
}

/// What the registry says to the first engine that answers.
async fn first_answer(engines: &dyn Engines, image: &str, asked: &Asked, turn: usize) -> Seen<String> {
    let Asked { nodes, login } = asked;
    let mut silent = Trouble { class: Class::Transient, message: format!("no engine to ask for {image}") };
    for at in 0..nodes.len().min(ENGINES) {
        match engines.digest(&nodes[(turn + at) % nodes.len()], image, login.as_ref()).await {
            Ok(seen) => return seen,
            // That an engine refuses says nothing about the registry.
            Err(trouble) => silent = Trouble { class: Class::Transient, ..trouble },
        }
    }
    Seen::Unknown(silent)
}

fn until_next(image: &str, seen: &Seen<String>) -> Duration {
    let every = if image::registry(image) == image::DOCKER_HUB { EVERY_ON_DOCKER_HUB } else { EVERY };
    match seen {
        Seen::Known(_) => every,
        Seen::Unknown(trouble) => match trouble.class {
            Class::Throttled => every * 5,
            Class::Terminal => every / 2,
            _ => Duration::from_secs(10),
        },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        action::{Access, EngineAction},
        ports::{Given, Progress},
        world::Engine,
    };

    /// Engines that say one thing of every image, by hostname; the one without is silent, `slow` takes its time.
    #[derive(Default)]
    struct Fake {
        says: BTreeMap<&'static str, Seen<String>>,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Engines for Fake {
        async fn look(&self, _: &Node, _: &BTreeSet<String>) -> Seen<Engine> {
            unreachable!("no engine is looked at")
        }

        async fn digest(&self, node: &Node, image: &str, _: Option<&Login>) -> Result<Seen<String>, Trouble> {
            lock(&self.asked).push(format!("{} {image}", node.hostname));
            if node.hostname == "slow" {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            self.says.get(node.hostname.as_str()).cloned().ok_or_else(|| trouble(Class::Terminal))
        }

        async fn apply(&self, _: &Node, _: &EngineAction, _: &Given, _: &Progress) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }

        async fn watch(&self, _: &Node, _: mpsc::Sender<String>) {}
    }

    fn trouble(class: Class) -> Trouble {
        Trouble { class, message: "no".into() }
    }

    fn known(digest: &str) -> Seen<String> {
        Seen::Known(digest.to_owned())
    }

    fn wanted(image: &str, hosts: &[&str]) -> BTreeMap<String, Asked> {
        let node = |host: &&str| Node {
            hostname: (*host).to_owned(),
            endpoint: "10.0.0.1:2376".into(),
            access: Access::Tls { name: None },
        };
        BTreeMap::from([(image.to_owned(), Asked { nodes: hosts.iter().map(node).collect(), login: None })])
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_engine_asks_and_not_again_before_the_answer_is_old() {
        let fake =
            Arc::new(Fake { says: BTreeMap::from([("one", known("a")), ("two", known("b"))]), ..Fake::default() });
        let registry = Registry::new(fake.clone());
        let wanted = wanted("r.example.com/app:1", &["one", "two"]);
        for _ in 0..59 {
            assert_eq!(registry.look(&wanted, &BTreeMap::new(), SECOND).await["r.example.com/app:1"], known("a"));
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(lock(&fake.asked).len(), 1);
        tokio::time::advance(SECOND * 2).await;
        registry.look(&wanted, &BTreeMap::new(), SECOND).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(*lock(&fake.asked), ["one r.example.com/app:1", "one r.example.com/app:1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_engine_asks_when_one_is_silent_and_the_refusal_of_an_engine_is_none_of_the_registry() {
        let fake = Arc::new(Fake { says: BTreeMap::from([("two", known("b"))]), ..Fake::default() });
        let registry = Registry::new(fake.clone());
        assert_eq!(
            registry.look(&wanted("app:1", &["one", "two"]), &BTreeMap::new(), SECOND).await["app:1"],
            known("b")
        );
        let registry = Registry::new(fake.clone());
        let said = registry.look(&wanted("app:1", &["one"]), &BTreeMap::new(), SECOND).await;
        assert_eq!(said["app:1"], Seen::Unknown(trouble(Class::Transient)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_hangs_holds_up_no_pass_for_longer_than_it_may_and_is_heard_later() {
        let fake = Arc::new(Fake { says: BTreeMap::from([("slow", known("a"))]), ..Fake::default() });
        let registry = Registry::new(fake.clone());
        let wanted = wanted("app:1", &["slow"]);
        let began = Instant::now();
        assert_eq!(registry.look(&wanted, &BTreeMap::new(), SECOND).await, BTreeMap::new());
        assert_eq!(began.elapsed(), SECOND);
        assert_eq!(registry.look(&wanted, &BTreeMap::new(), SECOND * 20).await["app:1"], known("a"));
        assert_eq!(began.elapsed(), SECOND * 5);
        assert_eq!(lock(&fake.asked).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_asks_for_fewer_requests_gets_fewer() {
        assert_eq!(until_next("r.example.com/a:1", &known("a")), EVERY);
        assert_eq!(until_next("redis:7", &known("a")), EVERY_ON_DOCKER_HUB);
        assert!(until_next("r.example.com/a:1", &Seen::Unknown(trouble(Class::Throttled))) > EVERY);
        assert!(until_next("r.example.com/a:1", &Seen::Unknown(trouble(Class::Transient))) < EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_has_asked_for_is_asked_again_at_once_and_no_older_answer_is_told() {
        let fake = Arc::new(Fake { says: BTreeMap::from([("slow", known("a"))]), ..Fake::default() });
        let registry = Registry::new(fake.clone());
        let wanted = wanted("app:1", &["slow"]);
        assert_eq!(registry.look(&wanted, &BTreeMap::new(), SECOND * 10).await["app:1"], known("a"));
        let asked = BTreeMap::from([("app:1".to_owned(), Timestamp::UNIX_EPOCH)]);
        assert!(registry.look(&wanted, &asked, SECOND).await.is_empty());
        assert_eq!(registry.look(&wanted, &asked, SECOND * 10).await["app:1"], known("a"));
        assert_eq!(lock(&fake.asked).len(), 2);
        registry.look(&wanted, &asked, SECOND).await;
        assert_eq!(lock(&fake.asked).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_while_there_is_no_engine_and_what_is_not_wanted_any_more_is_forgotten() {
        let fake = Arc::new(Fake { says: BTreeMap::from([("one", known("a"))]), ..Fake::default() });
        let registry = Registry::new(fake.clone());
        assert!(registry.look(&wanted("app:1", &[]), &BTreeMap::new(), SECOND).await.is_empty());
        assert!(registry.look(&wanted("app:1", &["one"]), &BTreeMap::new(), SECOND).await.contains_key("app:1"));
        assert!(registry.look(&wanted("app:2", &[]), &BTreeMap::new(), SECOND).await.is_empty());
    }
}
