//! How long an instance that is done must do well before the rollout goes on.
//!
//! A container can be healthy and end with the first requests it gets. So the next instance is not touched, and the old
//! containers are not given up, before the new ones have been healthy, and their instance back in service, for
//! `rollout.soak`. One that ends or becomes unhealthy meanwhile has failed as a release: the old one is still there.

use jiff::Timestamp;

use super::{
    Plan,
    node::Need,
    standing::Standing,
    view::{Desk, View},
};

impl Desk<'_> {
    /// Until when an instance that is done is still being watched; nothing when it is not done, or was long enough.
    pub(super) fn soaks_until(&self, view: &View<'_>) -> Option<Timestamp> {
        let behind_balancers = match view.standing {
            Standing::InService => true,
            Standing::NoBalancers => false,
            _ => return None,
        };
        if view.looks.iter().any(|look| !look.done && !matches!(look.need, Need::Stuck(_))) {
            return None;
        }
        let new = view.looks.iter().filter(|look| look.swapping && look.done);
        let up = new.map(|look| look.id.as_ref().and_then(|id| self.facts.up_since.get(id)).copied());
        let up = up.map(|since| since.unwrap_or(self.now)).max()?;
        let back = self.facts.in_since.get(view.hostname()).copied().unwrap_or(self.now);
        let since = if behind_balancers { up.max(back) } else { up };
        Some(since + self.rollout.soak).filter(|until| *until > self.now)
    }

    /// Says what is waited for while an instance is watched.
    pub(super) fn soak(&self, plan: &mut Plan, view: &View<'_>) {
        if let Some(until) = self.soaks_until(view) {
            plan.hold(view.hostname(), "its new containers to do well for a while (rollout.soak)", Some(until));
        }
    }
}
