//! Draining by evidence: whoever is still connected to an instance that its balancers say is out is let finish.
//!
//! A load balancer tells of its own requests. A client that reaches an instance past it, or one that passes connections
//! through and calls a target out when its time is up, is seen only where the connections end. An idle connection that
//! nobody closes counts as well, since nothing tells it from one on which an answer is awaited: so all of it is bounded
//! by `drainTimeout`, counted from the beginning of the drain.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Plan,
    view::{Desk, View},
};
use crate::{status::Kind, world::connections};

impl Desk<'_> {
    /// The containers that nobody is connected to, by name and id: that is asked again just before a stop.
    pub(super) fn unconnected(&self, view: &View<'_>) -> BTreeMap<String, String> {
        let Some(engine) = view.engine else { return BTreeMap::new() };
        let none = engine.connections.iter().filter(|(_, count)| **count == 0);
        none.filter_map(|(name, _)| Some((name.clone(), engine.containers.get(name)?.id.clone()))).collect()
    }

    /// True while somebody is connected and there is time left; the plan says who is waited for, or was given up.
    pub(super) fn waits_for_connections(&self, plan: &mut Plan, view: &View<'_>, out_since: Timestamp) -> bool {
        let hostname = view.hostname();
        let open: Vec<String> = view
            .engine
            .iter()
            .flat_map(|engine| &engine.connections)
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| format!("{} to {name}", connections(*count)))
            .collect();
        if open.is_empty() {
            return false;
        }
        let since = self.facts.draining_since.get(hostname).copied().unwrap_or(out_since);
        let until = since + self.rollout.drain_timeout;
        if self.now < until {
            plan.hold(hostname, format!("{} to end", open.join(", ")), Some(until));
            return true;
        }
        let message = format!(
            "its load balancers say that it is out, but {} had not ended after drainTimeout ({}s); the swap goes on",
            open.join(", "),
            self.rollout.drain_timeout.as_secs()
        );
        plan.condition(Kind::DrainTimedOut, hostname, message);
        false
    }
}
