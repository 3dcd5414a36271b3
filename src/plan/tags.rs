//! Tags that are declared, kept true where they are.
//!
//! Beside them stands the tag `evenkeel:tags`, which names those that Evenkeel put there: what is declared no more is taken
//! away again, and what others have tagged stays.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    action::Tags,
    world::tag::{BETWEEN, TAGS},
};

/// What is in the way of the declared tags; nothing where all is as declared.
pub(super) fn changes(declared: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Option<Tags> {
    let wanted = with_list(declared);
    let ours: BTreeSet<&str> = found.get(TAGS).into_iter().flat_map(|list| list.split(BETWEEN)).collect();
    let drop: BTreeSet<String> = ours
        .iter()
        .filter(|key| found.contains_key(**key) && !declared.contains_key(**key))
        .map(|key| (*key).to_owned())
        .chain((declared.is_empty() && found.contains_key(TAGS)).then(|| TAGS.to_owned()))
        .collect();
    let put: BTreeMap<String, String> =
        wanted.into_iter().filter(|(key, value)| found.get(key) != Some(value)).collect();
    (!put.is_empty() || !drop.is_empty()).then_some(Tags { put, drop })
}

/// The declared tags, and the list of them.
pub(super) fn with_list(declared: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = declared.clone();
    if !declared.is_empty() {
        all.insert(TAGS.to_owned(), declared.keys().cloned().collect::<Vec<_>>().join(BETWEEN));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_missing_or_another_is_put_right_and_what_others_have_tagged_stays() {
        let declared = tags(&[("team", "shop"), ("cost", "42")]);
        let found = tags(&[("team", "blog"), ("Name", "shop docker1")]);
        let changes = changes(&declared, &found).unwrap();
        assert_eq!(changes.put, tags(&[("cost", "42"), ("evenkeel:tags", "cost / team"), ("team", "shop")]));
        assert!(changes.drop.is_empty());
        assert_eq!(changes.to_string(), "cost=42, team=shop");
        assert_eq!(super::changes(&declared, &with_list(&declared)), None);
    }

    #[test]
    fn what_is_declared_no_more_is_taken_away_if_it_was_put_there() {
        let found = tags(&[("team", "shop"), ("cost", "42"), ("own", "x"), ("evenkeel:tags", "cost / gone / team")]);
        let changes = changes(&tags(&[("team", "shop")]), &found).unwrap();
        assert_eq!(changes.put, tags(&[("evenkeel:tags", "team")]));
        assert_eq!(changes.drop, BTreeSet::from(["cost".to_owned()]));
        assert_eq!(changes.to_string(), "no cost");
        let changes = super::changes(&BTreeMap::new(), &found).unwrap();
        assert_eq!(changes.drop.iter().collect::<Vec<_>>(), ["cost", "evenkeel:tags", "team"]);
        assert_eq!(super::changes(&BTreeMap::new(), &tags(&[("own", "x")])), None);
    }
}
