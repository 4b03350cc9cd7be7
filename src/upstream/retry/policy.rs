//! Whether a request may be sent again after an error.

use awc::http::Method;

use super::error::{AttemptError, Retry};
use crate::config::RetryPolicy;

/// A request that was not sent is tried on at most this many replicas.
const MAX_CONNECTS: u32 = 16;

/// What is to be done after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// Send it to the next replica.
    NextReplica,
    /// It might be sent once more, but too many have been.
    OverBudget,
    /// Tell the client.
    GiveUp,
}

/// What is known about a request when an attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryState {
    /// Which requests may be sent a second time at all.
    pub policy: RetryPolicy,
    /// How often such a request is sent again.
    pub resends: u32,
    /// Attempts that never reached a replica, this one included.
    pub not_connected: u32,
    /// Attempts for which we had no file left, this one included.
    pub fd_limit: u32,
    /// Attempts that may have reached one, this one included.
    pub sent: u32,
}

impl RetryState {
    /// The first attempt of a request.
    pub fn new(policy: RetryPolicy, resends: u32) -> Self {
        Self {
            policy,
            resends,
            not_connected: 0,
            fd_limit: 0,
            sent: 0,
        }
    }

    /// Whether a request that has been sent may be sent once more, if its body is replayable.
    pub fn may_be_sent_again(&self, method: &Method) -> bool {
        self.policy == RetryPolicy::Idempotent && self.sent < self.resends && is_idempotent(method)
    }

    /// Whether a request that was not sent may go to another replica.
    fn may_go_on(&self, is_replayable: bool) -> bool {
        is_replayable && self.policy != RetryPolicy::Never
    }

    /// Counts an error in and decides. `withdraw` takes one re-send from the budget, and is
    /// asked only where nothing else forbids it.
    pub fn on_error(
        &mut self,
        error: &AttemptError,
        method: &Method,
        is_replayable: bool,
        withdraw: impl FnOnce() -> bool,
    ) -> RetryDecision {
        let is_allowed = match error.retry() {
            Retry::Never => false,
            Retry::Unsent => {
                self.not_connected += 1;
                self.not_connected < MAX_CONNECTS && self.may_go_on(is_replayable)
            }
            Retry::AfterClosingIdle => {
                self.fd_limit += 1;
                self.fd_limit == 1 && self.may_go_on(is_replayable)
            }
            Retry::IfIdempotent => {
                let is_allowed = is_replayable && self.may_be_sent_again(method);
                self.sent += 1;
                if is_allowed && !withdraw() {
                    return RetryDecision::OverBudget;
                }
                is_allowed
            }
        };
        match is_allowed {
            true => RetryDecision::NextReplica,
            false => RetryDecision::GiveUp,
        }
    }
}

/// RFC 9110, section 9.2.2. CONNECT and anything unknown is not.
fn is_idempotent(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::PUT,
        Method::DELETE,
    ]
    .contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_requests_decide_together() {
        let not_sent = || AttemptError::NotConnected {
            kind: std::io::ErrorKind::ConnectionRefused,
            cause: String::new(),
        };
        let broken = || AttemptError::Disconnected(String::new());
        use RetryDecision::{GiveUp, NextReplica};
        for (story, method, in_hand, failures, expected) in [
            (
                "not sent: any method",
                Method::POST,
                true,
                vec![not_sent(), not_sent()],
                NextReplica,
            ),
            (
                "not sent, body gone",
                Method::GET,
                false,
                vec![not_sent()],
                GiveUp,
            ),
            (
                "sent: idempotent",
                Method::PUT,
                true,
                vec![broken()],
                NextReplica,
            ),
            (
                "sent to one that hangs",
                Method::GET,
                true,
                vec![AttemptError::Evicted],
                NextReplica,
            ),
            (
                "sent: only once",
                Method::GET,
                true,
                vec![broken(), broken()],
                GiveUp,
            ),
            (
                "sent, then not sent",
                Method::GET,
                true,
                vec![broken(), not_sent()],
                NextReplica,
            ),
            (
                "sent: never a POST",
                Method::POST,
                true,
                vec![broken()],
                GiveUp,
            ),
            (
                "sent: never a PATCH",
                Method::PATCH,
                true,
                vec![broken()],
                GiveUp,
            ),
            (
                "sent, body gone",
                Method::PUT,
                false,
                vec![broken()],
                GiveUp,
            ),
            (
                "not HTTP",
                Method::GET,
                true,
                vec![AttemptError::InvalidResponse(
                    crate::upstream::framed_connection::ProtocolError::NotHttp,
                )],
                GiveUp,
            ),
            (
                "too late",
                Method::GET,
                true,
                vec![AttemptError::ResponseTimeout],
                GiveUp,
            ),
            (
                "out of files",
                Method::POST,
                true,
                vec![AttemptError::FdLimit],
                NextReplica,
            ),
            (
                "out of files for good",
                Method::GET,
                true,
                vec![AttemptError::FdLimit, AttemptError::FdLimit],
                GiveUp,
            ),
            (
                "nowhere to connect to",
                Method::GET,
                true,
                vec![not_sent(); 16],
                GiveUp,
            ),
        ] {
            let mut attempt = RetryState::new(RetryPolicy::default(), 1);
            let last = failures
                .iter()
                .map(|failure| attempt.on_error(failure, &method, in_hand, || true))
                .last();
            assert_eq!(last, Some(expected), "{story}");
        }
    }

    #[test]
    fn a_request_is_sent_again_as_often_as_is_said() {
        let broken = AttemptError::Disconnected(String::new());
        let mut attempt = RetryState::new(RetryPolicy::Idempotent, 2);
        let decisions = [(); 3].map(|()| attempt.on_error(&broken, &Method::GET, true, || true));
        use RetryDecision::{GiveUp, NextReplica};
        assert_eq!(decisions, [NextReplica, NextReplica, GiveUp]);
    }

    #[test]
    fn policy_forbids_what_the_rules_allow() {
        let not_sent = AttemptError::NotConnected {
            kind: std::io::ErrorKind::ConnectionRefused,
            cause: String::new(),
        };
        let broken = AttemptError::Disconnected(String::new());
        use RetryPolicy::{Idempotent, Never, Unsent};
        for (policy, failure, expected) in [
            (Idempotent, &not_sent, RetryDecision::NextReplica),
            (Idempotent, &broken, RetryDecision::NextReplica),
            (Unsent, &not_sent, RetryDecision::NextReplica),
            (Unsent, &broken, RetryDecision::GiveUp),
            (Never, &not_sent, RetryDecision::GiveUp),
            (Never, &AttemptError::FdLimit, RetryDecision::GiveUp),
            (Never, &broken, RetryDecision::GiveUp),
        ] {
            let mut attempt = RetryState::new(policy, 1);
            let verdict = attempt.on_error(failure, &Method::GET, true, || true);
            assert_eq!(verdict, expected, "{policy:?} {failure:?}");
            // One that hangs is waited for, where its request cannot go elsewhere.
            let fresh = RetryState::new(policy, 1);
            assert_eq!(fresh.may_be_sent_again(&Method::GET), policy == Idempotent);
        }
    }

    #[test]
    fn the_budget_is_asked_only_for_what_was_sent_and_may_be_sent_again() {
        let broken = AttemptError::Disconnected(String::new());
        let not_sent = AttemptError::NotConnected {
            kind: std::io::ErrorKind::ConnectionRefused,
            cause: String::new(),
        };
        let empty = || false;
        let never = || -> bool { panic!("nothing to spend on") };
        let fresh = || RetryState::new(RetryPolicy::default(), 1);
        let over = fresh().on_error(&broken, &Method::GET, true, empty);
        assert_eq!(over, RetryDecision::OverBudget);
        let post = fresh().on_error(&broken, &Method::POST, true, never);
        assert_eq!(post, RetryDecision::GiveUp);
        let next = fresh().on_error(&not_sent, &Method::GET, true, never);
        assert_eq!(next, RetryDecision::NextReplica);
    }
}
