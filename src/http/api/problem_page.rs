//! `GET /api/problems/{type}`: what a problem's `type` means.

use actix_web::web::Path;

use super::error::ApiError;
use super::problem_kind::ProblemKind;

/// What a problem's `type` means
///
/// In words, for people.
#[utoipa::path(
    get,
    path = "/api/problems/{type}",
    tag = "description",
    params(("type" = String, Path, description = "The end of a problem's type", example = "unknown-replica")),
    responses((status = 200, description = "The explanation", body = String, content_type = "text/plain")),
    security(()),
)]
pub async fn explain(slug: Path<String>) -> Result<String, ApiError> {
    let is_it = |kind: &&ProblemKind| kind.slug() == slug.as_str();
    let kind = ProblemKind::ALL.iter().find(is_it);
    kind.map(|kind| kind.page()).ok_or(ApiError::UnknownPath)
}
