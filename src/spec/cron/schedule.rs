//! Five fields and a time zone, and the instants that they name.
//!
//! The fields are those of the clock on the wall, which is put forward and back. A time of the day that is left out
//! when the clock goes forward is due at the next instant that there is, and one that there is twice is due at the
//! first. What is due in every hour, or begins its minutes with `*`, goes on steadily instead: nobody expects an hour
//! without it, or one more of it than hours go by.

use std::{fmt, str::FromStr, time::Duration};

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use serde::{Serialize, Serializer};

use crate::spec::zone::{first_instant, zone_of};

/// The fields, in their order, with what may stand in them.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day", "1 to 31"),
    ("month", "1 to 12, or jan to dec"),
    ("weekday", "0 to 7 (0 and 7 are Sunday), or sun to sat"),
];
/// The names that stand for five fields elsewhere, and what they stand for.
const NICKNAMES: [(&str, &str); 6] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * sun"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];
/// No clock is put back further at a time.
const FURTHEST_BACK: Duration = Duration::from_secs(4 * 60 * 60);
const HOUR: i32 = 60 * 60;

/// See the module.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    zone_name: String,
    cron: Cron,
    zone: TimeZone,
    /// It is due in every hour.
    hourly: bool,
    /// Its minutes begin with `*`.
    steady: bool,
}

/// Why a schedule cannot be read, and what might be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

fn wrong<T>(message: impl Into<String>, help: impl Into<Option<String>>) -> Result<T, Wrong> {
    Err(Wrong { message: message.into(), help: help.into() })
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Schedule) -> bool {
        (&self.text, &self.zone_name) == (&other.text, &other.zone_name)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.zone_name)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Schedule {
    /// Reads five fields that are meant in a zone.
    ///
    /// # Errors
    /// Which field is wrong, or that there is no such zone.
    pub fn parse(text: &str, zone: &str) -> Result<Schedule, Wrong> {
        let (zone_name, zone) = zone_of(zone).map_err(|(message, help)| Wrong { message, help: Some(help) })?;
        if let Some((_, fields)) = NICKNAMES.iter().find(|(name, _)| *name == text) {
            return wrong(format!("`{text}` is no schedule here"), format!("write `{fields}`"));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            let names = FIELDS.map(|(name, _)| name).join(", ");
            let help = format!("they are {names}: `0 3 * * *` is at 3 every day");
            return wrong(format!("`{text}` has {} fields, and a schedule has 5", fields.len()), help);
        }
        for (at, (name, allowed)) in FIELDS.iter().enumerate() {
            let alone: Vec<&str> = (0..5).map(|other| if other == at { fields[at] } else { "*" }).collect();
            if parser().parse(&alone.join(" ")).is_err() {
                let help = format!("{name}s are {allowed}: `*`, one, a list `1,3`, a range `1-5`, or steps `*/2`");
                return wrong(format!("`{}` is no {name}", fields[at]), help);
            }
        }
        let text = fields.join(" ");
        let Ok(cron) = parser().parse(&text) else { return wrong(format!("`{text}` is no schedule"), None) };
        let hourly = (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or_default());
        let schedule = Schedule { steady: text.starts_with('*'), text, zone_name, cron, zone, hourly };
        match schedule.next(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => {
                wrong(format!("`{}` never comes", schedule.text), "is there such a day in such a month?".to_owned())
            }
        }
    }

    /// The first time after another one at which it is due.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut start = self.zone.to_datetime(after);
        if self.zone.to_offset(after - FURTHEST_BACK) != self.zone.to_offset(after + FURTHEST_BACK) {
            start = start.checked_sub(FURTHEST_BACK).ok()?;
        }
        let mut at = self.cron.find_next_occurrence(&start, true).ok()?;
        let mut soonest: Option<Timestamp> = None;
        loop {
            let (first, second) = self.instants(at)?;
            let later =
                [first.due.then_some(first.at), second].into_iter().flatten().filter(|instant| *instant > after);
            soonest = soonest.into_iter().chain(later).min();
            // The first instants of later times of the wall clock are never sooner.
            if first.at > after && soonest.is_some() {
                return soonest;
            }
            at = self.cron.find_next_occurrence(&at, false).ok()?;
        }
    }

    /// The last time at which it was due, later than `after` and not later than `now`.
    pub fn last(&self, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
        // What is due often was due a moment ago, and what is not is soon looked through.
        let mut span = Duration::from_secs(120);
        loop {
            let from = now.checked_sub(span).unwrap_or(after).max(after);
            let mut last = None;
            let mut at = from;
            while let Some(next) = self.next(at).filter(|next| *next <= now) {
                last = Some(next);
                at = next;
            }
            if last.is_some() || from == after {
                return last;
            }
            span *= 8;
        }
    }

    /// When the wall's clock shows a time: the first instant, and the second where it is due twice.
    fn instants(&self, civil: DateTime) -> Option<(First, Option<Timestamp>)> {
        let once = |offset: Offset| offset.to_timestamp(civil).ok();
        let by_hours = |before: Offset, after: Offset| (after.seconds() - before.seconds()) % HOUR == 0;
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some((First { at: once(offset)?, due: true }, None)),
            AmbiguousOffset::Gap { before, after } => {
                let at = first_instant(&self.zone, civil)?;
                Some((First { at, due: !(self.hourly && by_hours(before, after)) }, None))
            }
            AmbiguousOffset::Fold { before, after } => {
                let twice = self.steady || (self.hourly && by_hours(before, after));
                Some((First { at: once(before)?, due: true }, once(after).filter(|_| twice)))
            }
        }
    }
}

struct First {
    at: Timestamp,
    due: bool,
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

impl FromStr for Schedule {
    type Err = Wrong;

    /// In UTC.
    fn from_str(text: &str) -> Result<Schedule, Wrong> {
        Schedule::parse(text, "UTC")
    }
}
