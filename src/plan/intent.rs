//! Creates that were sent and whose outcome may not show yet.

use jiff::Timestamp;

use crate::{action::Action, world::Class};

/// One create, as it is on record before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// When it was sent last.
    pub sent: Timestamp,
    /// The idempotency token that it was sent with, where the API takes one.
    pub token: Option<String>,
    /// Where it was sent to be: with its token it can be sent there only.
    pub place: Option<String>,
    /// It was sent before with this token, and that outcome never became clear.
    pub resent: bool,
}

impl Intent {
    /// The intent to record before the action is sent now.
    pub fn of(action: &Action, before: Option<&Intent>, now: Timestamp) -> Intent {
        let token = action.token().map(str::to_owned);
        let resent = token.is_some() && before.is_some_and(|before| before.token == token);
        Intent { sent: now, token, place: action.place().map(str::to_owned), resent }
    }

    /// Whether it stays on record after the action failed in this way.
    ///
    /// A clear refusal means that nothing was made. Of one that was sent before it says nothing about that time, so
    /// the token is kept: with another one, a second thing could come to be.
    pub fn outlives(&self, class: Class) -> bool {
        match class {
            Class::Terminal | Class::Throttled | Class::NoRoom => self.resent,
            Class::TokenSpent => false,
            Class::Transient | Class::UnknownOutcome => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(resent: bool) -> Intent {
        Intent { sent: Timestamp::UNIX_EPOCH, token: Some("t".into()), place: None, resent }
    }

    #[test]
    fn a_refusal_ends_an_intent_only_if_nothing_was_sent_before() {
        assert!(!intent(false).outlives(Class::Terminal));
        assert!(!intent(false).outlives(Class::Throttled));
        assert!(intent(true).outlives(Class::Terminal));
        assert!(intent(true).outlives(Class::Throttled));
    }

    #[test]
    fn what_may_have_happened_stays_on_record_and_a_token_that_is_used_up_does_not() {
        assert!(intent(false).outlives(Class::UnknownOutcome));
        assert!(intent(false).outlives(Class::Transient));
        assert!(!intent(true).outlives(Class::TokenSpent));
    }
}
