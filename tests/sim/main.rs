//! The simulator: OpsWorks or EC2, balancers with requests in flight, engines, the clock and the controller's crashes, in virtual
//! time. The promises of safety are checked after every step, those of liveness once the faults stop.
//!
//! A run follows from its seed alone: `SIM_SEED=n cargo test --test sim random_seeds` plays one again, with its whole
//! trace; `SIM_SCENE=NAME` plays it in another scene than its own. `SIM_SEEDS=n` sets how many are played, from
//! `SIM_FIRST` on; `SIM_DEFECT=NAME` looks for one defect alone.

mod cloud;
mod defect;
mod dice;
mod driver;
mod faults;
mod fleet;
mod migrations;
mod mishaps;
mod real;
mod registry;
mod scene;
#[path = "../trial/mod.rs"]
mod trial;
mod watch;

use std::{collections::BTreeMap, sync::OnceLock, time::Instant};

use defect::Defect;
use driver::Sim;
use evenkeel::{plan::Plan, spec::image, world::Target};
use faults::strangers;
use scene::{Scene, edited};
use watch::live;

const SHOP: &str = include_str!("../scenarios/manifests/shop.yaml");
const EC2: &str = include_str!("../scenarios/manifests/ec2.yaml");

/// How long it may take from the end of the faults until everything is as declared. On EC2 every instance may have to
/// be replaced by then, one after the other.
fn bound(sim: &Sim) -> u64 {
    if sim.real.on_ec2() { 3_600_000 } else { 1_500_000 }
}

/// Everything is as declared, from nothing, without a fault.
fn converged(scene: Scene) -> Sim {
    static STARTS: OnceLock<BTreeMap<Scene, Sim>> = OnceLock::new();
    let starts = STARTS.get_or_init(|| {
        Scene::ALL
            .into_iter()
            .filter(|scene| !scene.is_fresh())
            .map(|scene| {
                let mut sim = Sim::new(&scene.text(), 1);
                settle(&mut sim, "it comes up").unwrap_or_else(|why| panic!("{scene:?}: {why}\n{}", sim.tell()));
                strangers(&mut sim);
                sim.watch.settled = true;
                sim.began_with_nothing = false;
                sim.real.made.clear();
                (sim.real.cloud.launches, sim.real.cloud.ends) = (0, 0);
                sim.trace.clear();
                (scene, sim)
            })
            .collect()
    });
    starts[&scene].clone()
}

/// Until nothing more is to be done.
fn settle(sim: &mut Sim, what: &str) -> Result<(), String> {
    let began = sim.real.now;
    let mut plan = sim.pass();
    while !plan.is_done() || !sim.is_idle() || sim.real.is_booting() {
        if sim.real.now > began + bound(sim) {
            let holds: Vec<String> = plan.holds.iter().map(ToString::to_string).collect();
            return Err(format!("{what}: not done in time; {holds:?} {:?}", plan.conditions));
        }
        plan = sim.step(&plan);
        judge(sim)?;
    }
    Ok(())
}

fn judge(sim: &Sim) -> Result<(), String> {
    sim.real.violation.clone().map_or(Ok(()), Err)
}

/// What must be so in the end.
fn check_end(sim: &mut Sim, scene: Scene) -> Result<(), String> {
    let hosts: Vec<String> = live(&sim.real).iter().map(|i| i.hostname.clone()).collect();
    for hostname in &hosts {
        if !sim.real.serves_well(hostname) || !sim.real.is_in(hostname) {
            return Err(format!("{hostname} does not serve in the end"));
        }
        let engine = sim.real.engine(hostname).expect("an engine");
        for (name, container) in &engine.containers {
            if [".old", ".failed", ".migration"].iter().any(|kept| name.ends_with(kept)) {
                return Err(format!("{hostname}/{name} is left over"));
            }
            let is_last = image::tagged(&container.image).ends_with(":4") && sim.is_newest(&container.image);
            if name != "theirs" && !is_last && (scene != Scene::Lone || name.starts_with("app")) {
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
    let mut plan = Plan::default();
    for _ in 0..4 {
        plan = sim.step(&plan);
        judge(sim)?;
    }
    if sim.begun != begun {
        return Err("it was done, and something was done all the same".into());
    }
    Ok(())
}

struct Ran {
    steps: u64,
    served: u64,
    lost: u64,
}

/// One seed: a rollout with faults, then peace, then a manifest that works.
fn run(scene: Scene, seed: u64, defect: Option<Defect>) -> Result<Ran, (String, String)> {
    let mut sim = if scene.is_fresh() { Sim::new(&scene.text(), seed) } else { converged(scene) };
    sim.dice = dice::Dice::new(seed);
    sim.defect = defect;
    let result = play(&mut sim, scene);
    match result {
        Ok(()) => Ok(Ran { steps: sim.steps, served: sim.real.served, lost: sim.real.lost }),
        Err(why) => {
            let all = number("SIM_SEED").is_some();
            let trace = if all { sim.trace.join("\n") } else { sim.tell() };
            let text = format!("seed {seed}, {scene:?}, {:.1}s: {why}", sim.real.now as f64 / 1000.0);
            Err((text, trace))
        }
    }
}

fn play(sim: &mut Sim, scene: Scene) -> Result<(), String> {
    sim.trouble = [0, 30, 12, 6][sim.dice.below(4) as usize];
    let rate = if scene.on_ec2() { [10, 20, 50] } else { [25, 50, 120] }[sim.dice.below(3) as usize];
    sim.crashes_at_launch = scene.on_ec2() && sim.dice.one_in(3);
    sim.poll = sim.dice.between(1_000, 4_000);
    if sim.dice.one_in(3) {
        sim.real.elb_drain = 300_000;
    }
    if scene.on_ec2() {
        sim.poll *= 2;
    }
    if !scene.is_fresh() {
        let text = edited(sim, scene);
        sim.declare(&text);
    } else if sim.dice.one_in(2) {
        sim.haze.cloud_lag = sim.dice.between(1_000, 9_000);
        sim.haze.until = 60_000;
    }
    let mut plan = sim.pass();
    let mut lull = 0;
    let wanted = sim.dice.between(60, 160);
    let on_ec2 = scene.on_ec2();
    for _ in 0..wanted {
        if sim.dice.one_in(rate) {
            if on_ec2 { mishaps::inject(sim, scene) } else { faults::inject(sim, scene) }
        }
        if sim.dice.one_in(rate * 3) {
            sim.registry_fault();
        }
        if (sim.text.contains("suspend: true") || sim.desired.apps.is_empty()) && sim.dice.one_in(15) {
            let text = edited(sim, scene);
            sim.declare(&text);
            sim.say("(declared again)");
        }
        plan = sim.step(&plan);
        judge(sim)?;
        if plan.is_done() && sim.is_idle() {
            lull += 1;
            if lull > 3 && sim.dice.one_in(3) {
                let text = edited(sim, scene);
                sim.declare(&text);
                sim.say("(edited)");
                lull = 0;
            }
        }
    }
    // The faults stop.
    sim.trouble = 0;
    sim.crashes_at_launch = false;
    sim.haze = driver::Haze::default();
    sim.real.fates.clear();
    sim.real.stuck.clear();
    sim.real.hung.clear();
    sim.real.registry.down = 0;
    sim.say("(peace)");
    if on_ec2 {
        mishaps::peace(sim);
    }
    sim.declare(&scene.last());
    settle(sim, "once the faults stopped")?;
    check_end(sim, scene)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds that have found something, and where; they are always played.
const ONCE_FAILED: [(Scene, u64); 4] =
    [(Scene::Three, 151), (Scene::Fresh, 179), (Scene::Fresh, 294), (Scene::Three, 2706)];

#[test]
fn random_seeds() {
    if let Some(seed) = number("SIM_SEED") {
        let named = std::env::var("SIM_SCENE").ok();
        let scene = named.map_or(Scene::of(seed), |name| {
            Scene::ALL.into_iter().find(|scene| format!("{scene:?}") == name).expect("a scene")
        });
        if let Err((why, trace)) = run(scene, seed, None) {
            panic!("{trace}\n{why}");
        }
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(100);
    let first = number("SIM_FIRST").unwrap_or(1);
    let began = Instant::now();
    let (mut steps, mut served, mut lost) = (0, 0, 0);
    let mut failed = Vec::new();
    for (scene, seed) in ONCE_FAILED.into_iter().chain((first..first + seeds).map(|seed| (Scene::of(seed), seed))) {
        match run(scene, seed, None) {
            Ok(ran) => {
                steps += ran.steps;
                served += ran.served;
                lost += ran.lost;
            }
            Err((why, trace)) => {
                if failed.is_empty() {
                    println!("{trace}");
                }
                println!("{why}");
                failed.push(seed);
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds, {steps} steps in {took:.1}s ({:.0} steps/s); {served} requests, {lost} lost by injected faults alone",
        steps as f64 / took
    );
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed: {failed:?}; SIM_SEED={} plays the first again",
        failed.len(),
        failed[0]
    );
}

#[test]
fn every_defect_is_found() {
    let most = number("SIM_MOST").unwrap_or(2_000);
    let mut missed = Vec::new();
    let named = std::env::var("SIM_DEFECT").ok();
    for defect in Defect::ALL.into_iter().filter(|it| named.as_ref().is_none_or(|name| format!("{it:?}") == *name)) {
        let mut seeds = (1..=most).map(|seed| (Scene::of(seed), seed)).filter(|(scene, _)| defect.shows_in(*scene));
        match seeds.find_map(|(scene, seed)| run(scene, seed, Some(defect)).err().map(|(why, _)| why)) {
            Some(why) => println!("{defect:?}: {why}"),
            None => missed.push(defect),
        }
    }
    assert!(missed.is_empty(), "not found within {most} seeds: {missed:?}");
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
fn rollout(scene: Scene, blow: Option<(usize, Blow)>) -> Result<(usize, Vec<String>), String> {
    let mut sim = if scene.is_fresh() { Sim::new(&scene.text(), 7) } else { converged(scene) };
    sim.declare(&scene.last());
    let tell = |sim: &Sim, why: &str| format!("{scene:?}, {blow:?}: {why}\n{}", sim.tell());
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
    let mut failed = Vec::new();
    let scenes =
        [Scene::Shop, Scene::Three, Scene::Lone, Scene::Fresh, Scene::Ec2Fresh, Scene::Ec2Refresh, Scene::Ec2Three];
    for scene in scenes {
        let (actions, end) = rollout(scene, None).unwrap_or_else(|why| panic!("{why}"));
        println!("{scene:?}: {actions} actions");
        for at in 0..actions {
            let blows = match scene {
                // With three instances there is little that two do not show.
                Scene::Three | Scene::Ec2Three if at % 2 == 0 => vec![Blow::Twice],
                Scene::Three | Scene::Ec2Three => vec![Blow::Crash],
                Scene::Ec2Fresh | Scene::Ec2Refresh => vec![Blow::Crash, Blow::Twice, Blow::Unsent],
                _ => vec![Blow::Crash, Blow::Twice],
            };
            for blow in blows {
                match rollout(scene, Some((at, blow))) {
                    Ok((_, other)) if other == end => {}
                    Ok((_, other)) => failed.push(format!("{scene:?} at {at}, {blow:?}: {other:?}")),
                    Err(why) => failed.push(why),
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} failed; the first:\n{}", failed.len(), failed[0]);
}
