//! What can go wrong with one attempt, by type.

use std::fmt;
use std::io;

use crate::upstream::framed_connection::ProtocolError;
use crate::upstream::replay_body::BodyError;
use crate::upstream::stats::FailureReason;

/// What went wrong with one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptError {
    /// No connection: the request was provably not sent.
    NotConnected {
        /// What happened: `ConnectionRefused` if nothing listens there, `TimedOut` if it took
        /// longer than --connect-timeout.
        kind: io::ErrorKind,
        /// The same for the log.
        cause: String,
    },
    /// No connection, because the balancer may not open one more file. The replica had no part
    /// in it, and the request was not sent.
    FdLimit,
    /// The connection broke before a response came.
    Disconnected(String),
    /// The replica was taken off the ring, dead or hung, before a response came.
    Evicted,
    /// What came was not HTTP, or not a whole head.
    InvalidResponse(ProtocolError),
    /// The response did not begin in time.
    ResponseTimeout,
    /// The whole request has taken as long as it may.
    RequestTimeout,
    /// The client broke off its own request.
    ClientAborted,
    /// The client paused for too long in its own body.
    ClientBodyTimeout,
    /// The client sent its own body too slowly.
    ClientBodyTooSlow,
    /// The client closed its side, and the response did not come soon after.
    ClientClosed,
    /// The client's body is larger than is allowed.
    BodyTooLarge,
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected { cause, .. } => write!(f, "not connected: {cause}"),
            Self::FdLimit => f.write_str("not connected: the balancer has too many files open"),
            Self::Disconnected(cause) => write!(f, "broken off before the response: {cause}"),
            Self::Evicted => f.write_str("taken off the ring before the response"),
            Self::InvalidResponse(cause) => write!(f, "not a valid response: {cause}"),
            Self::ResponseTimeout => f.write_str("no response within --response-timeout"),
            Self::RequestTimeout => f.write_str("no response within --request-timeout"),
            Self::ClientAborted => f.write_str("the client broke off"),
            Self::ClientBodyTimeout => f.write_str("the client's body paused for --body-timeout"),
            Self::ClientBodyTooSlow => {
                f.write_str("the client's body came more slowly than --min-body-rate")
            }
            Self::ClientClosed => f.write_str("client closed"),
            Self::BodyTooLarge => f.write_str("the client's body is larger than --max-body"),
        }
    }
}

/// Under which condition another attempt may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The request was not sent: whatever it is, another replica may get it.
    Unsent,
    /// The request was not sent for want of a file: once, when idle connections are closed.
    AfterClosingIdle,
    /// A replica may have acted on it: only an idempotent request, once and within the budget.
    IfIdempotent,
    /// Never.
    Never,
}

/// What the next attempt leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclude {
    /// Nothing.
    Nothing,
    /// The instance: a new one of the same replica may be there.
    Instance,
    /// The replica.
    Replica,
}

impl AttemptError {
    /// Connecting failed like this: nothing was sent.
    pub fn not_connected(error: &io::Error) -> Self {
        if is_fd_limit(error) {
            return Self::FdLimit;
        }
        Self::NotConnected {
            kind: error.kind(),
            cause: error.to_string(),
        }
    }

    /// Whether nothing listens on the instance's address.
    pub fn is_refused(&self) -> bool {
        matches!(
            self,
            Self::NotConnected {
                kind: io::ErrorKind::ConnectionRefused,
                ..
            }
        )
    }

    /// As what it is counted.
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::NotConnected { kind, .. } => match kind {
                io::ErrorKind::ConnectionRefused => FailureReason::ConnectionRefused,
                io::ErrorKind::TimedOut => FailureReason::ConnectTimeout,
                _ => FailureReason::NotConnected,
            },
            Self::FdLimit => FailureReason::FdLimit,
            Self::Disconnected(_) => FailureReason::Disconnected,
            Self::Evicted => FailureReason::Evicted,
            Self::InvalidResponse(_) => FailureReason::InvalidResponse,
            Self::ResponseTimeout => FailureReason::ResponseTimeout,
            Self::RequestTimeout => FailureReason::RequestTimeout,
            Self::ClientAborted => FailureReason::ClientAborted,
            Self::ClientBodyTimeout => FailureReason::ClientBodyTimeout,
            Self::ClientBodyTooSlow => FailureReason::ClientBodyTooSlow,
            Self::ClientClosed => FailureReason::ClientClosed,
            Self::BodyTooLarge => FailureReason::BodyTooLarge,
        }
    }

    /// Under which condition another attempt may follow.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotConnected { .. } => Retry::Unsent,
            Self::FdLimit => Retry::AfterClosingIdle,
            Self::Disconnected(_) | Self::Evicted => Retry::IfIdempotent,
            Self::InvalidResponse(_)
            | Self::ResponseTimeout
            | Self::RequestTimeout
            | Self::ClientAborted
            | Self::ClientBodyTimeout
            | Self::ClientBodyTooSlow
            | Self::ClientClosed
            | Self::BodyTooLarge => Retry::Never,
        }
    }

    /// What that attempt leaves out.
    pub fn exclude(&self) -> Exclude {
        match self {
            Self::FdLimit => Exclude::Nothing,
            _ if self.is_refused() => Exclude::Instance,
            _ => Exclude::Replica,
        }
    }

    /// Whether the replica had, or may have had, the request when it went wrong.
    pub fn reached_the_replica(&self) -> bool {
        !self.is_clients() && !matches!(self, Self::NotConnected { .. } | Self::FdLimit)
    }

    /// Whether it counts as a failure of the replica.
    pub fn is_replicas(&self) -> bool {
        !self.is_clients() && !matches!(self, Self::FdLimit)
    }

    /// Whether it is the client's.
    pub fn is_clients(&self) -> bool {
        matches!(
            self,
            Self::ClientAborted
                | Self::ClientBodyTimeout
                | Self::ClientBodyTooSlow
                | Self::ClientClosed
                | Self::BodyTooLarge
        )
    }
}

impl From<BodyError> for AttemptError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Aborted => Self::ClientAborted,
            BodyError::TimedOut => Self::ClientBodyTimeout,
            BodyError::TooSlow => Self::ClientBodyTooSlow,
            BodyError::TooLarge => Self::BodyTooLarge,
        }
    }
}

impl From<ProtocolError> for AttemptError {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::NoResponse => Self::Disconnected(error.to_string()),
            _ => Self::InvalidResponse(error),
        }
    }
}

/// An error of a connection on which the request may have been sent. `AsyncRead` knows no other
/// type; what is ours travels inside.
impl From<io::Error> for AttemptError {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(body) = inner.and_then(|inner| inner.downcast_ref::<BodyError>()) {
            return Self::from(*body);
        }
        match inner.and_then(|inner| inner.downcast_ref::<ProtocolError>()) {
            Some(protocol) => Self::from(*protocol),
            None => Self::Disconnected(error.to_string()),
        }
    }
}

fn is_fd_limit(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::FramingError;

    #[test]
    fn error_says_what_it_is_counted_as_and_whose_it_is() {
        #[derive(Debug, PartialEq, Eq)]
        enum Whose {
            Clients,
            Replicas,
            Ours,
        }
        use Whose::{Clients, Ours, Replicas};
        let not_connected = |kind| AttemptError::NotConnected {
            kind,
            cause: "why".to_owned(),
        };
        let why = || "why".to_owned();
        let invalid = AttemptError::InvalidResponse(ProtocolError::NotHttp);
        for (error, words, reason, whose, reached) in [
            (
                not_connected(io::ErrorKind::ConnectionRefused),
                "not connected: why",
                FailureReason::ConnectionRefused,
                Replicas,
                false,
            ),
            (
                not_connected(io::ErrorKind::TimedOut),
                "not connected: why",
                FailureReason::ConnectTimeout,
                Replicas,
                false,
            ),
            (
                not_connected(io::ErrorKind::HostUnreachable),
                "not connected: why",
                FailureReason::NotConnected,
                Replicas,
                false,
            ),
            (
                AttemptError::FdLimit,
                "too many files open",
                FailureReason::FdLimit,
                Ours,
                false,
            ),
            (
                AttemptError::Disconnected(why()),
                "broken off before the response: why",
                FailureReason::Disconnected,
                Replicas,
                true,
            ),
            (
                AttemptError::Evicted,
                "off the ring",
                FailureReason::Evicted,
                Replicas,
                true,
            ),
            (
                invalid,
                "not a valid response",
                FailureReason::InvalidResponse,
                Replicas,
                true,
            ),
            (
                AttemptError::ResponseTimeout,
                "--response-timeout",
                FailureReason::ResponseTimeout,
                Replicas,
                true,
            ),
            (
                AttemptError::RequestTimeout,
                "--request-timeout",
                FailureReason::RequestTimeout,
                Replicas,
                true,
            ),
            (
                AttemptError::from(BodyError::Aborted),
                "the client broke off",
                FailureReason::ClientAborted,
                Clients,
                false,
            ),
            (
                AttemptError::from(BodyError::TimedOut),
                "--body-timeout",
                FailureReason::ClientBodyTimeout,
                Clients,
                false,
            ),
            (
                AttemptError::from(BodyError::TooSlow),
                "--min-body-rate",
                FailureReason::ClientBodyTooSlow,
                Clients,
                false,
            ),
            (
                AttemptError::ClientClosed,
                "client closed",
                FailureReason::ClientClosed,
                Clients,
                false,
            ),
            (
                AttemptError::from(BodyError::TooLarge),
                "--max-body",
                FailureReason::BodyTooLarge,
                Clients,
                false,
            ),
        ] {
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.reason(), reason);
            let found = match (error.is_clients(), error.is_replicas()) {
                (true, _) => Clients,
                (_, true) => Replicas,
                _ => Ours,
            };
            assert_eq!(
                (found, error.reached_the_replica()),
                (whose, reached),
                "{error}"
            );
            let refused = reason == FailureReason::ConnectionRefused;
            assert_eq!(error.is_refused(), refused, "{error}");
        }
    }

    #[test]
    fn only_a_connection_without_a_response_is_disconnected() {
        use std::io::ErrorKind;
        for error in [
            ProtocolError::BrokenHead,
            ProtocolError::NotHttp,
            ProtocolError::Framing(FramingError::Both),
        ] {
            let read = AttemptError::from(io::Error::from(error));
            assert_eq!(read, AttemptError::InvalidResponse(error));
            assert_eq!(read.retry(), Retry::Never);
        }
        for error in [
            io::Error::from(ProtocolError::NoResponse),
            ErrorKind::ConnectionReset.into(),
            ErrorKind::BrokenPipe.into(),
        ] {
            let read = AttemptError::from(error);
            assert!(matches!(read, AttemptError::Disconnected(_)), "{read:?}");
            assert_eq!(read.retry(), Retry::IfIdempotent);
        }
        let body = AttemptError::from(io::Error::from(BodyError::TooLarge));
        assert_eq!(body, AttemptError::BodyTooLarge);
    }

    #[test]
    fn want_of_files_is_not_the_replicas() {
        use rustix::io::Errno;
        let connect = |errno: Errno| {
            AttemptError::not_connected(&io::Error::from_raw_os_error(errno.raw_os_error()))
        };
        for errno in [Errno::MFILE, Errno::NFILE] {
            let error = connect(errno);
            assert_eq!(error, AttemptError::FdLimit);
            assert_eq!(error.exclude(), Exclude::Nothing);
            assert!(!error.is_replicas());
        }
        for (errno, exclude) in [
            (Errno::CONNREFUSED, Exclude::Instance),
            (Errno::HOSTUNREACH, Exclude::Replica),
        ] {
            let error = connect(errno);
            assert_eq!((error.retry(), error.exclude()), (Retry::Unsent, exclude));
            assert!(error.is_replicas() && !error.reached_the_replica());
        }
    }
}
