//! What `controller/reconciler.rs` does, in virtual time: looks, plans, begins what may begin, takes in what ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evenkeel::{
    action::{Action, EngineAction, Lane, Migrated},
    plan::{Facts, Failure, Intent, Plan, Released, plan},
    spec::Desired,
    world::{Class, Observed, Provided, Rest, Seen, Trouble},
};

use crate::{
    defect::Defect,
    dice::Dice,
    real::{Ms, Real, refuse},
    trial,
    watch::Watch,
};

/// A part of what the provider tells gives no answer.
fn blind(rest: &mut Rest, part: &str, trouble: &Trouble) {
    match rest {
        Rest::OpsWorks(cloud) => match part {
            "stack" => cloud.stack = Seen::Unknown(trouble.clone()),
            "layers" => cloud.layers = Seen::Unknown(trouble.clone()),
            "apps" => cloud.apps = Seen::Unknown(trouble.clone()),
            _ => cloud.attached = Seen::Unknown(trouble.clone()),
        },
        Rest::Ec2(cloud) => match part {
            "volumes" => cloud.volumes = Seen::Unknown(trouble.clone()),
            "subnets" => cloud.subnets = Seen::Unknown(trouble.clone()),
            _ => cloud.images.values_mut().for_each(|image| *image = Seen::Unknown(trouble.clone())),
        },
    }
}

/// One thing is not told.
fn miss(rest: &mut Rest, what: &str) {
    match rest {
        Rest::OpsWorks(cloud) => match what {
            "layer" => cloud.layers.known_mut().into_iter().for_each(Vec::clear),
            "app" => cloud.apps.known_mut().into_iter().for_each(Vec::clear),
            "stack" => {
                if let Some(stack) = cloud.stack.known_mut() {
                    *stack = None;
                }
            }
            _ => {}
        },
        Rest::Ec2(cloud) => {
            cloud.volumes.known_mut().into_iter().for_each(|all| all.retain(|volume| volume.id != what));
        }
    }
}

/// How an action that was begun will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Well,
    /// It took effect, and its answer never came.
    AnswerLost,
    /// It never took effect, and no answer came.
    NoAnswer,
    Refused(Class),
}

#[derive(Clone)]
struct Running {
    action: Action,
    effect_at: Ms,
    done_at: Ms,
    ending: Ending,
    result: Option<Result<(), Trouble>>,
}

/// What a look misses, or is told wrongly.
#[derive(Clone, Default)]
pub struct Haze {
    pub cloud_lag: Ms,
    /// On EC2, of the volumes, which are another call.
    pub volume_lag: Ms,
    pub balancer_lag: Ms,
    pub until: Ms,
    /// Parts that give no answer: `stack`, `layers`, `instances`, `apps`, `attached`, `balancers`; on EC2 `instances`,
    /// `volumes`, `subnets`, `images`, `balancers`.
    pub blind: BTreeSet<String>,
    /// What gives no answer refuses one: access denied.
    pub refused: bool,
    /// The next look misses this one thing.
    pub flicker: Option<String>,
}

#[derive(Clone)]
pub struct Sim {
    pub text: String,
    pub desired: Desired,
    pub real: Real,
    pub facts: Facts,
    /// On record: a crash does not lose them.
    pub intents: BTreeMap<String, Intent>,
    /// Likewise.
    pub releases: BTreeMap<(String, String), Released>,
    pub migrated: BTreeSet<(String, String, String)>,
    running: BTreeMap<Lane, Running>,
    /// Sent by a controller that is no more.
    orphans: Vec<(Ms, Action)>,
    pub haze: Haze,
    pub watch: Watch,
    pub defect: Option<Defect>,
    pub pretend_out: BTreeSet<String>,
    pub dice: Dice,
    pub trace: Vec<String>,
    pub begun: u64,
    pub steps: u64,
    /// One in so many actions does not end well; 0: all do.
    pub trouble: u64,
    /// Until then every second action that AWS is asked for does not.
    pub storm_until: Ms,
    pub down_until: Ms,
    pub began_with_nothing: bool,
    /// Many a launch is the last thing that a controller does.
    pub crashes_at_launch: bool,
    crash_at: Option<Ms>,
    last_cloud: Option<Provided>,
    revision: u32,
    pub poll: Ms,
}

impl Sim {
    pub fn new(text: &str, seed: u64) -> Sim {
        let desired = trial::decode("r1", text);
        let mut real = Real::new(text);
        real.any_replica =
            desired.apps.iter().any(|a| a.rollout.min_in_service >= desired.stack.layers[0].instances.count);
        real.remember();
        Sim {
            text: text.to_owned(),
            real,
            desired,
            facts: Facts::default(),
            intents: BTreeMap::new(),
            releases: BTreeMap::new(),
            migrated: BTreeSet::new(),
            running: BTreeMap::new(),
            orphans: Vec::new(),
            haze: Haze::default(),
            watch: Watch::default(),
            defect: None,
            pretend_out: BTreeSet::new(),
            dice: Dice::new(seed),
            trace: Vec::new(),
            begun: 0,
            steps: 0,
            trouble: 0,
            storm_until: 0,
            down_until: 0,
            began_with_nothing: true,
            crashes_at_launch: false,
            crash_at: None,
            last_cloud: None,
            revision: 1,
            poll: 2_000,
        }
    }

    pub fn say(&mut self, what: impl std::fmt::Display) {
        self.trace.push(format!("{:>8.1}s {what}", self.real.now as f64 / 1000.0));
        if self.trace.len() > 400 {
            self.trace.drain(..200);
        }
    }

    pub fn declare(&mut self, text: &str) {
        if text == self.text {
            return;
        }
        self.revision += 1;
        self.text = text.to_owned();
        self.desired = trial::decode(&format!("r{}", self.revision), text);
        self.facts.failures.clear();
    }

    /// The controller is killed: what it remembered is gone, what it sent goes on or was never sent.
    pub fn crash(&mut self) {
        self.facts = Facts::default();
        self.last_cloud = None;
        self.crash_at = None;
        for running in std::mem::take(&mut self.running).into_values() {
            if running.result.is_none()
                && matches!(running.ending, Ending::Well | Ending::AnswerLost)
                && self.dice.one_in(2)
            {
                self.orphans.push((running.effect_at, running.action));
            }
        }
        self.down_until = self.real.now + self.dice.between(0, 5_000);
        self.say("(crash)");
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.orphans.is_empty()
    }

    fn next(&self, plan: &Plan) -> Ms {
        let now = self.real.now;
        let running = self.running.values().flat_map(|r| [r.effect_at, r.done_at]);
        let orphans = self.orphans.iter().map(|(at, _)| *at);
        let holds = plan.holds.iter().filter_map(|hold| hold.until).map(|until| {
            let from = trial::beginning();
            u64::try_from(from.duration_until(until).as_millis()).unwrap_or(0)
        });
        let all = running.chain(orphans).chain(holds).chain(self.real.next()).filter(|at| *at > now);
        let poll = if plan.is_done() && self.is_idle() { 30_000 } else { self.poll };
        all.min().unwrap_or(u64::MAX).min(now + poll)
    }

    /// To the next thing that happens, and what the controller makes of it.
    pub fn step(&mut self, plan: &Plan) -> Plan {
        self.steps += 1;
        let to = self.next(plan);
        self.real.advance(to, &mut self.dice);
        self.take_in();
        self.watch.after(&mut self.real, &self.desired);
        if self.crash_at.is_some_and(|at| at <= self.real.now) {
            self.crash();
        }
        if self.real.now < self.down_until {
            return plan.clone();
        }
        self.pass()
    }

    fn take_in(&mut self) {
        let now = self.real.now;
        let (due, later) = std::mem::take(&mut self.orphans).into_iter().partition(|(at, _)| *at <= now);
        self.orphans = later;
        let due: Vec<(Ms, Action)> = due;
        for (_, action) in due {
            self.say(format!("(still done: {action})"));
            let _ = self.effect(&action);
        }
        for lane in self.running.keys().cloned().collect::<Vec<_>>() {
            let mut running = self.running.remove(&lane).expect("a lane");
            if running.result.is_none() && running.effect_at <= now {
                let hung = match &running.action {
                    Action::Engine { node, .. } => {
                        self.real.hung.contains_key(&node.hostname) || self.real.cloud.dark > now
                    }
                    _ => false,
                };
                let effective = matches!(running.ending, Ending::Well | Ending::AnswerLost);
                let result = if hung {
                    running.ending = Ending::NoAnswer;
                    running.done_at = now + 60_000;
                    if self.dice.one_in(2) {
                        let _ = self.effect(&running.action);
                    }
                    Ok(())
                } else if effective {
                    self.effect(&running.action)
                } else {
                    Ok(())
                };
                running.result = Some(match (result, running.ending) {
                    (Err(trouble), _) => Err(trouble),
                    (Ok(()), Ending::Well) => Ok(()),
                    (Ok(()), Ending::Refused(class)) => Err(refuse(class, "refused")),
                    (Ok(()), _) => Err(refuse(Class::UnknownOutcome, "no answer")),
                });
            }
            match running.result.take() {
                Some(result) if running.done_at <= now => self.finished(&running.action, result),
                result => {
                    running.result = result;
                    self.running.insert(lane, running);
                }
            }
        }
    }

    fn effect(&mut self, action: &Action) -> Result<(), Trouble> {
        match action {
            Action::Record { release } => {
                self.put_on_record(release);
                Ok(())
            }
            Action::RecordMigration { migrated } => {
                let Migrated { app, container, key, .. } = migrated.clone();
                self.migrated.insert((app, container, key));
                Ok(())
            }
            _ => self.real.effect(action, &mut self.dice),
        }
    }

    fn finished(&mut self, action: &Action, result: Result<(), Trouble>) {
        let key = action.key();
        match result {
            Ok(()) => {
                self.say(format!("  done: {key}"));
                self.facts.failures.remove(&key);
            }
            Err(trouble) => {
                self.say(format!("  {:?}: {key}: {}", trouble.class, trouble.message));
                if let Some(intent) = action.intent()
                    && self.defect != Some(Defect::SpentTokenKept)
                    && self.intents.get(&intent).is_some_and(|sent| !sent.outlives(trouble.class))
                {
                    self.intents.remove(&intent);
                }
                let times = self.facts.failures.get(&key).map_or(0, |failure| failure.times) + 1;
                let backoff = Duration::from_millis(500 << times.min(7));
                let wait = match trouble.class {
                    Class::Terminal => Duration::from_secs(60),
                    Class::Throttled => backoff.max(Duration::from_secs(2)),
                    _ => backoff,
                };
                let retry_at = self.real.clock() + wait;
                self.facts.failures.insert(key, Failure { trouble, times, retry_at });
            }
        }
    }

    fn look(&mut self) -> Observed {
        if self.real.now >= self.haze.until {
            self.haze.cloud_lag = 0;
            self.haze.volume_lag = 0;
            self.haze.balancer_lag = 0;
            self.haze.blind.clear();
        }
        let (cloud, volumes, balancers) = (self.haze.cloud_lag, self.haze.volume_lag, self.haze.balancer_lag);
        self.real.clear_sight = (cloud, volumes, balancers) == (0, 0, 0) && self.haze.flicker.is_none();
        let mut seen = self.real.look(&self.desired, cloud, volumes, balancers);
        let class = if self.haze.refused { Class::Terminal } else { Class::Transient };
        let trouble = || refuse(class, "no answer");
        for part in &self.haze.blind {
            match part.as_str() {
                "instances" => seen.provided.instances = Seen::Unknown(trouble()),
                "balancers" => seen.balancers.values_mut().for_each(|b| *b = Seen::Unknown(trouble())),
                part => blind(&mut seen.provided.rest, part, &trouble()),
            }
        }
        // A controller that has just begun has seen nothing that it could hold against one read; OpsWorks, which takes
        // no token, would then make a second one.
        let may_miss = self.real.on_ec2() || self.last_cloud.is_some();
        if let Some(what) = self.haze.flicker.take().filter(|_| may_miss) {
            if let Some(instances) = seen.provided.instances.known_mut() {
                instances.retain(|i| i.hostname != what);
            }
            for balancer in seen.balancers.values_mut().filter_map(Seen::known_mut) {
                balancer.targets.retain(|id, _| *id != what);
            }
            miss(&mut seen.provided.rest, &what);
        }
        // As `observe.rs` does: what AWS does not answer is told as it was, but not when it is refused.
        let answered = seen.provided.unanswered().is_none();
        match &self.last_cloud {
            _ if answered => self.last_cloud = Some(seen.provided.clone()),
            Some(before) if class != Class::Terminal => {
                seen.provided = before.clone();
                seen.stale = Some(trouble());
            }
            _ => {}
        }
        seen
    }

    /// One pass of the controller.
    pub fn pass(&mut self) -> Plan {
        let mut seen = self.look();
        let mut desired = self.desired.clone();
        if let Some(defect) = self.defect {
            defect.input(self, &mut desired, &mut seen);
        }
        let now = self.real.clock();
        self.facts.note(&desired, &seen, now);
        self.facts.busy = self.running.keys().cloned().collect();
        self.facts.intents = self.intents.clone();
        self.facts.releases = self.releases.clone();
        self.facts.migrated = self.migrated.clone();
        if let Some(defect) = self.defect {
            defect.facts(&mut self.facts);
        }
        let mut plan = plan(&desired, &seen, &self.facts, now);
        if seen.provided.unanswered().is_none() && seen.stale.is_none() {
            self.facts.failures.retain(|key, _| plan.wanted.contains(key));
            let under_way: BTreeSet<String> = self.running.values().filter_map(|r| r.action.intent()).collect();
            for key in self.facts.intents_over(&plan.wanted, now) {
                if !under_way.contains(&key) {
                    self.intents.remove(&key);
                }
            }
        }
        if let Some(defect) = self.defect {
            defect.output(self, &seen, &mut plan);
        }
        self.watch.recorded(&plan);
        for action in plan.actions.clone() {
            self.begin(&action);
        }
        plan
    }

    fn record(&mut self, action: &Action) {
        if let Some(key) = action.intent() {
            let sent = Intent::of(action, self.intents.get(&key), self.real.clock());
            self.intents.insert(key, sent);
        }
    }

    fn begin(&mut self, action: &Action) {
        let lane = action.lane();
        if self.running.contains_key(&lane) {
            return;
        }
        if self.defect != Some(Defect::IntentsForgotten) {
            self.record(action);
        }
        self.begun += 1;
        self.say(action);
        let now = self.real.now;
        if self.defect == Some(Defect::DrainSkipped) {
            match action {
                Action::Deregister { hostname, .. } => {
                    self.pretend_out.insert(hostname.clone());
                    return;
                }
                Action::Register { hostname, .. } if self.pretend_out.remove(hostname) => return,
                _ => {}
            }
        }
        let unchecked = self.defect.is_some_and(Defect::skips_preconditions);
        if !unchecked && let Err(trouble) = self.real.precondition(action) {
            return self.finished(action, Err(trouble));
        }
        self.watch.before(&mut self.real, &self.desired, action);
        let took = match action {
            Action::Engine { what: EngineAction::Pull { .. }, .. } => self.dice.between(500, 15_000),
            Action::Engine { what: EngineAction::Stop { stop, .. }, .. } => {
                let most = u64::try_from(stop.timeout.as_millis()).unwrap_or(1_000);
                self.dice.between(50, most.min(4_000))
            }
            _ => self.dice.between(30, 900),
        };
        let mut ending = Ending::Well;
        let storm = now < self.storm_until && !matches!(action, Action::Engine { .. });
        if (storm && self.dice.one_in(2)) || (self.trouble > 0 && self.dice.one_in(self.trouble)) {
            ending = match self.dice.below(6) {
                0 | 1 => Ending::AnswerLost,
                2 => Ending::NoAnswer,
                3 => Ending::Refused(Class::Throttled),
                _ => Ending::Refused(Class::Transient),
            };
        }
        let late =
            if matches!(ending, Ending::AnswerLost | Ending::NoAnswer) { self.dice.between(0, 60_000) } else { 0 };
        // What a stop begins cannot be called back; its effect is the container's end.
        let running = Running {
            action: action.clone(),
            effect_at: now + took,
            done_at: now + took + late + self.dice.between(1, 300),
            ending,
            result: None,
        };
        if self.crashes_at_launch && action.token().is_some() && self.dice.one_in(2) {
            // Before it is sent, or once it took effect and before the answer.
            self.crash_at = Some(if self.dice.one_in(4) { now } else { running.effect_at });
        }
        self.running.insert(lane, running);
    }

    /// Carries out an action at once, and once more if so asked: the exhaustive tests' way.
    pub fn at_once(&mut self, action: &Action, times: u32) {
        if let Err(trouble) = self.real.precondition(action) {
            return self.finished(action, Err(trouble));
        }
        self.record(action);
        self.say(action);
        self.watch.before(&mut self.real, &self.desired, action);
        for _ in 0..times {
            let _ = self.effect(action);
        }
    }

    /// The plan as it is now, with nothing begun.
    pub fn peek(&mut self) -> Plan {
        let seen = self.look();
        let now = self.real.clock();
        self.facts.note(&self.desired, &seen, now);
        self.facts.intents = self.intents.clone();
        self.facts.releases = self.releases.clone();
        self.facts.migrated = self.migrated.clone();
        let plan = plan(&self.desired, &seen, &self.facts, now);
        self.watch.recorded(&plan);
        self.facts.failures.retain(|key, _| plan.wanted.contains(key));
        for key in self.facts.intents_over(&plan.wanted, now) {
            self.intents.remove(&key);
        }
        plan
    }

    /// Time goes on to the next thing that happens.
    pub fn wait(&mut self, plan: &Plan) {
        let to = self.next(plan);
        self.real.advance(to, &mut self.dice);
        self.watch.after(&mut self.real, &self.desired);
    }

    pub fn tell(&self) -> String {
        let from = self.trace.len().saturating_sub(45);
        self.trace[from..].join("\n")
    }
}
