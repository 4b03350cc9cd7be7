//! `/api/v1/fleets/{fleet}/keys/{key}`: why a key goes where it goes, on the ring that runs.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json};
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::extract::FleetPath;
use super::fleets::replica_statuses;
use super::handles::AdminHandles;
use super::params;
use crate::actors::ring_view::RingView;
use crate::api::{Explained, KeyCandidate, KeyExplanation, ReplicaStatus};
use crate::ring::{Key, MemberIndex};

/// Follows a key, as a request would bring it.
#[utoipa::path(
    get,
    path = "/api/v1/fleets/{fleet}/keys/{key}",
    tag = "ring",
    operation_id = "explain_key",
    params(
        params::Fleet,
        ("key" = String, Path, description = "The key, percent-encoded; it may have slashes", example = "user-7"),
    ),
    responses((status = 200, description = "Its replica, and why", body = KeyExplanation)),
)]
pub async fn explain(
    _: FleetPath,
    handles: Data<AdminHandles>,
    request: HttpRequest,
) -> Result<Json<KeyExplanation>, ApiError> {
    let (fleet, view) = handles.look().await?;
    let text = &*key_in(request.uri().path());
    let statuses = replica_statuses(&fleet, &view);
    let key = Key::from_bytes(text);
    let order = view.table.failover(key);
    let candidates: Vec<_> = order
        .filter_map(|index| candidate(&view, &statuses, index))
        .collect();
    let first = candidates.iter().find(|candidate| candidate.available);
    Ok(Json(KeyExplanation {
        epoch: view.epoch,
        served_by: served_by_canary(&view, key)
            .or_else(|| first.map(|candidate| candidate.replica.clone())),
        explained: Explained::new(&view.table, text),
        candidates,
    }))
}

/// The key of a path, byte by byte: actix's text has another character for bytes that are no UTF-8, which
/// would be another key.
fn key_in(path: &str) -> Vec<u8> {
    // Behind /api/v1/fleets/{fleet}/keys/.
    let key = path.splitn(7, '/').nth(6);
    percent_decode_str(key.unwrap_or_default()).collect()
}

/// The instance of a rollout's canary that serves a key, if the key is the canary's and one can.
fn served_by_canary(view: &RingView, key: Key) -> Option<String> {
    let canary = view.canary_of(key)?;
    let order = canary.table.failover(key);
    let mut ready = order.filter_map(|index| canary.ready.get(index.get())?.as_ref());
    let free = ready.find(|instance| !instance.is_ejected() && !instance.is_full());
    free.map(|instance| instance.id().replica.to_string())
}

/// A member as a request finds it, by the same flags and bounds as the request itself; only that a
/// fresh replica leaves a part of its slots to others is not in it.
fn candidate(
    view: &RingView,
    statuses: &[ReplicaStatus],
    index: MemberIndex,
) -> Option<KeyCandidate> {
    let name = &view.table.member(index).name;
    let status = statuses
        .iter()
        .find(|status| status.name == name.as_str())?;
    let instance = view.candidates().get(index.get())?.as_ref();
    let at_bound = instance.is_some_and(|instance| !view.has_room(index, instance));
    Some(KeyCandidate {
        replica: status.name.clone(),
        state: status.state,
        ejected: status.ejected,
        at_bound,
        slow_start_share: status.slow_start_share,
        in_flight: status.in_flight,
        available: instance.is_some_and(|instance| !instance.is_ejected()) && !at_bound,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_a_path_is_what_a_request_would_bring() {
        for (path, key) in [
            ("ada", &b"ada"[..]),
            ("a%2Fb/c//%20", b"a/b/c// "),
            ("a%252Fb+c", b"a%2Fb+c"),
            ("%ff%C3%BC", b"\xff\xc3\xbc"),
            ("50%", b"50%"),
            ("", b""),
        ] {
            let path = format!("/api/v1/fleets/default/keys/{path}");
            assert_eq!(key_in(&path), key, "{path}");
        }
    }
}
