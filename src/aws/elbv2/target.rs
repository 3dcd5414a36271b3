//! What a target group's words about an instance mean. Pure.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    TargetHealth, TargetHealthDescription, TargetHealthReasonEnum as Reason, TargetHealthStateEnum as State,
};

use crate::world::Target;

/// The targets of one port, by EC2 instance id. An instance may be registered under several ports; what is declared
/// is one of them, and the others say nothing of it.
pub(super) fn targets(health: &[TargetHealthDescription], port: u16) -> BTreeMap<String, Target> {
    let of_port = health.iter().filter_map(|described| {
        let told = described.target.as_ref()?;
        if told.port.is_some_and(|told| told != i32::from(port)) {
            return None;
        }
        Some((told.id.clone()?, target(described.target_health.as_ref()?)?))
    });
    of_port.collect()
}

/// `None` for an instance that is not registered.
///
/// Sources: "Target health status" and "Health check reason codes" in the user guides for Application and Network Load
/// Balancers, and `TargetHealth` in the API reference.
pub(super) fn target(health: &TargetHealth) -> Option<Target> {
    let reason = health.reason.as_ref();
    let said = |state: &str| {
        let words = [reason.map(Reason::as_str), health.description.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().map(|word| word.trim_end_matches('.')).collect();
        let words = if words.is_empty() { "no reason was given".to_owned() } else { words.join(", ") };
        Target::OutOfService(format!("{state} ({words})"))
    };
    match health.state.as_ref().map_or("", State::as_str) {
        "healthy" => Some(Target::InService),
        "draining" | "unhealthy.draining" => Some(Target::Draining),
        "unused" => match reason {
            Some(Reason::NotRegistered) | None => None,
            Some(Reason::NotInUse) => Some(Target::OutOfService(
                "unused (Target.NotInUse): no load balancer sends requests to this target group; add a listener or a \
                 rule that forwards to it, or take it out of loadBalancers"
                    .into(),
            )),
            Some(_) => Some(said("unused")),
        },
        state => Some(said(state)),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::TargetDescription;

    use super::*;

    fn health(state: &str, reason: &str, description: &str) -> TargetHealth {
        let reason = Some(reason).filter(|reason| !reason.is_empty()).map(Reason::from);
        let description = Some(description.to_owned()).filter(|said| !said.is_empty());
        TargetHealth::builder().state(State::from(state)).set_reason(reason).set_description(description).build()
    }

    fn why(health: &TargetHealth) -> String {
        match target(health) {
            Some(Target::OutOfService(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_healthy_target_gets_requests() {
        assert_eq!(target(&health("healthy", "", "")), Some(Target::InService));
        let initial = health("initial", "Elb.InitialHealthChecking", "Initial health checks in progress");
        assert_eq!(why(&initial), "initial (Elb.InitialHealthChecking, Initial health checks in progress)");
        let codes = health("unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]");
        assert!(why(&codes).contains("[503]"));
        assert_eq!(why(&health("unavailable", "Elb.InternalError", "")), "unavailable (Elb.InternalError)");
        assert_eq!(why(&health("something.new", "", "")), "something.new (no reason was given)");
    }

    #[test]
    fn a_target_that_drains_is_draining_whether_its_checks_fail_or_not() {
        for state in ["draining", "unhealthy.draining"] {
            assert_eq!(target(&health(state, "Target.DeregistrationInProgress", "")), Some(Target::Draining));
        }
    }

    #[test]
    fn unused_is_three_things() {
        assert_eq!(target(&health("unused", "Target.NotRegistered", "")), None);
        assert!(why(&health("unused", "Target.NotInUse", "")).contains("add a listener or a rule"));
        let stopped = health("unused", "Target.InvalidState", "Target is in the stopped state");
        assert!(why(&stopped).contains("stopped state"));
    }

    #[test]
    fn another_port_of_the_same_instance_says_nothing() {
        let on = |port: i32, state: &str| {
            TargetHealthDescription::builder()
                .target(TargetDescription::builder().id("i-1").port(port).build())
                .target_health(health(state, "", ""))
                .build()
        };
        let all = [on(80, "healthy"), on(8080, "draining")];
        assert_eq!(targets(&all, 80), BTreeMap::from([("i-1".to_owned(), Target::InService)]));
        assert_eq!(targets(&all, 8080), BTreeMap::from([("i-1".to_owned(), Target::Draining)]));
        assert!(targets(&all, 443).is_empty());
    }
}
