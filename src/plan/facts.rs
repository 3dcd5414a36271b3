//! What the plan must know that cannot be seen by looking: what was sent, what failed, and since when things are
//! as they are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    action::Lane,
    spec::Desired,
    world::{Health, Observed, State, Target, Trouble},
};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Creates that were sent and whose outcome was not seen: action key → when.
    pub intents: BTreeMap<String, Timestamp>,
    /// Actions that failed: action key → what and when it may be tried again.
    pub failures: BTreeMap<String, Failure>,
    /// Lanes with an action under way.
    pub busy: BTreeSet<Lane>,
    /// Since when an instance is being drained, by hostname.
    pub draining_since: BTreeMap<String, Timestamp>,
    /// Since when an instance is registered with none of its balancers, by hostname.
    pub out_since: BTreeMap<String, Timestamp>,
    /// Since when a container is running and not unhealthy, by its id.
    pub up_since: BTreeMap<String, Timestamp>,
}

/// One action's failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What happened.
    pub trouble: Trouble,
    /// How often in a row.
    pub times: u32,
    /// Not before.
    pub retry_at: Timestamp,
}

impl Facts {
    /// Takes note of what can be dated only by being seen for the first time.
    pub fn note(&mut self, desired: &Desired, seen: &Observed, now: Timestamp) {
        for engine in seen.engines.values().filter_map(|engine| engine.known()) {
            for container in engine.containers.values() {
                let up = container.state == State::Running && matches!(container.health, None | Some(Health::Healthy));
                keep(&mut self.up_since, &container.id, up, now);
            }
        }
        if seen.engines.values().all(|engine| engine.known().is_some()) {
            let engines = seen.engines.values().filter_map(|engine| engine.known());
            let there: BTreeSet<&String> =
                engines.flat_map(|engine| engine.containers.values()).map(|container| &container.id).collect();
            self.up_since.retain(|id, _| there.contains(id));
        }
        let Some(instances) = seen.opsworks.instances.known() else { return };
        for since in [&mut self.draining_since, &mut self.out_since] {
            since.retain(|hostname, _| instances.iter().any(|instance| instance.hostname == *hostname));
        }
        for instance in instances {
            let Some(ec2_id) = &instance.ec2_id else { continue };
            let mut draining = false;
            let mut registered = false;
            let mut known = true;
            for name in super::fleet::balancers_of(desired, seen, instance) {
                match seen.balancers.get(name).and_then(|b| b.known()) {
                    Some(balancer) => match balancer.targets.get(ec2_id) {
                        Some(Target::Draining) => {
                            draining = true;
                            registered = true;
                        }
                        Some(_) => registered = true,
                        None => {}
                    },
                    None => known = false,
                }
            }
            if !known {
                continue;
            }
            keep(&mut self.draining_since, &instance.hostname, draining, now);
            keep(&mut self.out_since, &instance.hostname, !registered, now);
        }
    }
}

fn keep(since: &mut BTreeMap<String, Timestamp>, key: &str, holds: bool, now: Timestamp) {
    if holds {
        since.entry(key.to_owned()).or_insert(now);
    } else {
        since.remove(key);
    }
}
