//! What `controller/reconciler.rs` does, in virtual time: looks, plans, begins what may begin, takes in what ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evenkeel::{
    action::{Action, EngineAction, Migrated},
    plan::{Intent, Plan, Released, plan},
    spec::Desired,
    world::{Class, Seen, Trouble},
};
use jiff::Timestamp;

use crate::{
    defect::Defect,
    dice::Dice,
    look::Haze,
    mind::{Ending, Mind, Running},
    real::{Ms, Real, refuse},
    trial::{self, operator::Operator},
    watch::Watch,
};

/// How often a stack that is as declared is looked at.
const RESYNC: Ms = 30_000;

#[derive(Clone)]
pub struct Sim {
    pub text: String,
    pub desired: Desired,
    pub real: Real,
    pub mind: Mind,
    /// On record: a crash does not lose them.
    pub intents: BTreeMap<String, Intent>,
    /// Likewise.
    pub releases: BTreeMap<(String, String), Released>,
    pub migrated: BTreeSet<(String, String, String)>,
    pub operator: Operator,
    /// Sent by a controller that is no more.
    pub orphans: Vec<(Ms, Action)>,
    pub haze: Haze,
    pub watch: Watch,
    pub defect: Option<Defect>,
    pub pretend_out: BTreeSet<String>,
    pub seed: u64,
    pub dice: Dice,
    /// Whether the trace is kept: writing it down takes time.
    pub telling: bool,
    pub trace: Vec<String>,
    pub begun: u64,
    /// How often which action was begun.
    begun_of: BTreeMap<String, u64>,
    pub steps: u64,
    /// One in so many actions does not end well; 0: all do.
    pub trouble: u64,
    /// Until then every second action that AWS is asked for does not.
    pub storm_until: Ms,
    pub down_until: Ms,
    /// The instances that there were at first.
    pub began_with: usize,
    /// One in so many actions is the last thing that a controller does; 0: none is.
    pub crashes: u64,
    /// Many a launch is, likewise.
    pub crashes_at_launch: bool,
    pub crash_at: Option<Ms>,
    pub revision: u32,
    /// What was declared before, as far as a controller with a defect has not got beyond it.
    pub before: Option<Desired>,
    /// The newest revision under which anything was done.
    pub applied: u32,
    /// The newest revision is refused: what was declared before it goes on being so.
    pub invalid: bool,
    /// What the wall's clock is off by, in milliseconds.
    pub skew: i64,
    /// Until when the controller, which was asked to end, waits for what is under way.
    pub leaves_at: Option<Ms>,
    /// Another controller is there, which waits for the lease.
    pub another: bool,
    pub has_lease: bool,
    /// Engines that take their time until then.
    pub slow: BTreeMap<String, Ms>,
    pub poll: Ms,
    /// Somebody outside wants to be asked then.
    pub alarm: Ms,
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
            mind: Mind::at_first(),
            intents: BTreeMap::new(),
            releases: BTreeMap::new(),
            migrated: BTreeSet::new(),
            operator: Operator::default(),
            orphans: Vec::new(),
            haze: Haze::default(),
            watch: Watch::default(),
            defect: None,
            pretend_out: BTreeSet::new(),
            seed,
            dice: Dice::new(seed),
            telling: false,
            trace: Vec::new(),
            begun: 0,
            begun_of: BTreeMap::new(),
            steps: 0,
            trouble: 0,
            storm_until: 0,
            down_until: 0,
            began_with: 0,
            crashes: 0,
            crashes_at_launch: false,
            crash_at: None,
            revision: 1,
            before: None,
            applied: 0,
            invalid: false,
            skew: 0,
            leaves_at: None,
            another: false,
            has_lease: true,
            slow: BTreeMap::new(),
            poll: 2_000,
            alarm: Ms::MAX,
        }
    }

    pub fn say(&mut self, what: impl std::fmt::Display) {
        if self.telling {
            self.trace.push(format!("{:>8.1}s {what}", self.real.now as f64 / 1000.0));
        }
    }

    /// The controller's clock.
    pub fn clock(&self) -> Timestamp {
        let (by, back) = self.off();
        if back { self.real.clock() - by } else { self.real.clock() + by }
    }

    /// Another controller, which knows what is on record and what is declared, if that can be read; what the one before
    /// it remembered is gone, what it sent goes on or was never sent.
    pub fn replace_mind(&mut self) {
        let blank = self.invalid || self.mind.blank;
        self.crash_at = None;
        for running in std::mem::replace(&mut self.mind, Mind::at_first()).running.into_values() {
            if running.result.is_none()
                && matches!(running.ending, Ending::Well | Ending::AnswerLost)
                && self.dice.one_in(2)
            {
                self.orphans.push((running.effect_at, running.action));
            } else if running.result.is_none() {
                self.watch.refused(&running.action);
            }
        }
        (self.leaves_at, self.another) = (None, false);
        (self.mind.skew, self.mind.blank, self.mind.wakes) = (self.skew, blank, self.real.now);
        // How old a record is by another clock says nothing.
        let now = self.clock();
        self.intents.values_mut().for_each(|intent| intent.sent = now);
    }

    /// The controller is killed.
    pub fn crash(&mut self) {
        self.replace_mind();
        self.down_until = self.real.now + self.dice.between(0, 5_000);
        self.mind.wakes = self.down_until;
        self.say("(crash)");
    }

    pub fn is_idle(&self) -> bool {
        self.mind.running.is_empty() && self.orphans.is_empty()
    }

    /// When something happens next.
    pub fn next(&self) -> Ms {
        let now = self.real.now;
        if self.mind.wakes <= now && self.down_until <= now && self.leaves_at.is_none() {
            return now;
        }
        let running = self.mind.running.values().flat_map(|r| [r.effect_at, r.done_at]);
        let orphans = self.orphans.iter().map(|(at, _)| *at);
        let mine = [self.mind.wakes, self.alarm, self.down_until, self.leaves_at.unwrap_or(0)];
        let all = running.chain(orphans).chain(self.real.next()).chain(mine).filter(|at| *at > now);
        all.min().unwrap_or(Ms::MAX).min(now + RESYNC)
    }

    /// To the next thing that happens; the controller looks when something that it did has ended, when an engine tells
    /// of something (it may be too late to hear), or when its time has come.
    pub fn step(&mut self) {
        self.steps += 1;
        let to = self.next();
        self.real.advance(to, &mut self.dice);
        let ended = self.take_in();
        self.watch.after(&mut self.real, &self.desired);
        let stirred = std::mem::take(&mut self.real.stirred) && self.dice.one_in(2);
        if self.crash_at.is_some_and(|at| at <= self.real.now) {
            self.crash();
        }
        let now = self.real.now;
        if self.another && self.defect == Some(Defect::LeaseIgnored) {
            self.rival();
        }
        if now >= self.down_until && !self.leaves() && (ended || stirred || now >= self.mind.wakes) {
            self.pass();
        }
    }

    /// Whether anything has ended.
    fn take_in(&mut self) -> bool {
        let mut ended = false;
        let now = self.real.now;
        let (due, later) = std::mem::take(&mut self.orphans).into_iter().partition(|(at, _)| *at <= now);
        self.orphans = later;
        let due: Vec<(Ms, Action)> = due;
        for (_, action) in due {
            self.still_done(&action);
            self.who_waits_is_next(&action);
        }
        for lane in self.mind.running.keys().cloned().collect::<Vec<_>>() {
            let mut running = self.mind.running.remove(&lane).expect("a lane");
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
                Some(result) if running.done_at <= now => {
                    ended = true;
                    self.finished(&running.action, result);
                }
                result => {
                    running.result = result;
                    self.mind.running.insert(lane, running);
                }
            }
        }
        ended
    }

    /// What a controller that is no more has sent takes effect.
    fn still_done(&mut self, action: &Action) {
        self.say(format_args!("(still done: {action})"));
        let _ = self.effect(action);
    }

    /// An engine starts, renames and removes one container in the order in which that was sent: each takes the
    /// container's lock (moby, `daemon/start.go`, `rename.go`, `delete.go`).
    fn what_was_sent_before(&mut self, action: &Action) {
        let Some(id) = locks(action) else { return };
        let is_of = |(_, before): &(Ms, Action)| locks(before) == Some(id);
        let (before, later): (Vec<_>, _) = std::mem::take(&mut self.orphans).into_iter().partition(is_of);
        self.orphans = later;
        for (_, action) in before {
            self.still_done(&action);
        }
    }

    /// Whoever waits for a container's lock has it as soon as it is free, and not only some time later.
    fn who_waits_is_next(&mut self, action: &Action) {
        let Some(id) = locks(action) else { return };
        let now = self.real.now;
        for running in self.mind.running.values_mut().filter(|running| locks(&running.action) == Some(id)) {
            running.effect_at = running.effect_at.min(now);
        }
    }

    pub fn effect(&mut self, action: &Action) -> Result<(), Trouble> {
        self.what_was_sent_before(action);
        match action {
            Action::Record { release } => {
                self.put_on_record(release);
                Ok(())
            }
            Action::RecordMigration { migrated } => {
                let Migrated { app, container, key, .. } = migrated.clone();
                self.real.recorded.insert(key.clone());
                self.migrated.insert((app, container, key));
                Ok(())
            }
            Action::BeginWish { .. } | Action::EndWish { .. } => {
                self.operator.note(action);
                self.note_wishes();
                Ok(())
            }
            _ => self.real.effect(action, &mut self.dice),
        }
    }

    pub fn finished(&mut self, action: &Action, result: Result<(), Trouble>) {
        let key = action.key();
        let forgets = self.defect == Some(Defect::IntentsForgotten);
        let present = forgets.then(|| self.mind.facts.present.clone());
        match result {
            Ok(()) => {
                self.say(format_args!("  done: {key}"));
                let now = self.clock();
                self.mind.facts.succeeded(action, now);
            }
            Err(trouble) => {
                self.say(format_args!("  {:?}: {key}: {}", trouble.class, trouble.message));
                if trouble.class != Class::UnknownOutcome {
                    self.watch.refused(action);
                }
                if let Some(intent) = action.intent()
                    && self.defect != Some(Defect::SpentTokenKept)
                    && self.intents.get(&intent).is_some_and(|sent| !sent.outlives(trouble.class))
                {
                    self.intents.remove(&intent);
                }
                let times = self.mind.facts.failures.get(&key).map_or(0, |failure| failure.times) + 1;
                let backoff = Duration::from_millis(500 << times.min(7));
                let wait = match trouble.class {
                    Class::Terminal => Duration::from_secs(60),
                    Class::NoRoom => Duration::from_secs(600),
                    Class::Throttled => backoff.max(Duration::from_secs(2)),
                    _ => backoff,
                };
                let retry_at = self.clock() + wait;
                self.mind.facts.failed(action, trouble, retry_at);
            }
        }
        if let Some(present) = present {
            self.mind.facts.present = present;
        }
    }

    /// One pass of the controller.
    pub fn pass(&mut self) {
        if self.mind.blank {
            self.mind.wakes = self.real.now + RESYNC;
            self.mind.plan = Plan::default();
            return;
        }
        let mut seen = self.look();
        let mut desired = self.desired.clone();
        if let Some(defect) = self.defect {
            defect.input(self, &mut desired, &mut seen);
        }
        let now = self.clock();
        for engine in seen.engines.values_mut().filter_map(Seen::known_mut) {
            engine.clock = Some(self.real.clock());
        }
        seen.by_clock(now);
        self.mind.facts.note(&desired, &seen, now);
        self.mind.facts.busy = self.mind.running.keys().cloned().collect();
        self.mind.facts.intents = self.intents.clone();
        self.mind.facts.releases = self.releases.clone();
        self.mind.facts.history = self.operator.history();
        self.mind.facts.migrated = self.migrated.clone();
        self.mind.facts.wishes = self.operator.wishes.clone();
        if let Some(defect) = self.defect {
            defect.facts(&mut self.mind.facts);
        }
        let mut plan = plan(&desired, &seen, &self.mind.facts, now);
        if seen.provided.unanswered().is_none() && seen.stale.is_none() {
            self.mind.facts.keep_wanted(|key| plan.wanted.contains(key));
            let under_way: BTreeSet<String> = self.mind.running.values().filter_map(|r| r.action.intent()).collect();
            for key in self.mind.facts.intents_over(&plan.wanted, now) {
                if !under_way.contains(&key) {
                    self.intents.remove(&key);
                }
            }
        }
        if let Some(defect) = self.defect {
            defect.output(self, &seen, &mut plan);
        }
        self.watch.recorded(&plan);
        for action in &plan.actions {
            self.begin(action, &desired.revision);
        }
        self.mind.wakes = self.wakes(&plan);
        self.mind.plan = plan;
    }

    /// When the next pass is due.
    pub fn wakes(&self, plan: &Plan) -> Ms {
        let (now, clock) = (self.real.now, self.clock());
        let poll = if plan.is_done() && self.is_idle() { RESYNC } else { self.poll };
        let holds = plan.holds.iter().filter_map(|hold| hold.until).filter(|until| *until > clock);
        let soonest = holds.map(|until| now + clock.duration_until(until).as_millis().unsigned_abs() as Ms).min();
        soonest.unwrap_or(Ms::MAX).clamp(now + 1, now + poll)
    }

    pub fn record(&mut self, action: &Action) {
        if let Some(key) = action.intent() {
            let sent = Intent::of(action, self.intents.get(&key), self.clock());
            self.intents.insert(key, sent);
        }
    }

    /// What becomes of an action follows from the seed and from how often it was begun, whatever else happens.
    fn dice_of(&mut self, action: &Action) -> Dice {
        let key = action.key();
        let times = self.begun_of.entry(key.clone()).or_default();
        *times += 1;
        Dice::derived(self.seed, &key, *times)
    }

    /// Whom this controller is about to take out of which balancer.
    fn leaving(&self) -> BTreeSet<(String, String)> {
        let running = self.mind.running.values().filter_map(|running| match &running.action {
            Action::Deregister { balancer, ec2_id, .. } => Some((balancer.clone(), ec2_id.clone())),
            _ => None,
        });
        running.collect()
    }

    fn begin(&mut self, action: &Action, revision: &str) {
        let lane = action.lane();
        if self.mind.running.contains_key(&lane) {
            return;
        }
        if self.defect != Some(Defect::IntentsForgotten) {
            self.record(action);
        }
        self.begun += 1;
        self.judge_hand(action, revision);
        let mut dice = self.dice_of(action);
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
        if !unchecked && let Err(trouble) = self.real.precondition(action, &self.leaving()) {
            return self.finished(action, Err(trouble));
        }
        self.watch.before(&mut self.real, &self.desired, action);
        let took = match action {
            Action::Engine { what: EngineAction::Pull { .. }, .. } => dice.between(500, 15_000),
            Action::Engine { what: EngineAction::Stop { stop, .. }, .. } => {
                let most = u64::try_from(stop.timeout.as_millis()).unwrap_or(1_000);
                dice.between(50, most.min(4_000))
            }
            Action::Engine { node, .. } if self.slow.get(&node.hostname).is_some_and(|until| *until > now) => {
                dice.between(5_000, 50_000)
            }
            _ => dice.between(30, 900),
        };
        let mut ending = Ending::Well;
        let storm = now < self.storm_until && !matches!(action, Action::Engine { .. });
        if (storm && dice.one_in(2)) || (self.trouble > 0 && dice.one_in(self.trouble)) {
            ending = match dice.below(6) {
                0 | 1 => Ending::AnswerLost,
                2 => Ending::NoAnswer,
                3 => Ending::Refused(Class::Throttled),
                _ => Ending::Refused(Class::Transient),
            };
        }
        let late = if matches!(ending, Ending::AnswerLost | Ending::NoAnswer) { dice.between(0, 60_000) } else { 0 };
        // What a stop begins cannot be called back; its effect is the container's end.
        let running = Running {
            action: action.clone(),
            effect_at: now + took,
            done_at: now + took + late + dice.between(1, 300),
            ending,
            result: None,
        };
        let launches = self.crashes_at_launch && action.token().is_some() && dice.one_in(2);
        if launches || (self.crashes > 0 && dice.one_in(self.crashes)) {
            // Before it is sent, once it took effect and before the answer, or with the answer.
            self.crash_at = Some([now, running.effect_at, running.effect_at, running.done_at][dice.below(4) as usize]);
        }
        self.mind.running.insert(lane, running);
    }
}

/// The container whose lock an engine takes for it.
fn locks(action: &Action) -> Option<&str> {
    match action {
        Action::Engine {
            what: EngineAction::Start { id, .. } | EngineAction::Rename { id, .. } | EngineAction::Remove { id, .. },
            ..
        } => Some(id),
        _ => None,
    }
}
