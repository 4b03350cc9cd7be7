//! `/api/v1/fleets/{fleet}/pause` and `/resume`: requests are held, and let go again.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::conditional::{self, changed_response};
use super::error::ApiError;
use super::extract::{FleetPath, JsonBody};
use super::fleet_patch::FLEET;
use super::fleets::fleet_status;
use super::handles::AdminHandles;
use super::params;
use super::prefer;
use crate::api::{FleetStatus, NewPause, Problem};

/// Holds every request that has not been sent to a replica; answered when those in flight have ended,
/// or `--drain-timeout` has passed. A pause that is under way is prolonged, to `--max-pause` in all.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/pause",
    tag = "fleets",
    operation_id = "pause_fleet",
    params(params::Fleet, params::IfMatch, params::Prefer),
    request_body(content = NewPause, example = json!({"for": "20s"})),
    responses(
        (status = 200, description = "The fleet; `pause` says what is still in flight", body = FleetStatus),
        (status = 409, description = "Another balancer serves the fleet", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn pause(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
    JsonBody(new): JsonBody<NewPause>,
) -> Result<HttpResponse, ApiError> {
    let lasts = new.lasts.as_deref().map(read_duration).transpose()?;
    let expected = conditional::expected(&request)?;
    prefer::run(&request, FLEET.to_owned(), async move {
        handles.supervisor.pause(lasts, expected).await??;
        let version = handles.version().await?;
        Ok(changed_response(version, &fleet_status(&handles).await?))
    })
    .await
}

/// Lets requests go again, those that were held over a second.
#[utoipa::path(
    post,
    path = "/api/v1/fleets/{fleet}/resume",
    tag = "fleets",
    operation_id = "resume_fleet",
    params(params::Fleet, params::IfMatch),
    responses(
        (status = 200, description = "The fleet after it", body = FleetStatus),
        (status = 409, description = "The fleet is not paused", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn resume(
    _: FleetPath,
    request: HttpRequest,
    handles: Data<AdminHandles>,
) -> Result<HttpResponse, ApiError> {
    let expected = conditional::expected(&request)?;
    handles.supervisor.resume(expected).await??;
    let version = handles.version().await?;
    Ok(changed_response(version, &fleet_status(&handles).await?))
}

/// What the schema of `for` says, and nothing else.
fn read_duration(text: &str) -> Result<Duration, ApiError> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        _ => None,
    };
    let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let number = digits.parse::<u64>().ok();
    let number = number.filter(|_| is_number && digits.len() <= 6);
    let lasts = number.zip(factor);
    let lasts = lasts.map(|(number, factor)| Duration::from_millis(number * factor));
    lasts.ok_or_else(|| {
        let wrong = "for: a number from 1 with ms, s or m is allowed, such as 20s";
        ApiError::InvalidBody(wrong.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [
            ("1ms", Some(1)),
            ("20s", Some(20_000)),
            ("999999m", Some(59_999_940_000)),
            ("0s", None),
            ("020s", None),
            ("1234567ms", None),
            ("+1s", None),
            ("1h", None),
            ("1s 5ms", None),
            ("1.5s", None),
            ("20", None),
            ("s", None),
            ("", None),
            ("٣s", None),
        ] {
            let read = read_duration(text).ok();
            assert_eq!(read, millis.map(Duration::from_millis), "{text}");
        }
    }
}
