//! Every action of a rollout dealt a blow, one after the other.

use evenkeel::{
    action::Action,
    plan::{Plan, plan},
    world::Target,
};

use crate::{
    crowd::each,
    driver::Sim,
    play::{check_end, converged, judge},
    scene::Scene,
    watch::live,
};

impl Sim {
    /// Carries out an action at once, and once more if so asked: the exhaustive tests' way.
    pub fn at_once(&mut self, action: &Action, times: u32) {
        if let Err(trouble) = self.real.precondition(action) {
            return self.finished(action, Err(trouble));
        }
        self.record(action);
        self.say(action);
        self.watch.before(&mut self.real, &self.desired, action);
        for _ in 0..times {
            let _ = self.real.effect(action, &mut self.dice);
        }
    }

    /// The plan as it is now, with nothing begun.
    pub fn peek(&mut self) -> Plan {
        let seen = self.look();
        let now = self.real.clock();
        self.mind.facts.note(&self.desired, &seen, now);
        self.mind.facts.intents = self.intents.clone();
        let plan = plan(&self.desired, &seen, &self.mind.facts, now);
        self.watch.recorded(&plan);
        self.mind.facts.failures.retain(|key, _| plan.wanted.contains(key));
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

/// The rollout of one scenario, action by action; one of them, by its number, is dealt a blow.
fn rollout(scene: Scene, blow: Option<(usize, Blow)>, telling: bool) -> Result<(usize, Vec<String>), String> {
    let mut sim = if scene.is_fresh() { Sim::new(&scene.text(), 7) } else { converged(scene) };
    sim.telling = telling;
    sim.declare(&scene.last());
    let tell = |sim: &Sim, why: &str| format!("{scene:?}, {blow:?}: {why}\n{}", sim.trace.join("\n"));
    let mut number = 0;
    for _ in 0..2_000 {
        let plan = sim.peek();
        judge(&sim).map_err(|why| tell(&sim, &why))?;
        let Some(action) = plan.actions.first().cloned() else {
            if plan.is_done() {
                break;
            }
            sim.wait(&plan);
            continue;
        };
        match blow.filter(|(at, _)| *at == number).map(|(_, blow)| blow) {
            Some(Blow::Unsent) => sim.at_once(&action, 0),
            // OpsWorks refuses nothing that is sent twice in one breath: the intent is what keeps it from being sent.
            Some(Blow::Twice) if action.intent().is_none() || action.token().is_some() => sim.at_once(&action, 2),
            _ => sim.at_once(&action, 1),
        }
        if blow.is_some_and(|(at, blow)| at == number && blow != Blow::Twice) {
            sim.crash();
            sim.down_until = 0;
        }
        number += 1;
        judge(&sim).map_err(|why| tell(&sim, &why))?;
    }
    check_end(&mut sim, scene).map_err(|why| tell(&sim, &why))?;
    Ok((number, ended(&sim)))
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
    let calm = each(scenes.len(), |at| rollout(scenes[at], None, false).unwrap_or_else(|why| panic!("{why}")));
    let mut cases = Vec::new();
    for (place, (actions, _)) in calm.iter().enumerate() {
        println!("{:?}: {actions} actions", scenes[place]);
        for at in 0..*actions {
            let blows = match scenes[place] {
                // With three instances there is little that two do not show.
                Scene::Three | Scene::Ec2Three if at % 2 == 0 => vec![Blow::Twice],
                Scene::Three | Scene::Ec2Three => vec![Blow::Crash],
                Scene::Ec2Fresh | Scene::Ec2Refresh => vec![Blow::Crash, Blow::Twice, Blow::Unsent],
                _ => vec![Blow::Crash, Blow::Twice],
            };
            cases.extend(blows.into_iter().map(|blow| (place, at, blow)));
        }
    }
    let failed: Vec<_> = each(cases.len(), |number| {
        let (place, at, blow) = cases[number];
        match rollout(scenes[place], Some((at, blow)), false) {
            Ok((_, end)) if end == calm[place].1 => None,
            Ok((_, end)) => Some((number, format!("it ended otherwise: {end:?}"))),
            Err(why) => Some((number, why)),
        }
    })
    .into_iter()
    .flatten()
    .collect();
    println!("{} runs", cases.len());
    let Some((number, why)) = failed.first() else { return };
    let (place, at, blow) = cases[*number];
    let told = rollout(scenes[place], Some((at, blow)), true).err().unwrap_or_default();
    panic!("{} failed; the first, {:?} at {at}, {blow:?}: {why}\n{told}", failed.len(), scenes[place]);
}
