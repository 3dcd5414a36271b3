//! Whether a running container may be taken away: the budget of a layer.

use std::collections::BTreeSet;

use super::{
    Plan,
    asked::waits_for_resume,
    drain::Drained,
    ec2,
    node::Look,
    standing::Standing,
    strategy::Strategy,
    view::{Desk, View},
};
use crate::{
    action::{Guard, Lane},
    spec::container::Way,
    status::Kind,
    world::Target,
};

/// Whether, and how, a running container may be taken away.
pub(super) enum Permit {
    /// Now; the guard is checked again just before.
    Granted(Option<Guard>),
    /// Not yet; the plan says why.
    Withheld,
    /// Not as things are, which need not hold up the containers after it; the plan says why.
    Refused,
}

impl Desk<'_> {
    /// The permission for one step; the plan says what is waited for when it is withheld.
    pub(super) fn permit(
        &self,
        plan: &mut Plan,
        views: &[View<'_>],
        at: usize,
        serves: bool,
        look: Option<&Look<'_>>,
        taken: &mut BTreeSet<usize>,
    ) -> Permit {
        if let Some(look) = look.filter(|look| look.paused) {
            plan.hold(views[at].hostname(), waits_for_resume(&look.slot.app.name), None);
            return Permit::Refused;
        }
        if self.wait_for_pulls(plan, &views[at]) {
            // What is out meanwhile can serve as it is, unless the controller before this one, killed a moment ago, may
            // have had a container of it stopped.
            if !self.facts.is_new(self.now) {
                self.put_back(plan, &views[at]);
            }
            return Permit::Withheld;
        }
        match self.strategy(&views[at], serves, look) {
            Strategy::NoDrain | Strategy::StartFirst => self.permit_quiet(plan, views, at, taken),
            strategy => self.permit_serving(plan, views, at, look, strategy, taken),
        }
    }

    /// Every balancer was asked, and none sends it requests or lets it finish any.
    fn is_idle(&self, view: &View<'_>) -> bool {
        !matches!(view.standing, Standing::Unknown | Standing::NoBalancers)
            && self
                .layer
                .load_balancers
                .iter()
                .all(|balancer| matches!(self.target(balancer.name(), view), None | Some(Target::OutOfService(_))))
    }

    /// Work on it is under way, as seen or as begun a moment ago.
    fn is_worked_on(&self, view: &View<'_>) -> bool {
        view.is_in_hand() || self.is_beyond_reach(view)
    }

    /// The same, as far as requests are concerned.
    fn is_worked_on_for_traffic(&self, view: &View<'_>) -> bool {
        view.is_in_hand_for_traffic() || self.is_beyond_reach(view)
    }

    /// Something was begun a moment ago and may not show yet, or nothing shows at all.
    fn is_beyond_reach(&self, view: &View<'_>) -> bool {
        view.engine.is_none() || self.facts.busy.contains(&Lane::Node(view.hostname().to_owned()))
    }

    /// Not to be counted on while the one at hand is out: it lacks a place that the one at hand has.
    fn is_unavailable(&self, other: &View<'_>, at_hand: &View<'_>) -> bool {
        // Where neither serves well and both want the same permission, they would wait for each other.
        let waits_likewise = !at_hand.serves_well() && other.waits_for_permission();
        (other.is_in_hand_for_traffic() && !waits_likewise)
            || self.is_beyond_reach(other)
            || self.soaks_until(other).is_some()
            || match other.standing {
                Standing::Unknown => true,
                Standing::NoBalancers => !other.serves_well(),
                _ => self.layer.load_balancers.iter().any(|balancer| {
                    self.gets_requests(balancer.name(), at_hand) && !self.gets_requests(balancer.name(), other)
                }),
            }
    }

    /// The other instances that are out, by name.
    fn others_out(
        &self,
        views: &[View<'_>],
        at: usize,
        taken: &BTreeSet<usize>,
        is_out: impl Fn(&View<'_>) -> bool,
    ) -> Vec<String> {
        let mut out: Vec<String> = views
            .iter()
            .enumerate()
            .filter(|(i, view)| *i != at && (taken.contains(i) || is_out(view)))
            .map(|(_, view)| view.hostname().to_owned())
            .collect();
        for missing in views.len()..self.layer.instances.count as usize {
            out.push(format!("an instance not created yet (number {})", missing + 1));
        }
        out
    }

    /// How many others would serve while this one is out, behind the balancer for which they are fewest.
    fn others_in(&self, views: &[View<'_>], at: usize, taken: &BTreeSet<usize>) -> u32 {
        let others = || {
            let reliable = views.iter().enumerate().filter(|(i, _)| *i != at && !taken.contains(i));
            reliable.map(|(_, view)| view).filter(|view| !self.is_worked_on_for_traffic(view) && view.serves_well())
        };
        let balancers = self.layer.load_balancers.iter().map(|balancer| balancer.name());
        let fewest = balancers
            .filter(|name| self.gets_requests(name, &views[at]))
            .map(|name| others().filter(|view| self.gets_requests(name, view)).count())
            .min();
        u32::try_from(fewest.unwrap_or_else(|| others().count())).unwrap_or(u32::MAX)
    }

    /// A container that serves nobody is swapped without draining, on as many instances at once as may be out.
    fn permit_quiet(&self, plan: &mut Plan, views: &[View<'_>], at: usize, taken: &mut BTreeSet<usize>) -> Permit {
        let out =
            self.others_out(views, at, taken, |other| self.is_worked_on(other) || self.soaks_until(other).is_some());
        let is_out = matches!(views[at].standing, Standing::Out | Standing::Draining(_));
        if out.len() >= self.rollout.max_unavailable as usize && !is_out {
            plan.hold(views[at].hostname(), format!("its turn: {} first", out.join(", ")), None);
            return Permit::Withheld;
        }
        taken.insert(at);
        Permit::Granted(None)
    }

    fn wait_for_pulls(&self, plan: &mut Plan, view: &View<'_>) -> bool {
        if self.pulls.is_empty() {
            return false;
        }
        plan.hold(view.hostname(), self.pulls.join(", "), None);
        true
    }

    fn permit_serving(
        &self,
        plan: &mut Plan,
        views: &[View<'_>],
        at: usize,
        look: Option<&Look<'_>>,
        strategy: Strategy,
        taken: &mut BTreeSet<usize>,
    ) -> Permit {
        let view = &views[at];
        // What is not up serves nobody where no balancer sends anything. One that is registered could be taken in at
        // any moment, should it come up after all: it leaves first. Should it have come up by then, and be needed, its
        // deregistration is refused.
        if look.is_some_and(|look| !look.up) && self.is_idle(view) {
            taken.insert(at);
            if view.standing == Standing::Out {
                return Permit::Granted(None);
            }
            return match self.drained(plan, view) {
                Drained::NotYet => Permit::Withheld,
                Drained::Yes | Drained::TimedOut => Permit::Granted(self.guard(view, true)),
            };
        }
        if let Some(elsewhere) = ec2::balancers::elsewhere(self.layer, self.seen) {
            if elsewhere.moves {
                plan.torn.insert(self.layer.short_name.clone());
            }
            plan.hold(view.hostname(), elsewhere.said, None);
            return Permit::Refused;
        }
        if !matches!(strategy, Strategy::Drain | Strategy::Surge) {
            return self.permit_in_place(plan, views, at, look, strategy, taken);
        }
        if matches!(view.standing, Standing::Unknown) {
            plan.hold(view.hostname(), "a clear answer from its load balancers", None);
            return Permit::Refused;
        }
        // An instance that is out already is finished first; only one that serves must fit the budget.
        let serving = match view.standing {
            Standing::NoBalancers => view.serves_well(),
            _ => self.layer.load_balancers.iter().any(|balancer| self.gets_requests(balancer.name(), view)),
        };
        if serving {
            let out = self.others_out(views, at, taken, |other| self.is_unavailable(other, view));
            if out.len() >= self.rollout.max_unavailable as usize {
                let on = format!(
                    "{} to be back in service (maxUnavailable {})",
                    out.join(", "),
                    self.rollout.max_unavailable
                );
                plan.hold(view.hostname(), on, None);
                return Permit::Withheld;
            }
            let others = self.others_in(views, at, taken);
            // One that does not serve well itself is no loss to the others.
            if others < self.rollout.min_in_service && view.serves_well() {
                plan.hold(
                    view.hostname(),
                    format!("{} other instances in service, {others} are (minInService)", self.rollout.min_in_service),
                    None,
                );
                return Permit::Withheld;
            }
        }
        taken.insert(at);
        match self.drained(plan, view) {
            Drained::Yes => Permit::Granted(self.guard(view, true)),
            Drained::TimedOut => Permit::Granted(self.guard(view, false)),
            Drained::NotYet => Permit::Withheld,
        }
    }

    fn refusal(&self, view: &View<'_>, look: &Look<'_>) -> String {
        let (name, hostname, keep) = (&look.slot.name, view.hostname(), self.rollout.min_in_service);
        let few = format!("without that instance fewer than minInService ({keep}) would serve");
        let (why, help) = match look.slot.container.strategy {
            Some(Way::InPlace) => {
                (format!("it is the only replica on {hostname}, and strategy: inPlace is declared"), "Add a replica")
            }
            Some(Way::Drain) => (format!("strategy: drain is declared, and {few}"), "Add an instance"),
            _ => (format!("it is the only replica on {hostname}, and {few}"), "Add an instance or a replica"),
        };
        format!("{name} must be replaced, but {why}. {help}, or set allowDowntime: true on the container")
    }

    /// The instance stays in; its replicas are swapped one at a time.
    fn permit_in_place(
        &self,
        plan: &mut Plan,
        views: &[View<'_>],
        at: usize,
        look: Option<&Look<'_>>,
        strategy: Strategy,
        taken: &mut BTreeSet<usize>,
    ) -> Permit {
        let view = &views[at];
        if view.standing == Standing::Out {
            taken.insert(at);
            return match self.drained(plan, view) {
                Drained::Yes => Permit::Granted(self.guard(view, true)),
                Drained::NotYet | Drained::TimedOut => Permit::Withheld,
            };
        }
        if matches!(view.standing, Standing::Draining(_) | Standing::Partly(_)) {
            self.put_back(plan, view);
        }
        let wanted = self.rollout.min_in_service.min(self.layer.instances.count);
        if self.others_in(views, at, taken) + 1 < wanted && view.serves_well() {
            plan.hold(view.hostname(), "the other instances to be in service", None);
            return Permit::Withheld;
        }
        let soaks = |(i, other): &(usize, &View<'_>)| *i != at && self.soaks_until(other).is_some();
        if let Some((_, other)) = views.iter().enumerate().find(soaks).filter(|_| view.serves_well()) {
            plan.hold(view.hostname(), format!("its turn: {} first", other.hostname()), None);
            return Permit::Withheld;
        }
        taken.insert(at);
        let Some(look) = look.filter(|look| look.up) else { return Permit::Granted(None) };
        if look.slot.container.allow_downtime {
            return Permit::Granted(None);
        }
        let siblings: Vec<&Look<'_>> = view.looks.iter().filter(|other| other.is_sibling(look)).collect();
        if strategy == Strategy::Refused {
            plan.condition(Kind::Refused, format!("{}/{}", view.hostname(), look.slot.name), self.refusal(view, look));
            return Permit::Refused;
        }
        if let Some(down) = siblings.iter().find(|other| !other.up) {
            plan.hold(
                view.hostname(),
                format!("{} to be healthy before {} is touched", down.slot.name, look.slot.name),
                None,
            );
            return Permit::Refused;
        }
        // What sends the requests on inside the instance (a haproxy, say) needs a moment to see that they are up.
        let up_since = siblings.iter().filter_map(|other| self.facts.up_since.get(other.id.as_ref()?)).max();
        let (settle, soak) = (self.rollout.settle, self.rollout.soak);
        let until = up_since.copied().unwrap_or(self.now) + settle.max(soak);
        if self.now < until {
            let what = if settle >= soak { "be taken up again (rollout.settle)" } else { "do well (rollout.soak)" };
            let sibling = siblings.first().map_or("its sibling", |sibling| sibling.slot.name.as_str());
            plan.hold(view.hostname(), format!("{sibling} to {what}"), Some(until));
            return Permit::Withheld;
        }
        Permit::Granted(None)
    }
}
