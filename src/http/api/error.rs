//! Errors of the API, as status codes and messages.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::ALLOW;
use actix_web::{HttpResponse, ResponseError};

use super::guard::Refusal;
use crate::actors::ring_state::ReconfigureError;
use crate::api::Envelope;
use crate::fleet::ChangeError;

/// Why a call of the API failed.
#[derive(Debug)]
pub enum ApiError {
    /// The path exists, but not with this method; the allowed ones.
    WrongMethod(&'static str),
    /// The client may not make this call.
    Refused(Refusal),
    /// The body is not declared as JSON.
    NotJson,
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body or the query is invalid.
    Invalid(String),
    /// The body paused for too long.
    Stalled,
    /// The body broke off.
    Aborted(String),
    /// The path does not exist; those that do.
    UnknownPath(&'static str),
    /// The change was refused or failed.
    Change(ChangeError),
    /// The ring cannot be changed like this.
    Reshape(ReconfigureError),
    /// The balancer is ending.
    Unavailable,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The original write-up's own words begin with this mark.
        f.write_str("<Error> ")?;
        match self {
            Self::WrongMethod(allowed) => write!(f, "wrong method: allowed is {allowed}"),
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::NotJson => f.write_str("Content-Type must be application/json"),
            Self::TooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Self::Stalled => f.write_str("the body did not come in time"),
            Self::Invalid(reason) | Self::Aborted(reason) => f.write_str(reason),
            Self::UnknownPath(known) => write!(f, "unknown path: there are {known}"),
            Self::Change(error) => write!(f, "{error}"),
            Self::Reshape(error) => write!(f, "{error}"),
            Self::Unavailable => f.write_str("the balancer is stopping"),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Refused(_) => StatusCode::FORBIDDEN,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Invalid(_) | Self::Aborted(_) => StatusCode::BAD_REQUEST,
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
                | ChangeError::WeightWithoutHostname(_)
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
