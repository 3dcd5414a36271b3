//! One controller's mind: all that is gone when it is killed.

use std::collections::BTreeMap;

use evenkeel::{
    action::{Action, Lane},
    plan::{Facts, Plan},
    world::{Class, Provided, Trouble},
};

use crate::real::Ms;

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

/// An action under way.
#[derive(Clone)]
pub struct Running {
    pub action: Action,
    pub effect_at: Ms,
    pub done_at: Ms,
    pub ending: Ending,
    pub result: Option<Result<(), Trouble>>,
}

/// See the module.
#[derive(Clone, Default)]
pub struct Mind {
    pub facts: Facts,
    pub running: BTreeMap<Lane, Running>,
    /// What AWS told last.
    pub last_cloud: Option<Provided>,
    /// What the last pass said.
    pub plan: Plan,
    /// When the next pass is due, whatever happens.
    pub wakes: Ms,
    /// How far its clock is from the true one, in milliseconds: what the wall said when it began. A clock that is set
    /// later does not concern it.
    pub skew: i64,
    /// It has never been given a manifest that is valid: whatever is there, it touches nothing.
    pub blank: bool,
}

impl Mind {
    /// A controller that has just begun.
    pub fn at_first() -> Mind {
        Mind { facts: Facts::at_first(), ..Mind::default() }
    }
}
