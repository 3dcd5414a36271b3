//! OpsWorks' own load-based scaling of the layers that Evenkeel scales: switched off, with the thresholds as declared, so
//! that its console shows what they are.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    action::Action,
    plan::{Facts, Plan, fleet::seen_layer},
    spec::{Desired, scaling::Rule},
    world::{LoadScaling, Observed, OpsWorks, Seen, Thresholds},
};

/// OpsWorks counts in minutes, from 1 to 100.
fn minutes(time: Duration) -> u32 {
    u32::try_from(time.as_secs().div_ceil(60)).unwrap_or(u32::MAX).clamp(1, 100)
}

fn thresholds(rule: &Rule) -> Thresholds {
    Thresholds {
        count: rule.count,
        wait_minutes: minutes(rule.lasting),
        ignore_minutes: minutes(rule.cool_down),
        cpu: rule.cpu,
        memory: rule.memory,
        load: rule.load,
    }
}

pub(super) fn plan(
    plan: &mut Plan,
    desired: &Desired,
    cloud: &OpsWorks,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) {
    for layer in &desired.stack.layers {
        let Some(scaling) = &layer.instances.scaling else { continue };
        let Some(found) = seen_layer(layer, seen).filter(|found| found.ours || desired.stack.adopt) else { continue };
        let subject = format!("layer {}", layer.short_name);
        let all = match &cloud.load_scaling {
            Seen::Known(all) => all,
            Seen::Unknown(trouble) => return plan.unobservable(&subject, trouble),
        };
        // What was never set is off.
        let present = all.get(&found.id);
        let mut settings = match (&scaling.load, present) {
            (Some(rules), _) => {
                LoadScaling { enabled: false, up: thresholds(&rules.up), down: thresholds(&rules.down) }
            }
            (None, Some(present)) => present.clone(),
            (None, None) => continue,
        };
        settings.enabled = false;
        let mut changed = Vec::new();
        if present.is_some_and(|present| present.enabled) {
            changed.push("switch it off, Evenkeel scales the layer".to_owned());
        }
        if present.is_none_or(|present| (&present.up, &present.down) != (&settings.up, &settings.down)) {
            changed.push("thresholds".to_owned());
        }
        if !changed.is_empty() {
            let (layer_id, layer) = (found.id.clone(), layer.short_name.clone());
            let action = Action::SetLoadScaling { layer_id, layer, settings: Box::new(settings), changed };
            plan.attempt(&subject, action, facts, now);
        }
    }
}
