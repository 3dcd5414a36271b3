//! How the disk of an instance is looked after: what is kept free, and how long old images stay.

use std::time::Duration;

use serde::Serialize;

/// What a layer's instances keep free, and what they keep of earlier releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upkeep {
    /// So many images of earlier releases stay for each container, the latest of them. Default 3.
    pub keep: u32,
    /// One that nothing has used for so long goes, however few there are. Default 30 days.
    pub max_age: Duration,
    /// What no pull may take. Default 5%.
    pub reserve: Reserve,
    /// The share of the disk in use, in percent, from which on that is told. Default 90.
    pub warn_at: u32,
}

impl Default for Upkeep {
    fn default() -> Upkeep {
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        Upkeep { keep: 3, max_age: month, reserve: Reserve::Percent(5), warn_at: 90 }
    }
}

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reserve {
    /// So many percent of it.
    Percent(u32),
    /// So many bytes.
    Bytes(u64),
}

impl Reserve {
    /// How many bytes that are of a disk that has so many.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Reserve::Percent(percent) => total / 100 * u64::from(percent),
            Reserve::Bytes(bytes) => bytes,
        }
    }
}

/// So many bytes, for people: `1.5 GiB`.
pub fn in_words(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {}", UNITS[unit]),
        (whole, tenth) => format!("{whole}.{tenth} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_a_share_of_the_disk_or_a_size() {
        assert_eq!(Reserve::Percent(5).of(120 << 30), (120 << 30) / 100 * 5);
        assert_eq!(Reserve::Bytes(2 << 30).of(120 << 30), 2 << 30);
        assert_eq!(Reserve::Percent(100).of(u64::MAX), u64::MAX / 100 * 100);
    }

    #[test]
    fn sizes_are_told_with_one_decimal_at_most() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB"),
            (300 << 20, "300 MiB"),
            (126_702_000_000, "118 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(in_words(bytes), said);
        }
    }
}
