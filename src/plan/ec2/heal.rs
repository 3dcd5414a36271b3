//! Replacing an instance that is broken: EC2 says so, or its engine has been silent for too long.

use jiff::Timestamp;

use super::Desk;
use crate::{
    plan::{
        Facts, Plan,
        drain::{self, Drained},
        fleet,
        lineup::Lineup,
    },
    spec::Desired,
    status::Kind,
    world::{Instance, Observed, Seen, Target},
};

/// What is wrong with an instance.
struct Ailment {
    since: Timestamp,
    /// `its engine is silent`
    what: String,
    /// What is waited for: `its engine to answer`
    cure: String,
    /// EC2 itself says so: then the trouble is not the controller's own.
    certain: bool,
}

/// The place in the lineup of the one whose place another is to take now, if there is one.
pub(in crate::plan) fn to_be_healed(
    desired: &Desired,
    lineup: &Lineup<'_>,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) -> Option<usize> {
    lineup.staying.iter().position(|instance| {
        ailment(instance, facts).is_some_and(|ailment| {
            now >= ailment.since + desired.stack.heal_after && doubt(lineup, instance, &ailment, seen).is_none()
        })
    })
}

fn ailment(instance: &Instance, facts: &Facts) -> Option<Ailment> {
    let launched = instance.launched.as_ref()?;
    if fleet::phase(&instance.status) != fleet::Phase::Online {
        return None;
    }
    if let (Some(since), Some(said)) = (facts.impaired_since.get(&instance.id), &launched.impaired) {
        let what = format!("EC2's status checks say {said}");
        let cure = format!("EC2's status checks to pass ({said} now)");
        return Some(Ailment { since: *since, what, cure, certain: true });
    }
    // One whose engine never answered is not replaced: its successor would fare no better.
    let since = *facts.lost_since.get(&instance.id).filter(|_| launched.ready)?;
    Some(Ailment { since, what: "its engine is silent".into(), cure: "its engine to answer".into(), certain: false })
}

/// What speaks against replacing it now. Silence may be the controller's own: then nobody may be terminated for it.
fn doubt(lineup: &Lineup<'_>, instance: &Instance, ailment: &Ailment, seen: &Observed) -> Option<String> {
    let others = || lineup.staying.iter().chain(&lineup.ailing).filter(|other| other.id != instance.id);
    if let Some(other) = others().find(|other| fleet::phase(&other.status) != fleet::Phase::Online) {
        return Some(format!("{} is {} at the moment, and it goes one at a time", other.hostname, other.status));
    }
    if let Some(other) = lineup.ailing.iter().find(|other| other.id != instance.id) {
        return Some(format!("{} is being replaced, and it goes one at a time", other.hostname));
    }
    if let Some(hostname) = lineup.missing.first() {
        return Some(format!("{hostname} is being launched, and it goes one at a time"));
    }
    if ailment.certain {
        return None;
    }
    let mut engines = seen.engines.iter().filter(|(hostname, _)| **hostname != instance.hostname).peekable();
    let alone = engines.peek().is_none();
    if engines.any(|(_, engine)| matches!(engine, Seen::Known(_))) {
        return None;
    }
    if !alone {
        return Some(
            "no other engine of the stack answers either, so that the trouble may lie between them and the controller; \
             check security groups, routes and certificates"
                .to_owned(),
        );
    }
    let balancers = || seen.balancers.values().filter_map(Seen::known);
    let serves = balancers().any(|balancer| balancer.targets.get(&instance.id) == Some(&Target::InService));
    serves.then(|| "it is the only one, and its load balancer still has it in service".to_owned())
}

impl Desk<'_> {
    pub(super) fn heal(&self, plan: &mut Plan, lineup: &Lineup<'_>, instance: &Instance) {
        let hostname = &instance.hostname;
        let Some(ailment) = ailment(instance, self.facts) else { return };
        let due = ailment.since + self.desired.stack.heal_after;
        if self.now < due {
            let on = format!("{}, else it is replaced (healAfter)", ailment.cure);
            return plan.hold(hostname, on, Some(due));
        }
        let what = format!("{} (noticed at {})", ailment.what, ailment.since.strftime("%H:%M:%S"));
        if !lineup.ailing.iter().any(|other| other.id == instance.id) {
            let doubt = doubt(lineup, instance, &ailment, self.seen).unwrap_or_default();
            return plan.condition(Kind::InstanceTrouble, hostname, format!("{what}; it is not replaced: {doubt}"));
        }
        let message = format!("{what}; it is drained and terminated, and another takes its place");
        plan.condition(Kind::InstanceTrouble, hostname, message);
        match drain::drain_for_removal(plan, self.desired, self.layer, instance, self.seen, self.facts, self.now) {
            Drained::NotYet => {}
            drained => self.terminate(plan, instance, drained),
        }
    }
}
