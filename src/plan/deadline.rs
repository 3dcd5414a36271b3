//! Whether a rollout gets on, or hangs, and on what.
//!
//! Every wait of a rollout says what it waits for, and those that can be bounded are. One that cannot, such as for a
//! load balancer that never takes an instance in, must not go on for ever unnoticed: a rollout in which no instance was
//! done for `progressDeadline`, beyond what a drain may take, is told. Nothing is stopped for it: what runs is healthy.

use std::collections::BTreeMap;

use super::{
    Facts, Plan,
    node::Need,
    progress::Progress,
    standing::Standing,
    view::{Desk, View},
};
use crate::{spec::Desired, status::Kind};

impl Facts {
    /// Takes note of how far the rollouts under way are. Each instance done gives the next one its whole time.
    pub fn advance(&mut self, plan: &Plan) {
        let before = std::mem::take(&mut self.progress);
        let kept = |(layer, now): (&String, &Progress)| {
            let earlier = before.get(layer).filter(|before| !now.is_beyond(before));
            (layer.clone(), earlier.unwrap_or(now).clone())
        };
        self.progress = plan.progress.iter().map(kept).collect::<BTreeMap<_, _>>();
    }
}

fn is_done(view: &View<'_>) -> bool {
    let stands = matches!(view.standing, Standing::InService | Standing::NoBalancers);
    view.engine.is_some() && stands && view.looks.iter().all(|look| look.done || matches!(look.need, Need::Stuck(_)))
}

impl Desk<'_> {
    /// Notes how far the rollout is, and tells when it hangs.
    pub(super) fn progress(&self, plan: &mut Plan, desired: &Desired, views: &[View<'_>]) {
        let mut looks = views.iter().flat_map(|view| &view.looks);
        let is_rolling = looks.any(|look| look.swapping || !(look.done || matches!(look.need, Need::Stuck(_))));
        let (done, left): (Vec<_>, Vec<_>) = views.iter().partition(|view| is_done(view));
        let is_paused =
            views.iter().flat_map(|view| &view.looks).any(|look| self.facts.paused(&look.slot.app.name).is_some());
        if !is_rolling || left.is_empty() || is_paused || desired.stack.suspend {
            return;
        }
        let done = done.into_iter().map(|view| view.hostname().to_owned()).collect();
        let layer = &self.layer.short_name;
        let now = Progress { revision: desired.revision.clone(), done, since: self.now };
        let since = self.facts.progress.get(layer).filter(|before| !now.is_beyond(before)).map(|before| before.since);
        plan.progress.insert(layer.clone(), now);
        let (deadline, drain) = (self.rollout.progress_deadline, self.rollout.drain_timeout);
        if since.is_none_or(|since| self.now < since + deadline + drain) {
            return;
        }
        let is_left = |subject: &str| left.iter().any(|view| view.hostname() == subject);
        let mut stuck: Vec<String> =
            plan.holds.iter().filter(|hold| is_left(&hold.subject)).map(|hold| hold.to_string()).collect();
        if stuck.is_empty() {
            stuck = left.iter().map(|view| format!("{} is not done", view.hostname())).collect();
        }
        let message = format!(
            "no other instance was done within {}s (progressDeadline, beyond drainTimeout): {}. What runs is left as it \
             is",
            (deadline + drain).as_secs(),
            stuck.join("; ")
        );
        plan.condition(Kind::ProgressDeadlineExceeded, format!("layer {layer}"), message);
    }
}
