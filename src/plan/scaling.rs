//! How many instances a layer is to have whose number is not fixed.
//!
//! The number is put on record first, and everything else sees a layer that is declared with it: so instances come and
//! go as if somebody had changed `count`, the new ones serve once they are healthy, and those that leave are drained out
//! of every balancer, the newest first. Both providers go by the same rules here. OpsWorks' own scaling is kept switched
//! off: it knows nothing of target groups, nor of rollouts, and two hands must not scale one fleet.
//!
//! A crash between two steps is harmless, and so is a store that was lost: without a record the number of instances that
//! are up counts, and is put on record. Only since when a threshold is crossed is remembered and not recorded: a
//! controller that has just begun waits for the whole time anew.

mod load;
mod rest;

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;

pub use load::Since;

use self::load::Average;
use super::{Facts, Plan, fleet, subject};
use crate::{
    action::{Action, Scaled},
    spec::{Desired, Layer, scaling::Scaling},
    status::{Kind, NextHours, ScalingStatus},
    world::{Observed, Rest, Seen},
};

/// What is declared, with the number of instances that each layer is to have now.
pub(super) fn sized<'a>(desired: &'a Desired, seen: &Observed, facts: &Facts) -> Cow<'a, Desired> {
    if desired.stack.layers.iter().all(|layer| layer.instances.scaling.is_none()) {
        return Cow::Borrowed(desired);
    }
    let mut sized = desired.clone();
    for layer in &mut sized.stack.layers {
        let Some(scaling) = &layer.instances.scaling else { continue };
        let count = match facts.scaled.get(&layer.short_name) {
            Some(scaled) => scaled.count,
            None => found(layer, seen),
        };
        layer.instances.count = count.clamp(scaling.min, scaling.max);
        for app in sized.apps.iter_mut().filter(|app| app.layer == layer.short_name) {
            app.rollout = app.rollout.clone().scaled(layer.instances.count);
        }
    }
    Cow::Owned(sized)
}

/// How many instances there are and stay.
fn found(layer: &Layer, seen: &Observed) -> u32 {
    let members = fleet::members(layer, seen);
    let stays = members.iter().filter(|(_, instance)| fleet::phase(&instance.status) != fleet::Phase::Stopping);
    u32::try_from(stays.count()).unwrap_or(u32::MAX)
}

/// Decides for every layer that is scaled, once everything else is planned: `desired` is what [`sized`] made of it.
pub(super) fn plan(plan: &mut Plan, desired: &Desired, seen: &Observed, facts: &Facts, now: Timestamp) {
    for layer in &desired.stack.layers {
        let Some(scaling) = &layer.instances.scaling else { continue };
        if fleet::is_managed(desired, layer, seen) {
            One { desired, layer, scaling, seen, facts, now }.plan(plan);
        }
    }
    let is_scaled = |short: &String| {
        desired.stack.layers.iter().any(|it| it.short_name == *short && it.instances.scaling.is_some())
    };
    for layer in facts.scaled.keys().filter(|short| !is_scaled(short)) {
        let action = Action::ForgetScale { layer: layer.clone() };
        plan.attempt(&subject::layer(layer), action, facts, now);
    }
}

/// How soon it is looked again for figures that are yet to come.
const SOON: Duration = Duration::from_secs(1);

/// What comes of a look at one layer.
enum Decision {
    /// From now on so many, and why.
    To(u32, String),
    /// Not yet: what is waited for, and when it is over at the latest.
    Wait(String, Option<Timestamp>),
    /// It is right as it is.
    Stay,
}

/// One layer.
struct One<'a> {
    desired: &'a Desired,
    layer: &'a Layer,
    scaling: &'a Scaling,
    seen: &'a Observed,
    facts: &'a Facts,
    now: Timestamp,
}

impl One<'_> {
    fn count(&self) -> u32 {
        self.layer.instances.count
    }

    fn record(&self) -> Option<&Scaled> {
        self.facts.scaled.get(&self.layer.short_name)
    }

    /// At this hour.
    fn floor(&self) -> u32 {
        let hours = self.scaling.schedule.as_ref().map_or(0, |calendar| calendar.at(self.now));
        self.scaling.min.max(hours).min(self.scaling.max)
    }

    /// What nothing but the manifest and the clock goes below. A share of the instances goes down with them.
    fn lowest(&self) -> u32 {
        let apps = self.desired.apps.iter().filter(|app| app.is_docker() && app.layer == self.layer.short_name);
        let fixed = apps.filter(|app| app.rollout.share.min_in_service.is_none());
        let kept = fixed.map(|app| app.rollout.min_in_service).max().unwrap_or_default();
        self.floor().max(kept.min(self.scaling.max))
    }

    fn plan(&self, plan: &mut Plan) {
        let subject = subject::layer(&self.layer.short_name);
        let average = self.scaling.load.as_ref().map(|rules| load::average(self.layer, rules, self.seen, self.now));
        if let Some(message) = average.as_ref().and_then(Average::lacks) {
            plan.condition(Kind::LoadUnknown, &subject, message);
        }
        let waits = match self.decide(plan, average.as_ref()) {
            Decision::To(count, why) => {
                let (layer, from) = (self.layer.short_name.clone(), self.record().map_or(count, |it| it.count));
                let scaled = Scaled { layer, from, count, at: self.now, why };
                plan.attempt(&subject, Action::Scale { scaled }, self.facts, self.now);
                None
            }
            Decision::Wait(on, until) => {
                plan.wake(until, self.now);
                let until = until.map_or_else(String::new, |at| format!(" (until {})", at.strftime("%H:%M:%S")));
                Some(format!("{on}{until}"))
            }
            Decision::Stay => None,
        };
        let next = self.scaling.schedule.as_ref().and_then(|calendar| calendar.next(self.now));
        plan.wake(next.map(|(at, _)| at), self.now);
        if let (Some(average), Some(rules)) = (&average, &self.scaling.load) {
            plan.wake(Some(average.due(rules, self.now)), self.now);
        }
        let min = |hours: u32| self.scaling.min.max(hours).min(self.scaling.max);
        plan.scaling.push(ScalingStatus {
            layer: self.layer.short_name.clone(),
            count: self.count(),
            min: self.lowest(),
            max: self.scaling.max,
            why: self.record().map(|it| it.why.clone()),
            since: self.record().map(|it| it.at),
            load: average.map(|it| it.shown()),
            waits,
            next: next.map(|(at, hours)| NextHours { at, min: min(hours) }),
        });
    }

    fn decide(&self, plan: &Plan, average: Option<&Average>) -> Decision {
        let wait = |on: &str| Decision::Wait(on.to_owned(), None);
        if self.seen.stale.is_some() || self.seen.provided.instances.known().is_none() {
            return wait("a clear answer about the instances");
        }
        if let Some(on) = self.other_hand() {
            return wait(&on);
        }
        let (floor, max) = (self.floor(), self.scaling.max);
        let Some(record) = self.record() else {
            // One read that misses an instance is no reason to do with one less.
            if let Some(doubt) = self.facts.doubt(&format!("{}1", self.layer.short_name), self.now) {
                return Decision::Wait("another look at the instances".to_owned(), doubt.until);
            }
            let found = found(self.layer, self.seen);
            return match found {
                _ if found < floor => Decision::To(floor, self.hours(floor)),
                _ if found > max => Decision::To(max, format!("{found} were found, and the most is {max}")),
                _ => Decision::To(found, "so many were found".to_owned()),
            };
        };
        if record.count > max {
            return Decision::To(max, format!("the most is {max} now"));
        }
        if record.count < floor {
            return Decision::To(floor, self.hours(floor));
        }
        match (&self.scaling.load, average) {
            (Some(rules), Some(average)) => self.by_load(plan, record, rules, average),
            _ if record.count > self.lowest() => {
                let lowest = self.lowest();
                self.fewer(plan, lowest, self.hours(lowest))
            }
            _ => Decision::Stay,
        }
    }

    /// Why so many are the fewest at this hour.
    fn hours(&self, count: u32) -> String {
        let scheduled = self.scaling.schedule.as_ref().map_or(0, |calendar| calendar.at(self.now));
        match count {
            _ if count == scheduled && count > self.scaling.min => format!("at least {count} at this hour (schedule)"),
            _ if count > self.floor() => format!("at least {count} are to serve (minInService)"),
            _ => format!("at least {count} (min)"),
        }
    }

    /// OpsWorks scales the layer itself, or may.
    fn other_hand(&self) -> Option<String> {
        let Rest::OpsWorks(cloud) = &self.seen.provided.rest else { return None };
        let id = &fleet::seen_layer(self.layer, self.seen)?.id;
        match &cloud.load_scaling {
            Seen::Known(all) if all.get(id).is_some_and(|it| it.enabled) => {
                Some("OpsWorks' own load-based scaling to be switched off".to_owned())
            }
            Seen::Known(_) => None,
            Seen::Unknown(_) => Some("a clear answer about OpsWorks' own load-based scaling".to_owned()),
        }
    }
}
