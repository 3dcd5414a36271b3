//! EC2: as many instances as declared, launched as declared, healed, and replaced one at a time.

pub(super) mod balancers;
mod heal;
mod launch;
mod settings;
mod volumes;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub(super) use heal::to_be_healed;
pub use settings::differences;
pub(super) use settings::knows_image;

use super::{
    Facts, Plan,
    drain::{self, Drained},
    fleet::{self, Phase},
    lineup::{Lineup, lineup},
    tags,
};
use crate::{
    action::{Action, Tagged, launch_intent},
    spec::{Desired, Layer, stack::Update},
    status::Kind,
    world::{Ec2, Instance, Launched, Observed, Seen, tag},
};

/// All that a decision about a layer's instances rests on.
struct Desk<'a> {
    desired: &'a Desired,
    layer: &'a Layer,
    cloud: &'a Ec2,
    seen: &'a Observed,
    facts: &'a Facts,
    now: Timestamp,
}

pub(super) fn plan(plan: &mut Plan, desired: &Desired, cloud: &Ec2, seen: &Observed, facts: &Facts, now: Timestamp) {
    if let Seen::Unknown(trouble) = &seen.provided.instances {
        return plan.unobservable("instances", trouble);
    }
    if let Seen::Unknown(trouble) = &cloud.volumes {
        plan.unobservable("volumes", trouble);
    }
    for layer in &desired.stack.layers {
        Desk { desired, layer, cloud, seen, facts, now }.layer(plan);
    }
}

impl Desk<'_> {
    fn layer(&self, plan: &mut Plan) {
        let lineup = lineup(self.desired, self.layer, self.seen, self.facts, self.now);
        self.ingredients(plan);
        self.twins(plan, &lineup);
        for hostname in &lineup.missing {
            self.launch(plan, &lineup, hostname);
        }
        for instance in lineup.staying.iter().chain(&lineup.ailing) {
            // Its token stays on record: whatever a read misses, launching it again makes no second one.
            plan.wanted.insert(launch_intent(&instance.hostname));
            self.keep_up(plan, &lineup, instance);
        }
        if let Some(leaving) = lineup.leaving.first() {
            self.remove(plan, &lineup, leaving);
        }
    }

    /// Two live instances of one hostname are for people to tell apart.
    fn twins(&self, plan: &mut Plan, lineup: &Lineup<'_>) {
        for pair in lineup.staying.windows(2).filter(|pair| pair[0].hostname == pair[1].hostname) {
            plan.condition(
                Kind::Conflict,
                &pair[0].hostname,
                format!(
                    "two instances bear this hostname, {} and {}; terminate the one that is not wanted, or remove its \
                     tag {}",
                    pair[0].id,
                    pair[1].id,
                    tag::HOSTNAME
                ),
            );
        }
    }

    fn keep_up(&self, plan: &mut Plan, lineup: &Lineup<'_>, instance: &Instance) {
        let hostname = &instance.hostname;
        let Some(launched) = &instance.launched else { return };
        match fleet::phase(&instance.status) {
            Phase::Stopped => {
                let action = Action::StartInstance { id: instance.id.clone(), hostname: hostname.clone() };
                plan.attempt(hostname, action, self.facts, self.now);
                plan.hold(hostname, "the instance to run (stopped now)", None);
            }
            Phase::Starting => plan.hold(hostname, format!("the instance to run ({} now)", instance.status), None),
            Phase::Stopping => {
                let then = if instance.status == "stopping" { "it is started" } else { "another is launched" };
                let on = format!("the instance to be down ({} now), then {then}", instance.status);
                plan.hold(hostname, on, None);
            }
            Phase::Troubled => {}
            Phase::Online => {
                self.outdated(plan, lineup, instance);
                self.volumes(plan, instance, launched);
                self.security_groups(plan, instance, launched);
                let of = Tagged::Instance { id: instance.id.clone(), hostname: instance.hostname.clone() };
                self.keep_tags(plan, &instance.hostname, of, &launched.tags);
                self.first_contact(plan, instance, launched);
                self.heal(plan, lineup, instance);
            }
        }
    }

    fn outdated(&self, plan: &mut Plan, lineup: &Lineup<'_>, instance: &Instance) {
        let differs = differences(self.desired, self.layer, self.cloud, instance);
        if differs.is_empty() {
            return;
        }
        let what = match self.layer.update {
            Update::Manual => format!(
                "terminate it yourself and another takes its place, or set update: replace on the layer {}",
                self.layer.short_name
            ),
            Update::Replace if lineup.refresh.is_empty() => return,
            Update::Replace => "a new one comes up first, then this one is drained and terminated".to_owned(),
        };
        let message = format!("only a new instance can be as declared: {}; {what}", differs.join(", "));
        plan.condition(Kind::Outdated, &instance.hostname, message);
    }

    fn keep_tags(&self, plan: &mut Plan, subject: &str, of: Tagged, found: &BTreeMap<String, String>) {
        let changes = self.layer.tags.as_ref().and_then(|declared| tags::changes(declared, found));
        if let Some(tags) = changes {
            plan.attempt(subject, Action::KeepTags { of, tags }, self.facts, self.now);
        }
    }

    fn security_groups(&self, plan: &mut Plan, instance: &Instance, launched: &Launched) {
        let mut declared = self.layer.security_group_ids.clone();
        declared.sort();
        if declared.is_empty() || declared == launched.security_group_ids {
            return;
        }
        let (id, hostname) = (instance.id.clone(), instance.hostname.clone());
        let action = Action::SetSecurityGroups { id, hostname, groups: declared };
        plan.attempt(&instance.hostname, action, self.facts, self.now);
    }

    /// Between an instance's launch and the first answer of its engine.
    fn first_contact(&self, plan: &mut Plan, instance: &Instance, launched: &Launched) {
        if launched.ready {
            return;
        }
        let hostname = &instance.hostname;
        if self.seen.engines.get(hostname).is_some_and(|engine| engine.known().is_some()) {
            let tags = [(tag::READY.to_owned(), self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())].into();
            let why = "as ready: its engine answers".to_owned();
            let action = Action::TagInstance { id: instance.id.clone(), hostname: hostname.clone(), tags, why };
            return plan.attempt(hostname, action, self.facts, self.now);
        }
        if let Some(said) = &launched.bootstrap {
            let message = format!(
                "its bootstrap failed: {said}. Correct what it says, then terminate the instance: another takes its \
                 place. The whole output: aws ec2 get-console-output --latest --instance-id {}",
                instance.id
            );
            return plan.condition(Kind::InstanceTrouble, hostname, message);
        }
        if let Some(until) = fleet::bootstraps_until(launched, self.now) {
            return plan.hold(hostname, "its bootstrap: Docker is installed and started", Some(until));
        }
        let message = format!(
            "its engine has never answered since it was launched; see what its bootstrap says with aws ec2 \
             get-console-output --latest --instance-id {}, correct it, and terminate the instance: another takes its \
             place",
            instance.id
        );
        plan.condition(Kind::InstanceTrouble, hostname, message);
    }

    /// Out of the balancers first, then terminated, also one that is not up as it seems: it may be up by now.
    fn remove(&self, plan: &mut Plan, lineup: &Lineup<'_>, instance: &Instance) {
        let hostname = &instance.hostname;
        let phase = fleet::phase(&instance.status);
        if phase == Phase::Stopping && instance.status != "stopping" {
            return plan.hold(hostname, format!("the instance to be terminated ({} now)", instance.status), None);
        }
        if phase == Phase::Online && lineup.refresh.iter().any(|other| other.id == instance.id) {
            self.outdated(plan, lineup, instance);
        }
        match drain::drain_for_removal(plan, self.desired, self.layer, instance, self.seen, self.facts, self.now) {
            Drained::NotYet => {}
            drained => self.terminate(plan, instance, drained),
        }
    }

    fn terminate(&self, plan: &mut Plan, instance: &Instance, drained: Drained) {
        let (id, hostname) = (instance.id.clone(), instance.hostname.clone());
        let action = Action::TerminateInstance { id, hostname, drained: matches!(drained, Drained::Yes) };
        plan.attempt(&instance.hostname, action, self.facts, self.now);
        plan.hold(&instance.hostname, "the instance to be terminated", None);
    }
}
