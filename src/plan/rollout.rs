//! A layer: images first, then instance by instance what each needs, as far as it is permitted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Facts, Plan,
    collect::leftovers,
    disk::{Place as Disk, Room},
    ec2, fleet, job,
    lineup::lineup,
    migration::{migrate, wait_for_strays},
    node::{Need, Scene, guarded, looks},
    notices,
    permit::Permit,
    releases::Releases,
    render::Place,
    resolve::{Known, resolve},
    secrets,
    slot::{Slot, jobs, slots},
    standing::{Standing, standing},
    traffic,
    view::{Desk, View, careful},
    wish::{conclude, heed},
};
use crate::{
    action::{Action, EngineAction},
    spec::{Desired, Layer, balancer::words, image},
    world::{Class, Engine, Instance, Observed, Seen},
};

pub(super) fn plan(plan: &mut Plan, desired: &Desired, layer: &Layer, seen: &Observed, facts: &Facts, now: Timestamp) {
    if !fleet::is_managed(desired, layer, seen) {
        return;
    }
    let mut slots = slots(desired, layer);
    let services = slots.len();
    slots.extend(jobs(desired, layer));
    if slots.is_empty() {
        return;
    }
    let lineup = lineup(desired, layer, seen, facts, now);
    let staying = &lineup.staying;
    if services > 0 {
        ask_balancers(plan, layer, seen);
    }
    let engines: Vec<(&str, &Engine)> =
        staying.iter().filter_map(|i| Some((i.hostname.as_str(), seen.engines.get(&i.hostname)?.known()?))).collect();
    let known = Known { desired, engines: &engines, seen, facts, now };
    resolve(plan, &known, &mut slots);
    secrets::resolve(plan, desired, seen, &mut slots);
    let jobs = slots.split_off(services);
    heed(plan, &known, layer, staying, &slots);
    notices::start(plan, &known, layer, staying, &mut slots);
    migrate(plan, &known, layer, staying, &mut slots);
    // What the clock brings is in nobody's way, and does not wait until a rollout is over.
    job::plan(plan, &known, layer, &lineup, &jobs, &slots);
    if !slots.is_empty() {
        services_of(plan, &known, layer, &slots, staying);
    }
    look_after_disks(plan, &known, layer, staying);
}

/// Old images go once nothing else is to be done, or as soon as the disk is nearly full.
fn look_after_disks(plan: &mut Plan, known: &Known<'_>, layer: &Layer, staying: &[&Instance]) {
    let at_rest = plan.is_done();
    for instance in staying {
        let hostname = instance.hostname.as_str();
        let node = fleet::node(&known.desired.stack, layer, instance);
        let engine = known.engines.iter().find(|(name, _)| *name == hostname);
        let (Some(node), Some((_, engine))) = (node, engine) else { continue };
        let disk = Disk { known, layer, hostname, engine };
        let warning = disk.warning();
        let is_here = |it: &Action| matches!(it, Action::Engine { node, .. } if node.hostname == hostname);
        let is_time = at_rest || (warning.is_some() && !plan.actions.iter().any(is_here));
        plan.conditions.extend(warning);
        for what in if is_time { disk.tidy() } else { Vec::new() } {
            plan.attempt(hostname, Action::Engine { node: node.clone(), what }, known.facts, known.now);
        }
    }
}

/// A load balancer that gives no answer stops what depends on it.
fn ask_balancers(plan: &mut Plan, layer: &Layer, seen: &Observed) {
    for balancer in &layer.load_balancers {
        let Some(Seen::Unknown(trouble)) = seen.balancers.get(balancer.name()) else { continue };
        if ec2::balancers::is_to_be_made(layer, balancer.name(), seen) {
            let on = format!("{} to be made", words(balancer.name()));
            plan.hold(format!("layer {}", layer.short_name), on, None);
        } else {
            plan.unobservable(&words(balancer.name()), trouble);
        }
    }
}

/// The containers that are services.
fn services_of(plan: &mut Plan, known: &Known<'_>, layer: &Layer, slots: &[Slot<'_>], staying: &[&Instance]) {
    let Known { desired, engines, seen, facts, now } = *known;
    let mut desk = Desk { layer, seen, facts, now, rollout: careful(slots, layer), pulls: Vec::new() };
    wait_for_strays(plan, known, slots);
    let mut views = desk.views(plan, desired, slots, staying, engines);
    let rooms = rooms(known, layer, &mut views);
    wait_for_missing_images(&mut views, facts, &rooms);
    let soaks = views.iter().any(|view| desk.soaks_until(view).is_some());
    sweep(desired, layer, facts, soaks, &mut views);

    plan.replacements.extend(desk.replacements(&views, &traffic::reasons(slots)));
    for view in &views {
        desk.pull(plan, desired, view, &rooms);
    }
    let mut taken = BTreeSet::new();
    for at in 0..views.len() {
        desk.instance(plan, &views, at, &mut taken);
    }
    desk.progress(plan, desired, &views);
    conclude(plan, known, layer, &views);
    notices::conclude(plan, known, layer, staying, slots, &views);
}

/// Whether there is room for what is to be pulled, by hostname and image.
type Rooms = BTreeMap<(String, String), Room>;

/// Nothing waits for an image for which there is no room.
fn rooms(known: &Known<'_>, layer: &Layer, views: &mut [View<'_>]) -> Rooms {
    let mut rooms = Rooms::new();
    for view in views {
        let Some(engine) = view.engine else { continue };
        let hostname = view.instance.hostname.as_str();
        let disk = Disk { known, layer, hostname, engine };
        for look in &mut view.looks {
            let Some(image) = &look.missing_image else { continue };
            let room = rooms.entry((hostname.to_owned(), image.clone())).or_insert_with(|| disk.room(image));
            look.stalled |= matches!(room, Room::Lacks { .. });
        }
    }
    rooms
}

/// A container whose new image cannot be had on one instance is replaced on none.
fn wait_for_missing_images(views: &mut [View<'_>], facts: &Facts, rooms: &Rooms) {
    let mut failed: BTreeMap<String, String> = BTreeMap::new();
    for view in views.iter() {
        for image in view.looks.iter().filter_map(|look| look.missing_image.as_ref()) {
            let room = rooms.get(&(view.hostname().to_owned(), image.clone()));
            if matches!(room, Some(Room::Lacks { .. })) {
                failed.insert(image.clone(), view.hostname().to_owned());
            }
            if facts.failures.contains_key(&format!("{}: pull {}", view.hostname(), image::shown(image))) {
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
            let image = image::shown(&look.rendered.run.image);
            look.need = Need::Wait { on: format!("image {image} to be on {hostname}"), until: None };
        }
    }
}

/// Finds the leftovers, which takes knowing how far every instance is.
fn sweep(desired: &Desired, layer: &Layer, facts: &Facts, soaks: bool, views: &mut [View<'_>]) {
    let all_seen = !soaks
        && views.len() >= layer.instances.count as usize
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
            view.leftovers = leftovers(desired, &view.looks, engine, facts, &over);
        }
    }
}

impl<'a> Desk<'a> {
    fn views(
        &self,
        plan: &mut Plan,
        desired: &'a Desired,
        slots: &'a [Slot<'a>],
        staying: &[&'a Instance],
        engines: &[(&str, &Engine)],
    ) -> Vec<View<'a>> {
        let releases = Releases::read(desired, slots, engines, self.facts);
        plan.wanted.extend(releases.remembered.iter().cloned());
        let serving = traffic::serving(slots);
        let mut views = Vec::new();
        for instance in staying {
            let node = fleet::node(&desired.stack, self.layer, instance);
            let engine = match (&node, self.seen.engines.get(&instance.hostname)) {
                (Some(_), Some(Seen::Known(engine))) => Some(engine),
                // That a new one does not answer yet is waited for, and no trouble.
                (Some(_), Some(Seen::Unknown(trouble)))
                    if trouble.class == Class::Transient
                        && instance
                            .launched
                            .as_ref()
                            .is_some_and(|it| fleet::bootstraps_until(it, self.now).is_some()) =>
                {
                    None
                }
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
            let place = Place::of(instance);
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
    fn pull(&mut self, plan: &mut Plan, desired: &Desired, view: &View<'_>, rooms: &Rooms) {
        let Some(node) = &view.node else { return };
        let images: BTreeSet<&String> = view.looks.iter().filter_map(|look| look.missing_image.as_ref()).collect();
        for image in images {
            if let Some(reference) = secrets::unread_login(desired, self.seen, image) {
                let on = format!("{reference} to be read, with which {} is pulled", image::shown(image));
                plan.hold(view.hostname(), on, None);
                continue;
            }
            let room = rooms.get(&(view.hostname().to_owned(), image.clone()));
            if let Some(room) = room.filter(|room| !room.make(plan, node, image, self.facts, self.now)) {
                if matches!(room, Room::Soon { .. }) {
                    self.pulls.push(format!("image {} on {}", image::shown(image), view.hostname()));
                }
                continue;
            }
            let action = Action::Engine { node: node.clone(), what: EngineAction::Pull { image: image.clone() } };
            // One that has failed is tried again, and nothing else waits for it.
            if !self.facts.failures.contains_key(&action.key()) {
                self.pulls.push(format!("image {} on {}", image::shown(image), view.hostname()));
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
            None => {
                self.put_back(plan, view);
                self.soak(plan, view);
            }
        }
        for leftover in &view.leftovers {
            if let Need::Do(what) = &leftover.need {
                plan.attempt(view.hostname(), action(what), self.facts, self.now);
            }
        }
    }
}
