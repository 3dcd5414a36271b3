//! `images` and `disk` of a layer's `docker`.

use std::time::Duration;

use super::{
    cursor::{Map, Report},
    node::{Data, Node},
    quantity::{bytes, duration_up_to},
};
use crate::spec::upkeep::{Reserve, Upkeep};

/// More images than this of one container are a slip of the finger.
const MOST_KEPT: u32 = 1000;
/// What is kept for longer is kept for ever.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Reads both, from the mapping that they are keys of.
pub(super) fn read(map: &Map<'_>) -> Upkeep {
    let usual = Upkeep::default();
    let (keep, max_age) = map.optional("images", images).unwrap_or_default();
    let (reserve, warn_at) = map.optional("disk", disk).unwrap_or_default();
    Upkeep {
        keep: keep.unwrap_or(usual.keep),
        max_age: max_age.unwrap_or(usual.max_age),
        reserve: reserve.unwrap_or(usual.reserve),
        warn_at: warn_at.unwrap_or(usual.warn_at),
    }
}

fn images(report: &Report<'_>, node: &Node) -> Option<(Option<u32>, Option<Duration>)> {
    let map = report.map(node, "`images`")?;
    let keep = map.optional("keep", |report, node| report.number(node, 0..=MOST_KEPT));
    let max_age = map.optional("maxAge", |report, node| duration_up_to(report, node, LONGEST, "10 years"));
    map.finish();
    Some((keep, max_age))
}

fn disk(report: &Report<'_>, node: &Node) -> Option<(Option<Reserve>, Option<u32>)> {
    let map = report.map(node, "`disk`")?;
    let reserve = map.optional("reserve", |report, node| match percent(node) {
        Some(text) => share(report, node, text, 0..=90).map(Reserve::Percent),
        None => bytes(report, node).map(Reserve::Bytes),
    });
    let warn_at = map.optional("warnAt", |report, node| match percent(node) {
        Some(text) => share(report, node, text, 1..=100),
        None => report.expected(node, "a share of the disk like `85%`"),
    });
    map.finish();
    Some((reserve, warn_at))
}

/// What stands before the sign.
fn percent(node: &Node) -> Option<&str> {
    let Data::Scalar { text, .. } = &node.data else { return None };
    text.strip_suffix('%')
}

fn share(report: &Report<'_>, node: &Node, text: &str, allowed: std::ops::RangeInclusive<u32>) -> Option<u32> {
    match text.parse().ok().filter(|share| allowed.contains(share)) {
        Some(share) => Some(share),
        None => {
            let message = format!("`{text}%` is out of range: {}% to {}% are allowed", allowed.start(), allowed.end());
            report.tell(&node.span, message, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{File, validate};

    const MANIFEST: &str = include_str!("../../../tests/scenarios/manifests/ec2.yaml");

    /// The layer's upkeep, or what is wrong with it.
    fn read(docker: &str) -> Result<Upkeep, String> {
        assert!(MANIFEST.contains("docker: {transport: tls, port: 2376}"));
        let text = MANIFEST.replace("docker: {transport: tls, port: 2376}", &format!("docker: {docker}"));
        match validate::load("r1", vec![File::new("m.yaml", text)]) {
            Ok(all) => Ok(all.into_values().next().unwrap().stack.layers.remove(0).upkeep),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        assert_eq!(read("{}").unwrap(), Upkeep::default());
        let some = read("{images: {keep: 1}, disk: {reserve: 2GiB}}").unwrap();
        assert_eq!(some, Upkeep { keep: 1, reserve: Reserve::Bytes(2 << 30), ..Upkeep::default() });
    }

    #[test]
    fn images_may_stay_for_longer_than_a_day_and_shares_are_in_percent() {
        let all = read("{images: {keep: 0, maxAge: 168h}, disk: {reserve: 10%, warnAt: 80%}}").unwrap();
        let week = Duration::from_secs(168 * 3600);
        assert_eq!(all, Upkeep { keep: 0, max_age: week, reserve: Reserve::Percent(10), warn_at: 80 });
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_place() {
        for (docker, said) in [
            ("{images: {keep: -1}}", "-1 is out of range: 0 to 1000 are allowed"),
            ("{images: {maxAge: 7d}}", "expected a duration like `60s`, found `7d`"),
            ("{images: {maxAge: 999999h}}", "`999999h` is longer than 10 years"),
            ("{images: {age: 1h}}", "age"),
            ("{disk: {reserve: 95%}}", "`95%` is out of range: 0% to 90% are allowed"),
            ("{disk: {reserve: 10GB}}", "write `10GiB`"),
            ("{disk: {reserve: x%}}", "out of range"),
            ("{disk: {warnAt: 85}}", "expected a share of the disk like `85%`"),
            ("{disk: 5}", "expected `disk`"),
        ] {
            let problem = read(docker).unwrap_err();
            assert!(problem.contains(said) && problem.starts_with("m.yaml:"), "{docker}: {problem}");
        }
    }
}
