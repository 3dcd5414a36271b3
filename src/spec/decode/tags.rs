//! Tags, as OpsWorks and EC2 both take them (API references of `TagResource` and `CreateTags`).

use std::collections::BTreeMap;

use super::{
    cursor::{Map, Report},
    node::Node,
};

/// OpsWorks takes 40 and EC2 50; Evenkeel's own are among them.
const MOST: usize = 30;
const LONGEST_KEY: usize = 127;
/// EC2 would take one character more.
const LONGEST_VALUE: usize = 255;

/// The tags that `map` declares, on top of those of the stack. Where neither says anything, nobody's tags are kept.
pub(super) fn read(map: &Map<'_>, of_stack: Option<&BTreeMap<String, String>>) -> Option<BTreeMap<String, String>> {
    let own = map.optional("tags", tags);
    if own.is_none() && of_stack.is_none() {
        return None;
    }
    let mut all = of_stack.cloned().unwrap_or_default();
    all.extend(own.into_iter().flatten());
    Some(all)
}

fn tags(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    let fits = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " +-=._:/".contains(c)) && text.trim() == text;
    let tags = report.table(node, "`tags`", |report, entry| {
        let key = entry.key.as_str();
        if key.is_empty() || key.chars().count() > LONGEST_KEY || !fits(key) || key.contains(" / ") {
            let help = format!("letters, digits, blanks and + - = . _ : /, at most {LONGEST_KEY}");
            return report.tell(&entry.key_span, format!("`{key}` is not the key of a tag"), Some(help));
        }
        let lower = key.to_lowercase();
        if let Some(own) = ["aws:", "evenkeel:"].iter().find(|own| lower.starts_with(**own)) {
            let help = if *own == "aws:" {
                "AWS keeps these for itself"
            } else {
                "these are how Evenkeel knows what is its own"
            };
            return report.tell(
                &entry.key_span,
                format!("the key of a tag must not begin with `{own}`"),
                Some(help.into()),
            );
        }
        if key == "Name" {
            let help = "an instance is called after its stack and its hostname".to_owned();
            return report.tell(&entry.key_span, "the tag `Name` is Evenkeel's", Some(help));
        }
        let value = report.text(&entry.value)?;
        if value.chars().count() > LONGEST_VALUE || !fits(&value) {
            let help = format!("letters, digits, blanks and + - = . _ : /, at most {LONGEST_VALUE}");
            return report.tell(&entry.value.span, format!("`{value}` is not the value of a tag"), Some(help));
        }
        Some(value)
    })?;
    // They are listed in the value of another one.
    let listed = tags.keys().map(|key| key.chars().count() + 3).sum::<usize>();
    if tags.len() > MOST || listed > LONGEST_VALUE {
        let said =
            format!("too many tags: at most {MOST}, whose keys have no more than {LONGEST_VALUE} characters in all");
        return report.tell(&node.span, said, None);
    }
    Some(tags)
}
