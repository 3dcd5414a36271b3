//! The promises of safety, judged from outside by what really is.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel::{
    action::{Action, EngineAction},
    plan::Plan,
    spec::{Container, Desired, image},
    status::Kind,
    world::{ContainerSeen, Instance, State, Target},
};

use crate::real::{Ms, Real, is_live, is_well, serves};

/// So long a read from the past can go on to tell what is no more.
pub const PAST: Ms = 35_000;

#[derive(Clone, Default)]
pub struct Watch {
    /// Instances that were taken out and are not back yet.
    out: BTreeMap<String, Out>,
    /// Since when an instance drains.
    draining: BTreeMap<String, Ms>,
    /// Instances whose drain was recorded to have taken too long, in this pass.
    timed_out: BTreeSet<String>,
    /// From now on every balancer keeps its minimum.
    pub settled: bool,
    /// The instances that were ever ours, by their EC2 id.
    known: BTreeSet<String>,
    /// The volumes that there were.
    volumes: BTreeSet<String>,
}

/// How an instance was taken out.
#[derive(Clone)]
struct Out {
    /// When it was asked for.
    asked: Ms,
    /// It has been out since. Until then what was asked for is under way, or has come to nothing.
    is_out: bool,
}

/// No later than this what a load balancer is asked for has taken effect.
const ASKED: Ms = 1_000;

/// The instances that count: on EC2 one that is on its way out does not.
pub fn live(real: &Real) -> Vec<&Instance> {
    if real.on_ec2() { real.alive().collect() } else { real.instances().iter().collect() }
}

impl Watch {
    /// It served, was taken out, and is not back yet.
    pub(super) fn was_taken_out(&self, instance: &Instance) -> bool {
        self.out.contains_key(&instance.hostname)
    }

    /// Takes note of what was refused: whom it was to take out stays.
    pub fn refused(&mut self, action: &Action) {
        let Action::Deregister { hostname, .. } = action else { return };
        if self.out.get(hostname).is_some_and(|out| !out.is_out) {
            self.out.remove(hostname);
        }
    }

    /// Takes note of what a pass recorded.
    pub fn recorded(&mut self, plan: &Plan) {
        let timed_out = plan.conditions.iter().filter(|condition| condition.kind == Kind::DrainTimedOut);
        self.timed_out = timed_out.map(|condition| condition.subject.clone()).collect();
    }

    /// Judges an action as it is begun.
    pub fn before(&mut self, real: &mut Real, desired: &Desired, action: &Action) {
        if desired.stack.suspend {
            return real.violate(format!("{action}, but the stack is suspended"));
        }
        let takes = match action {
            Action::DeleteApp { .. } | Action::DeleteInstance { .. } | Action::StopInstance { .. } => true,
            Action::Engine { what, .. } => matches!(what, EngineAction::Stop { .. } | EngineAction::Remove { .. }),
            _ => false,
        };
        if takes && desired.apps.is_empty() {
            return real.violate(format!("{action}, but nothing is declared"));
        }
        match action {
            Action::Engine { node, what } => self.engine(real, desired, action, &node.hostname, what),
            Action::Register { hostname, .. }
                if !real.serves_well(hostname) && !real.excused.contains_key(hostname) =>
            {
                real.violate(format!("{action}, which does not serve"));
            }
            Action::Deregister { balancer, ec2_id, hostname, .. } => {
                self.deregister(real, desired, action, balancer, ec2_id, hostname);
            }
            Action::TerminateInstance { id, .. } => self.terminate(real, desired, action, id),
            Action::LaunchInstance { launch } => self.launch(real, desired, action, launch),
            _ => {}
        }
    }

    fn deregister(&mut self, real: &mut Real, desired: &Desired, action: &Action, name: &str, id: &str, host: &str) {
        if real.on_ec2() && real.by_id(id).is_none() && !self.known.contains(id) {
            return real.violate(format!("{action}: {id} is not ours"));
        }
        let Some(rollout) = desired.apps.first().map(|app| app.rollout.clone()) else { return };
        if real.target(name, id) != Some(&Target::InService) || !real.serves_well(host) {
            return;
        }
        let others: Vec<String> = live(real)
            .into_iter()
            .filter(|i| i.hostname != host)
            .filter(|i| {
                let served = i.ec2_id.as_ref().is_some_and(|id| real.target(name, id) == Some(&Target::InService));
                (served && real.serves_well(&i.hostname)) || real.broke_lately(&i.hostname)
            })
            .map(|i| i.hostname.clone())
            .collect();
        // That one was ended by hand may not have been seen yet either.
        let is_live = |host: &String| live(real).iter().any(|i| i.hostname == *host);
        let ended = real.excused.keys().filter(|host| !is_live(host) && real.broke_lately(host)).count();
        let least = rollout.min_in_service.min(desired.stack.layers[0].instances.count) as usize;
        if others.len() + ended < least {
            real.violate(format!("{action} leaves {} in service", others.len()));
        }
        self.out.entry(host.to_owned()).or_insert(Out { asked: real.now, is_out: false });
        let out: Vec<&String> = self.out.keys().filter(|host| !real.excused.contains_key(*host)).collect();
        // Of those that are one too many, none is missed.
        let surplus = (live(real).len() + ended).saturating_sub(desired.stack.layers[0].instances.count as usize);
        if out.len() > rollout.max_unavailable as usize + surplus {
            real.violate(format!("{action}: {out:?} are out"));
        }
    }

    fn engine(&self, real: &mut Real, desired: &Desired, action: &Action, hostname: &str, what: &EngineAction) {
        let id = match what {
            EngineAction::Stop { id, .. }
            | EngineAction::Remove { id, .. }
            | EngineAction::Rename { id, .. }
            | EngineAction::Start { id, .. } => id,
            _ => return,
        };
        let Some(engine) = real.engine(hostname) else { return };
        let Some((name, container)) = engine.containers.iter().find(|(_, c)| c.id == *id) else { return };
        let (name, container) = (name.clone(), container.clone());
        if !container.labels.contains_key("evenkeel.stack") {
            return real.violate(format!("{action}: {name} is not ours"));
        }
        if matches!(what, EngineAction::Remove { .. }) {
            if is_live(&container) {
                return real.violate(format!("{action}: it runs"));
            }
            if let Some(place) = name.strip_suffix(".old") {
                let declared = desired.apps.iter().flat_map(|app| &app.containers);
                let is_slot = declared.clone().any(|c| (0..c.replicas).any(|index| c.replica(index) == place));
                let well = engine.containers.get(place).is_some_and(is_well);
                let excused = real.excused.contains_key(hostname) || container.state == State::Dead;
                if is_slot && !well && !excused {
                    return real.violate(format!("{action}: {place} is not well, and could not go back"));
                }
            }
        }
        if matches!(what, EngineAction::Stop { .. }) && is_well(&container) {
            let declared = desired.apps.iter().flat_map(|app| &app.containers);
            let next = declared.clone().find(|c| (0..c.replicas).any(|index| c.replica(index) == name));
            let is_of = |found: &String, tag: &String| image::tagged(found) == tag;
            let there =
                |tag: &String| is_of(&container.image, tag) || engine.images.keys().any(|found| is_of(found, tag));
            let back = |next: &Container| real.backs.get(&next.name).is_some_and(&there);
            if next.is_some_and(|next| !there(&next.image) && !back(next)) {
                return real.violate(format!("{action}, and the image that comes next is not there"));
            }
        }
        if matches!(what, EngineAction::Stop { .. }) && is_well(&container) && !name.contains('.') {
            let app = container.labels.get("evenkeel.app").cloned().unwrap_or_default();
            let of_app = |(_, other): &(&String, &ContainerSeen)| other.labels.get("evenkeel.app") == Some(&app);
            let is_begun = engine.containers.iter().filter(of_app).any(|(name, _)| name.ends_with(".old"));
            let is_declared = desired.apps.iter().any(|one| one.name == app);
            if real.paused.contains(&app) && is_declared && !is_begun {
                return real.violate(format!("{action}, but {app} is paused"));
            }
        }
        // Of two of it, one may go.
        let other = name.strip_suffix(".old").map_or_else(|| format!("{name}.old"), str::to_owned);
        if matches!(what, EngineAction::Stop { .. }) && engine.containers.get(&other).is_some_and(is_well) {
            return;
        }
        if matches!(what, EngineAction::Stop { .. }) && serves(&container) && is_well(&container) {
            if real.any_replica {
                let place = name.strip_suffix(".old").unwrap_or(&name);
                let kind = place.trim_end_matches(|c: char| c.is_ascii_digit());
                let sibling = |other: &&String| *other != place && other.starts_with(kind) && !other.contains('.');
                let well = engine.containers.iter().filter(|(n, _)| sibling(n)).any(|(_, c)| is_well(c));
                if !well
                    && !real.excused.contains_key(hostname)
                    && real.instances().iter().any(|i| real.is_in(&i.hostname))
                {
                    real.violate(format!("{action}: no other replica is well"));
                }
                return;
            }
            let Some(ec2_id) = real.instance(hostname).and_then(|i| i.ec2_id.clone()) else { return };
            self.must_be_out(real, desired, action, hostname, &ec2_id);
        }
    }

    /// No balancer sends it requests, and what it had in flight is over or was given up for the record.
    pub fn must_be_out(&self, real: &mut Real, desired: &Desired, action: &Action, hostname: &str, ec2_id: &str) {
        let ends = matches!(action, Action::TerminateInstance { .. });
        let rollout = desired.apps.first().map(|app| app.rollout.clone()).unwrap_or_default();
        let allowed = rollout.drain_timeout.as_millis() as u64;
        let overdue = self.draining.get(hostname).is_some_and(|since| real.now >= since + allowed)
            && self.timed_out.contains(hostname);
        let knows: Vec<String> = real
            .balancers()
            .filter_map(|(b, balancer)| Some((b, balancer.targets.get(ec2_id)?)))
            .filter(|(_, target)| **target != Target::Draining || !overdue)
            // It could be taken in at any moment, should it come up again; one that ends for good is not.
            .filter(|(_, target)| !matches!(target, Target::OutOfService(_)) || (real.serves_well(hostname) && !ends))
            .map(|(b, target)| format!("{b}: {target:?}"))
            .collect();
        // What does not serve as a whole is no loss: its parts may be mended.
        if !knows.is_empty() && !real.excused.contains_key(hostname) {
            real.violate(format!("{action}, but {}", knows.join(", ")));
        }
    }

    /// Judges what is, after time has gone on.
    pub fn after(&mut self, real: &mut Real, desired: &Desired) {
        let hosts: Vec<(String, Option<String>)> =
            live(real).into_iter().map(|i| (i.hostname.clone(), i.ec2_id.clone())).collect();
        if real.on_ec2() {
            let tokens = || real.alive().filter_map(|i| i.launched.as_ref()?.token.as_ref());
            if tokens().collect::<BTreeSet<_>>().len() < tokens().count() {
                real.violate("two instances have one token".into());
            }
            self.known.extend(hosts.iter().filter_map(|(_, id)| id.clone()));
            self.out.retain(|host, _| hosts.iter().any(|(name, _)| name == host));
        }
        self.keeps_volumes(real);
        let mut names = BTreeSet::new();
        for (hostname, ec2_id) in &hosts {
            if !names.insert(hostname) {
                real.violate(format!("two instances are called {hostname}"));
            }
            let is_in = real.is_in(hostname);
            if let Some(out) = self.out.get_mut(hostname) {
                out.is_out |= !is_in;
                if is_in && (out.is_out || out.asked + ASKED < real.now) {
                    self.out.remove(hostname);
                }
            }
            let drains = ec2_id
                .as_ref()
                .is_some_and(|id| real.balancers().any(|(_, b)| b.targets.get(id) == Some(&Target::Draining)));
            if drains {
                self.draining.entry(hostname.clone()).or_insert(real.now);
            } else {
                self.draining.remove(hostname);
            }
        }
        let Some(app) = desired.apps.first() else { return };
        if !self.settled {
            return;
        }
        let least = app.rollout.min_in_service.min(desired.stack.layers[0].instances.count) as usize;
        let serves = |hostname: &str, id: &Option<String>| id.as_ref().is_some_and(|id| real.is_well(id, hostname));
        let short: Vec<String> = real
            .balancers()
            .filter_map(|(name, b)| {
                let counted = hosts.iter().filter(|(hostname, id)| {
                    real.excused.contains_key(hostname)
                        || (id.as_ref().is_some_and(|id| b.targets.get(id) == Some(&Target::InService))
                            && serves(hostname, id))
                });
                // What was taken away by hand may be gone from the list, and not be back yet.
                let away = real.excused.keys().filter(|name| !hosts.iter().any(|(hostname, _)| hostname == *name));
                let counted = counted.count() + away.count();
                let told = || {
                    let of = |(hostname, id): &(String, Option<String>)| {
                        let target = id.as_ref().and_then(|id| b.targets.get(id));
                        format!("{hostname} {target:?}{}", if serves(hostname, id) { "" } else { ", not well" })
                    };
                    hosts.iter().map(of).collect::<Vec<_>>().join("; ")
                };
                (counted < least).then(|| format!("{name} has {counted} in service, {least} are promised: {}", told()))
            })
            .collect();
        if let Some(short) = short.first() {
            real.violate(short.clone());
        }
    }

    /// No volume is ever gone, and of those that are attached no two are the same one's.
    fn keeps_volumes(&mut self, real: &mut Real) {
        let there: BTreeSet<String> = real.volumes().iter().map(|volume| volume.id.clone()).collect();
        if let Some(gone) = self.volumes.difference(&there).next() {
            let what = format!("volume {gone} is gone, though volumes are to be retained");
            real.violate(what);
        }
        let mut places = BTreeSet::new();
        let attached = real.volumes().iter().filter(|volume| volume.attached_to.is_some());
        let twice = attached
            .filter_map(|volume| Some((&volume.attached_to, volume.mount_point.as_ref()?)))
            .find(|place| !places.insert(*place))
            .map(|place| format!("two volumes are one instance's for {}", place.1));
        if let Some(twice) = twice {
            real.violate(twice);
        }
        self.volumes = there;
    }
}
