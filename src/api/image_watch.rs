//! What `--image-watch` sees.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Timestamp;

/// A tag that is watched at its registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageWatch {
    /// The tag.
    pub image: String,
    /// When its registry was asked last; null: not yet.
    pub checked_at: Option<Timestamp>,
    /// The digest that the registry had; null: none is known.
    pub digest: Option<String>,
    /// What has happened about the last move: the rollout, or why there is none.
    pub last_move: Option<String>,
    /// Why the registry could not be asked, or the rollout not be begun, while that is so.
    pub last_error: Option<String>,
}
