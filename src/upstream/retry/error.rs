//! What can go wrong with one attempt, by type.

use std::fmt;

use awc::error::{ConnectError, SendRequestError};

use super::replay_body::BodyError;
use crate::upstream::framed_connection::ProtocolError;
use crate::upstream::pool::NotConnected;

/// What went wrong with one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptError {
    /// No connection: the request was provably not sent.
    NotConnected {
        /// The replica's address refused, or does not exist: nobody listens there.
        refused: bool,
        /// What happened, for the log.
        cause: String,
    },
    /// No connection, for we may not have one more file open: no fault of the replica's, and
    /// the request was not sent.
    FdLimit,
    /// The connection broke before a response came.
    Disconnected(String),
    /// The replica was taken off the ring, dead or hung, before a response came.
    Evicted,
    /// What came was not HTTP, or not a whole head.
    InvalidResponse(String),
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

impl AttemptError {
    /// Whether the replica had, or may have had, the request when it went wrong.
    pub fn reached_the_replica(&self) -> bool {
        !self.is_clients() && !matches!(self, Self::NotConnected { .. } | Self::FdLimit)
    }

    /// Whether the replica had no part in it.
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

impl AttemptError {
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
                    Some(NotConnected { cause }) if is_out_of_files(cause) => Self::FdLimit,
                    Some(NotConnected { cause }) => Self::NotConnected {
                        refused: cause.kind() == std::io::ErrorKind::ConnectionRefused,
                        cause: cause.to_string(),
                    },
                    None => Self::Disconnected(error.to_string()),
                }
            }
            // How the transport says that a connection was closed before the response.
            SendRequestError::Connect(ConnectError::Disconnected) => {
                Self::Disconnected("the replica closed the connection".to_owned())
            }
            SendRequestError::Timeout => Self::ResponseTimeout,
            SendRequestError::Send(error)
            | SendRequestError::Response(actix_http::error::ParseError::Io(error)) => {
                match ProtocolError::of(error) {
                    // Everything else that the guard says, it says of a response.
                    Some(fault) if fault != ProtocolError::NoResponse => {
                        Self::InvalidResponse(fault.to_string())
                    }
                    _ => Self::Disconnected(error.to_string()),
                }
            }
            SendRequestError::Response(error) => Self::InvalidResponse(error.to_string()),
            SendRequestError::Body(error) => Self::Disconnected(error.to_string()),
            other => Self::Disconnected(other.to_string()),
        }
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

fn is_out_of_files(cause: &std::io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| cause.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_that_never_answered_is_broken() {
        use std::io::{Error, ErrorKind};
        let read = |error: Error| {
            AttemptError::of(&SendRequestError::Response(
                actix_http::error::ParseError::Io(error),
            ))
        };
        for fault in [
            ProtocolError::BrokenHead,
            ProtocolError::NotHttp,
            ProtocolError::Framing(crate::h1::FramingError::Both),
        ] {
            let failure = read(fault.into());
            assert!(
                matches!(failure, AttemptError::InvalidResponse(_)),
                "{failure:?}"
            );
        }
        for failure in [
            read(ProtocolError::NoResponse.into()),
            read(ErrorKind::ConnectionReset.into()),
            AttemptError::of(&SendRequestError::Send(ErrorKind::BrokenPipe.into())),
            AttemptError::of(&SendRequestError::Connect(ConnectError::Disconnected)),
        ] {
            assert!(
                matches!(failure, AttemptError::Disconnected(_)),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn a_file_too_many_is_no_fault_of_the_replica_s() {
        let connect = |errno: rustix::io::Errno| {
            let cause = std::io::Error::from_raw_os_error(errno.raw_os_error());
            let marked = std::io::Error::new(cause.kind(), NotConnected { cause });
            AttemptError::of(&SendRequestError::Connect(ConnectError::Io(marked)))
        };
        assert_eq!(connect(rustix::io::Errno::MFILE), AttemptError::FdLimit);
        assert_eq!(connect(rustix::io::Errno::NFILE), AttemptError::FdLimit);
        let refused = connect(rustix::io::Errno::CONNREFUSED);
        assert!(
            matches!(refused, AttemptError::NotConnected { refused: true, .. }),
            "{refused:?}"
        );
    }
}
