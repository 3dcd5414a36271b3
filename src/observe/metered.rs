//! How busy the processors are of the layers that go by CloudWatch's word: it is asked once in a while for all instances
//! of the stack together, beside the passes, so that none of them waits for it or fails with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::answer::{Answer, is_due};
use crate::{
    plan::fleet,
    ports::Cloud,
    spec::{
        Desired,
        scaling::{EVERY, Scaling, Source},
    },
    world::{Class, Figures, Observed, Seen, Trouble},
};

/// See the module.
pub(super) struct Meters {
    cloud: Arc<dyn Cloud>,
    known: Arc<Mutex<Known>>,
    /// Counts the answers.
    news: Arc<watch::Sender<u64>>,
}

/// What is known of a stack.
#[derive(Default)]
struct Known {
    asking: bool,
    /// When all of them were asked for.
    asked: Option<Instant>,
    /// By EC2 id.
    answers: BTreeMap<String, Answer>,
}

impl Meters {
    pub(super) fn new(cloud: Arc<dyn Cloud>) -> Meters {
        Meters { cloud, known: Arc::default(), news: Arc::new(watch::Sender::new(0)) }
    }

    /// Asks when it is time, and tells what is known, by hostname. Waits, but not for longer than `patience`, for those
    /// that were never asked for.
    pub(super) async fn look(
        &self,
        desired: &Desired,
        seen: &Observed,
        patience: Duration,
    ) -> BTreeMap<String, Seen<Figures>> {
        let wanted = wanted(desired, seen);
        let ids: BTreeSet<&String> = wanted.values().flatten().collect();
        if ids.is_empty() {
            *lock(&self.known) = Known::default();
        } else {
            let mut news = self.news.subscribe();
            self.ask(desired, &ids);
            let untold = || ids.iter().any(|id| lock(&self.known).answers.get(*id).is_none_or(|it| !it.is_told()));
            let all_told = async { while untold() && news.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(patience, all_told).await;
        }
        let known = lock(&self.known);
        let nameless = || {
            let message = "it has no EC2 id by which CloudWatch would know it; the next look may tell one".to_owned();
            Seen::Unknown(Trouble { class: Class::Transient, message })
        };
        let told = wanted.iter().filter_map(|(hostname, id)| {
            let seen = id.as_ref().map_or_else(|| Some(nameless()), |id| known.answers.get(id)?.seen(EVERY))?;
            Some((hostname.clone(), seen))
        });
        told.collect()
    }

    /// For all of them once a minute, and in between for those that are new.
    fn ask(&self, desired: &Desired, ids: &BTreeSet<&String>) {
        let mut known = lock(&self.known);
        known.answers.retain(|id, _| ids.contains(id));
        if known.asking {
            return;
        }
        let is_due = is_due(known.asked, EVERY);
        let asked = ids.iter().filter(|id| is_due || !known.answers.contains_key(**id));
        let asked: BTreeSet<String> = asked.map(|id| (*id).clone()).collect();
        if asked.is_empty() {
            return;
        }
        known.asking = true;
        if is_due {
            known.asked = Some(Instant::now());
        }
        let (cloud, known, news) = (self.cloud.clone(), self.known.clone(), self.news.clone());
        let stack = desired.stack.clone();
        tokio::spawn(async move {
            let told = cloud.metered(&stack, &asked).await;
            let mut known = lock(&known);
            known.asking = false;
            for id in asked {
                let told = told.as_ref().map(|told| told.get(&id).copied().unwrap_or_default());
                known.answers.entry(id).or_default().tell(told.map_err(Clone::clone));
            }
            drop(known);
            news.send_modify(|count| *count += 1);
        });
    }
}

/// The instances to be asked for, by hostname, with their EC2 ids.
fn wanted(desired: &Desired, seen: &Observed) -> BTreeMap<String, Option<String>> {
    let by_cloudwatch = |scaling: &Scaling| scaling.load.as_ref().is_some_and(|rules| rules.asks(Source::CloudWatch));
    let layers = desired.stack.layers.iter();
    let layers = layers.filter(|layer| layer.instances.scaling.as_ref().is_some_and(by_cloudwatch));
    let members = layers.flat_map(|layer| fleet::members(layer, seen)).map(|(_, instance)| instance);
    let online = members.filter(|instance| fleet::phase(&instance.status) == fleet::Phase::Online);
    online.map(|instance| (instance.hostname.clone(), instance.ec2_id.clone())).collect()
}

fn lock(mutex: &Mutex<Known>) -> MutexGuard<'_, Known> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{
        action::Action,
        spec::{File, Stack, validate},
        world::{Ec2, Instance, Owned, Provided, Rest},
    };

    const MANIFEST: &str = include_str!("../../tests/scenarios/manifests/ec2.yaml");

    /// A CloudWatch that knows all but `i-new`, and remembers for whom it was asked.
    #[derive(Default)]
    struct Fake {
        asked: Mutex<Vec<String>>,
        refuses: Mutex<bool>,
        hangs: bool,
    }

    #[async_trait]
    impl Cloud for Fake {
        async fn look(&self, _: &Stack) -> Provided {
            unreachable!("nobody looks")
        }

        async fn apply(&self, _: &Stack, _: &Action) -> Result<(), Trouble> {
            unreachable!("nothing is done")
        }

        async fn metered(&self, _: &Stack, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Figures>, Trouble> {
            let asked = ids.iter().cloned().collect::<Vec<_>>().join(" ");
            self.asked.lock().unwrap().push(asked);
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if *self.refuses.lock().unwrap() {
                return Err(Trouble { class: Class::Terminal, message: "allow it".into() });
            }
            let figures = Figures { cpu: Some(50.0), age: Duration::from_secs(120), ..Figures::default() };
            Ok(ids.iter().filter(|id| *id != "i-new").map(|id| (id.clone(), figures)).collect())
        }
    }

    impl Fake {
        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    fn desired(instances: &str) -> Desired {
        let text = MANIFEST.replace("{count: 2,", instances);
        let files = vec![File::new("manifest.yaml", text.into_bytes())];
        validate::load("r1", files).unwrap().into_values().next().unwrap()
    }

    fn by_cloudwatch() -> Desired {
        desired("{min: 1, max: 4, load: {cpuFrom: cloudWatch},")
    }

    /// Instances of the layer, with their EC2 ids.
    fn seen(ids: &[Option<&str>]) -> Observed {
        let trouble = Trouble { class: Class::Transient, message: "not looked".into() };
        let instance = |(index, id): (usize, &Option<&str>)| Instance {
            id: format!("id-{index}"),
            ec2_id: id.map(str::to_owned),
            hostname: format!("docker{}", index + 1),
            layer_ids: vec!["docker".into()],
            instance_type: "t3.small".into(),
            status: "running".into(),
            private_ip: None,
            public_ip: None,
            launched: None,
        };
        let instances = Seen::Known(ids.iter().enumerate().map(instance).collect());
        Observed {
            provided: Provided { instances, rest: Rest::Ec2(Ec2::unknown(&trouble)) },
            stale: None,
            balancers: BTreeMap::new(),
            owned: Owned::default(),
            engines: BTreeMap::new(),
            registry: BTreeMap::new(),
            secrets: BTreeMap::new(),
            figures: BTreeMap::new(),
            metered: BTreeMap::new(),
        }
    }

    async fn told(meters: &Meters, desired: &Desired, ids: &[Option<&str>]) -> Vec<String> {
        let told = meters.look(desired, &seen(ids), Duration::from_secs(1)).await;
        // What is asked for beside the pass is there at the next one.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let shown = |(hostname, seen): (String, Seen<Figures>)| match seen {
            Seen::Known(Figures { cpu: Some(cpu), age, .. }) => format!("{hostname} {cpu} {}", age.as_secs()),
            Seen::Known(_) => format!("{hostname} none"),
            Seen::Unknown(trouble) => format!("{hostname} {}", trouble.message),
        };
        told.into_iter().map(shown).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn all_instances_are_asked_for_at_once_and_once_a_minute_whatever_happens_meanwhile() {
        let fake = Arc::new(Fake::default());
        let (meters, desired, two) = (Meters::new(fake.clone()), by_cloudwatch(), [Some("i-a"), Some("i-b")]);
        assert_eq!(told(&meters, &desired, &two).await, ["docker1 50 120", "docker2 50 120"]);
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(told(&meters, &desired, &two).await, ["docker1 50 170", "docker2 50 170"], "it ages");
        tokio::time::sleep(Duration::from_secs(10)).await;
        told(&meters, &desired, &two).await;
        assert_eq!(told(&meters, &desired, &two).await, ["docker1 50 120", "docker2 50 120"]);
        assert_eq!(fake.asked(), ["i-a i-b", "i-a i-b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_instance_is_asked_for_at_once_and_without_a_point_it_is_unknown() {
        let fake = Arc::new(Fake::default());
        let (meters, desired) = (Meters::new(fake.clone()), by_cloudwatch());
        told(&meters, &desired, &[Some("i-a")]).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let three = [Some("i-a"), Some("i-new"), None];
        let now = told(&meters, &desired, &three).await;
        assert_eq!(&now[..2], ["docker1 50 140", "docker2 none"]);
        assert!(now[2].starts_with("docker3 it has no EC2 id"), "{}", now[2]);
        tokio::time::sleep(Duration::from_secs(40)).await;
        told(&meters, &desired, &three).await;
        assert_eq!(fake.asked(), ["i-a", "i-new", "i-a i-new"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_refusal_is_made_up_for_by_the_points_before_it_and_two_are_told() {
        let fake = Arc::new(Fake::default());
        let (meters, desired, one) = (Meters::new(fake.clone()), by_cloudwatch(), [Some("i-a")]);
        told(&meters, &desired, &one).await;
        *fake.refuses.lock().unwrap() = true;
        tokio::time::sleep(Duration::from_secs(60)).await;
        told(&meters, &desired, &one).await;
        assert_eq!(told(&meters, &desired, &one).await, ["docker1 50 180"]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        told(&meters, &desired, &one).await;
        assert_eq!(told(&meters, &desired, &one).await, ["docker1 allow it"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cloudwatch_that_hangs_is_not_waited_for_longer_than_there_is_patience() {
        let fake = Arc::new(Fake { hangs: true, ..Fake::default() });
        let (meters, desired, began) = (Meters::new(fake.clone()), by_cloudwatch(), Instant::now());
        assert_eq!(told(&meters, &desired, &[Some("i-a")]).await, [""; 0]);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(fake.asked(), ["i-a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_for_where_engines_tell_or_nothing_depends_on_it() {
        for instances in ["{count: 2,", "{min: 1, max: 2, load: {},", "{min: 1, schedule: {hours: [{min: 2}]},"] {
            let fake = Arc::new(Fake::default());
            assert_eq!(told(&Meters::new(fake.clone()), &desired(instances), &[Some("i-a")]).await, [""; 0]);
            assert_eq!(fake.asked(), [""; 0]);
        }
    }
}
