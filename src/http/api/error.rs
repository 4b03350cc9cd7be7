//! Errors of the API: as problems (RFC 9457) on the admin listener, and in the envelope of `/rep`,
//! `/add` and `/rm`.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use super::guard::Refusal;
use crate::actors::ring_state::ReconfigureError;
use crate::api::{Envelope, Problem};
use crate::fleet::ChangeError;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The path below which a problem's `type` stands.
pub const PROBLEMS: &str = "/api/problems/";

/// Why a call of the API failed.
#[derive(Debug)]
pub enum ApiError {
    /// The path exists, but not with this method; the allowed ones.
    WrongMethod(&'static str),
    /// The client may not make this call.
    Refused(Refusal),
    /// The call needs a token that it does not have; whether it has another one.
    Unauthenticated {
        /// A token that is not accepted was sent.
        has_token: bool,
    },
    /// The code of a link is not, or no longer, valid.
    InvalidCode,
    /// The system gives no random bytes for a session's id.
    NoRandomness(getrandom::Error),
    /// The body is not declared as JSON.
    NotJson,
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body is not what it should be.
    InvalidBody(String),
    /// The query is not what it should be.
    InvalidQuery(String),
    /// The body paused for too long.
    Stalled,
    /// The body broke off.
    Aborted(String),
    /// The path does not exist.
    UnknownPath,
    /// There is no such fleet.
    UnknownFleet(String),
    /// There is no such replica.
    UnknownReplica(String),
    /// There is no drill of this number, or none any more.
    UnknownDrill(String),
    /// Another drill runs, of this replica.
    DrillRunning(String),
    /// No fault can be injected there.
    NoDrillTarget(String),
    /// The change was refused or failed.
    Change(ChangeError),
    /// The ring cannot be changed like this.
    Reconfigure(ReconfigureError),
    /// The balancer is ending.
    Unavailable,
}

/// A kind of error: the status code, the end of its `type`, and what it is in words.
type ErrorKind = (StatusCode, &'static str, &'static str);

impl ApiError {
    fn kind(&self) -> ErrorKind {
        use StatusCode as S;
        match self {
            Self::WrongMethod(_) => (S::METHOD_NOT_ALLOWED, "wrong-method", "Method not allowed"),
            Self::Refused(_) => (
                S::FORBIDDEN,
                "forbidden",
                "The client may not make this call",
            ),
            Self::Unauthenticated { .. } => {
                (S::UNAUTHORIZED, "unauthenticated", "The call needs a token")
            }
            Self::InvalidCode => (S::UNAUTHORIZED, "invalid-code", "The link is not valid"),
            Self::NoRandomness(_) => (
                S::INTERNAL_SERVER_ERROR,
                "no-randomness",
                "The system gives no random bytes",
            ),
            Self::NotJson => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "The body is not JSON",
            ),
            Self::TooLarge(_) => (S::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::InvalidBody(_) => (S::BAD_REQUEST, "invalid-body", "The body is invalid"),
            Self::InvalidQuery(_) => (S::BAD_REQUEST, "invalid-query", "The query is invalid"),
            Self::Stalled => (S::REQUEST_TIMEOUT, "body-timeout", "The body took too long"),
            Self::Aborted(_) => (S::BAD_REQUEST, "body-aborted", "The body broke off"),
            Self::UnknownPath => (S::NOT_FOUND, "unknown-path", "There is no such path"),
            Self::UnknownFleet(_) => (S::NOT_FOUND, "unknown-fleet", "There is no such fleet"),
            Self::UnknownReplica(_)
            | Self::Reconfigure(ReconfigureError::Unknown(_))
            | Self::Change(ChangeError::Unknown(_)) => {
                (S::NOT_FOUND, "unknown-replica", "There is no such replica")
            }
            Self::UnknownDrill(_) => (S::NOT_FOUND, "unknown-drill", "There is no such drill"),
            Self::DrillRunning(_) => (S::CONFLICT, "drill-running", "Another drill runs"),
            Self::NoDrillTarget(_) => (
                S::CONFLICT,
                "no-drill-target",
                "No fault can be injected there",
            ),
            Self::Reconfigure(ReconfigureError::DoesNotFit(_)) => (
                S::BAD_REQUEST,
                "does-not-fit",
                "The ring cannot be built like this",
            ),
            Self::Unavailable | Self::Change(ChangeError::ShuttingDown) => (
                S::SERVICE_UNAVAILABLE,
                "stopping",
                "The balancer is stopping",
            ),
            Self::Change(error) => change_kind(error),
        }
    }

    /// The error in the envelope of `/rep`, `/add` and `/rm`.
    pub fn envelope(&self) -> HttpResponse {
        // The original write-up's own words begin with this mark.
        let message = format!("<Error> {self}");
        self.response().json(Envelope::failure(message))
    }

    /// Whether a token or a code was sent that is not accepted.
    pub fn is_failed_login(&self) -> bool {
        let is_wrong_token = matches!(self, Self::Unauthenticated { has_token: true });
        is_wrong_token || matches!(self, Self::InvalidCode)
    }

    fn response(&self) -> actix_web::HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::WrongMethod(allowed) => {
                response.insert_header((ALLOW, *allowed));
            }
            // RFC 6750, section 3.
            Self::Unauthenticated { .. } | Self::InvalidCode => {
                let error = if self.is_failed_login() {
                    ", error=\"invalid_token\""
                } else {
                    ""
                };
                let challenge = format!("Bearer realm=\"ringmaster\"{error}");
                response.insert_header((WWW_AUTHENTICATE, challenge));
            }
            _ => {}
        }
        response
    }
}

fn change_kind(error: &ChangeError) -> ErrorKind {
    use StatusCode as S;
    match error {
        ChangeError::TooManyNamesToAdd
        | ChangeError::TooManyNamesToRemove
        | ChangeError::CountOutOfRange { .. }
        | ChangeError::InvalidName(_)
        | ChangeError::InvalidWeight { .. }
        | ChangeError::WeightWithoutHostname(_)
        | ChangeError::NoRoom(_)
        | ChangeError::NamedTwice(_) => (S::BAD_REQUEST, "invalid-change", "The change is invalid"),
        ChangeError::NameTaken(_) | ChangeError::SameInDns { .. } => {
            (S::CONFLICT, "name-taken", "There is a replica of this name")
        }
        ChangeError::FixedFleet => (
            S::CONFLICT,
            "static-fleet",
            "The replicas of this fleet are given",
        ),
        ChangeError::LastActive(_) => (
            S::CONFLICT,
            "last-active",
            "No other replica would serve requests",
        ),
        ChangeError::Busy(_) => (
            S::SERVICE_UNAVAILABLE,
            "busy",
            "Too many changes are waiting",
        ),
        ChangeError::StartFailed(_) => (
            S::INTERNAL_SERVER_ERROR,
            "start-failed",
            "A replica could not be started",
        ),
        ChangeError::StopFailed(_) => (
            S::INTERNAL_SERVER_ERROR,
            "stop-failed",
            "A replica could not be stopped",
        ),
        ChangeError::NotRecorded(_) => (
            S::INTERNAL_SERVER_ERROR,
            "not-recorded",
            "The change is made, but would not outlive a restart of the balancer",
        ),
        ChangeError::Unknown(_) | ChangeError::ShuttingDown => {
            (S::INTERNAL_SERVER_ERROR, "failed", "The change failed")
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongMethod(allowed) => write!(f, "wrong method: allowed is {allowed}"),
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::Unauthenticated { has_token: false } => {
                f.write_str("a token is missing: Authorization: Bearer TOKEN")
            }
            Self::Unauthenticated { has_token: true } => f.write_str("the token is not accepted"),
            Self::InvalidCode => f.write_str(
                "the link has been used, or is older than ten minutes: log in with a token",
            ),
            Self::NoRandomness(error) => write!(f, "the system gives no random bytes: {error}"),
            Self::NotJson => f.write_str("Content-Type must be application/json"),
            Self::TooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Self::Stalled => f.write_str("the body did not come in time"),
            Self::InvalidBody(reason) | Self::InvalidQuery(reason) | Self::Aborted(reason) => {
                f.write_str(reason)
            }
            Self::UnknownPath => {
                f.write_str("unknown path: the API is below /api/v1, which README lists")
            }
            Self::UnknownFleet(name) => write!(f, "there is no fleet {name}"),
            Self::UnknownReplica(name) => write!(f, "there is no replica {name}"),
            Self::UnknownDrill(id) => write!(f, "there is no drill {id}"),
            Self::DrillRunning(replica) => {
                write!(f, "a drill of {replica} runs: one at a time is allowed")
            }
            Self::NoDrillTarget(reason) => f.write_str(reason),
            Self::Change(error) => write!(f, "{error}"),
            Self::Reconfigure(error) => write!(f, "{error}"),
            Self::Unavailable => f.write_str("the balancer is stopping"),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.kind().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, kind, title) = self.kind();
        let problem = Problem {
            kind: format!("{PROBLEMS}{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
        };
        let mut response = self.response();
        response.content_type(PROBLEM_JSON);
        response.json(problem)
    }
}

impl From<actix::MailboxError> for ApiError {
    fn from(_: actix::MailboxError) -> Self {
        Self::Unavailable
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        Self::Change(error)
    }
}

impl From<ReconfigureError> for ApiError {
    fn from(error: ReconfigureError) -> Self {
        Self::Reconfigure(error)
    }
}
