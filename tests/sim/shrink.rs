//! From a run that fails to the least that still fails in the same way.

use crate::{
    defect::Defect,
    play::{Failed, run},
    real::Ms,
    script::{Cut, Script},
};

/// So many runs are spent on it at most.
const RUNS: usize = 300;

/// What sort of failure it is: hostnames, numbers and times differ from run to run.
fn kind(why: &str) -> String {
    let words = why.split([':', ';', '{', '[']).next().unwrap_or(why);
    words.chars().filter(|c| !c.is_ascii_digit()).collect()
}

struct Shrinker<'a> {
    script: &'a Script,
    defect: Option<Defect>,
    kind: String,
    left: usize,
    best: (Cut, Failed),
}

impl Shrinker<'_> {
    /// Whether it still fails so.
    fn takes(&mut self, cut: Cut) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        match run(&self.script.cut(&cut), self.defect) {
            Err(failed) if kind(&failed.why) == self.kind => {
                self.best = (cut, failed);
                true
            }
            _ => false,
        }
    }

    /// Leaves out as many faults as can be: half of them, a quarter, …, one by one.
    fn fewer(&mut self) {
        let mut size = self.script.shots.len().div_ceil(2);
        loop {
            let mut at = 0;
            loop {
                let keep = self.kept();
                if at >= keep.len() {
                    break;
                }
                let rest = keep.iter().enumerate().filter(|(place, _)| *place < at || *place >= at + size);
                let rest = rest.map(|(_, number)| *number).collect();
                if !self.takes(Cut { keep: Some(rest), ..self.best.0.clone() }) {
                    at += size;
                }
            }
            if size <= 1 {
                return;
            }
            size /= 2;
        }
    }

    fn kept(&self) -> Vec<usize> {
        self.best.0.keep.clone().unwrap_or_else(|| (0..self.script.shots.len()).collect())
    }

    /// Lets the faults stop as early as can be.
    fn sooner(&mut self) {
        let mut until: Ms = self.kept().last().map_or(1, |last| self.script.shots[*last].at + 1);
        while until < self.script.until {
            if self.takes(Cut { until: Some(until), ..self.best.0.clone() }) {
                return;
            }
            until = until * 2 + 5_000;
        }
    }
}

/// The least that is left of a script that fails in the same way, and how it fails then.
pub fn shrink(script: &Script, defect: Option<Defect>, failed: Failed) -> (Cut, Failed) {
    let kind = kind(&failed.why);
    let mut it = Shrinker { script, defect, kind, left: RUNS, best: (Cut::default(), failed) };
    it.takes(Cut { calm: true, ..Cut::default() });
    it.fewer();
    it.sooner();
    if !it.best.0.calm {
        it.takes(Cut { calm: true, ..it.best.0.clone() });
    }
    it.best
}
