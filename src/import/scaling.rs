//! How OpsWorks scaled a layer by load, in the words of a manifest.

use super::aws::{Seen, Thing};

/// What to write in the place of `count`, for a layer that has rules; `base` instances run at all hours.
pub(super) fn suggested(seen: &Seen<'_>, base: usize) -> Option<String> {
    let rules = seen.scales?;
    let is_load = |instance: &&Thing<'_>| instance.text("AutoScalingType").is_some_and(|kind| kind == "load");
    let most = base + seen.instances.iter().flatten().filter(is_load).count();
    let ways = [("up", "UpScaling"), ("down", "DownScaling")];
    let ways: Vec<String> =
        ways.into_iter().filter_map(|(way, key)| Some(format!("{way}: {{{}}}", thresholds(rules.get(key)?)))).collect();
    Some(format!("min: {base}, max: {most}, load: {{{}}}", ways.join(", ")))
}

/// "AutoScalingThresholds", OpsWorks API reference: times are minutes, and -1 is off.
fn thresholds(way: Thing<'_>) -> String {
    let number = |key: &str| {
        let text = way.text(key)?;
        let whole = text.strip_suffix(".0").unwrap_or(&text).to_owned();
        Some(whole).filter(|number| number != "-1")
    };
    let keys = [
        ("cpu", "CpuThreshold", ""),
        ("memory", "MemoryThreshold", ""),
        ("load", "LoadThreshold", ""),
        ("for", "ThresholdsWaitTime", "m"),
        ("coolDown", "IgnoreMetricsTime", "m"),
        ("count", "InstanceCount", ""),
    ];
    let told = keys.iter().filter_map(|(to, key, unit)| Some(format!("{to}: {}{unit}", number(key)?)));
    told.collect::<Vec<_>>().join(", ")
}
