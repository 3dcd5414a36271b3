//! How many instances a layer has: between two numbers, by what they have to do, and by the hours of the week.

mod calendar;

use std::time::Duration;

use serde::Serialize;

pub use calendar::{Calendar, Days, Hours, Minute};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// The fewest, at any hour.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// What the load has to do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadRules>,
    /// At which hours there are more at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Calendar>,
}

/// When instances come for the load, and when they go.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadRules {
    /// Who tells how busy the processors are.
    pub cpu_from: Source,
    /// One metric above its threshold is enough for more instances.
    pub up: Rule,
    /// Every metric that has one must be below its threshold for fewer.
    pub down: Rule,
}

/// One direction, as `AutoScalingThresholds` of the OpsWorks API reference has it. All thresholds are held against the
/// average of the layer's instances.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Percent of the processors' time (`CpuThreshold`).
    pub cpu: Option<f64>,
    /// Percent of the memory (`MemoryThreshold`).
    pub memory: Option<f64>,
    /// The load average of one minute (`LoadThreshold`).
    pub load: Option<f64>,
    /// How long it must be so (`ThresholdsWaitTime`).
    #[serde(rename = "for")]
    pub lasting: Duration,
    /// How long nothing is counted after the number has changed this way (`IgnoreMetricsTime`).
    pub cool_down: Duration,
    /// How many at a time (`InstanceCount`).
    pub count: u32,
}

/// Who tells figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// Each engine, of its containers.
    #[default]
    Engines,
    /// CloudWatch, of the whole machine as its hypervisor sees it. It knows the processors alone: memory and load average
    /// are told by an agent that instances need not have ("CloudWatch metrics that are available for your instances", EC2
    /// User Guide).
    CloudWatch,
}

/// The figures of one instance are asked for so often where the rules do not call for more. CloudWatch is asked no more
/// often, whatever they call for: a point is new every minute with detailed monitoring, and every five without
/// ("Manage detailed monitoring for your EC2 instances", EC2 User Guide), and each asking costs.
pub const EVERY: Duration = Duration::from_secs(60);
/// How old a point of CloudWatch may be, from the beginning of what it is the average of: five minutes of that, five
/// until the next one, and what it takes to arrive.
pub const POINT_GOOD_FOR: Duration = Duration::from_secs(15 * 60);

impl Rule {
    /// Up, where nothing is declared. Source: "Using Automatic Load-based Scaling" of the OpsWorks user guide.
    pub const UP: Rule = Rule {
        cpu: Some(80.0),
        memory: None,
        load: None,
        lasting: Duration::from_secs(5 * 60),
        cool_down: Duration::from_secs(5 * 60),
        count: 1,
    };
    /// Down, where nothing is declared. Source: likewise.
    pub const DOWN: Rule = Rule {
        cpu: Some(30.0),
        memory: None,
        load: None,
        lasting: Duration::from_secs(10 * 60),
        cool_down: Duration::from_secs(10 * 60),
        count: 1,
    };

    /// Each metric's name and threshold.
    pub fn thresholds(&self) -> [(Metric, Option<f64>); 3] {
        [(Metric::Cpu, self.cpu), (Metric::Memory, self.memory), (Metric::Load, self.load)]
    }
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Metric {
    Cpu,
    Memory,
    Load,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 3] = [Metric::Cpu, Metric::Memory, Metric::Load];

    /// Its key in a manifest.
    pub fn word(self) -> &'static str {
        match self {
            Metric::Cpu => "cpu",
            Metric::Memory => "memory",
            Metric::Load => "load",
        }
    }

    /// A value of it, in words.
    pub fn shown(self, value: f64) -> String {
        let number = format!("{value:.1}");
        let number = number.strip_suffix(".0").unwrap_or(&number);
        match self {
            Metric::Load => format!("load {number}"),
            _ => format!("{} {number}%", self.word()),
        }
    }
}

impl LoadRules {
    /// Who tells this metric.
    pub fn teller(&self, metric: Metric) -> Source {
        match metric {
            Metric::Cpu => self.cpu_from,
            Metric::Memory | Metric::Load => Source::Engines,
        }
    }

    /// True where something is held against a threshold.
    pub fn wants(&self, metric: Metric) -> bool {
        let named = |rule: &Rule| rule.thresholds().into_iter().any(|(other, at)| other == metric && at.is_some());
        named(&self.up) || named(&self.down)
    }

    /// Who is asked: whoever tells something that is wanted, and the engines where they tell all there is.
    pub fn asks(&self, source: Source) -> bool {
        let wanted = Metric::ALL.into_iter().any(|metric| self.teller(metric) == source && self.wants(metric));
        wanted || (source == Source::Engines && self.cpu_from == Source::Engines)
    }

    /// How often an instance's figures are asked for: once a minute, and of an engine more often only for rules that do
    /// not wait for two.
    pub fn every(&self, source: Source) -> Duration {
        match source {
            Source::Engines => (self.up.lasting.min(self.down.lasting) / 2).clamp(Duration::from_secs(1), EVERY),
            Source::CloudWatch => EVERY,
        }
    }

    /// How old figures may be before nothing is known: one asking may fail.
    pub fn good_for(&self, source: Source) -> Duration {
        match source {
            Source::Engines => self.every(source) * 2 + Duration::from_secs(15),
            Source::CloudWatch => POINT_GOOD_FOR,
        }
    }
}
