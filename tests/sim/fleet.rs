//! The promises about instances on EC2: what calls for a new one, and for the end of one.

use evenkeel::{
    action::{Action, Launch},
    plan::ec2::differences,
    spec::Desired,
    world::{Instance, Target},
};

use crate::{
    cloud::STRANGER,
    driver::Sim,
    real::Real,
    watch::{PAST, Watch, live},
};

impl Watch {
    /// Judges the end of an instance as it is begun.
    pub(super) fn terminate(&self, real: &mut Real, desired: &Desired, action: &Action, id: &str) {
        let Some(instance) = real.alive().find(|instance| instance.id == id).cloned() else { return };
        if instance.launched.is_none() {
            return real.violate(format!("{action}: it is not ours"));
        }
        let hostname = instance.hostname.clone();
        let (surplus, ill) = (is_surplus(real, desired), is_ill(real, desired, &instance));
        if !surplus && !ill {
            return real.violate(format!("{action}: nothing calls for it"));
        }
        self.must_be_out(real, desired, action, &hostname, id);
        // One of those that are launched otherwise than declared leaves once another one serves in its stead.
        let count = desired.stack.layers[0].instances.count as usize;
        // One that never served is missed by nobody.
        let refreshes = !ill
            && real.alive().count() == count + 1
            && is_outdated(real, desired, &instance)
            && real.serves_well(&hostname);
        if refreshes && real.clear_sight && !real.excused.contains_key(&hostname) {
            // What a rollout has taken out since is back in a while, and was judged when it was taken out.
            let counts = |other: &Instance| stands_in(real, other) || self.was_taken_out(other);
            let serving = live(real).into_iter().filter(|other| other.id != id && counts(other)).count();
            if serving < count {
                real.violate(format!("{action}, while {serving} others serve and {count} are declared"));
            }
        }
        if surplus {
            real.cloud.surplus.push(id.to_owned());
        }
    }

    /// Judges a launch as it is sent.
    pub(super) fn launch(&self, real: &mut Real, desired: &Desired, action: &Action, launch: &Launch) {
        if real.was_sent(&launch.token) {
            return;
        }
        let reused = |mount_point: &str| {
            let declared = &desired.stack.layers[0].volumes;
            declared.iter().any(|volume| volume.reuse && volume.mount_point == mount_point)
        };
        for (_, volume) in launch.volumes.iter().filter(|(_, volume)| reused(&volume.mount_point)) {
            let left = real.volumes().iter().find(|left| {
                left.hostname.as_deref() == Some(&launch.hostname)
                    && left.mount_point.as_deref() == Some(&volume.mount_point)
                    && real.cloud.tagged.get(&left.id).is_some_and(|at| at + PAST <= real.now)
            });
            if let Some(left) = left {
                let id = left.id.clone();
                return real.violate(format!("{action}: the volume {id} of its predecessor is forgotten"));
            }
        }
    }
}

/// There are more than declared, as far as can be known: what is gone may still be told, and one that is on its way out to
/// be replaced keeps its place.
pub fn is_surplus(real: &Real, desired: &Desired) -> bool {
    let ghosts = real.cloud.gone.values().filter(|at| **at + PAST > real.now).count();
    real.instances().len() + ghosts > desired.stack.layers[0].instances.count as usize
}

pub fn is_outdated(real: &Real, desired: &Desired, instance: &Instance) -> bool {
    let cloud = real.world.seen.provided.ec2().expect("on EC2");
    !differences(desired, &desired.stack.layers[0], cloud, instance).is_empty()
}

/// EC2 says that it is impaired, or its engine is silent while another one answers, for long enough.
fn is_ill(real: &Real, desired: &Desired, instance: &Instance) -> bool {
    let heal_after = u64::try_from(desired.stack.heal_after.as_millis()).expect("a time");
    let long_ago = |since: &u64| since + heal_after <= real.now + PAST;
    if real.cloud.impaired.get(&instance.id).is_some_and(|(since, _)| long_ago(since)) {
        return true;
    }
    let others = || real.alive().filter(|other| other.id != instance.id);
    let another_answers = others().any(|other| real.answers(&other.hostname));
    let serves = real.balancers().any(|(_, b)| b.targets.get(&instance.id) == Some(&Target::InService));
    let silent = real.cloud.silent.get(&instance.id).is_some_and(|silence| long_ago(&silence.since));
    let is_silent = silent && !real.answers(&instance.hostname);
    is_silent && (another_answers || others().count() == 0 && !serves)
}

/// It serves, or would but for somebody's hand.
fn stands_in(real: &Real, instance: &Instance) -> bool {
    let is_in = real.balancers().all(|(_, b)| b.targets.get(&instance.id) == Some(&Target::InService));
    real.excused.contains_key(&instance.hostname) || (is_in && real.serves_well(&instance.hostname))
}

/// What must be so in the end.
pub fn check_end(sim: &Sim) -> Result<(), String> {
    let (real, desired) = (&sim.real, &sim.desired);
    let alive: Vec<&Instance> = real.alive().collect();
    if alive.len() != real.instances().len() {
        return Err("an instance has not come to its end".into());
    }
    let (launches, ends) = (real.cloud.launches as usize, real.cloud.ends as usize);
    let before = sim.began_with;
    if before + launches != alive.len() + ends {
        return Err(format!("{before} and {launches} launches, {ends} ends, and {} are there", alive.len()));
    }
    for instance in alive {
        if is_outdated(real, desired, instance) {
            return Err(format!("{} is not as declared", instance.hostname));
        }
        let devices = instance.launched.as_ref().map(|launched| &launched.devices).expect("launched");
        for volume in desired.stack.layers[0].volumes.iter() {
            let found = real.volumes().iter().find(|found| {
                found.attached_to.as_ref() == Some(&instance.id)
                    && found.mount_point.as_ref() == Some(&volume.mount_point)
                    && found.hostname.as_ref() == Some(&instance.hostname)
                    && devices.values().any(|id| *id == found.id)
            });
            let Some(found) = found else {
                return Err(format!("{} has no volume for {}", instance.hostname, volume.mount_point));
            };
            if found.size_gib < volume.size_gib {
                return Err(format!("volume {} has {} GiB", found.id, found.size_gib));
            }
        }
    }
    for (name, balancer) in real.balancers() {
        let known = |id: &String| id == STRANGER || real.by_id(id).is_some();
        if let Some(left) = balancer.targets.keys().find(|id| !known(id)) {
            return Err(format!("{left} is left over in {name}"));
        }
        if !balancer.targets.contains_key(STRANGER) {
            return Err(format!("the stranger in {name} is gone"));
        }
    }
    Ok(())
}
