//! One stack: look, plan, begin what may begin, again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{
    backoff::Waits,
    clock::Clock,
    pace::Pace,
    queue::Queue,
    report::{News, Report},
    rounds::Rounds,
    snapshot,
};
use crate::{
    action::{Action, EngineAction, Lane, Node, Wish, WishKind},
    apply::apply,
    observe::{Ages, Picture, Ports},
    plan::{Facts, Intent, Plan, fleet, plan},
    spec::Desired,
    status::{AppStatus, Condition, Event, Kind, Phase, StackStatus},
    store::{Store, StoreError, last_of_each},
    world::{Class, Observed, Seen, Target, Trouble},
};

/// How long nothing must have moved before what is waited for counts as out of reach.
const QUIET: Duration = Duration::from_secs(20);

/// See the module.
pub struct Reconciler {
    desired: Desired,
    picture: Picture,
    ports: Ports,
    store: Arc<Store>,
    report: Report,
    pace: Pace,
    rounds: Rounds,
    queue: Arc<Queue>,
    clock: Clock,
    /// The intents on record are its own, or it has taken them over.
    has_taken_over: bool,
    facts: Facts,
    waits: BTreeMap<String, Waits>,
    running: BTreeMap<Lane, Running>,
    finished: Arc<Mutex<Vec<Finished>>>,
    touched: Arc<Mutex<BTreeSet<String>>>,
    watchers: BTreeMap<Node, JoinHandle<()>>,
    wake: mpsc::Sender<String>,
    last: Last,
    mutations: u64,
}

struct Running {
    what: String,
    /// It changes nothing of what is declared.
    routine: bool,
    intent: Option<String>,
    task: JoinHandle<()>,
}

struct Finished {
    action: Action,
    /// Its key, and what was recorded before it was sent.
    intent: Option<(String, Intent)>,
    result: Result<(), Trouble>,
    seconds: f64,
}

#[derive(Default)]
struct Last {
    conditions: Vec<Condition>,
    waiting: Vec<String>,
    status: Option<StackStatus>,
    /// The last round in which the stack was looked at whole.
    round: Option<u128>,
    moved: Option<Instant>,
    /// An instance is on its way into a balancer or out of it.
    balancers_move: bool,
    /// When the clock brings something next.
    wake: Option<Timestamp>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Reconciler {
    /// A reconciler that has seen nothing yet.
    pub fn new(
        desired: Desired,
        ports: Ports,
        store: Arc<Store>,
        report: Report,
        (pace, rounds): (Pace, Rounds),
        queue: Arc<Queue>,
    ) -> Reconciler {
        let touched = Arc::new(Mutex::new(BTreeSet::new()));
        let (wake, mut woken) = mpsc::channel::<String>(64);
        tokio::spawn({
            let (touched, queue, key) = (touched.clone(), queue.clone(), desired.stack.name.clone());
            async move {
                while let Some(hostname) = woken.recv().await {
                    lock(&touched).insert(hostname);
                    queue.add(&key, Instant::now());
                }
            }
        });
        report.news(&desired.stack.name, &News::Revision(desired.revision.clone()));
        Reconciler {
            desired,
            picture: Picture::new(ports.clone()),
            ports,
            store,
            report,
            pace,
            rounds,
            queue,
            clock: Clock::default(),
            has_taken_over: false,
            facts: Facts::at_first(),
            waits: BTreeMap::new(),
            running: BTreeMap::new(),
            finished: Arc::default(),
            touched,
            watchers: BTreeMap::new(),
            wake,
            last: Last::default(),
            mutations: 0,
        }
    }

    /// From now on this is what should be. What failed before may be tried again at once.
    pub fn set(&mut self, desired: Desired, rounds: Rounds) {
        self.rounds = rounds;
        if desired.revision != self.desired.revision {
            self.tell(&News::Revision(desired.revision.clone()));
        }
        let mut same = desired.clone();
        same.revision = self.desired.revision.clone();
        if same != self.desired {
            self.facts.failures.clear();
            self.waits.clear();
        }
        let (now, before) = (&desired.stack, &self.desired.stack);
        if (now.provider, &now.region, &now.assume_role) != (before.provider, &before.region, &before.assume_role) {
            // What was seen elsewhere says nothing about what is there.
            self.picture = Picture::new(self.ports.clone());
            self.facts = Facts::at_first();
        }
        self.desired = desired;
    }

    fn key(&self) -> String {
        self.desired.stack.name.clone()
    }

    fn tell(&self, news: &News) {
        self.report.news(&self.desired.stack.name, news);
        if let Some(text) = news.history() {
            let event = Event { stack: self.key(), at: Timestamp::now(), text };
            if let Err(error) = self.store.add_event(&event) {
                tracing::warn!(%error, "an event was not recorded");
            }
        }
    }

    /// One pass; tells how the stack is and when the next one is due.
    pub async fn pass(&mut self, extra: &[Condition]) -> (StackStatus, Duration) {
        self.take_over();
        self.reap();
        for hostname in std::mem::take(&mut *lock(&self.touched)) {
            self.picture.touch_engine(&hostname);
        }
        let is_whole = self.is_round_due();
        let remembered = self.remember();
        let ages = if is_whole { Ages { secrets: self.pace.secrets, ..Ages::NOW } } else { self.ages() };
        let mut seen = self.picture.look(&self.desired, &self.facts, ages).await;
        if is_whole {
            // A look that takes longer than a round is not followed by the next at once.
            self.last.round = Some(self.rounds.number(Instant::now()));
        }
        self.watch();
        let now = self.clock.now();
        seen.by_clock(now);
        self.facts.note(&self.desired, &seen, now);
        self.facts.busy = self.running.keys().cloned().collect();
        let plan = match remembered {
            Ok(()) => {
                let plan = plan(&self.desired, &seen, &self.facts, now);
                self.facts.advance(&plan);
                self.forget_what_is_over(&plan, &seen, now);
                plan
            }
            Err(error) => Plan {
                conditions: vec![Condition {
                    kind: Kind::Unobservable,
                    subject: "store".into(),
                    message: error.to_string(),
                }],
                ..Plan::default()
            },
        };
        let begun = self.begin(&plan);
        let due = plan.next;
        let status = self.conclude(plan, &seen, extra, begun);
        let next = self.next_look(&status);
        let due = due.map(|due| now.duration_until(due).unsigned_abs() + Duration::from_millis(5));
        (status, due.map_or(next, |due| next.min(due)))
    }

    /// Reads what is on record.
    fn remember(&mut self) -> Result<(), StoreError> {
        self.facts.intents = self.store.intents(&self.key())?;
        self.facts.history = self.store.released(&self.key())?.into_iter().map(|one| one.released).collect();
        self.facts.releases = last_of_each(&self.facts.history);
        self.facts.migrated = self.store.migrated(&self.key())?;
        self.facts.jobs = self.store.jobs(&self.key())?;
        self.facts.scaled = self.store.scaled(&self.key())?;
        self.facts.told = self.store.told(&self.key())?;
        self.facts.outbox = self.store.outbox(&self.key())?;
        let wishes = self.store.wishes(&self.key())?;
        let is_new = |wish: &Wish| !self.facts.wishes.iter().any(|known| known.at == wish.at);
        // Who asks for a deploy does not mean to wait for the time of the next try.
        if wishes.iter().any(|wish| matches!(wish.kind, WishKind::Deploy { .. }) && is_new(wish)) {
            self.facts.failures.clear();
            self.waits.clear();
        }
        self.facts.wishes = wishes;
        Ok(())
    }

    /// While something moves, each part is looked at as often as it can change; all of it once a round.
    fn ages(&self) -> Ages {
        let at_rest = self.last.status.as_ref().is_none_or(|status| status.phase == Phase::Converged);
        let (poll, secrets) = (self.pace.poll, self.pace.secrets);
        if at_rest {
            // Before a run of a job is begun, or judged, its engine is asked.
            let is_due = self.last.wake.is_some_and(|wake| wake <= self.clock.now());
            let engines = if is_due { poll } else { self.pace.resync };
            Ages { cloud: self.pace.resync, balancers: poll, engines, secrets }
        } else if self.last.balancers_move {
            // An instance is out until a balancer's word is heard: that waits for no other look than it must. What happens on
            // an engine is told by its events.
            Ages { cloud: poll * 5, balancers: self.patience() / 2, engines: poll * 2, secrets }
        } else {
            Ages { cloud: poll * 2, balancers: self.patience() / 2, engines: poll, secrets }
        }
    }

    fn is_round_due(&self) -> bool {
        self.last.round != Some(self.rounds.number(Instant::now()))
    }

    fn next_look(&self, status: &StackStatus) -> Duration {
        let now = self.clock.now();
        let wake = self.last.wake.map(|wake| now.duration_until(wake)).filter(|wait| wait.is_positive());
        let wake = wake.map(|wait| wait.unsigned_abs() + Duration::from_millis(5));
        let moves = self.next_move(status);
        wake.map_or(moves, |wake| wake.min(moves))
    }

    fn next_move(&self, status: &StackStatus) -> Duration {
        match status.phase {
            Phase::Converged | Phase::Suspended if self.is_round_due() => Duration::ZERO,
            Phase::Converged | Phase::Suspended => self.rounds.until_next(Instant::now()),
            Phase::Blocked => self.pace.poll * 5,
            Phase::Progressing => {
                let now = self.clock.now();
                let until = status.holds.iter().filter_map(|hold| hold.until).filter(|until| *until > now).min();
                let soon = until.map(|until| now.duration_until(until).unsigned_abs() + Duration::from_millis(5));
                soon.unwrap_or(self.pace.poll).min(self.patience())
            }
        }
    }

    /// How long until the next look at what moves.
    fn patience(&self) -> Duration {
        match self.last.moved.filter(|_| self.last.balancers_move) {
            Some(moved) => self.pace.next(moved.elapsed()),
            None => self.pace.poll,
        }
    }

    /// The intents of a controller before this one count as sent just now: how old they are by its clock proves nothing
    /// by this one's.
    fn take_over(&mut self) {
        if self.has_taken_over {
            return;
        }
        let (stack, now) = (self.key(), self.clock.now());
        let taken = self.store.intents(&stack).and_then(|intents| {
            let mut records = intents.into_iter();
            records.try_for_each(|(key, it)| self.store.record_intent(&stack, &key, &Intent { sent: now, ..it }))
        });
        match taken {
            Ok(()) => self.has_taken_over = true,
            Err(error) => tracing::warn!(%error, "what was sent before was not taken over"),
        }
    }

    /// Takes in what has ended since the last pass.
    fn reap(&mut self) {
        for Finished { action, intent, result, seconds } in std::mem::take(&mut *lock(&self.finished)) {
            let key = action.key();
            self.running.remove(&action.lane());
            self.picture.touch(&action, result.is_ok());
            match result {
                Ok(()) => {
                    if let Action::Engine { node, what: EngineAction::Stop { .. } } = &action {
                        self.picture.stopped(&node.hostname);
                    }
                    self.facts.succeeded(&action, self.clock.now());
                    self.waits.remove(&key);
                    let news = News::Done(key, seconds);
                    match action.is_routine() {
                        true => self.report.news(&self.desired.stack.name, &news),
                        false => self.tell(&news),
                    }
                }
                Err(trouble) => {
                    if let Some((intent, sent)) = &intent
                        && !sent.outlives(trouble.class)
                    {
                        self.drop_intent(intent);
                    }
                    let wait = self.waits.entry(key.clone()).or_default().after(trouble.class);
                    self.tell(&News::Failed(key, trouble.message.clone()));
                    self.facts.failed(&action, trouble, self.clock.now() + wait);
                }
            }
        }
    }

    fn drop_intent(&self, key: &str) {
        if let Err(error) = self.store.drop_intent(&self.key(), key) {
            tracing::warn!(%error, "an intent was not dropped");
        }
    }

    /// Failures and intents of what is no longer wanted, as far as that is known for certain.
    fn forget_what_is_over(&mut self, plan: &Plan, seen: &Observed, now: Timestamp) {
        if seen.provided.unanswered().is_some() || seen.stale.is_some() {
            return;
        }
        self.facts.keep_wanted(|key| plan.wanted.contains(key));
        self.waits.retain(|key, _| plan.wanted.contains(key));
        let under_way: BTreeSet<&String> =
            self.running.values().filter_map(|running| running.intent.as_ref()).collect();
        let mut over = self.facts.intents_over(&plan.wanted, now);
        over.retain(|key| !under_way.contains(key));
        for key in over {
            self.drop_intent(&key);
        }
    }

    /// Begins every planned action whose lane is free.
    fn begin(&mut self, plan: &Plan) -> u64 {
        let mut begun = 0;
        for action in &plan.actions {
            let lane = action.lane();
            if self.running.contains_key(&lane) {
                continue;
            }
            // A value that has changed since it was planned with makes another plan.
            let Some(given) = self.picture.given(&self.desired, action) else { continue };
            let key = action.key();
            let intent = action.intent().map(|intent| {
                let before = self.facts.intents.get(&intent);
                let sent = Intent::of(action, before, self.clock.now());
                (intent, sent)
            });
            if let Some((intent, sent)) = &intent
                && let Err(error) = self.store.record_intent(&self.key(), intent, sent)
            {
                // Without its intent on record the create is not sent: a crash could send it twice.
                tracing::error!(%error, action = key, "not begun");
                continue;
            }
            begun += 1;
            self.report.news(&self.desired.stack.name, &News::Started(key.clone()));
            let task = tokio::spawn({
                let (ports, stack, action) = (self.ports.clone(), self.desired.stack.clone(), action.clone());
                let (finished, queue) = (self.finished.clone(), self.queue.clone());
                let report = self.report.clone();
                let intent = intent.clone();
                async move {
                    let began = Instant::now();
                    let name = stack.name.clone();
                    let progress = {
                        let name = name.clone();
                        Arc::new(move |text: String| report.news(&name, &News::Progress(text)))
                    };
                    let result = apply(&ports, &stack, &action, &given, &(progress as _)).await;
                    lock(&finished).push(Finished { action, intent, result, seconds: began.elapsed().as_secs_f64() });
                    queue.add(&name, Instant::now());
                }
            });
            self.running.insert(
                lane,
                Running { what: key, routine: action.is_routine(), intent: intent.map(|(intent, _)| intent), task },
            );
        }
        self.mutations += begun;
        begun
    }

    /// Follows the events of every engine there is.
    fn watch(&mut self) {
        let nodes: BTreeSet<Node> = self.picture.nodes().cloned().collect();
        self.watchers.retain(|node, task| {
            let keep = nodes.contains(node);
            if !keep {
                task.abort();
            }
            keep
        });
        for node in nodes {
            self.watchers.entry(node.clone()).or_insert_with(|| {
                let (engines, wake) = (self.ports.engines.clone(), self.wake.clone());
                tokio::spawn(async move {
                    let mut waits = Waits::default();
                    loop {
                        let began = Instant::now();
                        engines.watch(&node, wake.clone()).await;
                        if began.elapsed() > Duration::from_secs(60) {
                            waits = Waits::default();
                        }
                        tokio::time::sleep(waits.after(Class::Transient)).await;
                        // Whatever happened while nobody listened is looked for.
                        if wake.send(node.hostname.clone()).await.is_err() {
                            return;
                        }
                    }
                })
            });
        }
    }

    /// Nothing is waited for that time alone brings about, and nothing has moved for a while.
    fn is_quiet(&self, plan: &Plan) -> bool {
        plan.holds.iter().all(|hold| hold.until.is_none())
            && (plan.holds.is_empty() || self.last.moved.is_none_or(|at| at.elapsed() >= QUIET))
    }

    fn conclude(&mut self, plan: Plan, seen: &Observed, extra: &[Condition], begun: u64) -> StackStatus {
        let mut conditions = plan.conditions.clone();
        conditions.extend_from_slice(extra);
        let phase = if self.desired.stack.suspend {
            Phase::Suspended
        } else if self.running.values().any(|running| !running.routine)
            || plan.actions.iter().any(|action| !action.is_routine())
        {
            Phase::Progressing
        } else if conditions.iter().any(|condition| blocks(condition, &plan, &self.facts)) && self.is_quiet(&plan) {
            Phase::Blocked
        } else if plan.holds.is_empty() && seen_whole(&self.desired, seen) {
            Phase::Converged
        } else {
            Phase::Progressing
        };
        // What could not be begun at once is not left until the clock brings something else.
        let wake = if plan.actions.is_empty() { plan.wake } else { Some(self.clock.now() + self.pace.poll) };
        let status = StackStatus {
            stack: self.key(),
            revision: self.desired.revision.clone(),
            phase,
            at: Timestamp::now(),
            conditions: conditions.clone(),
            holds: plan.holds,
            doing: self.running.values().map(|running| running.what.clone()).collect(),
            instances: snapshot::instances(&self.desired, seen),
            balancers: snapshot::balancers(&self.desired, seen),
            apps: self.desired.apps.iter().filter(|app| app.is_docker()).map(AppStatus::from).collect(),
            jobs: plan.jobs,
            scaling: plan.scaling,
            asked: self.facts.wishes.iter().map(asked).collect(),
            mutations: self.mutations,
            last_pass_mutations: begun,
        };
        if begun > 0 || waiting(&status) != self.last.waiting {
            self.last.moved = Some(Instant::now());
        }
        let same = |a: &Condition, b: &Condition| a.kind == b.kind && a.subject == b.subject;
        for condition in &conditions {
            if !self.last.conditions.iter().any(|before| same(before, condition)) {
                self.tell(&News::Condition(condition.to_string()));
            }
        }
        for before in &self.last.conditions {
            if !conditions.iter().any(|condition| same(before, condition)) {
                self.tell(&News::Cleared(format!("{:?} {}", before.kind, before.subject)));
            }
        }
        let waiting = waiting(&status);
        if waiting != self.last.waiting {
            let new = waiting.iter().filter(|hold| !self.last.waiting.contains(hold)).cloned().collect();
            self.tell(&News::Waiting { all: waiting.clone(), new });
        }
        let was_converged = self
            .last
            .status
            .as_ref()
            .is_some_and(|before| before.phase == Phase::Converged && before.revision == status.revision);
        if phase == Phase::Converged && !was_converged {
            self.tell(&News::Converged);
        }
        self.last.balancers_move = balancers_move(seen);
        self.last.wake = wake;
        self.last.conditions = conditions;
        self.last.waiting = waiting;
        self.last.status = Some(status.clone());
        if let Err(error) = self.store.put_status(&status) {
            tracing::warn!(%error, "the status was not recorded");
        }
        self.report.status(&status);
        status
    }

    /// Waits, bounded, for what is under way; what is not over by then goes on being observed by the next controller.
    pub async fn stop(&mut self, patience: Duration) {
        for task in std::mem::take(&mut self.watchers).into_values() {
            task.abort();
        }
        let tasks = std::mem::take(&mut self.running).into_values().map(|running| running.task);
        let _ = tokio::time::timeout(patience, futures_util::future::join_all(tasks)).await;
        self.reap();
    }
}

/// Conditions that time alone does not mend.
fn blocks(condition: &Condition, plan: &Plan, facts: &Facts) -> bool {
    match condition.kind {
        Kind::Paused => !plan.holds.is_empty(),
        Kind::Conflict
        | Kind::ReleaseFailed
        | Kind::ImageUnavailable
        | Kind::NoRoom
        | Kind::MigrationFailed
        | Kind::Failing
        | Kind::Refused
        | Kind::ProgressDeadlineExceeded
        | Kind::InstanceTrouble
        | Kind::BalancerTrouble => true,
        Kind::ActionFailed | Kind::Unobservable => {
            facts.failures.values().any(|failure| failure.trouble.class == Class::Terminal)
                && condition.kind == Kind::ActionFailed
        }
        _ => false,
    }
}

fn asked(wish: &Wish) -> String {
    format!("{wish}, asked for at {}", wish.at.strftime("%F %H:%M:%S UTC"))
}

fn waiting(status: &StackStatus) -> Vec<String> {
    status.holds.iter().map(ToString::to_string).collect()
}

fn balancers_move(seen: &Observed) -> bool {
    let known = seen.balancers.values().filter_map(Seen::known);
    known.flat_map(|balancer| balancer.targets.values()).any(|target| *target != Target::InService)
}

fn seen_whole(desired: &Desired, seen: &Observed) -> bool {
    fleet::nodes(desired, seen).iter().all(|node| seen.engines.get(&node.hostname).is_some_and(|e| e.known().is_some()))
}
