//! OpsWorks' own load-based scaling of a layer, both ways. Pure.

use std::collections::BTreeMap;

use aws_sdk_opsworks::{
    operation::set_load_based_auto_scaling::builders::SetLoadBasedAutoScalingInputBuilder,
    types::{AutoScalingThresholds, LoadBasedAutoScalingConfiguration},
};

use super::seen::Lacking;
use crate::world::{LoadScaling, Thresholds};

/// By layer id.
pub(super) fn seen(all: &[LoadBasedAutoScalingConfiguration]) -> Result<BTreeMap<String, LoadScaling>, Lacking> {
    all.iter()
        .map(|one| {
            let id = one.layer_id.clone().filter(|id| !id.is_empty()).ok_or("LayerId")?;
            let enabled = one.enable.unwrap_or_default();
            let thresholds = |it: Option<&AutoScalingThresholds>| it.map(thresholds).unwrap_or_default();
            let (up, down) = (thresholds(one.up_scaling.as_ref()), thresholds(one.down_scaling.as_ref()));
            Ok((id, LoadScaling { enabled, up, down }))
        })
        .collect()
}

fn thresholds(seen: &AutoScalingThresholds) -> Thresholds {
    let number = |number: Option<i32>| number.and_then(|it| u32::try_from(it).ok()).unwrap_or_default();
    let on = |at: Option<f64>| at.filter(|at| *at >= 0.0);
    Thresholds {
        count: number(seen.instance_count),
        wait_minutes: number(seen.thresholds_wait_time),
        ignore_minutes: number(seen.ignore_metrics_time),
        cpu: on(seen.cpu_threshold),
        memory: on(seen.memory_threshold),
        load: on(seen.load_threshold),
    }
}

/// Alarms of CloudWatch that somebody has added are left as they are.
pub(super) fn set(layer_id: &str, declared: &LoadScaling) -> SetLoadBasedAutoScalingInputBuilder {
    SetLoadBasedAutoScalingInputBuilder::default()
        .layer_id(layer_id)
        .enable(declared.enabled)
        .up_scaling(request(&declared.up))
        .down_scaling(request(&declared.down))
}

fn request(declared: &Thresholds) -> AutoScalingThresholds {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    AutoScalingThresholds::builder()
        .instance_count(number(declared.count))
        .thresholds_wait_time(number(declared.wait_minutes))
        .ignore_metrics_time(number(declared.ignore_minutes))
        .cpu_threshold(declared.cpu.unwrap_or(-1.0))
        .memory_threshold(declared.memory.unwrap_or(-1.0))
        .load_threshold(declared.load.unwrap_or(-1.0))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_reads_back_and_minus_one_is_none() {
        let thresholds = |cpu| Thresholds { count: 2, wait_minutes: 5, ignore_minutes: 7, cpu, ..Default::default() };
        let declared = LoadScaling { enabled: false, up: thresholds(Some(80.0)), down: thresholds(None) };
        let set = set("l-1", &declared).build().unwrap();
        assert_eq!(set.down_scaling().unwrap().cpu_threshold(), Some(-1.0));
        let told = LoadBasedAutoScalingConfiguration::builder()
            .layer_id("l-1")
            .enable(set.enable().unwrap())
            .set_up_scaling(set.up_scaling().cloned())
            .set_down_scaling(set.down_scaling().cloned())
            .build();
        assert_eq!(seen(&[told]), Ok(BTreeMap::from([("l-1".to_owned(), declared)])));
        assert_eq!(seen(&[LoadBasedAutoScalingConfiguration::builder().build()]), Err("LayerId"));
    }
}
