//! Hours of the week, by the clock on the wall, at which a layer has more instances at least.
//!
//! This is what `SetTimeBasedAutoScaling` did instance by instance: there each one had its own hours, here each line says
//! how many there are. Where lines overlap the highest number counts.

use std::fmt;

use jiff::{
    Timestamp,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use serde::{Serialize, Serializer};

use crate::spec::{cron::Wrong, zone};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calendar {
    /// The name of the time zone.
    #[serde(rename = "timeZone")]
    zone_name: String,
    #[serde(skip)]
    zone: TimeZone,
    /// The lines, in the order written.
    hours: Vec<Hours>,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hours {
    /// The days on which they begin.
    pub days: Days,
    /// When they begin.
    pub from: Minute,
    /// When they end; not after `from`, it is that of the next day.
    pub to: Minute,
    /// How many instances there are at least.
    pub min: u32,
}

/// A time of the day, in minutes; 24:00 is the end of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(u16);

impl Minute {
    /// The beginning of the day.
    pub const FIRST: Minute = Minute(0);
    /// Its end.
    pub const END: Minute = Minute(24 * 60);

    /// Reads `8`, `08:00` or `8:30`.
    pub fn parse(text: &str) -> Option<Minute> {
        let (hour, minute) = text.split_once(':').unwrap_or((text, "00"));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if !(1..=2).contains(&hour.len()) || minute.len() != 2 || !digits(hour) || !digits(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let at = Minute(hour * 60 + minute);
        (minute < 60 && at <= Minute::END).then_some(at)
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for Minute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Days of the week; the first is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days([bool; 7]);

const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

fn day(text: &str) -> Option<usize> {
    let text = text.trim().to_lowercase();
    NAMES.iter().position(|name| *name == text || name[..3] == text)
}

impl Days {
    /// Every day.
    pub const ALL: Days = Days([true; 7]);

    /// Reads `mon`, `Monday`, `mon-fri` (also over the end of the week, `sat-mon`), or several of these with commas.
    ///
    /// # Errors
    /// The part that is none of these.
    pub fn parse(text: &str) -> Result<Days, String> {
        let mut days = [false; 7];
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (Some(from), Some(to)) = (day(from), day(to)) else { return Err(part.trim().to_owned()) };
            for (at, is) in days.iter_mut().enumerate() {
                *is |= (at + 7 - from) % 7 <= (to + 7 - from) % 7;
            }
        }
        Ok(Days(days))
    }

    /// These and those.
    pub fn and(self, other: Days) -> Days {
        Days(std::array::from_fn(|at| self.0[at] || other.0[at]))
    }

    fn has(self, day: Weekday) -> bool {
        usize::try_from(day.to_monday_zero_offset()).is_ok_and(|at| self.0[at])
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = NAMES.iter().zip(self.0).filter(|(_, is)| *is).map(|(name, _)| &name[..3]).collect();
        f.write_str(&names.join(","))
    }
}

impl Serialize for Days {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Calendar {
    /// Lines whose times are meant in a zone.
    ///
    /// # Errors
    /// There is no such zone.
    pub fn new(zone: &str, hours: Vec<Hours>) -> Result<Calendar, Wrong> {
        let (zone_name, zone) = zone::zone_of(zone).map_err(|(message, help)| Wrong { message, help: Some(help) })?;
        Ok(Calendar { zone_name, zone, hours })
    }

    /// The lines, in the order written.
    pub fn hours(&self) -> &[Hours] {
        &self.hours
    }

    /// How many there are at least at a time; 0 outside of all its hours.
    pub fn at(&self, now: Timestamp) -> u32 {
        let holds = self.spans(now).filter(|(from, to, _)| (*from..*to).contains(&now));
        holds.map(|(.., min)| min).max().unwrap_or_default()
    }

    /// When that number is another one next, and which; nothing when it is never.
    pub fn next(&self, now: Timestamp) -> Option<(Timestamp, u32)> {
        let present = self.at(now);
        let mut edges: Vec<Timestamp> =
            self.spans(now).flat_map(|(from, to, _)| [from, to]).filter(|at| *at > now).collect();
        edges.sort_unstable();
        edges.into_iter().map(|at| (at, self.at(at))).find(|(_, min)| *min != present)
    }

    /// The hours that may hold now, and those of the week that follows.
    fn spans(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp, u32)> + '_ {
        let today = self.zone.to_datetime(now).date();
        // A line may have begun yesterday, and a week later everything comes again.
        let dates = (-1..=8).filter_map(move |day| today.checked_add(jiff::Span::new().days(day)).ok());
        dates.flat_map(move |date| self.hours.iter().filter_map(move |hours| self.span(date, hours)))
    }

    fn span(&self, date: Date, hours: &Hours) -> Option<(Timestamp, Timestamp, u32)> {
        if !hours.days.has(date.weekday()) {
            return None;
        }
        let last = if hours.to <= hours.from { date.tomorrow().ok()? } else { date };
        Some((self.instant(date, hours.from)?, self.instant(last, hours.to)?, hours.min))
    }

    fn instant(&self, date: Date, at: Minute) -> Option<Timestamp> {
        let date = if at == Minute::END { date.tomorrow().ok()? } else { date };
        let minute = at.0 % Minute::END.0;
        let civil = date.at(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0);
        zone::first_instant(&self.zone, civil)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone: &str, lines: &[(&str, &str, &str, u32)]) -> Calendar {
        let read = |(days, from, to, min): &(&str, &str, &str, u32)| Hours {
            days: Days::parse(days).unwrap(),
            from: Minute::parse(from).unwrap(),
            to: Minute::parse(to).unwrap(),
            min: *min,
        };
        Calendar::new(zone, lines.iter().map(read).collect()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_hours_are_those_of_the_wall_s_clock_on_the_days_on_which_they_begin() {
        // 2026-01-09 is a Friday, and Berlin is an hour ahead of UTC.
        let office = calendar("Europe/Berlin", &[("mon-fri", "08:00", "18:00", 4), ("fri", "17", "24:00", 6)]);
        for (time, min) in [
            ("2026-01-09T06:59:59Z", 0),
            ("2026-01-09T07:00:00Z", 4),
            ("2026-01-09T15:59:59Z", 4),
            ("2026-01-09T16:00:00Z", 6),
            ("2026-01-09T22:59:59Z", 6),
            ("2026-01-09T23:00:00Z", 0),
            ("2026-01-10T12:00:00Z", 0),
        ] {
            assert_eq!(office.at(at(time)), min, "{time}");
        }
        assert_eq!(office.next(at("2026-01-09T07:00:00Z")), Some((at("2026-01-09T16:00:00Z"), 6)));
        assert_eq!(office.next(at("2026-01-10T12:00:00Z")), Some((at("2026-01-12T07:00:00Z"), 4)));
    }

    #[test]
    fn hours_may_go_on_over_midnight_and_the_end_of_the_week() {
        let night = calendar("UTC", &[("sun", "22:00", "06:00", 3)]);
        assert_eq!(night.at(at("2026-01-11T21:59:00Z")), 0);
        assert_eq!(night.at(at("2026-01-11T23:00:00Z")), 3);
        assert_eq!(night.at(at("2026-01-12T05:59:00Z")), 3);
        assert_eq!(night.next(at("2026-01-12T05:59:00Z")), Some((at("2026-01-12T06:00:00Z"), 0)));
        assert_eq!(night.next(at("2026-01-12T06:00:00Z")), Some((at("2026-01-18T22:00:00Z"), 3)));
    }

    #[test]
    fn daylight_saving_neither_leaves_hours_out_nor_begins_them_twice() {
        // Clocks in Berlin went forward at 01:00 UTC on 2026-03-29, and went back at 01:00 UTC on 2026-10-25.
        let early = calendar("Europe/Berlin", &[("sun", "02:30", "05:00", 2)]);
        assert_eq!(early.next(at("2026-03-29T00:00:00Z")), Some((at("2026-03-29T01:00:00Z"), 2)));
        assert_eq!(early.next(at("2026-03-29T01:00:00Z")), Some((at("2026-03-29T03:00:00Z"), 0)));
        assert_eq!(early.next(at("2026-10-25T00:00:00Z")), Some((at("2026-10-25T00:30:00Z"), 2)));
        assert_eq!(early.at(at("2026-10-25T01:10:00Z")), 2);
        assert_eq!(early.next(at("2026-10-25T00:30:00Z")), Some((at("2026-10-25T04:00:00Z"), 0)));
    }

    #[test]
    fn lines_that_follow_each_other_with_one_number_are_no_change() {
        let always = calendar("UTC", &[("mon-sun", "0", "12", 2), ("mon-sun", "12", "24", 2)]);
        assert_eq!((always.at(at("2026-01-09T12:00:00Z")), always.next(at("2026-01-09T12:00:00Z"))), (2, None));
    }

    #[test]
    fn days_and_times_are_read_as_people_write_them() {
        for (text, days) in [
            ("mon-fri", "mon,tue,wed,thu,fri"),
            ("Saturday, Sunday", "sat,sun"),
            ("sat-mon", "mon,sat,sun"),
            ("wed", "wed"),
        ] {
            assert_eq!(Days::parse(text).unwrap().to_string(), days);
        }
        assert_eq!(Days::parse("mon-fri, moon").unwrap_err(), "moon");
        for (text, time) in [("8", "08:00"), ("08:30", "08:30"), ("24", "24:00"), ("0:05", "00:05")] {
            assert_eq!(Minute::parse(text).unwrap().to_string(), time);
        }
        for text in ["", "24:01", "25", "8:5", "8:60", "-1", "8:000", "noon", "8:00:00"] {
            assert_eq!(Minute::parse(text), None, "{text}");
        }
    }
}
