//! Every action of a rollout dealt a blow, one after the other.

use std::collections::BTreeSet;

use evenkeel::{
    action::Action,
    plan::{Plan, plan},
    world::Target,
};

use crate::{
    crowd::each,
    driver::Sim,
    play::{Failed, check_end, converged, judge},
    scene::Scene,
    watch::live,
};

impl Sim {
    /// Carries out an action at once, and once more if so asked: the exhaustive tests' way.
    pub fn at_once(&mut self, action: &Action, times: u32) {
        if let Err(trouble) = self.real.precondition(action, &BTreeSet::new()) {
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
        self.mind.facts.note(&self.desired, &seen, now);
        self.mind.facts.intents = self.intents.clone();
        self.mind.facts.releases = self.releases.clone();
        self.mind.facts.history = self.operator.history();
        self.mind.facts.wishes = self.operator.wishes.clone();
        self.mind.facts.migrated = self.migrated.clone();
        let plan = plan(&self.desired, &seen, &self.mind.facts, now);
        self.watch.recorded(&plan);
        self.mind.facts.keep_wanted(|key| plan.wanted.contains(key));
        for key in self.mind.facts.intents_over(&plan.wanted, now) {
            self.intents.remove(&key);
        }
        plan
    }

    /// Time goes on to the next thing that happens.
    pub fn wait(&mut self, plan: &Plan) {
        self.mind.wakes = self.wakes(plan);
        let to = self.next();
        self.real.advance(to, &mut self.dice);
        self.watch.after(&mut self.real, &self.desired);
    }
}

/// What becomes of one action of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// The controller is killed after it took effect, and before it had an answer.
    Crash,
    /// The same, before it was sent: it is on record, no more.
    Unsent,
    /// It is carried out twice.
    Twice,
}

/// A rollout on its way: the simulated world, and how many actions were taken.
#[derive(Clone)]
struct Rollout {
    sim: Sim,
    taken: usize,
}

impl Rollout {
    fn of(scene: Scene) -> Rollout {
        let mut sim = if scene.is_fresh() { Sim::new(&scene.text(), 7) } else { converged(scene) };
        sim.declare(&scene.last());
        Rollout { sim, taken: 0 }
    }

    /// Time goes on to the next action; nothing when all is done.
    fn next(&mut self) -> Result<Option<Action>, String> {
        for _ in 0..2_000 {
            let plan = self.sim.peek();
            judge(&self.sim)?;
            if let Some(action) = plan.actions.into_iter().next() {
                return Ok(Some(action));
            }
            if plan.holds.is_empty() {
                return Ok(None);
            }
            self.sim.wait(&Plan { holds: plan.holds, ..Plan::default() });
        }
        Err("it never comes to an end".into())
    }

    fn take(&mut self, action: &Action, blow: Option<Blow>) -> Result<(), String> {
        match blow {
            Some(Blow::Unsent) => self.sim.at_once(action, 0),
            // OpsWorks refuses nothing that is sent twice in one breath: the intent is what keeps it from being sent.
            Some(Blow::Twice) if action.intent().is_none() || action.token().is_some() => self.sim.at_once(action, 2),
            _ => self.sim.at_once(action, 1),
        }
        if let Some(Blow::Crash | Blow::Unsent) = blow {
            self.sim.crash();
            self.sim.down_until = 0;
        }
        self.taken += 1;
        judge(&self.sim)
    }

    /// The rest of it, without a blow.
    fn ends(mut self, scene: Scene) -> Result<Vec<String>, Failed> {
        let result = self.rest().and_then(|()| check_end(&mut self.sim, scene));
        match result {
            Ok(()) => Ok(ended(&self.sim)),
            Err(why) => Err(Failed { why, at: self.sim.real.now, trace: self.sim.trace }),
        }
    }

    fn rest(&mut self) -> Result<(), String> {
        while let Some(action) = self.next()? {
            self.take(&action, None)?;
            if self.taken > 2_000 {
                return Err("it never comes to an end".into());
            }
        }
        Ok(())
    }
}

/// A rollout, stopped just before each of its actions.
type Stops = Vec<(Rollout, Action)>;

/// The rollout, stopped just before each of its actions, and how it ends.
fn stops(scene: Scene) -> Result<(Stops, Vec<String>), String> {
    let mut rollout = Rollout::of(scene);
    let mut stops = Vec::new();
    while let Some(action) = rollout.next()? {
        stops.push((rollout.clone(), action.clone()));
        rollout.take(&action, None)?;
    }
    let end = rollout.ends(scene).map_err(|failed| failed.why)?;
    Ok((stops, end))
}

/// What there is in the end, ids and times left out.
fn ended(sim: &Sim) -> Vec<String> {
    let mut all = Vec::new();
    for instance in live(&sim.real) {
        let engine = sim.real.engine(&instance.hostname).expect("an engine");
        for (name, c) in &engine.containers {
            all.push(format!("{}/{name} {} {:?} {:?}", instance.hostname, c.image, c.state, c.health));
        }
        for (name, balancer) in sim.real.balancers() {
            let target = instance.ec2_id.as_ref().and_then(|id| balancer.targets.get(id));
            all.push(format!("{} {name} {}", instance.hostname, target == Some(&Target::InService)));
        }
    }
    all.push(format!("{} launches, {} ends, {:?}", sim.real.cloud.launches, sim.real.cloud.ends, sim.real.made));
    all.sort();
    all
}

#[test]
fn crash_and_double_at_every_action() {
    let scenes =
        [Scene::Shop, Scene::Three, Scene::Lone, Scene::Fresh, Scene::Ec2Fresh, Scene::Ec2Refresh, Scene::Ec2Three];
    let calm = each(scenes.len(), |at| stops(scenes[at]).unwrap_or_else(|why| panic!("{:?}: {why}", scenes[at])));
    let mut cases = Vec::new();
    for (place, (stops, _)) in calm.iter().enumerate() {
        println!("{:?}: {} actions", scenes[place], stops.len());
        for at in 0..stops.len() {
            let blows = match scenes[place] {
                // With three instances there is little that two do not show.
                Scene::Three | Scene::Ec2Three if at % 2 == 0 => vec![Blow::Twice],
                Scene::Three | Scene::Ec2Three => vec![Blow::Crash],
                _ => vec![Blow::Crash, Blow::Twice, Blow::Unsent],
            };
            cases.extend(blows.into_iter().map(|blow| (place, at, blow)));
        }
    }
    let failed: Vec<String> = each(cases.len(), |number| {
        let (place, at, blow) = cases[number];
        let (stops, end) = &calm[place];
        let (mut rollout, action) = stops[at].clone();
        rollout.sim.telling = true;
        let told = |why: &str, trace: &[String]| {
            Some(format!("{:?}, {blow:?} at {at}, “{action}”: {why}\n{}", scenes[place], trace.join("\n")))
        };
        if let Err(why) = rollout.take(&action, Some(blow)) {
            return told(&why, &rollout.sim.trace);
        }
        match rollout.ends(scenes[place]) {
            Ok(other) if other == *end => None,
            Ok(other) => told(&format!("it ended otherwise: {other:?}"), &[]),
            Err(failed) => told(&failed.why, &failed.trace),
        }
    })
    .into_iter()
    .flatten()
    .collect();
    println!("{} runs", cases.len());
    assert!(failed.is_empty(), "{} failed; the first:\n{}", failed.len(), failed[0]);
}
