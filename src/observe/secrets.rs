//! The values that manifests refer to: read now and then, and kept in memory alone.
//!
//! A vault that hangs holds up no pass: it is asked beside the passes, as the registries are. While one gives no clear
//! answer, what it said last counts; a clear refusal is an answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    ports::Vault,
    secret::{Sealed, Secret},
    spec::{Reference, Stack},
    world::{Class, Seen, Trouble},
};

/// How soon a vault is asked again that gave no answer.
const AFTER_NO_ANSWER: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Secrets {
    vault: Arc<dyn Vault>,
    answers: Arc<Mutex<BTreeMap<Reference, Answer>>>,
    /// Counts the answers.
    news: Arc<watch::Sender<u64>>,
}

/// What is known of one reference.
struct Answer {
    seen: Option<Seen<Secret>>,
    asking: bool,
    /// When it was answered last, and of what class the trouble was, if there was one.
    last: Option<(Instant, Option<Class>)>,
}

impl Answer {
    fn is_due(&self, age: Duration) -> bool {
        let Some((at, class)) = self.last else { return !self.asking };
        let wait = match class {
            None => age,
            Some(Class::Throttled) => age * 5,
            Some(Class::Terminal) => age / 2,
            Some(_) => age.min(AFTER_NO_ANSWER),
        };
        !self.asking && at.elapsed() >= wait
    }

    fn take(&mut self, read: Seen<Secret>) {
        let class = match &read {
            Seen::Known(_) => None,
            Seen::Unknown(trouble) => Some(trouble.class),
        };
        self.asking = false;
        self.last = Some((Instant::now(), class));
        let known = self.seen.as_ref().is_some_and(|seen| seen.known().is_some());
        match &read {
            Seen::Unknown(trouble) if known && trouble.class != Class::Terminal => {
                tracing::debug!("{}; the value read before counts", trouble.message);
            }
            _ => self.seen = Some(read),
        }
    }
}

impl Secrets {
    pub(super) fn new(vault: Arc<dyn Vault>) -> Secrets {
        Secrets { vault, answers: Arc::default(), news: Arc::new(watch::Sender::new(0)) }
    }

    /// Reads what is older than allowed, and waits for it, but not for longer than `patience`. Tells all there is to
    /// tell without telling a value.
    pub(super) async fn look(
        &self,
        stack: &Stack,
        wanted: &BTreeSet<Reference>,
        age: Duration,
        patience: Duration,
    ) -> BTreeMap<Reference, Seen<Sealed>> {
        let mut news = self.news.subscribe();
        let asked = self.ask(stack, wanted, age);
        let is_open = || {
            let answers = lock(&self.answers);
            answers.iter().any(|(it, answer)| answer.asking && (answer.seen.is_none() || asked.contains(it)))
        };
        let all_told = async { while is_open() && news.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(patience, all_told).await;
        let sealed = |seen: &Seen<Secret>| match seen {
            Seen::Known(secret) => Seen::Known(secret.seal()),
            Seen::Unknown(trouble) => Seen::Unknown(trouble.clone()),
        };
        let answers = lock(&self.answers);
        answers.iter().filter_map(|(it, answer)| Some((it.clone(), sealed(answer.seen.as_ref()?)))).collect()
    }

    /// The value that was read last.
    pub(super) fn value(&self, reference: &Reference) -> Option<Secret> {
        lock(&self.answers).get(reference)?.seen.as_ref()?.known().cloned()
    }

    fn ask(&self, stack: &Stack, wanted: &BTreeSet<Reference>, age: Duration) -> BTreeSet<Reference> {
        let mut answers = lock(&self.answers);
        answers.retain(|reference, _| wanted.contains(reference));
        let mut due = BTreeSet::new();
        for reference in wanted {
            let new = || Answer { seen: None, asking: false, last: None };
            let answer = answers.entry(reference.clone()).or_insert_with(new);
            if answer.is_due(age) {
                answer.asking = true;
                due.insert(reference.clone());
            }
        }
        drop(answers);
        if !due.is_empty() {
            let (vault, answers, news) = (self.vault.clone(), self.answers.clone(), self.news.clone());
            let (stack, asked) = (stack.clone(), due.clone());
            tokio::spawn(async move {
                let mut read = vault.read(&stack, &asked).await;
                for reference in asked {
                    let none = || Seen::Unknown(not_told(&reference));
                    let read = read.remove(&reference).unwrap_or_else(none);
                    if let Some(answer) = lock(&answers).get_mut(&reference) {
                        answer.take(read);
                    }
                }
                news.send_modify(|count| *count += 1);
            });
        }
        due
    }
}

fn not_told(reference: &Reference) -> Trouble {
    Trouble { class: Class::Transient, message: format!("{reference} was not told; asked again later") }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::spec::{File, validate};

    const MINUTE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    /// Says of everything what it was told to say last, after a while; counts how often it was asked.
    struct Fake {
        says: Mutex<Result<&'static str, Class>>,
        takes: Duration,
        asked: Mutex<u32>,
    }

    impl Fake {
        fn new(takes: Duration) -> Arc<Fake> {
            Arc::new(Fake { says: Mutex::new(Ok("a")), takes, asked: Mutex::new(0) })
        }

        fn says(&self, what: Result<&'static str, Class>) {
            *lock(&self.says) = what;
        }
    }

    #[async_trait]
    impl Vault for Fake {
        async fn read(&self, _: &Stack, wanted: &BTreeSet<Reference>) -> BTreeMap<Reference, Seen<Secret>> {
            *lock(&self.asked) += 1;
            tokio::time::sleep(self.takes).await;
            let says = *lock(&self.says);
            let said = || match says {
                Ok(value) => Seen::Known(Secret::new(value)),
                Err(class) => Seen::Unknown(Trouble { class, message: "no".into() }),
            };
            wanted.iter().map(|reference| (reference.clone(), said())).collect()
        }
    }

    fn shop() -> Stack {
        let files = vec![File::new("m", include_str!("../../tests/scenarios/manifests/ec2.yaml"))];
        validate::load("r1", files).unwrap().into_values().next().unwrap().stack
    }

    fn token() -> Reference {
        Reference::Env { env: "TOKEN".into() }
    }

    async fn look(secrets: &Secrets) -> Option<Seen<Sealed>> {
        secrets.look(&shop(), &BTreeSet::from([token()]), MINUTE, SECOND).await.remove(&token())
    }

    fn known(value: &str) -> Option<Seen<Sealed>> {
        Some(Seen::Known(Secret::new(value).seal()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_read_again_once_it_is_old_and_not_before() {
        let fake = Fake::new(Duration::ZERO);
        let secrets = Secrets::new(fake.clone());
        for _ in 0..60 {
            assert_eq!(look(&secrets).await, known("a"));
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(*lock(&fake.asked), 1);
        fake.says(Ok("b"));
        assert_eq!(look(&secrets).await, known("b"));
        assert_eq!(secrets.value(&token()).unwrap().expose(), "b");
    }

    #[tokio::test(start_paused = true)]
    async fn while_there_is_no_answer_what_was_read_counts_and_a_refusal_is_an_answer() {
        let fake = Fake::new(Duration::ZERO);
        let secrets = Secrets::new(fake.clone());
        look(&secrets).await;
        fake.says(Err(Class::Transient));
        tokio::time::advance(MINUTE).await;
        assert_eq!(look(&secrets).await, known("a"));
        tokio::time::advance(AFTER_NO_ANSWER).await;
        fake.says(Err(Class::Terminal));
        let refused = Seen::Unknown(Trouble { class: Class::Terminal, message: "no".into() });
        assert_eq!(look(&secrets).await, Some(refused));
        assert!(secrets.value(&token()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_vault_that_hangs_holds_up_no_pass_for_long_and_is_heard_later() {
        let fake = Fake::new(SECOND * 5);
        let secrets = Secrets::new(fake.clone());
        let began = Instant::now();
        assert_eq!(look(&secrets).await, None);
        assert_eq!(began.elapsed(), SECOND);
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!(look(&secrets).await, known("a"));
        assert_eq!(*lock(&fake.asked), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_referred_to_no_more_is_forgotten() {
        let secrets = Secrets::new(Fake::new(Duration::ZERO));
        look(&secrets).await;
        assert!(secrets.look(&shop(), &BTreeSet::new(), MINUTE, SECOND).await.is_empty());
        assert!(secrets.value(&token()).is_none());
    }
}
