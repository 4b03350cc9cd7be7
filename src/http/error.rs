//! From an error to what a client is told: the one file that maps errors to status codes.

use std::fmt;

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER};
use serde::Serialize;

use super::admin_guard::Refusal;
use crate::actors::ring_state::ReconfigureError;
use crate::fleet::ChangeError;
use crate::upstream::Failure;

/// The body of every answer that Ringmaster gives itself.
#[derive(Debug, Serialize)]
pub struct Envelope<M> {
    /// What there is to say.
    pub message: M,
    /// `successful` or `failure`.
    pub status: &'static str,
}

impl<M> Envelope<M> {
    /// Good news.
    pub fn successful(message: M) -> Self {
        Self {
            message,
            status: "successful",
        }
    }

    /// Bad news.
    pub fn failure(message: M) -> Self {
        Self {
            message,
            status: "failure",
        }
    }
}

/// Why an admin call was refused.
#[derive(Debug)]
pub enum AdminError {
    /// The path is right, the method is not; what is allowed.
    WrongMethod(&'static str),
    /// The client may not ask for it.
    Refused(Refusal),
    /// The body is not declared as JSON.
    NotJson,
    /// The body is larger than so many bytes.
    TooLarge(usize),
    /// The body does not say what it should.
    BadBody(String),
    /// The body paused for too long.
    Stalled,
    /// The body did not arrive.
    BrokenBody(String),
    /// Nothing is at this path; what there is.
    UnknownPath(&'static str),
    /// The change was refused or failed.
    Change(ChangeError),
    /// The ring cannot be changed like this.
    Reshape(ReconfigureError),
    /// The balancer is ending.
    Unavailable,
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The original write-up's own words begin with this mark.
        f.write_str("<Error> ")?;
        match self {
            Self::WrongMethod(allowed) => write!(f, "wrong method: allowed is {allowed}"),
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::NotJson => f.write_str("Content-Type must be application/json"),
            Self::TooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Self::Stalled => f.write_str("the body did not come in time"),
            Self::BadBody(reason) | Self::BrokenBody(reason) => f.write_str(reason),
            Self::UnknownPath(known) => write!(f, "nothing is here: there are {known}"),
            Self::Change(error) => write!(f, "{error}"),
            Self::Reshape(error) => write!(f, "{error}"),
            Self::Unavailable => f.write_str("the balancer is stopping"),
        }
    }
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Refused(_) => StatusCode::FORBIDDEN,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::BadBody(_) | Self::BrokenBody(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnknownPath(_) | Self::Reshape(ReconfigureError::Unknown(_)) => {
                StatusCode::NOT_FOUND
            }
            Self::Reshape(ReconfigureError::DoesNotFit(_)) => StatusCode::BAD_REQUEST,
            Self::Change(error) => match error {
                ChangeError::TooManyNamesToAdd
                | ChangeError::TooManyNamesToRemove
                | ChangeError::CountOutOfRange { .. }
                | ChangeError::InvalidName(_)
                | ChangeError::InvalidWeight { .. }
                | ChangeError::WeightOfNobody(_)
                | ChangeError::NoRoom(_)
                | ChangeError::NamedTwice(_) => StatusCode::BAD_REQUEST,
                ChangeError::Unknown(_) => StatusCode::NOT_FOUND,
                ChangeError::NameTaken(_)
                | ChangeError::SameInDns { .. }
                | ChangeError::FixedFleet => StatusCode::CONFLICT,
                ChangeError::Busy(_) | ChangeError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
                ChangeError::StartFailed(_)
                | ChangeError::StopFailed(_)
                | ChangeError::NotRecorded(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Self::WrongMethod(allowed) = self {
            response.insert_header((ALLOW, *allowed));
        }
        response.json(Envelope::failure(self.to_string()))
    }
}

/// Why a request was not served by a replica.
#[derive(Debug)]
pub enum ProxyError {
    /// No replica was ready within the time that a request may wait.
    NoReplica,
    /// No replica had room within the time that a request may wait.
    AllBusy,
    /// Too many requests wait for a replica already.
    Overloaded,
    /// The request was still waiting for a replica when it had taken as long as it may.
    TookTooLong,
    /// The client closed its side while its request waited for a replica.
    ClientClosed,
    /// As many tunnels are open as may be.
    TooManyTunnels,
    /// The client has as many connections open as it may.
    TooManyConnections,
    /// The last attempt failed like this.
    Upstream(Failure),
    /// The head of a request did not come in time.
    SlowHead,
    /// A method that makes no sense here.
    Connect,
    /// A request that RFC 9110 and 9112 forbid.
    Malformed(&'static str),
    /// A request in another version of HTTP than 1.0 and 1.1.
    OtherVersion,
    /// A head beyond what actix reads of one.
    HeadTooLarge,
    /// A switch of protocols asked for by a request that cannot ask for one.
    Upgrade,
}

impl ProxyError {
    fn envelope(&self) -> Envelope<String> {
        Envelope::failure(format!("<Error> {self}"))
    }

    /// The body of its answer.
    pub fn body(&self) -> String {
        // Two texts are always JSON.
        serde_json::to_string(&self.envelope()).unwrap_or_default()
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoReplica => "no replica is ready",
            Self::AllBusy => "every replica has as many requests in flight as it may",
            Self::Overloaded => "too many requests wait for a replica already",
            Self::Upstream(Failure::NotConnected { .. }) => "no replica could be reached",
            Self::Upstream(Failure::OutOfFiles) => "the balancer has too many files open",
            Self::Upstream(Failure::Broken(_) | Failure::Lost) => {
                "the replica broke off before its response"
            }
            Self::Upstream(Failure::BadResponse(_)) => "the replica's response is not valid HTTP",
            Self::Upstream(Failure::TimedOut) => "the replica did not respond in time",
            Self::TookTooLong | Self::Upstream(Failure::TookTooLong) => {
                "the request took longer than it may"
            }
            Self::Upstream(Failure::ClientGone) => "the request's body broke off",
            Self::Upstream(Failure::ClientStalled) => "the request's body did not come in time",
            Self::Upstream(Failure::ClientTooSlow) => "the request's body came too slowly",
            Self::Upstream(Failure::ClientClosed) => {
                "the client had closed its side, and the replica did not respond soon after"
            }
            Self::ClientClosed => "the client had closed its side, and no replica was free",
            Self::TooManyTunnels => "as many WebSockets are open as may be",
            Self::TooManyConnections => "this client has as many connections open as it may",
            Self::Upstream(Failure::BodyTooLarge) => {
                "the request's body is larger than this server allows"
            }
            Self::SlowHead => "the head of the request did not come in time",
            Self::Connect => "CONNECT is not supported",
            Self::Malformed(why) => why,
            Self::OtherVersion => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::HeadTooLarge => {
                "the head of the request is larger than 128 KiB or has more than 96 fields"
            }
            Self::Upgrade => {
                "an upgrade to WebSocket takes a GET of HTTP/1.1 without a body, with \
                 Connection: upgrade and one Upgrade field"
            }
        })
    }
}

impl ResponseError for ProxyError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NoReplica
            | Self::AllBusy
            | Self::Overloaded
            | Self::ClientClosed
            | Self::TooManyTunnels
            | Self::Upstream(Failure::NotConnected { .. } | Failure::OutOfFiles) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Upstream(Failure::Broken(_) | Failure::Lost | Failure::BadResponse(_)) => {
                StatusCode::BAD_GATEWAY
            }
            Self::TookTooLong
            | Self::Upstream(Failure::TimedOut | Failure::TookTooLong | Failure::ClientClosed) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::SlowHead | Self::Upstream(Failure::ClientStalled | Failure::ClientTooSlow) => {
                StatusCode::REQUEST_TIMEOUT
            }
            Self::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
            Self::Upstream(Failure::ClientGone) | Self::Upgrade | Self::Malformed(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Upstream(Failure::BodyTooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::OtherVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, "1"));
        }
        // The rest of a body that was not read must not be taken for the next request.
        response.force_close();
        response.json(self.envelope())
    }
}
