//! Registering and deregistering one instance.

use aws_sdk_elasticloadbalancing::types::Instance;

use super::{Api, target::target};
use crate::{
    action::Action,
    aws::door::{Door, Doors, Others},
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
    let targets = health.iter().filter_map(|state| Some((state.instance_id.as_deref()?, target(state)?)));
    let others = Others::of(targets, ec2_id, door);
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
