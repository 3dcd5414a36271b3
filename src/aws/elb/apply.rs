//! Registering and deregistering one instance.

use aws_sdk_elasticloadbalancing::types::{Instance, InstanceState};

use super::{
    Api,
    door::{Door, Doors},
    target::target,
};
use crate::{
    action::Action,
    world::{Class, Target, Trouble},
};

pub(super) async fn apply(api: &Api, doors: &Doors, action: &Action) -> Result<(), Trouble> {
    match action {
        Action::Register { balancer, ec2_id, hostname } => {
            let door = doors.of(&api.place, balancer);
            let _alone = door.pass().await;
            register(api, &door, balancer, ec2_id, hostname).await
        }
        Action::Deregister { balancer, ec2_id, hostname, keep } => {
            let door = doors.of(&api.place, balancer);
            let _alone = door.pass().await;
            deregister(api, &door, balancer, ec2_id, hostname, *keep).await
        }
        _ => Err(Trouble { class: Class::Terminal, message: format!("{action}: not an action of a load balancer") }),
    }
}

/// Registering what is registered changes nothing.
async fn register(api: &Api, door: &Door, balancer: &str, ec2_id: &str, hostname: &str) -> Result<(), Trouble> {
    let request = api.clients.elb.write.register_instances_with_load_balancer();
    match request.load_balancer_name(balancer).instances(instance(ec2_id)).send().await {
        Ok(_) => {
            door.forget(ec2_id);
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
    api: &Api,
    door: &Door,
    balancer: &str,
    ec2_id: &str,
    hostname: &str,
    keep: u32,
) -> Result<(), Trouble> {
    let on = format!("load balancer {balancer}, instance {hostname} {ec2_id}");
    let call = api.call("DeregisterInstancesFromLoadBalancer", &on);
    let health = api.health(balancer).await?;
    match health.iter().find(|state| state.instance_id.as_deref() == Some(ec2_id)).map(target) {
        None | Some(None) | Some(Some(Target::Draining)) => return Ok(()),
        Some(Some(_)) => {}
    }
    let others = Others::of(&health, ec2_id, door);
    if others.in_service < keep as usize {
        return Err(call.own(Class::Transient, others.too_few(keep)));
    }
    door.leaves(ec2_id);
    let request = api.clients.elb.write.deregister_instances_from_load_balancer();
    let trouble = match request.load_balancer_name(balancer).instances(instance(ec2_id)).send().await {
        Ok(_) => return Ok(()),
        // `InvalidInstance`: terminated, or never registered.
        Err(error) if error.as_service_error().is_some_and(|e| e.is_invalid_end_point_exception()) => {
            door.forget(ec2_id);
            return Ok(());
        }
        Err(error) if error.as_service_error().is_some_and(|e| e.is_access_point_not_found_exception()) => {
            api.absent("DeregisterInstancesFromLoadBalancer", balancer)
        }
        Err(error) => call.failed(&error),
    };
    if trouble.class != Class::UnknownOutcome {
        door.forget(ec2_id);
    }
    Err(trouble)
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
    fn of(health: &[InstanceState], leaves: &str, door: &Door) -> Others {
        let mut others = Others { in_service: 0, missing: Vec::new() };
        for state in health {
            let id = state.instance_id.as_deref().unwrap_or("an instance without an id");
            if id == leaves {
                continue;
            }
            match target(state) {
                Some(Target::InService) if door.just_left(id) => {
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
        let others = Others::of(&health, "i-1", &Door::default());
        assert_eq!(others.in_service, 1);
        assert_eq!(
            others.missing,
            ["i-3 is draining", "i-4 is out of service: Instance registration is still in progress."]
        );
    }

    #[test]
    fn one_that_left_a_moment_ago_does_not_count_although_health_lags() {
        let health = [state("i-1", "InService", "N/A"), state("i-2", "InService", "N/A")];
        let door = Door::default();
        door.leaves("i-2");
        let others = Others::of(&health, "i-1", &door);
        assert_eq!(others.in_service, 0);
        assert!(others.too_few(1).contains("i-2 was deregistered a moment ago"));
    }
}
