//! What is to go wrong in a run, drawn from its seed before it begins, so that parts of it can be left out.

use std::{fmt, str::FromStr};

use crate::{dice::Dice, real::Ms, scene::Scene};

/// One fault, or one change of mind; which one follows from its own dice.
#[derive(Debug, Clone, Copy)]
pub struct Shot {
    pub at: Ms,
    pub dice: u64,
}

/// See the module. Times are from the beginning of the run.
#[derive(Debug, Clone)]
pub struct Script {
    pub scene: Scene,
    pub seed: u64,
    /// One in so many actions does not end well; 0: all do.
    pub trouble: u64,
    /// One in so many actions is the last thing that a controller does; 0: none is.
    pub crashes: u64,
    /// Many a launch is, likewise.
    pub crashes_at_launch: bool,
    /// How often the controller looks while something is waited for.
    pub poll: Ms,
    /// How long a target may drain.
    pub drains: Ms,
    /// How old is what is read at first.
    pub hazy: Ms,
    pub shots: Vec<Shot>,
    /// When the faults stop.
    pub until: Ms,
}

/// What is left of a script.
#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// The numbers of the shots; nothing: all of them.
    pub keep: Option<Vec<usize>>,
    /// Every action ends well.
    pub calm: bool,
    pub until: Option<Ms>,
}

impl Script {
    pub fn of(scene: Scene, seed: u64) -> Script {
        let mut dice = Dice::derived(seed, "script", 0);
        let slow = if scene.on_ec2() { 2 } else { 1 };
        let until = dice.between(40_000, 200_000) * slow;
        let gap = [15_000, 40_000, 100_000][dice.below(3) as usize];
        let mut shots = Vec::new();
        let mut at = dice.between(0, gap);
        while at < until {
            shots.push(Shot { at, dice: dice.below(u64::MAX) });
            at += dice.between(0, 2 * gap);
        }
        Script {
            scene,
            seed,
            trouble: [0, 30, 12, 6][dice.below(4) as usize],
            crashes: [0, 0, 40, 12][dice.below(4) as usize],
            crashes_at_launch: scene.on_ec2() && dice.one_in(3),
            poll: dice.between(1_000, 8_000) * slow,
            drains: if dice.one_in(3) { 300_000 } else { 60_000 },
            hazy: if scene.is_fresh() && dice.one_in(2) { dice.between(1_000, 9_000) } else { 0 },
            shots,
            until,
        }
    }

    pub fn cut(&self, cut: &Cut) -> Script {
        let mut script = self.clone();
        if let Some(keep) = &cut.keep {
            script.shots = keep.iter().filter_map(|number| self.shots.get(*number).copied()).collect();
        }
        if cut.calm {
            (script.trouble, script.crashes, script.crashes_at_launch) = (0, 0, false);
        }
        script.until = cut.until.unwrap_or(script.until);
        script
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keep {
            None => f.write_str("all")?,
            Some(keep) if keep.is_empty() => f.write_str("none")?,
            Some(keep) => f.write_str(&keep.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))?,
        }
        if self.calm {
            f.write_str("/calm")?;
        }
        self.until.map_or(Ok(()), |until| write!(f, "/{until}"))
    }
}

impl FromStr for Cut {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Cut, Self::Err> {
        let mut cut = Cut::default();
        for (at, part) in text.split('/').enumerate() {
            match part {
                "all" => {}
                "none" => cut.keep = Some(Vec::new()),
                "calm" => cut.calm = true,
                numbers if at == 0 => {
                    cut.keep = Some(numbers.split(',').map(str::parse).collect::<Result<_, _>>()?);
                }
                until => cut.until = Some(until.parse()?),
            }
        }
        Ok(cut)
    }
}
