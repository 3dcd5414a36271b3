//! What the instances of a layer have to do on average, held against its thresholds.

use jiff::Timestamp;

use super::{Decision, One};
use crate::{
    action::Scaled,
    plan::{Facts, Plan, fleet, lineup},
    spec::{
        Desired, Layer,
        scaling::{LoadRules, Metric, Rule, Scaling},
    },
    status::LoadStatus,
    world::{Figures, Observed, Seen},
};

/// Since when the load asks for more instances, or for fewer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Since {
    /// A metric is above its threshold for more.
    pub above: Option<Timestamp>,
    /// Every metric is below its threshold for fewer.
    pub below: Option<Timestamp>,
}

/// The average of one metric.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    known: usize,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.known += 1;
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "there are never so many instances")]
    fn value(self) -> Option<f64> {
        (self.known > 0).then(|| self.sum / self.known as f64)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Average {
    means: [Mean; 3],
    /// The instances that are up.
    members: usize,
    /// Of the figures that count.
    pub(super) oldest: Option<Timestamp>,
    /// Somebody was not asked yet.
    pub(super) unasked: bool,
    /// What is not known of whom, and why.
    lacking: Vec<String>,
}

/// What is known of the instances that are up.
pub(super) fn average(layer: &Layer, rules: &LoadRules, seen: &Observed, now: Timestamp) -> Average {
    let mut average = Average::default();
    for (_, instance) in fleet::members(layer, seen) {
        if fleet::phase(&instance.status) != fleet::Phase::Online {
            continue;
        }
        average.members += 1;
        let hostname = &instance.hostname;
        let figures = match seen.figures.get(hostname) {
            Some(Seen::Known(figures)) if figures.at + rules.good_for() >= now => figures,
            Some(Seen::Known(figures)) => {
                let since = figures.at.strftime("%H:%M:%S");
                average.lacking.push(format!("{hostname} has told nothing since {since}"));
                continue;
            }
            // That a new one does not answer yet is no trouble.
            Some(Seen::Unknown(trouble)) => {
                if lineup::serves(layer, instance, seen) {
                    average.lacking.push(format!("{hostname}: {}", trouble.message));
                }
                continue;
            }
            None => {
                average.unasked = true;
                continue;
            }
        };
        average.oldest = average.oldest.into_iter().chain([figures.at]).min();
        let Figures { cpu, memory, load, .. } = *figures;
        for (mean, value) in average.means.iter_mut().zip([cpu, memory, load]) {
            mean.add(value);
        }
        let wanted = |metric: Metric| [&rules.up, &rules.down].iter().any(|rule| threshold(rule, metric).is_some());
        let missing: Vec<&str> = [(Metric::Cpu, cpu), (Metric::Memory, memory), (Metric::Load, load)]
            .into_iter()
            .filter(|(metric, value)| value.is_none() && wanted(*metric))
            .map(|(metric, _)| metric.word())
            .collect();
        if !missing.is_empty() && lineup::serves(layer, instance, seen) {
            average.lacking.push(format!("{hostname} tells no {}", missing.join(" and no ")));
        }
    }
    average
}

fn threshold(rule: &Rule, metric: Metric) -> Option<f64> {
    rule.thresholds().into_iter().find(|(other, _)| *other == metric).and_then(|(_, at)| at)
}

impl Average {
    fn mean(&self, metric: Metric) -> Mean {
        self.means[metric as usize]
    }

    /// In words, what is not known.
    pub(super) fn lacks(&self) -> Option<String> {
        let lacking = self.lacking.join("; ");
        (!lacking.is_empty()).then(|| format!("{lacking}. No instance leaves for want of load until that is known"))
    }

    /// For people: a tenth is enough.
    pub(super) fn shown(&self) -> LoadStatus {
        let round = |metric| self.mean(metric).value().map(|value| (value * 10.0).round() / 10.0);
        LoadStatus { cpu: round(Metric::Cpu), memory: round(Metric::Memory), load: round(Metric::Load) }
    }

    /// The first metric above its threshold. Whoever is not known may make no difference any more.
    fn above(&self, rule: &Rule) -> Option<String> {
        rule.thresholds().into_iter().find_map(|(metric, at)| {
            let (at, value) = (at?, self.mean(metric).value()?);
            (value > at).then(|| format!("{} is above {}", metric.shown(value), limit(metric, at)))
        })
    }

    /// All of them, if each is below its threshold, on average of every instance.
    fn below(&self, rule: &Rule) -> Option<String> {
        let mut said = Vec::new();
        for (metric, at) in rule.thresholds() {
            let Some(at) = at else { continue };
            let mean = self.mean(metric);
            let value = mean.value().filter(|value| *value < at && mean.known == self.members)?;
            said.push(format!("{} is below {}", metric.shown(value), limit(metric, at)));
        }
        (!said.is_empty()).then(|| said.join(", "))
    }
}

fn limit(metric: Metric, at: f64) -> String {
    let shown = metric.shown(at);
    shown.split_once(' ').map_or(shown.clone(), |(_, number)| number.to_owned())
}

/// Until when nothing is counted after the last change of the number.
fn cooled_at(record: &Scaled, rules: &LoadRules) -> Timestamp {
    match record.count.cmp(&record.from) {
        std::cmp::Ordering::Greater => record.at + rules.up.cool_down,
        std::cmp::Ordering::Less => record.at + rules.down.cool_down,
        std::cmp::Ordering::Equal => record.at,
    }
}

impl Facts {
    /// Takes note of since when thresholds are crossed. While nothing is counted they are not.
    pub(in crate::plan) fn note_load(&mut self, desired: &Desired, seen: &Observed, now: Timestamp) {
        let before = std::mem::take(&mut self.load_since);
        for layer in &desired.stack.layers {
            let Some(Scaling { load: Some(rules), .. }) = &layer.instances.scaling else { continue };
            let average = average(layer, rules, seen, now);
            let counts = self.scaled.get(&layer.short_name).is_none_or(|it| cooled_at(it, rules) <= now);
            let since = before.get(&layer.short_name).copied().unwrap_or_default();
            let keep = |holds: bool, since: Option<Timestamp>| (holds && counts).then(|| since.unwrap_or(now));
            let since = Since {
                above: keep(average.above(&rules.up).is_some(), since.above),
                below: keep(average.below(&rules.down).is_some(), since.below),
            };
            self.load_since.insert(layer.short_name.clone(), since);
        }
    }
}

impl One<'_> {
    pub(super) fn by_load(&self, plan: &Plan, record: &Scaled, rules: &LoadRules, average: &Average) -> Decision {
        let (count, max) = (self.count(), self.scaling.max);
        let cooled = cooled_at(record, rules);
        if self.now < cooled {
            return Decision::Wait("what has changed to show (coolDown)".to_owned(), Some(cooled));
        }
        // What was measured before the number changed says nothing of it.
        if average.oldest.is_none_or(|oldest| oldest < cooled) {
            return Decision::Wait("new figures".to_owned(), None);
        }
        let since = self.facts.load_since.get(&self.layer.short_name).copied().unwrap_or_default();
        let due = |since: Option<Timestamp>, rule: &Rule| since.unwrap_or(self.now) + rule.lasting;
        let lasts = |rule: &Rule| format!("for {:#}", jiff::SignedDuration::try_from(rule.lasting).unwrap_or_default());
        if let Some(said) = average.above(&rules.up) {
            let due = due(since.above, &rules.up);
            return match count {
                _ if count >= max => Decision::Wait(format!("fewer requests: {said}, and the most is {max}"), None),
                _ if self.now < due => Decision::Wait(format!("that to last {}: {said}", lasts(&rules.up)), Some(due)),
                _ => match self.coming() {
                    Some(hostname) => Decision::Wait(format!("{hostname} to be up: {said}"), None),
                    None => Decision::To(count.saturating_add(rules.up.count).min(max), said),
                },
            };
        }
        let lowest = self.lowest();
        match average.below(&rules.down) {
            Some(said) if count > lowest => {
                let due = due(since.below, &rules.down);
                if self.now < due {
                    return Decision::Wait(format!("that to last {}: {said}", lasts(&rules.down)), Some(due));
                }
                self.fewer(plan, count.saturating_sub(rules.down.count).max(lowest), said)
            }
            _ => Decision::Stay,
        }
    }
}
