//! Instances: as many as declared, under stable hostnames.

use jiff::Timestamp;

use crate::{
    action::Action,
    plan::{
        Facts, Plan,
        drain::{self, Drained},
        fleet::{Phase, phase, seen_layer},
        lineup::lineup,
    },
    spec::{Desired, Layer},
    status::Kind,
    world::{Instance, Observed, OpsWorks, Seen},
};

pub(super) fn plan(
    plan: &mut Plan,
    desired: &Desired,
    cloud: &OpsWorks,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) {
    let Some(Some(stack)) = cloud.stack.known() else { return };
    if !stack.ours && !desired.stack.adopt {
        return;
    }
    if let Seen::Unknown(trouble) = &seen.provided.instances {
        return plan.unobservable("instances", trouble);
    }
    for layer in &desired.stack.layers {
        let Some(found) = seen_layer(layer, seen) else { continue };
        if !found.ours && !desired.stack.adopt {
            continue;
        }
        let lineup = lineup(desired, layer, seen, facts, now);
        for instance in &lineup.staying {
            keep_up(plan, layer, instance, facts, now);
        }
        for hostname in &lineup.missing {
            let action = Action::CreateInstance {
                stack_id: stack.id.clone(),
                layer_id: found.id.clone(),
                hostname: hostname.clone(),
                instance_type: layer.instances.instance_type.clone(),
            };
            plan.make(hostname, hostname, action, facts, now);
            plan.hold(hostname, "the instance to be created", None);
        }
        if let Some(leaving) = lineup.leaving.first() {
            remove(plan, desired, layer, leaving, seen, facts, now);
        }
    }
}

fn keep_up(plan: &mut Plan, layer: &Layer, instance: &Instance, facts: &Facts, now: Timestamp) {
    let hostname = &instance.hostname;
    match phase(&instance.status) {
        Phase::Stopped => {
            let action = Action::StartInstance { id: instance.id.clone(), hostname: hostname.clone() };
            plan.attempt(hostname, action, facts, now);
            plan.hold(hostname, "the instance to be online (stopped now)", None);
        }
        Phase::Starting => {
            plan.hold(hostname, format!("the instance to be online ({} now)", instance.status), None);
        }
        Phase::Stopping => {
            plan.hold(
                hostname,
                format!("the instance to be stopped ({} now), then it is started", instance.status),
                None,
            );
        }
        Phase::Troubled => plan.condition(
            Kind::InstanceTrouble,
            hostname,
            format!(
                "OpsWorks says {}; look at the instance's log in OpsWorks. Evenkeel goes on when it is online again",
                instance.status
            ),
        ),
        Phase::Online => {
            if instance.instance_type != layer.instances.instance_type {
                plan.condition(
                    Kind::InstanceTrouble,
                    hostname,
                    format!(
                        "it is a {}, declared is {}; OpsWorks changes the type of a stopped instance only: stop it by \
                         hand, change its type, and it is started again",
                        instance.instance_type, layer.instances.instance_type
                    ),
                );
            }
        }
    }
}

/// Out of the balancers first, then stopped, then deleted.
fn remove(
    plan: &mut Plan,
    desired: &Desired,
    layer: &Layer,
    instance: &Instance,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) {
    let hostname = &instance.hostname;
    let id = instance.id.clone();
    match phase(&instance.status) {
        Phase::Stopped => {
            let action = Action::DeleteInstance { id, hostname: hostname.clone() };
            plan.attempt(hostname, action, facts, now);
        }
        Phase::Stopping => plan.hold(hostname, format!("the instance to be stopped ({} now)", instance.status), None),
        Phase::Starting => {
            plan.hold(
                hostname,
                format!("the instance to be online ({} now), then it is removed", instance.status),
                None,
            );
        }
        // One that OpsWorks has lost sight of may serve all the same.
        Phase::Troubled | Phase::Online => {
            let drained = drain::drain_for_removal(plan, desired, layer, instance, seen, facts, now);
            if !matches!(drained, Drained::NotYet) {
                let (ec2_id, drained) = (instance.ec2_id.clone(), matches!(drained, Drained::Yes));
                let action = Action::StopInstance { id, ec2_id, hostname: hostname.clone(), drained };
                plan.attempt(hostname, action, facts, now);
                plan.hold(hostname, "the instance to be stopped, then it is deleted", None);
            }
        }
    }
}
