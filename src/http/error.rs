//! Why a request was not served by a replica, as a status code and a message. (What the API
//! refuses is in [`api::error`](crate::http::api).)

use std::fmt;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};

use crate::api::Envelope;
use crate::fleet::Maintenance;
use crate::upstream::AttemptError;
use crate::upstream::stats::{FailureReason, Refusal};

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
    /// The fleet is under maintenance.
    Maintenance(Arc<Maintenance>),
    /// As many tunnels are open as may be.
    TooManyTunnels,
    /// The client has as many connections open as it may.
    TooManyConnections,
    /// The last attempt failed like this.
    Upstream(AttemptError),
    /// The head of a request did not come in time.
    SlowHead,
    /// A method that is not implemented here, whatever the target.
    NotImplemented(&'static str),
    /// A request that RFC 9110 and 9112 forbid.
    Malformed(&'static str),
    /// A request in another version of HTTP than 1.0 and 1.1.
    OtherVersion,
    /// A target beyond what is read of one.
    TargetTooLong,
    /// A head beyond what is read of one.
    HeadTooLarge,
    /// A switch of protocols asked for by a request that cannot ask for one.
    Upgrade,
}

impl ProxyError {
    fn envelope(&self) -> Envelope<String> {
        Envelope::failure(format!("<Error> {self}"))
    }

    /// As what it is counted.
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::NoReplica => FailureReason::NoReplica,
            Self::AllBusy => FailureReason::AllBusy,
            Self::Overloaded => FailureReason::QueueFull,
            Self::TookTooLong => FailureReason::QueueTimeout,
            Self::ClientClosed => FailureReason::ClientClosed,
            Self::Maintenance(_) => FailureReason::Maintenance,
            Self::TooManyTunnels => FailureReason::TooManyTunnels,
            Self::Upstream(error) => error.reason(),
            _ => FailureReason::InvalidRequest,
        }
    }

    /// As what it is counted where it comes before a request.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Malformed(_) => Refusal::Malformed,
            Self::SlowHead => Refusal::HeaderTimeout,
            Self::TargetTooLong => Refusal::TargetTooLong,
            Self::HeadTooLarge => Refusal::HeadTooLarge,
            Self::OtherVersion => Refusal::OtherVersion,
            _ => Refusal::Other,
        }
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
            Self::Upstream(AttemptError::NotConnected { .. }) => "no replica could be reached",
            Self::Upstream(AttemptError::FdLimit) => "the balancer has too many files open",
            Self::Upstream(AttemptError::Disconnected(_) | AttemptError::Evicted) => {
                "the replica broke off before its response"
            }
            Self::Upstream(AttemptError::InvalidResponse(_)) => {
                "the replica's response is not valid HTTP"
            }
            Self::Upstream(AttemptError::ResponseTimeout) => "the replica did not respond in time",
            Self::TookTooLong | Self::Upstream(AttemptError::RequestTimeout) => {
                "the request took longer than it may"
            }
            Self::Upstream(AttemptError::ClientAborted) => "the request's body broke off",
            Self::Upstream(AttemptError::ClientBodyTimeout) => {
                "the request's body did not come in time"
            }
            Self::Upstream(AttemptError::ClientBodyTooSlow) => "the request's body came too slowly",
            Self::Upstream(AttemptError::ClientClosed) => {
                "the client had closed its side, and the replica did not respond soon after"
            }
            Self::ClientClosed => "the client had closed its side, and no replica was free",
            Self::Maintenance(_) => "down for maintenance",
            Self::TooManyTunnels => "as many tunnels are open as may be",
            Self::TooManyConnections => "this client has as many connections open as it may",
            Self::Upstream(AttemptError::BodyTooLarge) => {
                "the request's body is larger than this server allows"
            }
            Self::SlowHead => "the head of the request did not come in time",
            Self::NotImplemented(why) | Self::Malformed(why) => why,
            Self::OtherVersion => "only HTTP/1.1 and HTTP/1.0 are spoken here",
            Self::TargetTooLong => "the request's target is longer than 65,534 bytes",
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
            | Self::Maintenance(_)
            | Self::TooManyTunnels
            | Self::Upstream(AttemptError::NotConnected { .. } | AttemptError::FdLimit) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Upstream(
                AttemptError::Disconnected(_)
                | AttemptError::Evicted
                | AttemptError::InvalidResponse(_),
            ) => StatusCode::BAD_GATEWAY,
            Self::TookTooLong
            | Self::Upstream(
                AttemptError::ResponseTimeout
                | AttemptError::RequestTimeout
                | AttemptError::ClientClosed,
            ) => StatusCode::GATEWAY_TIMEOUT,
            Self::SlowHead
            | Self::Upstream(AttemptError::ClientBodyTimeout | AttemptError::ClientBodyTooSlow) => {
                StatusCode::REQUEST_TIMEOUT
            }
            Self::TooManyConnections => StatusCode::TOO_MANY_REQUESTS,
            Self::Upstream(AttemptError::ClientAborted) | Self::Upgrade | Self::Malformed(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Upstream(AttemptError::BodyTooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            // A 405 would have to list the methods of a target that is none of ours.
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::OtherVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        // The rest of a body that was not read must not be taken for the next request.
        response.force_close();
        if let Self::Maintenance(maintenance) = self {
            return response
                .insert_header((RETRY_AFTER, maintenance.retry_after_seconds))
                .insert_header((CACHE_CONTROL, "no-store"))
                .content_type("text/html; charset=utf-8")
                .body(maintenance.page.clone());
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, "1"));
        }
        response.json(self.envelope())
    }
}
