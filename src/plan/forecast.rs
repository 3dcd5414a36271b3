//! What will happen: the plan played forward in an ideal world, where every action succeeds and everything that
//! is waited for comes about.
//!
//! This is how every step of a rollout, with its order and what it waits for, can be shown before the first one is
//! taken, without a second planner that could disagree with the first.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use serde::Serialize;

use super::{Facts, Plan, imagine::World, plan};
use crate::{
    action::{Action, Lane},
    spec::Desired,
    status::Hold,
    world::Observed,
};

/// More steps than any real stack needs; a forecast that is not over by then says so.
const MOST_STEPS: usize = 20_000;

/// One step of the forecast.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// From 1.
    pub number: usize,
    /// What is done; the actions of one number may run side by side.
    pub action: Action,
    /// What had to come about before it.
    pub after: Vec<String>,
}

/// The whole way from what was seen to what is declared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// What would still be waited for at the end, were everything to go well; normally nothing.
    pub stuck_on: Vec<Hold>,
    /// The plan at the end; its conditions are those that will remain.
    pub end: Plan,
}

/// Every step on a line of its own; what is done side by side has one number.
impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = 0;
        for step in &self.steps {
            if step.number == number {
                writeln!(f, "        {}", step.action)?;
                continue;
            }
            number = step.number;
            for after in &step.after {
                writeln!(f, "        … {after}")?;
            }
            writeln!(f, "  {number:>4}  {}", step.action)?;
        }
        Ok(())
    }
}

/// Plays the plan forward.
pub fn forecast(desired: &Desired, seen: &Observed, facts: &Facts, now: Timestamp) -> Forecast {
    let mut world = World::new(seen.clone(), now);
    let mut facts = Facts { busy: BTreeSet::new(), idle: true, ..facts.clone() };
    let mut steps: Vec<Step> = Vec::new();
    let mut waited: Vec<String> = Vec::new();
    let mut number = 0;
    let mut pauses = 0;
    loop {
        facts.note(desired, &world.seen, world.now);
        let next = plan(desired, &world.seen, &facts, world.now);
        // What is put on record is no step: it shows in those that follow from it.
        if facts.record_all(&next.actions, world.now) {
            continue;
        }
        if !next.actions.is_empty() && steps.len() < MOST_STEPS {
            number += 1;
            let mut lanes: BTreeSet<Lane> = BTreeSet::new();
            for action in next.actions {
                if lanes.insert(action.lane()) {
                    world.carry_out(&action);
                    steps.push(Step { number, action, after: waited.clone() });
                }
            }
            waited.clear();
        } else if next.is_done() || pauses > MOST_STEPS || !world.let_time_pass(desired, &next) {
            return Forecast { steps, stuck_on: next.holds.clone(), end: next };
        } else {
            pauses += 1;
            for hold in &next.holds {
                let text = format!("{} waits for {}", hold.subject, hold.on);
                if !waited.contains(&text) {
                    waited.push(text);
                }
            }
        }
    }
}
