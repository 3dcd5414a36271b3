//! What may be sent again without anyone looking first.

use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority, RetryReason},
};
use aws_smithy_types::retry::ErrorKind;

/// For mutations: only a throttled request is sent again, because only then is it certain that nothing happened.
///
/// OpsWorks takes no client tokens, so that a create repeated after a time-out would make a second thing; the
/// SDK's own rules repeat time-outs and 5xx as well.
#[derive(Debug)]
pub(super) struct OnlyThrottled;

impl ClassifyRetry for OnlyThrottled {
    fn classify_retry(&self, _ctx: &InterceptorContext) -> RetryAction {
        RetryAction::RetryForbidden
    }

    fn classify_retry_v2(&self, _ctx: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        match previous {
            RetryAction::RetryIndicated(RetryReason::RetryableError { kind: ErrorKind::ThrottlingError, .. }) => {
                RetryAction::NoActionIndicated
            }
            _ => RetryAction::RetryForbidden,
        }
    }

    fn name(&self) -> &'static str {
        "OnlyThrottled"
    }

    /// After all of the SDK's own.
    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::interceptors::context::Input;

    use super::*;

    fn verdict(previous: &RetryAction) -> RetryAction {
        OnlyThrottled.classify_retry_v2(&InterceptorContext::new(Input::erase(())), previous)
    }

    #[test]
    fn a_throttled_mutation_is_sent_again() {
        let throttled = RetryAction::retryable_error(ErrorKind::ThrottlingError);
        assert_eq!(verdict(&throttled), RetryAction::NoActionIndicated);
    }

    #[test]
    fn a_mutation_that_may_have_happened_is_not_sent_again() {
        for kind in [ErrorKind::TransientError, ErrorKind::ServerError] {
            assert_eq!(verdict(&RetryAction::retryable_error(kind)), RetryAction::RetryForbidden);
        }
    }
}
