//! Registering and deregistering one instance.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_elasticloadbalancing::types::{Instance, InstanceState};
use tokio::{sync, time::Instant};

use super::{Api, target::target};
use crate::{
    action::Action,
    world::{Class, Target, Trouble},
};

/// How long health may still call an instance in service after its deregistration was accepted.
const LAG: Duration = Duration::from_secs(30);

/// The instances whose deregistration was accepted a moment ago, by EC2 id.
type Departed = BTreeMap<String, Instant>;

/// A region and a balancer in it.
type Key = (String, String);

/// Per balancer, who is just leaving it. The lock is held from the check to the answer, so that two
/// instances never leave each counting on the other.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<BTreeMap<Key, Arc<sync::Mutex<Departed>>>>);

impl Leaving {
    fn of(&self, region: &str, balancer: &str) -> Arc<sync::Mutex<Departed>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((region.to_owned(), balancer.to_owned())).or_default().clone()
    }
}

pub(super) async fn apply(api: &Api<'_>, leaving: &Leaving, action: &Action) -> Result<(), Trouble> {
    match action {
        Action::Register { balancer, ec2_id, hostname } => {
            let leaving = leaving.of(api.region, balancer);
            register(api, &mut *leaving.lock().await, balancer, ec2_id, hostname).await
        }
        Action::Deregister { balancer, ec2_id, hostname, keep } => {
            let leaving = leaving.of(api.region, balancer);
            deregister(api, &mut *leaving.lock().await, balancer, ec2_id, hostname, *keep).await
        }
        _ => Err(Trouble { class: Class::Terminal, message: format!("{action}: not an action of a load balancer") }),
    }
}

/// Registering what is registered changes nothing.
async fn register(
    api: &Api<'_>,
    departed: &mut Departed,
    balancer: &str,
    ec2_id: &str,
    hostname: &str,
) -> Result<(), Trouble> {
    let request = api.clients.elb.write.register_instances_with_load_balancer();
    match request.load_balancer_name(balancer).instances(instance(ec2_id)).send().await {
        Ok(_) => {
            departed.remove(ec2_id);
            Ok(())
        }
        Err(error) if error.as_service_error().is_some_and(|e| e.is_access_point_not_found_exception()) => {
            Err(api.absent("RegisterInstancesWithLoadBalancer", balancer))
        }
        Err(error) => {
            let on = format!("load balancer {balancer}, instance {hostname} {ec2_id}");
            Err(api.call("RegisterInstancesWithLoadBalancer", &on).failed(&error))
        }
    }
}

/// Only while `keep` others are in service. One that is gone already, or on its way, is left as it is.
async fn deregister(
    api: &Api<'_>,
    departed: &mut Departed,
    balancer: &str,
    ec2_id: &str,
    hostname: &str,
    keep: u32,
) -> Result<(), Trouble> {
    let on = format!("load balancer {balancer}, instance {hostname} {ec2_id}");
    let call = api.call("DeregisterInstancesFromLoadBalancer", &on);
    let health = api.health(balancer).await?;
    departed.retain(|_, since| since.elapsed() < LAG);
    match health.iter().find(|state| state.instance_id.as_deref() == Some(ec2_id)).map(target) {
        None | Some(None) | Some(Some(Target::Draining)) => return Ok(()),
        Some(Some(_)) => {}
    }
    let others = Others::of(&health, ec2_id, departed);
    if others.in_service < keep as usize {
        return Err(call.own(Class::Transient, others.too_few(keep)));
    }
    let request = api.clients.elb.write.deregister_instances_from_load_balancer();
    match request.load_balancer_name(balancer).instances(instance(ec2_id)).send().await {
        Ok(_) => {}
        // "The specified endpoint is not valid": the instance is not registered, or terminated.
        Err(error) if error.as_service_error().is_some_and(|e| e.is_invalid_end_point_exception()) => {}
        Err(error) if error.as_service_error().is_some_and(|e| e.is_access_point_not_found_exception()) => {
            return Err(api.absent("DeregisterInstancesFromLoadBalancer", balancer));
        }
        Err(error) => {
            let trouble = call.failed(&error);
            if trouble.class == Class::UnknownOutcome {
                departed.insert(ec2_id.to_owned(), Instant::now());
            }
            return Err(trouble);
        }
    }
    departed.insert(ec2_id.to_owned(), Instant::now());
    Ok(())
}

fn instance(ec2_id: &str) -> Instance {
    Instance::builder().instance_id(ec2_id).build()
}

/// The other targets of a balancer, when one is to leave.
#[derive(Debug, PartialEq)]
struct Others {
    in_service: usize,
    /// Why each of the rest does not count.
    missing: Vec<String>,
}

impl Others {
    fn of(health: &[InstanceState], leaves: &str, departed: &Departed) -> Others {
        let mut others = Others { in_service: 0, missing: Vec::new() };
        for state in health {
            let id = state.instance_id.as_deref().unwrap_or("an instance without an id");
            if id == leaves {
                continue;
            }
            match target(state) {
                Some(Target::InService) if departed.contains_key(id) => {
                    others.missing.push(format!("{id} was deregistered a moment ago"));
                }
                Some(Target::InService) => others.in_service += 1,
                Some(Target::Draining) => others.missing.push(format!("{id} is draining")),
                Some(Target::OutOfService(why)) => others.missing.push(format!("{id} is out of service: {why}")),
                None => {}
            }
        }
        others
    }

    fn too_few(&self, keep: u32) -> String {
        let missing = match self.missing.as_slice() {
            [] => "no other is registered".to_owned(),
            missing => missing.join("; "),
        };
        format!(
            "{} other instances are in service and {keep} must stay ({missing}); tried again when they are",
            self.in_service
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: &str, state: &str, description: &str) -> InstanceState {
        InstanceState::builder().instance_id(id).state(state).description(description).build()
    }

    #[test]
    fn only_others_that_stay_in_service_count() {
        let health = [
            state("i-1", "InService", "N/A"),
            state("i-2", "InService", "N/A"),
            state("i-3", "InService", "Instance deregistration currently in progress."),
            state("i-4", "OutOfService", "Instance registration is still in progress."),
        ];
        let others = Others::of(&health, "i-1", &Departed::new());
        assert_eq!(others.in_service, 1);
        assert_eq!(
            others.missing,
            ["i-3 is draining", "i-4 is out of service: Instance registration is still in progress."]
        );
    }

    #[test]
    fn one_that_left_a_moment_ago_does_not_count_although_health_lags() {
        let health = [state("i-1", "InService", "N/A"), state("i-2", "InService", "N/A")];
        let departed = Departed::from([("i-2".to_owned(), Instant::now())]);
        let others = Others::of(&health, "i-1", &departed);
        assert_eq!(others.in_service, 0);
        assert!(others.too_few(1).contains("i-2 was deregistered a moment ago"));
    }
}
