//! `/api/v1/session`: what a caller may do, and the dashboard's login.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a caller of the admin API may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminRight {
    /// Look.
    Read,
    /// Look and change.
    Admin,
}

/// What gives a caller its right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdmittedBy {
    /// It is on the balancer's own machine, and there are no tokens.
    Address,
    /// A token in its Authorization header.
    Token,
    /// The cookie of a login.
    Session,
}

/// The response to `GET` and `POST /api/v1/session`: what the caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Caller {
    /// Its right.
    pub right: AdminRight,
    /// What gives it.
    pub admitted_by: AdmittedBy,
}

/// The body of `POST /api/v1/session`: one of the two. It has no `Debug`, which would show them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// A token of the admin API.
    #[serde(default)]
    pub token: Option<String>,
    /// The code of the link that the start prints.
    #[serde(default)]
    pub code: Option<String>,
}
