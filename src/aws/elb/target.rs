//! What a classic load balancer's words about an instance mean. Pure.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancing::types::InstanceState;

use crate::world::Target;

/// Every target by EC2 instance id: those that the balancer lists as registered, and those that it still drains.
///
/// The list and the health are two calls, and either may lag behind: what is listed but has no health yet is out of
/// service, what has health but is not listed any more is told as its health says.
pub(super) fn targets<'a>(
    registered: impl IntoIterator<Item = &'a str>,
    health: &[InstanceState],
) -> BTreeMap<String, Target> {
    let unseen = || Target::OutOfService("registration not seen yet".into());
    let mut targets: BTreeMap<String, Target> =
        registered.into_iter().map(|ec2_id| (ec2_id.to_owned(), unseen())).collect();
    for state in health {
        if let (Some(ec2_id), Some(target)) = (&state.instance_id, target(state)) {
            targets.insert(ec2_id.clone(), target);
        }
    }
    targets
}

/// `None` for an instance that is not registered.
///
/// While an instance drains, its state is still `InService` and only the description tells ("Configure connection
/// draining" in the Classic Load Balancers guide; the words are those of `InstanceState` in the API reference).
pub(super) fn target(state: &InstanceState) -> Option<Target> {
    let description = state.description.as_deref().unwrap_or_default();
    let says = |words: &str| description.to_lowercase().contains(words);
    if says("not currently registered") {
        return None;
    }
    if says("deregistration currently in progress") {
        return Some(Target::Draining);
    }
    Some(match state.state.as_deref() {
        Some("InService") => Target::InService,
        // `Unknown` gets no requests that anybody could count on.
        Some(other) if other != "OutOfService" => Target::OutOfService(format!("{other}: {description}")),
        _ => Target::OutOfService(description.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: &str, state: &str, description: &str) -> InstanceState {
        InstanceState::builder().instance_id(id).state(state).description(description).build()
    }

    #[test]
    fn an_instance_that_drains_says_in_service_and_is_draining() {
        let draining = state("i-1", "InService", "Instance deregistration currently in progress.");
        assert_eq!(target(&draining), Some(Target::Draining));
        assert_eq!(target(&state("i-1", "InService", "N/A")), Some(Target::InService));
    }

    #[test]
    fn an_instance_that_is_not_registered_is_no_target() {
        let gone = state("i-1", "OutOfService", "Instance is not currently registered with the LoadBalancer.");
        assert_eq!(target(&gone), None);
    }

    #[test]
    fn out_of_service_comes_with_its_reason() {
        let words = "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.";
        assert_eq!(target(&state("i-1", "OutOfService", words)), Some(Target::OutOfService(words.into())));
        let transient = target(&state("i-1", "Unknown", "A transient error occurred.")).unwrap();
        assert_eq!(transient, Target::OutOfService("Unknown: A transient error occurred.".into()));
    }

    #[test]
    fn a_registration_that_has_no_health_yet_is_out_of_service() {
        let gone = state("i-2", "OutOfService", "Instance is not currently registered with the LoadBalancer.");
        let targets = targets(["i-1", "i-2"], &[gone, state("i-3", "InService", "N/A")]);
        let unseen = Target::OutOfService("registration not seen yet".into());
        assert_eq!(targets["i-1"], unseen);
        assert_eq!(targets["i-2"], unseen);
        assert_eq!(targets["i-3"], Target::InService);
    }
}
