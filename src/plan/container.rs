//! What can be asked of a container as it was seen.

use super::render::label;
use crate::world::{ContainerSeen, State};

/// True when a container bears this stack's mark.
pub fn is_ours(container: &ContainerSeen, stack: &str) -> bool {
    container.labels.get(label::STACK).is_some_and(|found| found == stack)
}

/// True for a container whose process exists.
pub fn is_live(container: &ContainerSeen) -> bool {
    matches!(container.state, State::Running | State::Paused | State::Restarting { .. })
}

/// What was said, if anything, at the end of a sentence.
pub(super) fn colon(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// What it said last, where that was kept.
pub(super) fn last_words(container: &ContainerSeen) -> String {
    container.last_words.as_deref().unwrap_or("").trim().to_owned()
}
