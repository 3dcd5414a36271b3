//! Whether a layer is at rest: only then instances leave it.

use super::{Decision, One};
use crate::{
    plan::{Plan, fleet, lineup, subject},
    status::Kind,
    world::Instance,
};

impl One<'_> {
    /// Fewer instances, unless something goes on or is not as it should be.
    pub(super) fn fewer(&self, plan: &Plan, count: u32, why: String) -> Decision {
        match self.unrest(plan) {
            Some(on) => Decision::Wait(format!("{on}, before an instance leaves: {why}"), None),
            None => Decision::To(count, why),
        }
    }

    /// An instance that is on its way up, or yet to be made.
    pub(super) fn coming(&self) -> Option<String> {
        let members = fleet::members(self.layer, self.seen);
        let comes = |instance: &Instance| {
            fleet::phase(&instance.status) == fleet::Phase::Starting
                || instance.launched.as_ref().is_some_and(|it| fleet::bootstraps_until(it, self.now).is_some())
        };
        let coming = members.iter().find(|(_, instance)| comes(instance));
        match coming {
            Some((_, instance)) => Some(instance.hostname.clone()),
            None if members.len() < self.count() as usize => Some("the next instance".to_owned()),
            None => None,
        }
    }

    /// What goes on, or is not as it should be.
    fn unrest(&self, plan: &Plan) -> Option<String> {
        if plan.progress.contains_key(&self.layer.short_name) {
            return Some("the rollout to be over".to_owned());
        }
        let members = fleet::members(self.layer, self.seen);
        if members.len() != self.count() as usize {
            return Some(format!("{} instances instead of {}", self.count(), members.len()));
        }
        if let Some((_, instance)) = members.iter().find(|(_, it)| !lineup::serves(self.layer, it, self.seen)) {
            return Some(format!("{} to serve", instance.hostname));
        }
        let layer = subject::layer(&self.layer.short_name);
        let is_own = |subject: &str| {
            let host = subject.split('/').next().unwrap_or(subject);
            subject == layer || members.iter().any(|(_, instance)| instance.hostname == host)
        };
        if let Some(hold) = plan.holds.iter().find(|hold| is_own(&hold.subject)) {
            return Some(format!("{} ({})", hold.on, hold.subject));
        }
        let ails = |kind: Kind| matches!(kind, Kind::Unobservable | Kind::ActionFailed | Kind::Failing);
        let condition = plan.conditions.iter().find(|it| ails(it.kind) && is_own(&it.subject))?;
        Some(format!("{} to be well", condition.subject))
    }
}
