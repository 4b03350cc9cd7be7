//! When a request may be sent to another replica: the rules, in one place.
//!
//! * Not sent: any request may go on to the next replica. The replica that it was meant
//!   for never heard of it.
//! * Sent, and no byte of a response has come: only an idempotent request (RFC 9110,
//!   section 9.2.2) whose whole body is still in hand, only once, and only while the budget
//!   for that lasts (`retry_budget`).
//! * Otherwise: never.
//!
//! A pooled connection that turns out to have been closed counts as sent, because
//! nobody can tell whether the replica had read the request.

use std::fmt;

use awc::error::{ConnectError, SendRequestError};
use awc::http::Method;

use super::body::Break;
use super::connector::NotConnected;
use super::guard::Fault;
use crate::config::RetryPolicy;

/// A request that was not sent is tried on so many replicas before the client is told.
const MOST_CONNECTS: u32 = 16;

/// What went wrong with one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection: the request was provably not sent.
    NotConnected {
        /// The replica's address refused, or does not exist: nobody listens there.
        refused: bool,
        /// What happened, for the log.
        cause: String,
    },
    /// No connection, for we may not have one more file open: no fault of the replica's, and
    /// the request was not sent.
    OutOfFiles,
    /// The connection broke before a response came.
    Broken(String),
    /// The replica was taken off the ring, dead or hung, before a response came.
    Lost,
    /// What came was not HTTP, or not a whole head.
    BadResponse(String),
    /// The response did not begin in time.
    TimedOut,
    /// The whole request has taken as long as it may.
    TookTooLong,
    /// The client broke off its own request.
    ClientGone,
    /// The client paused for too long in its own body.
    ClientStalled,
    /// The client sent its own body too slowly.
    ClientTooSlow,
    /// The client closed its side, and the response did not come soon after.
    ClientClosed,
    /// The client's body is larger than is allowed.
    BodyTooLarge,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected { cause, .. } => write!(f, "not connected: {cause}"),
            Self::OutOfFiles => f.write_str("not connected: the balancer has too many files open"),
            Self::Broken(cause) => write!(f, "broken off before the response: {cause}"),
            Self::Lost => f.write_str("taken off the ring before the response"),
            Self::BadResponse(cause) => write!(f, "not a valid response: {cause}"),
            Self::TimedOut => f.write_str("no response within --response-timeout"),
            Self::TookTooLong => f.write_str("no response within --request-timeout"),
            Self::ClientGone => f.write_str("the client broke off"),
            Self::ClientStalled => f.write_str("the client's body paused for --body-timeout"),
            Self::ClientTooSlow => {
                f.write_str("the client's body came more slowly than --min-body-rate")
            }
            Self::ClientClosed => f.write_str("client closed"),
            Self::BodyTooLarge => f.write_str("the client's body is larger than --max-body"),
        }
    }
}

impl Failure {
    /// Whether the replica had, or may have had, the request when it went wrong.
    pub fn reached_the_replica(&self) -> bool {
        !self.is_clients() && !matches!(self, Self::NotConnected { .. } | Self::OutOfFiles)
    }

    /// Whether the replica had no part in it.
    pub fn is_clients(&self) -> bool {
        matches!(
            self,
            Self::ClientGone
                | Self::ClientStalled
                | Self::ClientTooSlow
                | Self::ClientClosed
                | Self::BodyTooLarge
        )
    }
}

impl Failure {
    /// What an awc error amounts to.
    pub fn of(error: &SendRequestError) -> Self {
        match error {
            SendRequestError::Connect(ConnectError::Timeout) => Self::NotConnected {
                refused: false,
                cause: "connecting took too long".to_owned(),
            },
            SendRequestError::Connect(ConnectError::Io(error)) => {
                let marker = error
                    .get_ref()
                    .and_then(|e| e.downcast_ref::<NotConnected>());
                match marker {
                    Some(NotConnected { cause }) if is_out_of_files(cause) => Self::OutOfFiles,
                    Some(NotConnected { cause }) => Self::NotConnected {
                        refused: cause.kind() == std::io::ErrorKind::ConnectionRefused,
                        cause: cause.to_string(),
                    },
                    None => Self::Broken(error.to_string()),
                }
            }
            // How the transport says that a connection was closed before the response.
            SendRequestError::Connect(ConnectError::Disconnected) => {
                Self::Broken("the replica closed the connection".to_owned())
            }
            SendRequestError::Timeout => Self::TimedOut,
            SendRequestError::Send(error)
            | SendRequestError::Response(actix_http::error::ParseError::Io(error)) => {
                match Fault::of(error) {
                    // Everything else that the guard says, it says of a response.
                    Some(fault) if fault != Fault::NoResponse => {
                        Self::BadResponse(fault.to_string())
                    }
                    _ => Self::Broken(error.to_string()),
                }
            }
            SendRequestError::Response(error) => Self::BadResponse(error.to_string()),
            SendRequestError::Body(error) => Self::Broken(error.to_string()),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<Break> for Failure {
    fn from(end: Break) -> Self {
        match end {
            Break::Broken => Self::ClientGone,
            Break::Stalled => Self::ClientStalled,
            Break::TooSlow => Self::ClientTooSlow,
            Break::TooLarge => Self::BodyTooLarge,
        }
    }
}

fn is_out_of_files(cause: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| cause.raw_os_error() == Some(errno.raw_os_error()))
}

/// What is to be done after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it to the next replica.
    TryNext,
    /// It might be sent once more, but too many have been.
    OverBudget,
    /// Tell the client.
    GiveUp,
}

/// What is known about a request when an attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempt {
    /// Which requests may be sent a second time at all.
    pub policy: RetryPolicy,
    /// Attempts that never reached a replica, this one included.
    pub not_connected: u32,
    /// Attempts for which we had no file left, this one included.
    pub out_of_files: u32,
    /// Attempts that may have reached one, this one included.
    pub sent: u32,
}

impl Attempt {
    /// The first attempt of a request.
    pub fn first(policy: RetryPolicy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Whether a request that has been sent may be sent once more, if its body is in hand.
    pub fn may_be_sent_again(&self, method: &Method) -> bool {
        self.policy == RetryPolicy::Idempotent && self.sent == 0 && is_idempotent(method)
    }

    /// Whether a request that was not sent may go to another replica.
    fn may_go_on(&self, body_in_hand: bool) -> bool {
        body_in_hand && self.policy != RetryPolicy::Never
    }

    /// Counts a failure in and decides. `spend` takes one re-send from the budget, and is
    /// asked only where nothing else forbids it.
    pub fn judge(
        &mut self,
        failure: &Failure,
        method: &Method,
        body_in_hand: bool,
        spend: impl FnOnce() -> bool,
    ) -> Verdict {
        match failure {
            Failure::NotConnected { .. } => {
                self.not_connected += 1;
                if self.may_go_on(body_in_hand) && self.not_connected < MOST_CONNECTS {
                    Verdict::TryNext
                } else {
                    Verdict::GiveUp
                }
            }
            // Once, after the idle connections have been closed.
            Failure::OutOfFiles => {
                self.out_of_files += 1;
                if self.out_of_files == 1 && self.may_go_on(body_in_hand) {
                    Verdict::TryNext
                } else {
                    Verdict::GiveUp
                }
            }
            Failure::Broken(_) | Failure::Lost => {
                let again = body_in_hand && self.may_be_sent_again(method);
                self.sent += 1;
                match again {
                    false => Verdict::GiveUp,
                    true if spend() => Verdict::TryNext,
                    true => Verdict::OverBudget,
                }
            }
            Failure::BadResponse(_)
            | Failure::TimedOut
            | Failure::TookTooLong
            | Failure::ClientGone
            | Failure::ClientStalled
            | Failure::ClientTooSlow
            | Failure::ClientClosed
            | Failure::BodyTooLarge => Verdict::GiveUp,
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
    fn only_a_connection_that_never_answered_is_broken() {
        use std::io::{Error, ErrorKind};
        let read = |error: Error| {
            Failure::of(&SendRequestError::Response(
                actix_http::error::ParseError::Io(error),
            ))
        };
        for fault in [
            Fault::BrokenHead,
            Fault::NotHttp,
            Fault::Framing(crate::h1::FramingError::Both),
        ] {
            let failure = read(fault.into());
            assert!(matches!(failure, Failure::BadResponse(_)), "{failure:?}");
        }
        for failure in [
            read(Fault::NoResponse.into()),
            read(ErrorKind::ConnectionReset.into()),
            Failure::of(&SendRequestError::Send(ErrorKind::BrokenPipe.into())),
            Failure::of(&SendRequestError::Connect(ConnectError::Disconnected)),
        ] {
            assert!(matches!(failure, Failure::Broken(_)), "{failure:?}");
        }
    }

    #[test]
    fn a_file_too_many_is_no_fault_of_the_replica_s() {
        let connect = |errno: rustix::io::Errno| {
            let cause = std::io::Error::from_raw_os_error(errno.raw_os_error());
            let marked = std::io::Error::new(cause.kind(), NotConnected { cause });
            Failure::of(&SendRequestError::Connect(ConnectError::Io(marked)))
        };
        assert_eq!(connect(rustix::io::Errno::MFILE), Failure::OutOfFiles);
        assert_eq!(connect(rustix::io::Errno::NFILE), Failure::OutOfFiles);
        let refused = connect(rustix::io::Errno::CONNREFUSED);
        assert!(
            matches!(refused, Failure::NotConnected { refused: true, .. }),
            "{refused:?}"
        );
    }

    #[test]
    fn the_rules() {
        let not_sent = || Failure::NotConnected {
            refused: true,
            cause: String::new(),
        };
        let broken = || Failure::Broken(String::new());
        use Verdict::{GiveUp, TryNext};
        for (story, method, in_hand, failures, expected) in [
            (
                "not sent: any method",
                Method::POST,
                true,
                vec![not_sent(), not_sent()],
                TryNext,
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
                TryNext,
            ),
            (
                "sent to one that hangs",
                Method::GET,
                true,
                vec![Failure::Lost],
                TryNext,
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
                TryNext,
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
                vec![Failure::BadResponse(String::new())],
                GiveUp,
            ),
            (
                "too late",
                Method::GET,
                true,
                vec![Failure::TimedOut],
                GiveUp,
            ),
            (
                "out of files",
                Method::POST,
                true,
                vec![Failure::OutOfFiles],
                TryNext,
            ),
            (
                "out of files for good",
                Method::GET,
                true,
                vec![Failure::OutOfFiles, Failure::OutOfFiles],
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
            let mut attempt = Attempt::default();
            let last = failures
                .iter()
                .map(|failure| attempt.judge(failure, &method, in_hand, || true))
                .last();
            assert_eq!(last, Some(expected), "{story}");
        }
    }

    #[test]
    fn policy_forbids_what_the_rules_allow() {
        let not_sent = Failure::NotConnected {
            refused: true,
            cause: String::new(),
        };
        let broken = Failure::Broken(String::new());
        use RetryPolicy::{Idempotent, Never, Unsent};
        for (policy, failure, expected) in [
            (Idempotent, &not_sent, Verdict::TryNext),
            (Idempotent, &broken, Verdict::TryNext),
            (Unsent, &not_sent, Verdict::TryNext),
            (Unsent, &broken, Verdict::GiveUp),
            (Never, &not_sent, Verdict::GiveUp),
            (Never, &Failure::OutOfFiles, Verdict::GiveUp),
            (Never, &broken, Verdict::GiveUp),
        ] {
            let mut attempt = Attempt::first(policy);
            let verdict = attempt.judge(failure, &Method::GET, true, || true);
            assert_eq!(verdict, expected, "{policy:?} {failure:?}");
            // One that hangs is waited for, where its request cannot go elsewhere.
            let fresh = Attempt::first(policy);
            assert_eq!(fresh.may_be_sent_again(&Method::GET), policy == Idempotent);
        }
    }

    #[test]
    fn the_budget_is_asked_only_for_what_was_sent_and_may_be_sent_again() {
        let broken = Failure::Broken(String::new());
        let not_sent = Failure::NotConnected {
            refused: true,
            cause: String::new(),
        };
        let empty = || false;
        let never = || -> bool { panic!("nothing to spend on") };
        let fresh = Attempt::default;
        let over = fresh().judge(&broken, &Method::GET, true, empty);
        assert_eq!(over, Verdict::OverBudget);
        let post = fresh().judge(&broken, &Method::POST, true, never);
        assert_eq!(post, Verdict::GiveUp);
        let next = fresh().judge(&not_sent, &Method::GET, true, never);
        assert_eq!(next, Verdict::TryNext);
    }
}
