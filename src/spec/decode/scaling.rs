//! `instances` of a layer whose number is not fixed: `{min, max, load, schedule}`.

use std::time::Duration;

use super::{
    cursor::{Map, Report},
    node::{Data, Node},
    quantity::{duration, duration_above_zero},
};
use crate::spec::{
    cron::Wrong,
    scaling::{Calendar, Days, Hours, LoadRules, Metric, Minute, Rule, Scaling, Source},
};

/// The keys that belong to it.
pub(super) const KEYS: [&str; 4] = ["min", "max", "load", "schedule"];
/// No load average is higher.
const HIGHEST_LOAD: f64 = 10_000.0;

/// Reads it from beside `type`; `most` is how many instances a layer may have.
pub(super) fn read(map: &Map<'_>, most: u32) -> Option<Scaling> {
    let min = map.required("min", |report, node| report.number(node, 0..=most));
    let load = map.optional("load", load);
    let schedule = map.optional("schedule", |report, node| schedule(report, node, min, most));
    let highest = |calendar: &Calendar| calendar.hours().iter().map(|hours| hours.min).max();
    let max = match map.has("load") || !map.has("schedule") {
        true => map.required("max", |report, node| report.number(node, 1..=most)),
        // By the hours alone it is clear how many there are at most.
        false => map
            .optional("max", |report, node| report.number(node, 1..=most))
            .or_else(|| schedule.as_ref().and_then(highest).filter(|_| !map.has("max"))),
    };
    if !map.has("load") && !map.has("schedule") {
        let message = "nothing says when there are more than `min` instances".to_owned();
        let help = "add `load: {up: {cpu: 80}, down: {cpu: 30}}` or a `schedule`, or write `count` for a fixed number";
        map.refuse("max", message, help.to_owned());
    }
    let (min, max) = (min?, max?);
    if min > max {
        map.refuse("min", format!("`min` is {min}, and `max` is {max}"), "`max` is the higher one".to_owned());
    }
    if min == 0 && load.is_some() {
        let help = "write `min: 1`; hours without any instance need a `schedule` alone".to_owned();
        map.refuse("min", "`load` needs an instance whose load can be measured".to_owned(), help);
    }
    if let Some(hours) = schedule.iter().flat_map(Calendar::hours).find(|hours| hours.min > max) {
        let message = format!("{} instances from {} on are more than `max`, {max}", hours.min, hours.from);
        map.refuse("schedule", message, "raise `max`, or lower that `min`".to_owned());
    }
    Some(Scaling { min, max, load, schedule })
}

fn load(report: &Report<'_>, node: &Node) -> Option<LoadRules> {
    let map = report.map(node, "`load`")?;
    let sources = [("engines", Source::Engines), ("cloudWatch", Source::CloudWatch)];
    let cpu_from = map.optional("cpuFrom", |report, node| report.choice(node, &sources, &[]));
    let mut up = map.optional("up", |report, node| rule(report, node, &Rule::UP));
    let mut down = map.optional("down", |report, node| rule(report, node, &Rule::DOWN));
    map.finish();
    if (map.has("up") && up.is_none()) || (map.has("down") && down.is_none()) {
        return None;
    }
    let (up_says, up) = up.take().unwrap_or((false, Rule::UP));
    let (down_says, down) = down.take().unwrap_or((false, Rule::DOWN));
    // What was told to look at the memory alone is not to go by the processors on the way down.
    if up_says && !down_says && up.cpu.is_none() {
        let word = up.thresholds().iter().find(|(_, at)| at.is_some()).map_or("cpu", |(metric, _)| metric.word());
        let help = format!("add `down: {{{word}: …}}`, or `down: {{{word}: -1}}` if instances are to stay");
        map.refuse("up", format!("`up` goes by {word}, and nothing says when instances leave"), help);
        return None;
    }
    for ((metric, above), (_, below)) in up.thresholds().into_iter().zip(down.thresholds()) {
        if let (Some(above), Some(below)) = (above, below)
            && above <= below
        {
            let word = metric.word();
            let message = format!("instances would come and go at once: {word} {below} is not below {word} {above}");
            let key = if down_says { "down" } else { "up" };
            map.refuse(key, message, format!("leave room between the `{word}` of `up` and that of `down`"));
            return None;
        }
    }
    let rules = LoadRules { cpu_from: cpu_from.unwrap_or_default(), up, down };
    if map.has("cpuFrom") && !rules.wants(Metric::Cpu) {
        let message = "neither `up` nor `down` goes by cpu".to_owned();
        let help = "name `cpu` there, or leave `cpuFrom` out: memory and load average are always the engines' own, since \
                    CloudWatch knows neither without an agent";
        map.refuse("cpuFrom", message, help.to_owned());
        return None;
    }
    Some(rules)
}

/// A direction, and whether it names a metric: the others are off then.
fn rule(report: &Report<'_>, node: &Node, default: &Rule) -> Option<(bool, Rule)> {
    let map = report.map(node, "`up` and `down`")?;
    let percent = |report: &Report<'_>, node: &Node| threshold(report, node, 100.0);
    let cpu = map.optional("cpu", percent);
    let memory = map.optional("memory", percent);
    let load = map.optional("load", |report, node| threshold(report, node, HIGHEST_LOAD));
    let lasting = map.optional("for", |report, node| time(report, node, true));
    let cool_down = map.optional("coolDown", |report, node| time(report, node, false));
    let count = map.optional("count", |report, node| report.number(node, 1..=100));
    map.finish();
    let says = ["cpu", "memory", "load"].iter().any(|key| map.has(key));
    let is_wrong = [("cpu", cpu.is_none()), ("memory", memory.is_none()), ("load", load.is_none())];
    if is_wrong.iter().any(|(key, none)| *none && map.has(key)) {
        return None;
    }
    let cpu = if says { cpu.flatten() } else { default.cpu };
    let rule = Rule {
        cpu,
        memory: memory.flatten(),
        load: load.flatten(),
        lasting: lasting.unwrap_or(default.lasting),
        cool_down: cool_down.unwrap_or(default.cool_down),
        count: count.unwrap_or(default.count),
    };
    Some((says, rule))
}

/// A number above 0, or -1 for none.
fn threshold(report: &Report<'_>, node: &Node, highest: f64) -> Option<Option<f64>> {
    let number = match &node.data {
        Data::Scalar { text, plain: true } => text.parse::<f64>().ok(),
        _ => None,
    };
    match number {
        Some(-1.0) => Some(None),
        Some(number) if number > 0.0 && number <= highest => Some(Some(number)),
        Some(number) => {
            let help = "-1 switches it off, and so does leaving it out".to_owned();
            report.tell(&node.span, format!("{number} is out of range: above 0, and at most {highest}"), Some(help))
        }
        None => report.expected(node, "a number like `80`"),
    }
}

/// At most the 100 minutes that OpsWorks takes.
fn time(report: &Report<'_>, node: &Node, above_zero: bool) -> Option<Duration> {
    let time = if above_zero { duration_above_zero(report, node)? } else { duration(report, node)? };
    if time > Duration::from_secs(100 * 60) {
        return report.tell(&node.span, "at most 100 minutes (`100m`) are allowed, as OpsWorks has it", None);
    }
    Some(time)
}

fn schedule(report: &Report<'_>, node: &Node, min: Option<u32>, most: u32) -> Option<Calendar> {
    let map = report.map(node, "`schedule`")?;
    let zone = map.optional("timeZone", |report, node| {
        let zone = report.word(node)?;
        match Calendar::new(&zone, Vec::new()) {
            Ok(_) => Some(zone),
            Err(Wrong { message, help }) => report.tell(&node.span, message, help),
        }
    });
    let read = |report: &Report<'_>, node: &Node| hours(report, node, min, most);
    let hours = map.required("hours", |report, node| report.list(node, "hours", read));
    map.finish();
    let hours = hours?;
    if hours.is_empty() {
        map.refuse("hours", "a schedule has hours".to_owned(), "leave `schedule` out if there are none".to_owned());
    }
    Calendar::new(zone.as_deref().unwrap_or("UTC"), hours).ok()
}

fn hours(report: &Report<'_>, node: &Node, fewest: Option<u32>, most: u32) -> Option<Hours> {
    let map = report.map(node, "a line of hours")?;
    let days = map.optional("days", days);
    let from = map.optional("from", minute);
    let to = map.optional("to", minute);
    let min = map.required("min", |report, node| {
        let min = report.number(node, 0..=most)?;
        match fewest {
            Some(fewest) if min <= fewest => {
                let help = Some("a line says at which hours there are more".to_owned());
                report.tell(&node.span, format!("there are {fewest} instances at all hours (`min`)"), help)
            }
            _ => Some(min),
        }
    });
    map.finish();
    let wrong = [("days", days.is_none()), ("from", from.is_none()), ("to", to.is_none())];
    if wrong.iter().any(|(key, none)| *none && map.has(key)) {
        return None;
    }
    let (from, to) = (from.unwrap_or(Minute::FIRST), to.unwrap_or(Minute::END));
    if from == to || from == Minute::END {
        let help = "whole days are written without `from` and `to`".to_owned();
        map.refuse("from", format!("from {from} to {to} is no time at all"), help);
        return None;
    }
    Some(Hours { days: days.unwrap_or(Days::ALL), from, to, min: min? })
}

fn minute(report: &Report<'_>, node: &Node) -> Option<Minute> {
    let text = report.word(node)?;
    match Minute::parse(&text) {
        Some(minute) => Some(minute),
        None => report.expected(node, "a time of the day like `08:00`, from `0:00` to `24:00`"),
    }
}

/// `mon-fri`, or a list.
fn days(report: &Report<'_>, node: &Node) -> Option<Days> {
    let read = |report: &Report<'_>, node: &Node| {
        let text = report.word(node)?;
        Days::parse(&text).map_or_else(
            |part| {
                let help = Some("days are `mon` to `sun`, alone, as a range `mon-fri`, or several".to_owned());
                report.tell(&node.span, format!("`{part}` is no day of the week"), help)
            },
            Some,
        )
    };
    match &node.data {
        Data::List(_) => report.list(node, "days", read)?.into_iter().reduce(Days::and),
        _ => read(report, node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{File, decode::decode};

    fn read(instances: &str) -> Result<Scaling, Vec<String>> {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: s}}\nspec:\n  provider: opsworks\n  region: r\n  \
             layers:\n    - {{shortName: l, instances: {instances}}}\n"
        );
        let (mut documents, problems) = decode(vec![File::new("f", text.into_bytes())]);
        if !problems.is_empty() {
            return Err(problems.iter().map(|problem| problem.to_string()).collect());
        }
        Ok(documents.stacks.remove(0).value.layers.remove(0).instances.scaling.unwrap())
    }

    fn problem(instances: &str) -> String {
        read(instances).unwrap_err().join("\n")
    }

    #[test]
    fn rules_and_hours_are_read_with_the_defaults_of_opsworks() {
        let read = read(
            "{type: t3.small, min: 2, max: 8, load: {up: {cpu: 75, load: 4, for: 2m, count: 2}, down: {cpu: 25.5}}, \
             schedule: {timeZone: europe/berlin, hours: [{days: mon-fri, from: 8, to: \"18:30\", min: 4}]}}",
        );
        let read = read.unwrap();
        let load = read.load.unwrap();
        let up = Rule { cpu: Some(75.0), load: Some(4.0), lasting: Duration::from_secs(120), count: 2, ..Rule::UP };
        assert_eq!((load.up, load.down), (up, Rule { cpu: Some(25.5), ..Rule::DOWN }));
        let hours = read.schedule.unwrap();
        assert_eq!(serde_json::to_value(&hours).unwrap()["timeZone"], "Europe/Berlin");
        assert_eq!((read.min, read.max, hours.hours()[0].min), (2, 8, 4));
    }

    #[test]
    fn what_is_left_out_is_as_opsworks_has_it_and_a_metric_named_switches_the_others_off() {
        let rules = |load: &str| {
            let read = read(&format!("{{type: t3.small, min: 1, max: 2, load: {load}}}"));
            read.unwrap().load.unwrap()
        };
        let cpu = |rules: LoadRules| (rules.up.cpu, rules.down.cpu);
        assert_eq!(rules("{}"), LoadRules { cpu_from: Source::Engines, up: Rule::UP, down: Rule::DOWN });
        assert_eq!(cpu(rules("{up: {memory: 90}, down: {memory: 40}}")), (None, None));
        assert_eq!(cpu(rules("{up: {cpu: 90}, down: {cpu: -1}}")), (Some(90.0), None));
        assert_eq!(rules("{up: {for: 10s}}").every(Source::Engines), Duration::from_secs(5));
        assert_eq!(rules("{}").every(Source::Engines), Duration::from_secs(60));
    }

    #[test]
    fn cloudwatch_is_asked_for_the_processors_alone_and_never_more_than_once_a_minute() {
        let rules = |load: &str| {
            let read = read(&format!("{{type: t3.small, min: 1, max: 2, load: {load}}}"));
            read.unwrap().load.unwrap()
        };
        let asked = |rules: &LoadRules| (rules.asks(Source::Engines), rules.asks(Source::CloudWatch));
        let alone = rules("{cpuFrom: cloudWatch, up: {for: 10s}}");
        assert_eq!((asked(&alone), alone.every(Source::CloudWatch)), ((false, true), Duration::from_secs(60)));
        let both = rules("{cpuFrom: cloudWatch, up: {cpu: 80, memory: 90}, down: {memory: 40}}");
        assert_eq!((asked(&both), both.teller(Metric::Memory)), ((true, true), Source::Engines));
        assert_eq!(serde_json::to_value(&both).unwrap()["cpuFrom"], "cloudWatch");
        for load in ["{}", "{cpuFrom: engines}", "{up: {cpu: -1}, down: {cpu: -1}}"] {
            assert_eq!(asked(&rules(load)), (true, false), "{load}");
        }
    }

    #[test]
    fn by_the_hours_alone_the_most_is_the_highest_of_them() {
        let hours = "[{days: [sat, sun], min: 3}, {from: 22, to: 6, min: 5}]";
        let read = read(&format!("{{type: t3.small, min: 0, schedule: {{hours: {hours}}}}}")).unwrap();
        assert_eq!((read.min, read.max, read.load), (0, 5, None));
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_advice() {
        let load = |load: &str| problem(&format!("{{type: t3.small, min: 1, max: 4, load: {load}}}"));
        let hours = |line: &str| problem(&format!("{{type: t3.small, min: 1, schedule: {{hours: [{line}]}}}}"));
        for (said, expected) in [
            (problem("{type: t3.small, min: 3, max: 2, load: {}}"), "`min` is 3, and `max` is 2"),
            (problem("{type: t3.small, min: 1, max: 2}"), "nothing says when there are more than `min` instances"),
            (problem("{type: t3.small, min: 1, load: {}}"), "`instances` needs `max`"),
            (problem("{type: t3.small, max: 1, load: {}}"), "`instances` needs `min`"),
            (problem("{type: t3.small, min: 0, max: 1, load: {}}"), "needs an instance whose load can be measured"),
            (problem("{type: t3.small, count: 2, min: 1, max: 3, load: {}}"), "`count` means nothing with `min`"),
            (load("{up: {cpu: 101}}"), "101 is out of range: above 0, and at most 100 (-1 switches it off"),
            (load("{up: {cpu: 0}}"), "0 is out of range"),
            (load("{up: {cpu: nan}}"), "NaN is out of range"),
            (load("{up: {cpu: much}}"), "expected a number like `80`, found `much`"),
            (load("{up: {cpu: 25}}"), "instances would come and go at once: cpu 30 is not below cpu 25"),
            (load("{up: {memory: 50}, down: {memory: 50}}"), "memory 50 is not below memory 50"),
            (load("{up: {memory: 80}}"), "`up` goes by memory, and nothing says when instances leave"),
            (load("{up: {for: 0s}}"), "a duration of 0 is not allowed here"),
            (load("{up: {for: 2h}}"), "at most 100 minutes"),
            (load("{up: {cool: 5m}}"), "unknown key `cool`"),
            (load("{cpuFrom: cloudwatch}"), "`cloudwatch` is not known here (did you mean `cloudWatch`?)"),
            (
                load("{cpuFrom: cloudWatch, up: {memory: 80}, down: {memory: 40}}"),
                "neither `up` nor `down` goes by cpu (name `cpu` there, or leave `cpuFrom` out",
            ),
            (hours("{from: 8, to: 25, min: 2}"), "expected a time of the day like `08:00`"),
            (hours("{from: 8, to: 8, min: 2}"), "from 08:00 to 08:00 is no time at all"),
            (hours("{days: mon-fry, min: 2}"), "`mon-fry` is no day of the week"),
            (hours("{days: mon, min: 1}"), "there are 1 instances at all hours (`min`)"),
            (hours("{days: mon}"), "a line of hours needs `min`"),
            (
                problem("{type: t3.small, min: 1, schedule: {timeZone: Europe/Berlinn, hours: [{min: 2}]}}"),
                "unknown time zone `Europe/Berlinn` (did you mean `Europe/Berlin`?)",
            ),
            (
                problem("{type: t3.small, min: 1, max: 2, schedule: {hours: [{from: 8, min: 3}]}}"),
                "3 instances from 08:00 on are more than `max`, 2",
            ),
            (problem("{type: t3.small, min: 1, schedule: {hours: []}}"), "a schedule has hours"),
        ] {
            assert!(said.contains(expected), "{said}\nlacks\n{expected}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.starts_with("f:8:"), "{said}");
        }
    }
}
