//! Which instance of a layer may be disturbed, and when: draining, the budget, and putting back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Facts, Plan,
    collect::{Leftover, leftovers},
    fleet,
    node::{Look, Need, Scene, guarded, looks},
    releases::Releases,
    render::Place,
    slot::{Slot, slots},
    stack::seen_layer,
    traffic,
};
use crate::{
    action::{Action, EngineAction, Guard, Lane, Node},
    spec::{Desired, Layer, Rollout},
    status::Kind,
    world::{Engine, Observed, OwInstance, Seen, Target},
};

/// Where an instance stands with all its balancers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// There are none.
    NoBalancers,
    /// Every balancer sends it requests.
    InService,
    /// Some balancer does not, though it is registered with some: why.
    Partly(String),
    /// Some balancer lets its last requests finish, and no other one sends any.
    Draining(String),
    /// Registered with none.
    Out,
    /// Some balancer cannot be asked.
    Unknown,
}

/// One instance of the layer, as the rollout sees it.
struct View<'a> {
    instance: &'a OwInstance,
    node: Option<Node>,
    engine: Option<&'a Engine>,
    looks: Vec<Look<'a>>,
    leftovers: Vec<Leftover>,
    standing: Standing,
}

impl<'a> View<'a> {
    fn hostname(&self) -> &str {
        &self.instance.hostname
    }

    /// The slots that need something and are not held up by themselves: what is half done first. A replica is not
    /// taken away while another of the same container is held up.
    fn pending(&self) -> impl Iterator<Item = &Look<'a>> {
        let needy = |look: &&Look<'a>| match look.need {
            Need::Nothing | Need::Stuck(_) => false,
            Need::Swap(_) => !self.looks.iter().any(|other| other.stalled && other.is_sibling(look)),
            Need::Do(_) | Need::Wait { .. } => !look.stalled,
        };
        let is_needy = move |name: &String| self.looks.iter().any(|look| look.slot.name == *name && needy(&look));
        let first = move |look: &&Look<'a>| look.is_half_done() && !look.rendered.needs.iter().any(is_needy);
        let rest = self.looks.iter().filter(needy).filter(move |look| !first(look));
        self.looks.iter().filter(needy).filter(first).chain(rest)
    }

    /// Every container that serves traffic is up.
    fn serves_well(&self) -> bool {
        self.engine.is_some() && self.looks.iter().filter(|look| look.serves).all(|look| look.up)
    }

    /// Something on it is on its way, or half done.
    fn is_in_hand(&self) -> bool {
        matches!(self.pending().next().map(|look| &look.need), Some(Need::Do(_) | Need::Wait { .. }))
            || self.looks.iter().any(Look::is_half_done)
    }
}

/// The rollout settings of a layer: of several apps' the most careful.
fn careful(slots: &[Slot<'_>]) -> Rollout {
    let mut all = slots.iter().map(|slot| slot.app.rollout.clone());
    let first = all.next().unwrap_or_default();
    all.fold(first, |a, b| Rollout {
        min_in_service: a.min_in_service.max(b.min_in_service),
        max_unavailable: a.max_unavailable.min(b.max_unavailable),
        drain_timeout: a.drain_timeout.max(b.drain_timeout),
        settle: a.settle.max(b.settle),
        ..a
    })
}

fn standing(layer: &Layer, instance: &OwInstance, seen: &Observed) -> Standing {
    if layer.load_balancers.is_empty() {
        return Standing::NoBalancers;
    }
    let Some(ec2_id) = &instance.ec2_id else { return Standing::Out };
    let (mut serving, mut out, mut draining, mut absent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for balancer in &layer.load_balancers {
        let name = balancer.name();
        let Some(known) = seen.balancers.get(name).and_then(Seen::known) else { return Standing::Unknown };
        match known.targets.get(ec2_id) {
            Some(Target::InService) => serving.push(name),
            Some(Target::OutOfService(why)) => out.push(format!("{name} says it is out of service: {why}")),
            Some(Target::Draining) => draining.push(name),
            None => absent.push(name),
        }
    }
    if serving.len() == layer.load_balancers.len() {
        Standing::InService
    } else if absent.len() == layer.load_balancers.len() {
        Standing::Out
    } else if !draining.is_empty() && serving.is_empty() && out.is_empty() {
        Standing::Draining(draining.join(", "))
    } else if let Some(why) = out.into_iter().next() {
        Standing::Partly(why)
    } else {
        Standing::Partly(format!("it is not registered with {}", absent.first().unwrap_or(&"all of them")))
    }
}

/// Whether, and how, a running container may be taken away.
enum Permit {
    /// Now; the guard is checked again just before.
    Granted(Option<Guard>),
    /// Not yet; the plan says why.
    Withheld,
    /// Not as things are, which need not hold up the containers after it; the plan says why.
    Refused,
}

struct Desk<'a> {
    layer: &'a Layer,
    seen: &'a Observed,
    facts: &'a Facts,
    now: Timestamp,
    rollout: Rollout,
    /// The pulls under way.
    pulls: Vec<String>,
}

pub(super) fn plan(plan: &mut Plan, desired: &Desired, layer: &Layer, seen: &Observed, facts: &Facts, now: Timestamp) {
    let Some(found) = seen_layer(layer, seen) else { return };
    if !found.ours && !desired.stack.adopt {
        return;
    }
    let slots = slots(desired, layer);
    if slots.is_empty() {
        return;
    }
    let members = fleet::members(layer, seen);
    let staying: Vec<&OwInstance> = members
        .iter()
        .filter(|(index, _)| !fleet::is_leaving(layer, &members, *index))
        .map(|(_, instance)| *instance)
        .collect();
    for balancer in &layer.load_balancers {
        if let Some(Seen::Unknown(trouble)) = seen.balancers.get(balancer.name()) {
            plan.unobservable(&format!("load balancer {}", balancer.name()), trouble);
        }
    }
    let mut desk = Desk { layer, seen, facts, now, rollout: careful(&slots), pulls: Vec::new() };
    let mut views = desk.views(plan, desired, &slots, &staying);
    wait_for_failed_pulls(&mut views, facts);
    sweep(desired, layer, &mut views);

    for view in &views {
        desk.pull(plan, view);
    }
    let mut taken = BTreeSet::new();
    for at in 0..views.len() {
        desk.instance(plan, &views, at, &mut taken);
    }
}

/// A container whose new image cannot be had on one instance is replaced on none.
fn wait_for_failed_pulls(views: &mut [View<'_>], facts: &Facts) {
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    for view in views.iter() {
        for image in view.looks.iter().filter_map(|look| look.missing_image.as_ref()) {
            if facts.failures.contains_key(&format!("{}: pull {image}", view.hostname())) {
                failed.insert(image.clone(), view.hostname().to_owned());
            }
        }
    }
    for look in views.iter_mut().flat_map(|view| &mut view.looks) {
        if matches!(look.need, Need::Swap(_))
            && !look.going_back
            && look.up
            && let Some(hostname) = failed.get(&look.rendered.run.image)
        {
            look.stalled = true;
            look.need =
                Need::Wait { on: format!("image {} to be on {hostname}", look.rendered.run.image), until: None };
        }
    }
}

/// Finds the leftovers, which takes knowing how far every instance is.
fn sweep(desired: &Desired, layer: &Layer, views: &mut [View<'_>]) {
    let all_seen = views.len() == layer.instances.count as usize
        && views
            .iter()
            .all(|view| view.engine.is_some() && matches!(view.standing, Standing::InService | Standing::NoBalancers));
    let unfinished: BTreeSet<(String, String)> = views
        .iter()
        .flat_map(|view| &view.looks)
        .filter(|look| !look.done)
        .map(|look| (look.slot.app.name.clone(), look.slot.container.name.clone()))
        .collect();
    let over = |app: &str, key: &str| all_seen && !unfinished.contains(&(app.to_owned(), key.to_owned()));
    for view in views {
        if let Some(engine) = view.engine {
            view.leftovers = leftovers(desired, &view.looks, engine, &over);
        }
    }
}

impl<'a> Desk<'a> {
    fn views(
        &self,
        plan: &mut Plan,
        desired: &'a Desired,
        slots: &'a [Slot<'a>],
        staying: &[&'a OwInstance],
    ) -> Vec<View<'a>> {
        let engines: Vec<(&str, &Engine)> = staying
            .iter()
            .filter_map(|i| Some((i.hostname.as_str(), self.seen.engines.get(&i.hostname)?.known()?)))
            .collect();
        let releases = Releases::read(desired, slots, &engines, self.facts);
        plan.wanted.extend(releases.remembered.iter().cloned());
        let serving = traffic::serving(slots);
        let mut views = Vec::new();
        for instance in staying {
            let node = fleet::node(self.layer, instance);
            let engine = match (&node, self.seen.engines.get(&instance.hostname)) {
                (Some(_), Some(Seen::Known(engine))) => Some(engine),
                (Some(_), Some(Seen::Unknown(trouble))) => {
                    plan.unobservable(&instance.hostname, trouble);
                    None
                }
                (Some(_), None) => {
                    plan.hold(&instance.hostname, "a first look at its engine", None);
                    None
                }
                (None, _) => None,
            };
            let public_ip = instance.public_ip.as_ref().or(instance.private_ip.as_ref()).map_or("", String::as_str);
            let place = Place { hostname: &instance.hostname, public_ip };
            let looks = engine.map_or_else(Vec::new, |engine| {
                let (releases, facts, now) = (&releases, self.facts, self.now);
                looks(&Scene { desired, place, engine, releases, facts, now }, slots, &serving)
            });
            views.push(View {
                instance,
                node,
                engine,
                looks,
                leftovers: Vec::new(),
                standing: standing(self.layer, instance, self.seen),
            });
        }
        views
    }

    /// Images first, on every instance: a drain never waits for a pull.
    fn pull(&mut self, plan: &mut Plan, view: &View<'_>) {
        let Some(node) = &view.node else { return };
        let images: BTreeSet<&String> = view.looks.iter().filter_map(|look| look.missing_image.as_ref()).collect();
        for image in images {
            let action = Action::Engine { node: node.clone(), what: EngineAction::Pull { image: image.clone() } };
            // One that has failed is tried again, and nothing else waits for it.
            if !self.facts.failures.contains_key(&action.key()) {
                self.pulls.push(format!("image {image} on {}", view.hostname()));
            }
            plan.attempt(view.hostname(), action, self.facts, self.now);
        }
    }

    fn instance(&self, plan: &mut Plan, views: &[View<'_>], at: usize, taken: &mut BTreeSet<usize>) {
        let view = &views[at];
        for look in &view.looks {
            if let Need::Stuck(condition) = &look.need {
                plan.conditions.push(condition.clone());
            }
        }
        let (Some(node), Some(_)) = (&view.node, view.engine) else { return };
        let attempt = |plan: &mut Plan, what: EngineAction| {
            plan.attempt(view.hostname(), Action::Engine { node: node.clone(), what }, self.facts, self.now);
        };
        for look in view.looks.iter().filter(|look| look.stalled) {
            match &look.need {
                Need::Do(what) => attempt(plan, what.clone()),
                Need::Wait { on, until } => plan.hold(view.hostname(), on, *until),
                _ => {}
            }
        }
        for look in view.pending() {
            match &look.need {
                Need::Do(what) => attempt(plan, what.clone()),
                Need::Wait { on, until } => plan.hold(view.hostname(), on, *until),
                Need::Swap(what) => match self.permit(plan, views, at, look.serves, Some(look), taken) {
                    Permit::Granted(guard) => attempt(plan, guarded(what.clone(), guard)),
                    Permit::Withheld => {}
                    Permit::Refused => continue,
                },
                Need::Nothing | Need::Stuck(_) => continue,
            }
            return;
        }
        self.clear_away(plan, views, at, taken);
    }

    /// Nothing is left to do but to put the instance back, and to remove what is left over.
    fn clear_away(&self, plan: &mut Plan, views: &[View<'_>], at: usize, taken: &mut BTreeSet<usize>) {
        let view = &views[at];
        let Some(node) = &view.node else { return };
        let action = |what: &EngineAction| Action::Engine { node: node.clone(), what: what.clone() };
        let serving = view.leftovers.iter().find_map(|leftover| match &leftover.need {
            Need::Swap(what) => Some((leftover.serves, what)),
            _ => None,
        });
        match serving {
            Some((serves, what)) => {
                if let Permit::Granted(guard) = self.permit(plan, views, at, serves, None, taken) {
                    let action = action(&guarded(what.clone(), guard));
                    plan.attempt(view.hostname(), action, self.facts, self.now);
                }
            }
            None => self.put_back(plan, view),
        }
        for leftover in &view.leftovers {
            if let Need::Do(what) = &leftover.need {
                plan.attempt(view.hostname(), action(what), self.facts, self.now);
            }
        }
    }

    fn permit(
        &self,
        plan: &mut Plan,
        views: &[View<'_>],
        at: usize,
        serves: bool,
        look: Option<&Look<'_>>,
        taken: &mut BTreeSet<usize>,
    ) -> Permit {
        if self.wait_for_pulls(plan, &views[at]) {
            // What is out meanwhile can serve as it is.
            self.put_back(plan, &views[at]);
            return Permit::Withheld;
        }
        if serves {
            self.permit_serving(plan, views, at, look, taken)
        } else {
            self.permit_quiet(plan, views, at, taken)
        }
    }

    fn target(&self, balancer: &str, view: &View<'_>) -> Option<&Target> {
        self.seen.balancers.get(balancer)?.known()?.targets.get(view.instance.ec2_id.as_ref()?)
    }

    fn gets_requests(&self, balancer: &str, view: &View<'_>) -> bool {
        self.target(balancer, view) == Some(&Target::InService)
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
        view.engine.is_none() || view.is_in_hand() || self.facts.busy.contains(&Lane::Node(view.hostname().to_owned()))
    }

    /// Not to be counted on while the one at hand is out: it lacks a place that the one at hand has.
    fn is_unavailable(&self, other: &View<'_>, at_hand: &View<'_>) -> bool {
        self.is_worked_on(other)
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
            reliable.map(|(_, view)| view).filter(|view| !self.is_worked_on(view) && view.serves_well())
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
        let out = self.others_out(views, at, taken, |other| self.is_worked_on(other));
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
        taken: &mut BTreeSet<usize>,
    ) -> Permit {
        let view = &views[at];
        // What is not up serves nobody where no balancer sends anything.
        if look.is_some_and(|look| !look.up) && self.is_idle(view) {
            taken.insert(at);
            return Permit::Granted(None);
        }
        let can_ever_drain = self.layer.instances.count > self.rollout.min_in_service;
        if !can_ever_drain {
            return self.permit_in_place(plan, views, at, look, taken);
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
        match self.drained(plan, view, self.rollout.min_in_service) {
            Drained::Yes => Permit::Granted(self.guard(view)),
            Drained::TimedOut => Permit::Granted(None),
            Drained::NotYet => Permit::Withheld,
        }
    }

    fn guard(&self, view: &View<'_>) -> Option<Guard> {
        if self.layer.load_balancers.is_empty() {
            return None;
        }
        let balancers = self.layer.load_balancers.iter().map(|balancer| balancer.name().to_owned()).collect();
        Some(Guard { ec2_id: view.instance.ec2_id.clone()?, balancers })
    }

    /// The instance stays in; its replicas are swapped one at a time.
    fn permit_in_place(
        &self,
        plan: &mut Plan,
        views: &[View<'_>],
        at: usize,
        look: Option<&Look<'_>>,
        taken: &mut BTreeSet<usize>,
    ) -> Permit {
        let view = &views[at];
        if view.standing == Standing::Out {
            taken.insert(at);
            return match self.drained(plan, view, self.rollout.min_in_service) {
                Drained::Yes => Permit::Granted(self.guard(view)),
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
        taken.insert(at);
        let Some(look) = look.filter(|look| look.up) else { return Permit::Granted(None) };
        if look.slot.container.allow_downtime {
            return Permit::Granted(None);
        }
        let siblings: Vec<&Look<'_>> = view.looks.iter().filter(|other| other.is_sibling(look)).collect();
        if siblings.is_empty() {
            plan.condition(
                Kind::Refused,
                format!("{}/{}", view.hostname(), look.slot.name),
                format!(
                    "{} must be replaced, but it is the only replica on {}, and without that instance fewer than \
                     minInService ({}) would serve. Add an instance or a replica, or set allowDowntime: true on the \
                     container",
                    look.slot.name,
                    view.hostname(),
                    self.rollout.min_in_service
                ),
            );
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
        let until = up_since.copied().unwrap_or(self.now) + self.rollout.settle;
        if self.now < until {
            plan.hold(
                view.hostname(),
                format!("{} to be taken up again (rollout.settle)", siblings[0].slot.name),
                Some(until),
            );
            return Permit::Withheld;
        }
        Permit::Granted(None)
    }

    /// Takes the instance out of its balancers, step by step.
    fn drained(&self, plan: &mut Plan, view: &View<'_>, keep: u32) -> Drained {
        let hostname = view.hostname();
        let Some(ec2_id) = &view.instance.ec2_id else { return Drained::Yes };
        let mut draining = Vec::new();
        let mut leaving = false;
        for balancer in &self.layer.load_balancers {
            let name = balancer.name();
            let Some(known) = self.seen.balancers.get(name).and_then(Seen::known) else {
                plan.hold(hostname, format!("a clear answer from load balancer {name}"), None);
                return Drained::NotYet;
            };
            match known.targets.get(ec2_id) {
                Some(Target::InService | Target::OutOfService(_)) => {
                    let action = Action::Deregister {
                        balancer: name.to_owned(),
                        ec2_id: ec2_id.clone(),
                        hostname: hostname.to_owned(),
                        keep,
                    };
                    plan.attempt(hostname, action, self.facts, self.now);
                    leaving = true;
                }
                Some(Target::Draining) => draining.push(name),
                None => {}
            }
        }
        if leaving {
            plan.hold(hostname, "its load balancers to say that it is out", None);
            return Drained::NotYet;
        }
        if !draining.is_empty() {
            let since = self.facts.draining_since.get(hostname).copied().unwrap_or(self.now);
            let until = since + self.rollout.drain_timeout;
            if self.now >= until {
                plan.condition(
                    Kind::DrainTimedOut,
                    hostname,
                    format!(
                        "{} still had requests in flight after drainTimeout ({}s); the swap goes on",
                        draining.join(", "),
                        self.rollout.drain_timeout.as_secs()
                    ),
                );
                return Drained::TimedOut;
            }
            plan.hold(hostname, format!("{} to finish its requests in flight", draining.join(", ")), Some(until));
            return Drained::NotYet;
        }
        if self.layer.load_balancers.is_empty() {
            return Drained::Yes;
        }
        let since = self.facts.out_since.get(hostname).copied().unwrap_or(self.now);
        let until = since + self.rollout.settle;
        if self.now < until {
            plan.hold(hostname, "the load balancers to settle (rollout.settle)", Some(until));
            return Drained::NotYet;
        }
        Drained::Yes
    }

    /// An instance with nothing left to do serves, or says why it does not.
    fn put_back(&self, plan: &mut Plan, view: &View<'_>) {
        if !view.serves_well() {
            return;
        }
        let Some(ec2_id) = &view.instance.ec2_id else { return };
        for balancer in &self.layer.load_balancers {
            let name = balancer.name();
            let Some(known) = self.seen.balancers.get(name).and_then(Seen::known) else { continue };
            match known.targets.get(ec2_id) {
                Some(Target::InService) => {}
                Some(Target::OutOfService(why)) => {
                    plan.hold(view.hostname(), format!("{name} to have it in service: {why}"), None);
                }
                // One that is on its way out is not registered again before it is out.
                Some(Target::Draining) => {
                    plan.hold(view.hostname(), format!("{name} to finish draining it, then it is registered"), None);
                }
                None => {
                    let action = Action::Register {
                        balancer: name.to_owned(),
                        ec2_id: ec2_id.clone(),
                        hostname: view.hostname().to_owned(),
                    };
                    plan.attempt(view.hostname(), action, self.facts, self.now);
                    plan.hold(view.hostname(), format!("{name} to have it in service"), None);
                }
            }
        }
    }
}

/// How far a drain is.
enum Drained {
    Yes,
    NotYet,
    TimedOut,
}

/// Drains an instance that is to be removed; true when it may be stopped.
pub(super) fn drain_for_removal(
    plan: &mut Plan,
    desired: &Desired,
    layer: &Layer,
    instance: &OwInstance,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) -> bool {
    let slots = slots(desired, layer);
    let rollout = careful(&slots);
    // Fewer than minInService may have been declared outright.
    let keep = rollout.min_in_service.min(layer.instances.count);
    let desk = Desk { layer, seen, facts, now, rollout, pulls: Vec::new() };
    let members = fleet::members(layer, seen);
    let in_service = members
        .iter()
        .filter(|(_, other)| other.id != instance.id)
        .filter(|(_, other)| matches!(standing(layer, other, seen), Standing::InService | Standing::NoBalancers))
        .count();
    let standing = standing(layer, instance, seen);
    if standing == Standing::InService && in_service < keep as usize {
        plan.hold(
            &instance.hostname,
            format!("{keep} other instances in service, {in_service} are, before it is removed"),
            None,
        );
        return false;
    }
    let view = View { instance, node: None, engine: None, looks: Vec::new(), leftovers: Vec::new(), standing };
    !matches!(desk.drained(plan, &view, keep), Drained::NotYet)
}
