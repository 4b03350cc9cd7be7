//! What a rollout's canary changes about the choice of an instance, and about the keys of sessions.

use super::{AcquireSlot, Choice, grant_on};
use crate::actors::ring_view::RingView;
use crate::ring::{ReplicaName, SessionKey};
use crate::upstream::InFlightPermit;

/// An instance of the canary; if none is to be had, one of the ring, and the least bad one of the canary
/// last of all.
#[inline(never)]
pub(super) fn grant_with_canary(
    canary: &RingView,
    view: &RingView,
    wanted: &AcquireSlot,
) -> Option<InFlightPermit> {
    grant_on(canary, wanted, Choice::Willing)
        .or_else(|| grant_on(view, wanted, Choice::Any))
        .or_else(|| grant_on(canary, wanted, Choice::Any))
}

/// A key for the sessions that a replica is to have: of the canary or not, as the replica is.
pub(super) fn session_key(view: &RingView, served_by: &ReplicaName) -> Option<SessionKey> {
    let Some(canary) = view.canary.as_deref() else {
        let owner = view.table.index_of(served_by)?;
        return view.table.session_key_of(owner, || fastrand::u64(..));
    };
    let (table, is_canary) = match view.table.index_of(served_by) {
        Some(_) => (&view.table, false),
        None => (&canary.view.table, true),
    };
    let draw = || {
        let draws = std::iter::repeat_with(|| SessionKey(fastrand::u64(..)));
        let mut fitting = draws.filter(|key| canary.share.takes(key.key()) == is_canary);
        // There is no end to them.
        fitting.next().map_or(0, |key| key.0)
    };
    table.session_key_of(table.index_of(served_by)?, draw)
}
