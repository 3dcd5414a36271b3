//! One run: a rollout with faults, then peace, then a manifest that works, and what must be so in the end.

use std::{collections::BTreeMap, sync::OnceLock};

use evenkeel::status::Kind;

use crate::{
    defect::Defect,
    dice::Dice,
    driver::Sim,
    faults::{self, strangers},
    fleet,
    look::Haze,
    mishaps,
    real::Ms,
    scene::{Scene, edited},
    script::Script,
    upheaval,
    watch::live,
};

/// How long it may take from the end of the faults until everything is as declared. On EC2 every instance may have to
/// be replaced by then, one after the other.
fn bound(sim: &Sim) -> Ms {
    if sim.real.on_ec2() { 3_600_000 } else { 1_500_000 }
}

/// Everything is as declared, from nothing, without a fault.
pub fn converged(scene: Scene) -> Sim {
    static STARTS: OnceLock<BTreeMap<Scene, OnceLock<Sim>>> = OnceLock::new();
    let starts = STARTS.get_or_init(|| Scene::ALL.into_iter().map(|scene| (scene, OnceLock::new())).collect());
    let comes_up = || {
        let mut sim = Sim::new(&scene.text(), 1);
        settle(&mut sim, "it comes up", None).unwrap_or_else(|why| panic!("{scene:?}: {why}"));
        strangers(&mut sim);
        sim.watch.settled = true;
        sim.began_with = live(&sim.real).len();
        sim.real.made.clear();
        (sim.real.cloud.launches, sim.real.cloud.ends) = (0, 0);
        sim.steps = 0;
        sim
    };
    starts[&scene].get_or_init(comes_up).clone()
}

/// Until nothing more is to be done. Whoever is told that a release failed declares the other one.
fn settle(sim: &mut Sim, what: &str, mut other: Option<String>) -> Result<(), String> {
    let began = sim.real.now;
    sim.mind.wakes = began;
    loop {
        if sim
            .mind
            .plan
            .conditions
            .iter()
            .any(|condition| matches!(condition.kind, Kind::ReleaseFailed | Kind::Failing | Kind::MigrationFailed))
            && let Some(text) = other.take()
        {
            sim.declare(&text);
            sim.say("(edited: what failed is replaced)");
        }
        if sim.mind.plan.is_done() && sim.is_idle() && !sim.real.is_booting() && !sim.real.has_deaths_ahead() {
            // What it saw may be old by now.
            sim.pass();
            if sim.mind.plan.is_done() && sim.is_idle() {
                return Ok(());
            }
        }
        if sim.real.now > began + bound(sim) {
            let plan = &sim.mind.plan;
            let holds: Vec<String> = plan.holds.iter().map(ToString::to_string).collect();
            return Err(format!("{what}: not done in time; {holds:?} {:?}", plan.conditions));
        }
        sim.step();
        judge(sim)?;
    }
}

pub fn judge(sim: &Sim) -> Result<(), String> {
    sim.real.violation.clone().map_or(Ok(()), Err)
}

/// What must be so in the end.
pub fn check_end(sim: &mut Sim, scene: Scene) -> Result<(), String> {
    let hosts: Vec<String> = live(&sim.real).iter().map(|i| i.hostname.clone()).collect();
    for hostname in &hosts {
        if !sim.real.serves_well(hostname) || !sim.real.is_in(hostname) {
            return Err(format!("{hostname} does not serve in the end"));
        }
        let engine = sim.real.engine(hostname).expect("an engine");
        for (name, container) in &engine.containers {
            let declared = sim.desired.apps.iter().flat_map(|app| &app.containers);
            let mut slots = declared.filter(|c| (0..c.replicas).any(|index| c.replica(index) == *name));
            // What has but one replica there is replaced by nobody, whatever becomes of its tag.
            let stays = scene == Scene::Lone && !name.starts_with("app");
            if !stays && [".old", ".failed", ".migration"].iter().any(|kept| name.ends_with(kept)) {
                return Err(format!("{hostname}/{name} is left over"));
            }
            if name != "theirs"
                && !stays
                && slots.next().is_none_or(|declared| !sim.is_as_declared(&declared.image, &container.image))
            {
                return Err(format!("{hostname}/{name} is {}", container.image));
            }
        }
        if !scene.is_fresh() && !scene.on_ec2() && !engine.containers.contains_key("theirs") {
            return Err(format!("theirs is gone from {hostname}"));
        }
    }
    let count = sim.desired.stack.layers[0].instances.count as usize;
    let expected = if scene == Scene::Fresh { 3 + count } else { 0 };
    let made: u32 = sim.real.made.values().sum();
    if (made as usize, hosts.len()) != (expected, count) {
        return Err(format!("not the creates and deletes of a run without faults: {:?}, {hosts:?}", sim.real.made));
    }
    if sim.real.on_ec2() {
        fleet::check_end(sim)?;
    }
    let begun = sim.begun;
    for _ in 0..4 {
        sim.mind.wakes = sim.real.now + 1_000;
        sim.step();
        judge(sim)?;
    }
    if sim.begun != begun {
        return Err("it was done, and something was done all the same".into());
    }
    Ok(())
}

/// What a run came to.
pub struct Ran {
    pub steps: u64,
    pub served: u64,
    pub lost: u64,
}

/// How a run failed.
#[derive(Debug, Clone)]
pub struct Failed {
    pub why: String,
    /// When, in milliseconds of virtual time.
    pub at: Ms,
    /// What happened until then, if it was told.
    pub trace: Vec<String>,
}

pub fn run(script: &Script, defect: Option<Defect>) -> Result<Ran, Failed> {
    play(script, defect, false)
}

/// The same, with everything that happens written down.
pub fn tell(script: &Script, defect: Option<Defect>) -> Result<Ran, Failed> {
    play(script, defect, true)
}

fn play(script: &Script, defect: Option<Defect>, telling: bool) -> Result<Ran, Failed> {
    let scene = script.scene;
    let mut sim = if scene.is_fresh() { Sim::new(&scene.text(), script.seed) } else { converged(scene) };
    (sim.seed, sim.dice) = (script.seed, Dice::derived(script.seed, "world", 0));
    (sim.defect, sim.telling) = (defect, telling);
    let result = war(&mut sim, script).and_then(|()| {
        peace(&mut sim, scene);
        settle(&mut sim, "once the faults stopped", Some(scene.last()))?;
        check_end(&mut sim, scene)
    });
    match result {
        Ok(()) => Ok(Ran { steps: sim.steps, served: sim.real.served, lost: sim.real.lost }),
        Err(why) => Err(Failed { why, at: sim.real.now, trace: sim.trace }),
    }
}

/// The same dice for the same purpose, whatever else was thrown: faults that are left out change no other.
fn with_dice<T>(sim: &mut Sim, seed: u64, what: impl FnOnce(&mut Sim) -> T) -> T {
    let before = std::mem::replace(&mut sim.dice, Dice::derived(seed, "shot", 0));
    let gave = what(sim);
    sim.dice = before;
    gave
}

/// Everything that goes wrong, in its time.
fn war(sim: &mut Sim, script: &Script) -> Result<(), String> {
    let scene = script.scene;
    let on_ec2 = scene.on_ec2();
    let began = sim.real.now;
    (sim.trouble, sim.crashes, sim.crashes_at_launch) = (script.trouble, script.crashes, script.crashes_at_launch);
    (sim.poll, sim.real.elb_drain) = (script.poll, script.drains);
    if script.hazy > 0 {
        (sim.haze.cloud_lag, sim.haze.until) = (script.hazy, 60_000);
    }
    let mut edits = script.seed;
    let mut edit = |sim: &mut Sim| {
        edits = edits.wrapping_add(1 << 32);
        let text = with_dice(sim, edits, |sim| edited(sim, scene));
        sim.declare(&text);
        sim.tell_declared();
    };
    if !scene.is_fresh() {
        edit(sim);
    }
    let mut shots = script.shots.iter().peekable();
    let mut lull = 0;
    let mut again = None;
    sim.mind.wakes = began;
    while sim.real.now < began + script.until {
        let next = shots.peek().map_or(script.until, |shot| shot.at);
        sim.alarm = (began + next).min(again.unwrap_or(Ms::MAX));
        sim.step();
        judge(sim)?;
        while let Some(shot) = shots.next_if(|shot| began + shot.at <= sim.real.now) {
            with_dice(sim, shot.dice, |sim| match on_ec2 {
                _ if sim.dice.one_in(4) => upheaval::inject(sim),
                true => mishaps::inject(sim, scene),
                false => faults::inject(sim, scene),
            });
        }
        // Whoever suspended it or declared nothing has second thoughts.
        let odd = sim.is_odd();
        if odd && again.is_none() {
            again = Some(sim.real.now + sim.dice.between(5_000, 40_000));
        }
        if again.is_some_and(|at| at <= sim.real.now) {
            again = None;
            if odd {
                edit(sim);
            }
        }
        if sim.mind.plan.is_done() && sim.is_idle() {
            lull += 1;
            if lull > 3 {
                lull = 0;
                edit(sim);
            }
        }
    }
    Ok(())
}

/// The faults stop.
fn peace(sim: &mut Sim, scene: Scene) {
    sim.alarm = Ms::MAX;
    (sim.trouble, sim.crashes, sim.crashes_at_launch) = (0, 0, false);
    (sim.crash_at, sim.storm_until, sim.real.registry_down) = (None, 0, 0);
    // What ends wakes it all the same.
    sim.poll *= 3;
    sim.haze = Haze::default();
    sim.real.fates.clear();
    sim.real.stuck.clear();
    sim.real.hung.clear();
    sim.say("(peace)");
    if scene.on_ec2() {
        mishaps::peace(sim);
    }
    let last = if sim.is_odd() || sim.dice.one_in(3) { scene.last() } else { sim.text.replace("120GiB", "130GiB") };
    sim.declare(&last);
    sim.go_on();
}
