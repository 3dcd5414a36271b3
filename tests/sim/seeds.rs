//! Random seeds, with the reconciler as it is and with deliberate defects.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    crowd::each,
    defect::Defect,
    play::{Failed, Ran, run, tell},
    scene::Scene,
    script::{Cut, Script},
    shrink::shrink,
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Seeds that have found something, and where; they are always played.
const ONCE_FAILED: [(Scene, u64); 4] =
    [(Scene::Three, 151), (Scene::Three, 2706), (Scene::Ec2Shop, 2698), (Scene::Three, 3561)];

/// Of so many failures the least that still fails is looked for.
const SHRUNK: usize = 3;

/// How often is told how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Tally {
    seeds: u64,
    steps: u64,
    served: u64,
    lost: u64,
    failed: Vec<(Scene, u64)>,
}

struct Progress {
    began: Instant,
    told: Mutex<Instant>,
    tally: Mutex<Tally>,
    all: usize,
}

impl Progress {
    fn of(all: usize) -> Progress {
        let began = Instant::now();
        Progress { began, told: Mutex::new(began), tally: Mutex::default(), all }
    }

    fn note(&self, script: &Script, ran: &Result<Ran, Failed>) -> usize {
        let mut tally = self.tally.lock().expect("no run panics");
        tally.seeds += 1;
        match ran {
            Ok(ran) => {
                tally.steps += ran.steps;
                tally.served += ran.served;
                tally.lost += ran.lost;
            }
            Err(_) => tally.failed.push((script.scene, script.seed)),
        }
        let mut told = self.told.lock().expect("no run panics");
        if told.elapsed() >= PROGRESS {
            *told = Instant::now();
            println!("{}", self.words(&tally));
        }
        tally.failed.len()
    }

    fn words(&self, tally: &Tally) -> String {
        let took = self.began.elapsed().as_secs_f64();
        format!(
            "{} of {} seeds, {} steps in {took:.0}s ({:.0} steps/s), {} failed; {} requests, {} lost by injected faults alone",
            tally.seeds,
            self.all,
            tally.steps,
            tally.steps as f64 / took,
            tally.failed.len(),
            tally.served,
            tally.lost,
        )
    }
}

fn replay(script: &Script, cut: &Cut) -> String {
    format!("make sim SEED={} SCENE={:?} CUT={cut}", script.seed, script.scene)
}

/// The shortest trace of a failure, and how to play it again.
fn explain(script: &Script, failed: Failed) -> String {
    let (cut, _) = shrink(script, None, failed);
    let Err(failed) = tell(&script.cut(&cut), None) else { return "it cannot be played again".into() };
    format!("{}\n{}\nplay it again: {}", failed.trace.join("\n"), failed.why, replay(script, &cut))
}

#[test]
fn random_seeds() {
    if let Some(seed) = number("SIM_SEED") {
        let scene = text("SIM_SCENE").map_or(Scene::of(seed), |name| {
            Scene::ALL.into_iter().find(|scene| format!("{scene:?}") == name).expect("a scene")
        });
        let cut: Cut = text("SIM_CUT").map_or(Cut::default(), |cut| cut.parse().expect("what a failure told"));
        match tell(&Script::of(scene, seed).cut(&cut), None) {
            Ok(ran) => println!("{scene:?}, seed {seed}: {} steps, nothing failed", ran.steps),
            Err(failed) => panic!("{}\n{}", failed.trace.join("\n"), failed.why),
        }
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(2_000);
    let first = number("SIM_FIRST").unwrap_or(1);
    let random = (first..first + seeds).map(|seed| (Scene::of(seed), seed));
    let all: Vec<(Scene, u64)> = ONCE_FAILED.into_iter().chain(random).collect();
    let progress = Progress::of(all.len());
    each(all.len(), |at| {
        let script = Script::of(all[at].0, all[at].1);
        let ran = run(&script, None);
        let failures = progress.note(&script, &ran);
        if let Err(failed) = ran {
            let when = failed.at as f64 / 1000.0;
            println!("seed {}, {:?}, {when:.1}s: {}", script.seed, script.scene, failed.why);
            if failures <= SHRUNK {
                println!("{}", explain(&script, failed));
            }
        }
    });
    let tally = progress.tally.lock().expect("no run panics");
    println!("{}", progress.words(&tally));
    assert!(tally.failed.is_empty(), "{} of {} seeds failed: {:?}", tally.failed.len(), tally.seeds, tally.failed);
}

#[test]
fn every_defect_is_found() {
    let most = number("SIM_MOST").unwrap_or(2_000);
    let named = text("SIM_DEFECT");
    let all: Vec<Defect> =
        Defect::ALL.into_iter().filter(|it| named.as_ref().is_none_or(|name| format!("{it:?}") == *name)).collect();
    let found = each(all.len(), |at| {
        let defect = all[at];
        let seeds = (1..=most).map(|seed| (Scene::of(seed), seed)).filter(|(scene, _)| defect.shows_in(*scene));
        let mut failures = seeds.filter_map(|(scene, seed)| {
            let failed = run(&Script::of(scene, seed), Some(defect)).err()?;
            Some(format!("seed {seed}, {scene:?}: {}", failed.why))
        });
        failures.next()
    });
    let missed: Vec<&Defect> = all
        .iter()
        .zip(&found)
        .filter(|(defect, found)| {
            println!("{defect:?}: {}", found.as_deref().unwrap_or("NOT FOUND"));
            found.is_none()
        })
        .map(|(defect, _)| defect)
        .collect();
    assert!(missed.is_empty(), "not found within {most} seeds: {missed:?}");
}
