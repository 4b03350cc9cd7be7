//! Maintenance: every request is answered with 503 and a page.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// The body of `PUT /api/v1/fleets/{fleet}/maintenance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewMaintenance {
    /// The page, HTML, up to 64 KiB; what `--maintenance-page` has, if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// After how many seconds clients are told to come again; 60 if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub retry_after_seconds: Option<u32>,
}

/// A maintenance: every request is answered with 503 and a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetMaintenance {
    /// When it began.
    pub since: Timestamp,
    /// The size of its page.
    pub page_bytes: usize,
    /// After how many seconds clients are told to come again.
    pub retry_after_seconds: u32,
}
