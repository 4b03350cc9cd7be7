//! Errors of the admin API (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error of the admin API, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of error it is; stable, and a path of the admin API that describes it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status code of the response.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
}
