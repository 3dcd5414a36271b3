//! Replacing an instance that is broken: EC2 says so, or its engine has been silent for too long.

use jiff::Timestamp;

use super::Desk;
use crate::{
    plan::{Plan, drain, fleet, lineup::Lineup},
    status::Kind,
    world::{Instance, Launched, Seen},
};

impl Desk<'_> {
    pub(super) fn heal(&self, plan: &mut Plan, lineup: &Lineup<'_>, instance: &Instance, launched: &Launched) {
        let hostname = &instance.hostname;
        let Some((since, why)) = self.ailment(instance, launched) else { return };
        let due = since + self.desired.stack.heal_after;
        if self.now < due {
            return plan.hold(hostname, format!("{why} to be over, else it is replaced (healAfter)"), Some(due));
        }
        if let Some(doubt) = self.doubt(lineup, instance, launched) {
            return plan.condition(Kind::InstanceTrouble, hostname, format!("{why}; it is not replaced: {doubt}"));
        }
        let since = since.strftime("%H:%M:%S");
        let message = format!("{why} since {since}; it is drained, terminated, and another takes its place");
        plan.condition(Kind::InstanceTrouble, hostname, message);
        if drain::drain_for_removal(plan, self.desired, self.layer, instance, self.seen, self.facts, self.now) {
            self.terminate(plan, instance);
        }
    }

    fn ailment(&self, instance: &Instance, launched: &Launched) -> Option<(Timestamp, String)> {
        if let (Some(since), Some(said)) = (self.facts.impaired_since.get(&instance.id), &launched.impaired) {
            return Some((*since, format!("EC2's status checks say {said}")));
        }
        // One whose engine never answered is not replaced: its successor would fare no better.
        let since = self.facts.lost_since.get(&instance.id).filter(|_| launched.ready)?;
        Some((*since, "its engine is silent".to_owned()))
    }

    /// What speaks against replacing it now. Silence may be the controller's own: then nobody may be terminated for it.
    fn doubt(&self, lineup: &Lineup<'_>, instance: &Instance, launched: &Launched) -> Option<String> {
        let other_in_hand = lineup
            .staying
            .iter()
            .filter(|other| other.id != instance.id)
            .find(|other| fleet::phase(&other.status) != fleet::Phase::Online);
        if let Some(other) = other_in_hand {
            return Some(format!("{} is {} at the moment, one at a time", other.hostname, other.status));
        }
        if let Some(hostname) = lineup.missing.first() {
            return Some(format!("{hostname} is being launched, one at a time"));
        }
        if launched.impaired.is_some() {
            return None;
        }
        let mut engines = self.seen.engines.iter().filter(|(hostname, _)| **hostname != instance.hostname).peekable();
        let alone = engines.peek().is_none();
        if engines.any(|(_, engine)| matches!(engine, Seen::Known(_))) {
            return None;
        }
        if !alone {
            return Some(
                "no other engine of the stack answers either, so that the trouble may be between them and the \
                 controller; check security groups, routes and certificates"
                    .to_owned(),
            );
        }
        let serves = self
            .seen
            .balancers
            .values()
            .filter_map(Seen::known)
            .any(|balancer| balancer.targets.get(&instance.id) == Some(&crate::world::Target::InService));
        serves.then(|| "it is the only one, and its load balancer still has it in service".to_owned())
    }
}
