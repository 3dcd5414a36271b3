//! Registering and deregistering one instance.

use super::{Api, Declared, group::Group, target::targets, target_of};
use crate::{
    action::Action,
    aws::door::{Door, Doors, Others},
    world::{Class, Target, Trouble},
};

pub(super) async fn apply(
    api: &Api,
    doors: &Doors,
    group: &Group,
    declared: Declared<'_>,
    action: &Action,
) -> Result<(), Trouble> {
    let door = doors.of(&api.place, declared.key);
    let _alone = door.pass().await;
    let port = declared.port.unwrap_or(group.port);
    match action {
        Action::Register { ec2_id, hostname, .. } => {
            let on = format!("{}, instance {hostname} {ec2_id}, port {port}", declared.key);
            register(api, &door, group, declared, &on, ec2_id, port).await
        }
        Action::Deregister { ec2_id, hostname, keep, .. } => {
            let on = format!("{}, instance {hostname} {ec2_id}, port {port}", declared.key);
            deregister(api, &door, group, declared, &on, ec2_id, port, *keep).await
        }
        _ => Err(Trouble { class: Class::Terminal, message: format!("{action}: not an action of a target group") }),
    }
}

/// Registering what is registered changes nothing.
async fn register(
    api: &Api,
    door: &Door,
    group: &Group,
    declared: Declared<'_>,
    on: &str,
    ec2_id: &str,
    port: u16,
) -> Result<(), Trouble> {
    let call = api.call("RegisterTargets", on);
    let request = api.clients.elbv2.write.register_targets().target_group_arn(&group.arn);
    match request.targets(target_of(ec2_id, port)).send().await {
        Ok(_) => {
            door.forget(ec2_id);
            Ok(())
        }
        Err(error) if error.as_service_error().is_some_and(|e| e.is_target_group_not_found_exception()) => {
            Err(api.absent("RegisterTargets", declared.group))
        }
        // "The specified target does not exist, is not in the same VPC as the target group, or has an unsupported
        // instance type" (API reference of RegisterTargets).
        Err(error) if error.as_service_error().is_some_and(|e| e.is_invalid_target_exception()) => {
            let vpc = group.told.vpc_id.as_deref().unwrap_or("an unknown VPC");
            let said = error.as_service_error().and_then(|e| e.meta().message()).unwrap_or_default().to_owned();
            let said = said.trim_end_matches('.');
            Err(call.own(
                Class::Terminal,
                format!(
                    "InvalidTarget: {said}; the target group is in {vpc}, and takes instances that run there: give the \
                     layer subnets of {vpc}, or name a target group of the instances' own VPC"
                ),
            ))
        }
        Err(error) => Err(call.failed(&error)),
    }
}

/// Only while `keep` others are in service. One that is gone already, or on its way, is left as it is.
#[allow(clippy::too_many_arguments)]
async fn deregister(
    api: &Api,
    door: &Door,
    group: &Group,
    declared: Declared<'_>,
    on: &str,
    ec2_id: &str,
    port: u16,
    keep: u32,
) -> Result<(), Trouble> {
    let call = api.call("DeregisterTargets", on);
    let absent = || api.absent("DeregisterTargets", declared.group);
    let health = api.health(group, None).await?.ok_or_else(absent)?;
    let all = targets(&health, port);
    if matches!(all.get(ec2_id), None | Some(Target::Draining)) {
        return Ok(());
    }
    let others = Others::of(all.iter().map(|(id, target)| (id.as_str(), target.clone())), ec2_id, door);
    if others.in_service < keep as usize {
        return Err(call.own(Class::Transient, others.too_few(keep)));
    }
    door.leaves(ec2_id);
    // "If you specified a port override when you registered a target, you must specify both the target ID and the port
    // when you deregister it" (API reference of DeregisterTargets).
    let request = api.clients.elbv2.write.deregister_targets().target_group_arn(&group.arn);
    let trouble = match request.targets(target_of(ec2_id, port)).send().await {
        Ok(_) => return Ok(()),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_invalid_target_exception()) => {
            door.forget(ec2_id);
            return Ok(());
        }
        Err(error) if error.as_service_error().is_some_and(|e| e.is_target_group_not_found_exception()) => absent(),
        Err(error) => call.failed(&error),
    };
    if trouble.class != Class::UnknownOutcome {
        door.forget(ec2_id);
    }
    Err(trouble)
}
