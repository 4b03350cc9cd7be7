//! Pause: the fleet's requests are held for a while.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// The body of `POST /api/v1/fleets/{fleet}/pause`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewPause {
    /// After how long the pause ends by itself, `1ms` to what `--max-pause` says; that, if it is
    /// absent.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[1-9][0-9]{0,5}(ms|s|m)$")]
    pub lasts: Option<String>,
}

/// A pause: the fleet's requests are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FleetPause {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ends by itself.
    pub ends_at: Timestamp,
    /// Requests that came before and have not ended; WebSockets, which stay open, do not count.
    pub in_flight: u32,
    /// Requests that wait for its end.
    pub waiting: usize,
}
