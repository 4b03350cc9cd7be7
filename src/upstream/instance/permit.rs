//! The right to have one request in flight at an instance.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Instance;
use crate::ring::{SessionKey, Slot};
use crate::upstream::stats::CountedResponse;

/// One request in an instance's load.
pub(super) const REQUEST: u64 = 1;
/// One tunnel in an instance's load: a request, and a tunnel among those.
const TUNNEL: u64 = (1 << 32) + REQUEST;

/// All requests of a load.
pub(super) fn in_flight(load: u64) -> u32 {
    let [.., a, b, c, d] = load.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The requests of a load that `--max-in-flight` limits.
pub(super) fn limited(load: u64) -> u32 {
    let [a, b, c, d, ..] = load.to_be_bytes();
    in_flight(load) - u32::from_be_bytes([a, b, c, d])
}

/// The right to send one request to one instance. The request is in flight until this is dropped.
#[derive(Debug)]
pub struct InFlightPermit {
    /// The slot that the request's key hashed to.
    pub slot: Slot,
    /// For a session that begins with this request: a key that is this replica's.
    pub session_key: Option<SessionKey>,
    /// Whether it counts in the load of the whole fleet too.
    bounded: bool,
    is_tunnel: bool,
    /// What is counted when this is dropped.
    response: Option<CountedResponse>,
    instance: Arc<Instance>,
}

impl InFlightPermit {
    /// A permit, if the instance may have one more request in flight. It counts in the load of
    /// the whole fleet too if that is `bounded`.
    pub fn try_acquire(instance: &Arc<Instance>, slot: Slot, bounded: bool) -> Option<Self> {
        let before = instance.load.fetch_add(REQUEST, Ordering::SeqCst);
        if limited(before) >= instance.max_in_flight {
            instance.release(REQUEST);
            return None;
        }
        if bounded {
            instance.fleet.0.fetch_add(1, Ordering::Relaxed);
        }
        Some(Self {
            slot,
            session_key: None,
            bounded,
            is_tunnel: false,
            response: None,
            instance: Arc::clone(instance),
        })
    }

    /// The request has become a tunnel, which `--max-in-flight` does not limit.
    pub fn into_tunnel(mut self) -> Self {
        if !std::mem::replace(&mut self.is_tunnel, true) {
            let instance = &self.instance;
            let before = instance.load.fetch_add(TUNNEL - REQUEST, Ordering::SeqCst);
            if limited(before) >= instance.max_in_flight {
                instance.limit.freed();
            }
        }
        self
    }

    /// The response's head has come; it is counted with its end.
    pub fn set_response(&mut self, response: CountedResponse) {
        self.response = Some(response);
    }

    /// The response's end has to be waited for: only then it is known when it ends.
    pub fn wait_for_end(&mut self) {
        if let Some(response) = &mut self.response {
            response.ended = None;
        }
    }

    /// Where to send the request.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        if let Some(response) = self.response.take() {
            response.count(self.instance.stats());
        }
        if self.bounded {
            self.instance.fleet.0.fetch_sub(1, Ordering::Relaxed);
        }
        let one = if self.is_tunnel { TUNNEL } else { REQUEST };
        self.instance.release(one);
    }
}
