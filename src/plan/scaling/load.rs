//! What the instances of a layer have to do on average, held against its thresholds.

use jiff::Timestamp;

use super::{Decision, One, SOON};
use crate::{
    action::Scaled,
    plan::{Facts, Plan, fleet, lineup},
    spec::{
        Desired, Layer,
        scaling::{LoadRules, Metric, Rule, Scaling, Source},
    },
    status::LoadStatus,
    world::{Figures, Instance, Observed, Seen},
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
    /// When somebody is asked again.
    due: Option<Timestamp>,
    /// Somebody was not asked yet.
    unasked: bool,
    /// What is not known, and why, and of whom.
    lacking: Vec<(String, Vec<String>)>,
}

/// What is known of the instances that are up.
pub(super) fn average(layer: &Layer, rules: &LoadRules, seen: &Observed, now: Timestamp) -> Average {
    let mut average = Average::default();
    for (_, instance) in fleet::members(layer, seen) {
        if fleet::phase(&instance.status) != fleet::Phase::Online {
            continue;
        }
        average.members += 1;
        // That a new one does not answer yet is no trouble.
        let serves = lineup::serves(layer, instance, seen);
        for source in [Source::Engines, Source::CloudWatch].into_iter().filter(|source| rules.asks(*source)) {
            average.add(rules, source, instance, serves, seen, now);
        }
    }
    average
}

impl Average {
    /// What one source tells of an instance.
    fn add(
        &mut self,
        rules: &LoadRules,
        source: Source,
        instance: &Instance,
        serves: bool,
        seen: &Observed,
        now: Timestamp,
    ) {
        let hostname = &instance.hostname;
        let told = match source {
            Source::Engines => &seen.figures,
            Source::CloudWatch => &seen.metered,
        };
        let figures = match told.get(hostname) {
            Some(Seen::Known(figures)) => figures,
            Some(Seen::Unknown(trouble)) if serves => {
                return self.lacks_of(hostname, format!(": {}", trouble.message));
            }
            Some(Seen::Unknown(_)) => return,
            None => {
                self.unasked = true;
                return;
            }
        };
        let due = now - figures.answered + rules.every(source);
        self.due = self.due.into_iter().chain([due]).min();
        if figures.at + rules.good_for(source) < now {
            let who = if source == Source::CloudWatch { ": CloudWatch" } else { "" };
            let since = figures.at.strftime("%H:%M:%S");
            return self.lacks_of(hostname, format!("{who} has told nothing since {since}"));
        }
        self.oldest = self.oldest.into_iter().chain([figures.at]).min();
        let Figures { cpu, memory, load, .. } = *figures;
        let mut missing = Vec::new();
        for (metric, value) in Metric::ALL.into_iter().zip([cpu, memory, load]) {
            if rules.teller(metric) == source {
                self.means[metric as usize].add(value);
                missing.extend((value.is_none() && rules.wants(metric)).then_some(metric.word()));
            }
        }
        if missing.is_empty() || !serves {
            return;
        }
        match source {
            Source::Engines => self.lacks_of(hostname, format!(" tells no {}", missing.join(" and no "))),
            Source::CloudWatch => {
                let said = ": CloudWatch has no point of the last 15 minutes (a new instance's first one takes some)";
                self.lacks_of(hostname, said.to_owned());
            }
        }
    }

    fn lacks_of(&mut self, hostname: &str, said: String) {
        // One answer of CloudWatch is about all of them.
        match self.lacking.iter_mut().find(|(other, _)| *other == said && said.starts_with(':')) {
            Some((_, hosts)) => hosts.push(hostname.to_owned()),
            None => self.lacking.push((said, vec![hostname.to_owned()])),
        }
    }

    /// When it is to be looked again: the first figures are there soon, and newer ones once somebody was asked again.
    pub(super) fn due(&self, rules: &LoadRules, now: Timestamp) -> Timestamp {
        let sources = [Source::Engines, Source::CloudWatch].into_iter().filter(|source| rules.asks(*source));
        let every = sources.map(|source| rules.every(source)).min().unwrap_or(SOON);
        let soon = now + SOON.min(every);
        if self.unasked { soon } else { self.due.unwrap_or(now + every).max(soon) }
    }

    fn mean(&self, metric: Metric) -> Mean {
        self.means[metric as usize]
    }

    /// In words, what is not known.
    pub(super) fn lacks(&self) -> Option<String> {
        let lacking = self.lacking.iter().map(|(said, hosts)| format!("{}{said}", hosts.join(", ")));
        let lacking = lacking.collect::<Vec<_>>().join("; ");
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
