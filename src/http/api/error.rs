//! Errors of the API: as problems (RFC 9457) on the admin listener, and in the envelope of `/rep`,
//! `/add` and `/rm`.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use super::guard::Refusal;
use super::problem_kind::ProblemKind;
use crate::actors::ring_state::ReconfigureError;
use crate::api::{Envelope, Problem};
use crate::fleet::{ChangeError, RolloutError};

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

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
    /// The body is well formed, but its parts do not go together.
    Contradiction(String),
    /// The query is not what it should be.
    InvalidQuery(String),
    /// A header of the request is not what it should be.
    InvalidHeader(String),
    /// Another call with this idempotency key is not over.
    KeyInUse(String),
    /// Another call with this idempotency key had another body.
    KeyReused(String),
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
    /// There is no rollout of this number, or none any more.
    UnknownRollout(String),
    /// A rollout was refused.
    Rollout(RolloutError),
    /// Another drill runs, of this replica.
    DrillRunning(String),
    /// No fault can be injected there.
    NoDrillTarget(String),
    /// The change was refused or failed.
    Change(ChangeError),
    /// No ring can be built like this.
    InvalidRing(String),
    /// The ring cannot be changed like this.
    Reconfigure(ReconfigureError),
    /// The balancer is ending.
    Unavailable,
}

impl ApiError {
    fn kind(&self) -> ProblemKind {
        use ProblemKind as K;
        match self {
            Self::WrongMethod(_) => K::WrongMethod,
            Self::Refused(_) => K::Forbidden,
            Self::Unauthenticated { .. } => K::Unauthenticated,
            Self::InvalidCode => K::InvalidCode,
            Self::NoRandomness(_) => K::NoRandomness,
            Self::NotJson => K::NotJson,
            Self::TooLarge(_) => K::TooLarge,
            Self::InvalidBody(_) => K::InvalidBody,
            Self::Contradiction(_) => K::InvalidChange,
            Self::InvalidQuery(_) => K::InvalidQuery,
            Self::InvalidHeader(_) => K::InvalidHeader,
            Self::KeyInUse(_) => K::KeyInUse,
            Self::KeyReused(_) => K::KeyReused,
            Self::Stalled => K::BodyTimeout,
            Self::Aborted(_) => K::BodyAborted,
            Self::UnknownPath => K::UnknownPath,
            Self::UnknownFleet(_) => K::UnknownFleet,
            Self::UnknownReplica(_)
            | Self::Reconfigure(ReconfigureError::Unknown(_))
            | Self::Change(ChangeError::Unknown(_)) => K::UnknownReplica,
            Self::InvalidRing(_)
            | Self::Reconfigure(
                ReconfigureError::DoesNotFit(_) | ReconfigureError::InvalidSpec(_),
            ) => K::DoesNotFit,
            Self::UnknownDrill(_) => K::UnknownDrill,
            Self::UnknownRollout(_) => K::UnknownRollout,
            Self::Rollout(error) => rollout_kind(error),
            Self::DrillRunning(_) => K::DrillRunning,
            Self::NoDrillTarget(_) => K::NoDrillTarget,
            Self::Unavailable | Self::Change(ChangeError::ShuttingDown) => K::Stopping,
            Self::Change(error) => change_kind(error),
        }
    }

    /// The error in the envelope of `/rep`, `/add` and `/rm`.
    pub fn envelope(&self) -> HttpResponse {
        // The original write-up's own words begin with this mark.
        let message = format!("<Error> {self}");
        let status = match self.status_code() {
            // These calls have said 400 from the beginning.
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        let mut response = self.response();
        response.status(status).json(Envelope::failure(message))
    }

    /// Whether a token or a code was sent that is not accepted.
    pub fn is_failed_login(&self) -> bool {
        let is_wrong_token = matches!(self, Self::Unauthenticated { has_token: true });
        is_wrong_token || matches!(self, Self::InvalidCode)
    }

    /// What is wrong, in the names that the fields have below `/api/v1`.
    fn detail(&self) -> String {
        match self {
            Self::Change(ChangeError::CountOutOfRange { n, allowed }) => {
                format!("{allowed}, not {n}")
            }
            Self::Change(ChangeError::TooManyNamesToAdd) => {
                "names has more names than count says".to_owned()
            }
            Self::Change(ChangeError::WeightWithoutHostname(name)) => {
                format!("weights has {name}, which names does not have")
            }
            error => error.to_string(),
        }
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

fn rollout_kind(error: &RolloutError) -> ProblemKind {
    use ProblemKind as K;
    match error {
        RolloutError::UnderWay(_) | RolloutError::Moving(_) => K::RolloutUnderWay,
        RolloutError::Invalid(_) | RolloutError::Unchanged => K::InvalidChange,
        RolloutError::NotUnderWay(_)
        | RolloutError::NotPaused(_)
        | RolloutError::NotPromotable(..)
        | RolloutError::Elsewhere(..)
        | RolloutError::RollingBack(_)
        | RolloutError::NotUndoable(_) => K::RolloutState,
        RolloutError::Impossible(_) => K::CannotRollOut,
        RolloutError::ShuttingDown => K::Stopping,
    }
}

fn change_kind(error: &ChangeError) -> ProblemKind {
    use ProblemKind as K;
    match error {
        ChangeError::TooManyNamesToAdd
        | ChangeError::TooManyNamesToRemove
        | ChangeError::CountOutOfRange { .. }
        | ChangeError::InvalidName(_)
        | ChangeError::InvalidWeight { .. }
        | ChangeError::WeightWithoutHostname(_)
        | ChangeError::NoRoom(_)
        | ChangeError::PauseTooLong { .. }
        | ChangeError::PageTooLarge(_)
        | ChangeError::NamedTwice(_) => K::InvalidChange,
        ChangeError::NameTaken(_) | ChangeError::SameInDns { .. } => K::NameTaken,
        ChangeError::Outdated(_) => K::PreconditionFailed,
        ChangeError::RolledOut(_) | ChangeError::RolloutUnderWay(_) => K::RolloutUnderWay,
        ChangeError::NoNodes(_) => K::NoNodes,
        ChangeError::NodeNotDrained(_) => K::NoDrillTarget,
        ChangeError::FixedFleet => K::StaticFleet,
        ChangeError::LastActive(_) => K::LastActive,
        ChangeError::SharedFleet(_) => K::SharedFleet,
        ChangeError::NotPaused => K::NotPaused,
        ChangeError::Busy(_) => K::Busy,
        ChangeError::StartFailed(_) => K::StartFailed,
        ChangeError::StopFailed(_) => K::StopFailed,
        ChangeError::NotRecorded(_) => K::NotRecorded,
        ChangeError::SpreadUnknown(_) | ChangeError::Unknown(_) | ChangeError::ShuttingDown => {
            K::Failed
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
            Self::InvalidBody(reason)
            | Self::Contradiction(reason)
            | Self::InvalidRing(reason)
            | Self::InvalidQuery(reason)
            | Self::InvalidHeader(reason)
            | Self::Aborted(reason) => f.write_str(reason),
            Self::KeyInUse(key) => write!(f, "the first call with the key {key:?} is not over yet"),
            Self::KeyReused(key) => {
                write!(
                    f,
                    "the key {key:?} belongs to a call with another body: take a fresh key"
                )
            }
            Self::UnknownPath => f.write_str("unknown path: /api/openapi.json lists every path"),
            Self::UnknownFleet(name) => write!(f, "there is no fleet {name}"),
            Self::UnknownReplica(name) => write!(f, "there is no replica {name}"),
            Self::UnknownDrill(id) => write!(f, "there is no drill {id}"),
            Self::UnknownRollout(id) => write!(f, "there is no rollout {id}"),
            Self::Rollout(error) => write!(f, "{error}"),
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
        self.kind().status()
    }

    fn error_response(&self) -> HttpResponse {
        let kind = self.kind();
        let problem = Problem {
            kind: kind.path(),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail: self.detail(),
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

impl From<RolloutError> for ApiError {
    fn from(error: RolloutError) -> Self {
        Self::Rollout(error)
    }
}

impl From<ReconfigureError> for ApiError {
    fn from(error: ReconfigureError) -> Self {
        Self::Reconfigure(error)
    }
}
