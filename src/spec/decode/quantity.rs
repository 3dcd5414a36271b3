//! Durations and sizes, with their units.

use std::time::Duration;

use super::{
    cursor::Report,
    node::{Data, Node},
};

/// Nothing in a manifest takes longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A number with a unit, or several: `500ms`, `60s`, `1h30m`. At most a day.
pub(super) fn duration(report: &Report<'_>, node: &Node) -> Option<Duration> {
    duration_up_to(report, node, LONGEST, "a day")
}

/// The same, of another longest one, which is called so.
pub(super) fn duration_up_to(report: &Report<'_>, node: &Node, longest: Duration, called: &str) -> Option<Duration> {
    let Data::Scalar { text, .. } = &node.data else {
        return report.expected(node, "a duration like `60s`");
    };
    match parse_duration(text) {
        Ok(duration) if duration <= longest => Some(duration),
        Ok(_) => report.tell(&node.span, format!("`{text}` is longer than {called}"), None),
        Err(help) => report.tell(&node.span, format!("expected a duration like `60s`, found `{text}`"), help),
    }
}

/// A duration that is not 0.
pub(super) fn duration_above_zero(report: &Report<'_>, node: &Node) -> Option<Duration> {
    let duration = duration(report, node)?;
    if duration.is_zero() {
        report.tell(&node.span, "a duration of 0 is not allowed here", None)
    } else {
        Some(duration)
    }
}

/// The duration, or a suggestion.
fn parse_duration(text: &str) -> Result<Duration, Option<String>> {
    const UNITS: &str = "units are `ms`, `s`, `m` and `h`";
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Some(format!("a duration needs a unit: write `{text}s`")));
    }
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(None);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let number: u64 = number.parse().map_err(|_| Some(UNITS.to_owned()))?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            unit if unit.starts_with('.') => return Err(Some("whole numbers only: 1.5s is `1500ms`".to_owned())),
            _ => return Err(Some(UNITS.to_owned())),
        };
        total = total.saturating_add(Duration::from_millis(number.saturating_mul(millis)));
        rest = after;
    }
    Ok(total)
}

/// The size of an EBS volume in GiB, written `120GiB` or `1TiB`.
pub(super) fn gib(report: &Report<'_>, node: &Node) -> Option<u32> {
    let Data::Scalar { text, .. } = &node.data else {
        return report.expected(node, "a size like `120GiB`");
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let message = || format!("expected a size like `120GiB`, found `{text}`");
    let Ok(number) = number.parse::<u32>() else { return report.tell(&node.span, message(), None) };
    let size = match unit.trim_start() {
        "GiB" => Some(number),
        "TiB" => number.checked_mul(1024),
        "" | "GB" | "G" | "g" | "gb" | "Gi" => {
            let help = format!("EBS counts in GiB (1024³ bytes): write `{number}GiB`");
            return report.tell(&node.span, message(), Some(help));
        }
        "TB" | "T" | "Ti" | "tb" => {
            let help = format!("EBS counts in GiB and TiB (1024⁴ bytes): write `{number}TiB`");
            return report.tell(&node.span, message(), Some(help));
        }
        _ => return report.tell(&node.span, message(), Some("units are `GiB` and `TiB`".to_owned())),
    };
    match size {
        Some(size @ 1..=65_536) => Some(size),
        _ => report.tell(&node.span, format!("`{text}` is out of range: EBS volumes have 1GiB to 64TiB"), None),
    }
}

/// A size in bytes, above 0: `512MiB`, or in Docker's own letters, which mean the same, `512m`.
pub(super) fn bytes(report: &Report<'_>, node: &Node) -> Option<u64> {
    let Data::Scalar { text, .. } = &node.data else {
        return report.expected(node, "a size like `512MiB`");
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let message = || format!("expected a size like `512MiB`, found `{text}`");
    let wrong = |help: Option<String>| report.tell(&node.span, message(), help);
    let power = match unit {
        "B" | "b" => 0,
        "KiB" | "k" | "K" => 1,
        "MiB" | "m" | "M" => 2,
        "GiB" | "g" | "G" => 3,
        "TiB" | "t" | "T" => 4,
        "" if !number.is_empty() => return wrong(Some(format!("a size needs a unit: write `{number}MiB`"))),
        "KB" | "kB" | "kb" | "MB" | "mb" | "GB" | "gb" | "TB" | "tb" | "Ki" | "Mi" | "Gi" | "Ti" => {
            let unit = unit.to_uppercase();
            let help = format!("Docker counts in powers of 1024: write `{number}{}iB`", &unit[..1]);
            return wrong(Some(help));
        }
        unit if unit.starts_with('.') => {
            return wrong(Some("whole numbers only: 1.5GiB is `1536MiB`".to_owned()));
        }
        _ => return wrong(Some("units are `B`, `KiB`, `MiB`, `GiB` and `TiB`".to_owned())),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1024_u64.pow(power)));
    match size.filter(|size| (1..=i64::MAX as u64).contains(size)) {
        Some(size) => Some(size),
        None if number.is_empty() => wrong(None),
        None => report.tell(&node.span, format!("`{text}` is out of range"), None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::spec::problem::File;

    fn node(text: &str) -> Node {
        Node { span: 0..text.len(), data: Data::Scalar { text: text.to_owned(), plain: true } }
    }

    fn read<T>(text: &str, read: impl Fn(&Report<'_>, &Node) -> Option<T>) -> Result<T, String> {
        let file = Arc::new(File::new("f", text));
        let report = Report::new(&file);
        read(&report, &node(text)).ok_or_else(|| report.into_problems()[0].to_string())
    }

    #[test]
    fn durations_take_units() {
        assert_eq!(read("500ms", duration), Ok(Duration::from_millis(500)));
        assert_eq!(read("60s", duration), Ok(Duration::from_secs(60)));
        assert_eq!(read("1h30m", duration), Ok(Duration::from_secs(5400)));
        assert_eq!(read("0s", duration), Ok(Duration::ZERO));
    }

    #[test]
    fn a_bare_number_is_told_which_unit_it_lacks() {
        assert_eq!(
            read("60", duration).unwrap_err(),
            "f:1:1: expected a duration like `60s`, found `60` (a duration needs a unit: write `60s`)"
        );
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "1.5s", "-1s", "1d", "60 s", "1s2", "99999999999999999999s", "25h", "ü"] {
            assert!(read(text, duration).is_err(), "{text}");
        }
        assert!(read("0s", duration_above_zero).is_err());
    }

    #[test]
    fn sizes_are_counted_as_ebs_counts_them() {
        assert_eq!(read("120GiB", gib), Ok(120));
        assert_eq!(read("2TiB", gib), Ok(2048));
        assert_eq!(
            read("120GB", gib).unwrap_err(),
            "f:1:1: expected a size like `120GiB`, found `120GB` (EBS counts in GiB (1024³ bytes): write `120GiB`)"
        );
        for text in ["", "GiB", "0GiB", "120", "120MiB", "99999TiB", "99999999999GiB"] {
            assert!(read(text, gib).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_in_bytes_take_docker_s_letters_and_need_a_unit() {
        assert_eq!(read("512MiB", bytes), Ok(512 * 1024 * 1024));
        assert_eq!(read("512m", bytes), Ok(512 * 1024 * 1024));
        assert_eq!(read("1g", bytes), Ok(1024 * 1024 * 1024));
        assert_eq!(read("10b", bytes), Ok(10));
        for (text, said) in [
            ("10", "expected a size like `512MiB`, found `10` (a size needs a unit: write `10MiB`)"),
            ("512MB", "found `512MB` (Docker counts in powers of 1024: write `512MiB`)"),
            ("1.5g", "(whole numbers only: 1.5GiB is `1536MiB`)"),
            ("1x", "(units are `B`, `KiB`, `MiB`, `GiB` and `TiB`)"),
            ("0m", "`0m` is out of range"),
            ("9223372036854775807TiB", "is out of range"),
        ] {
            assert!(read(text, bytes).unwrap_err().contains(said), "{text}: {:?}", read(text, bytes));
        }
        for text in ["", "m", "-1m", "ü", "1 m"] {
            assert!(read(text, bytes).is_err(), "{text}");
        }
    }
}
