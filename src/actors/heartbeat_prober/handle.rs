//! The prober as others see it: a method for each message.

use std::net::SocketAddr;

use actix::Addr;

use super::{
    AskNow, FollowDrain, GetHeartbeats, GetProbes, HeartbeatProber, UnfollowDrain, UnwatchInstance,
    WatchInstance,
};
use crate::actors::ActorReply;
use crate::api::{Heartbeat, ReplicaHeartbeat};
use crate::fleet::InstanceId;

/// Sends messages to the prober.
#[derive(Clone)]
pub struct ProberHandle(Addr<HeartbeatProber>);

impl ProberHandle {
    pub fn new(prober: Addr<HeartbeatProber>) -> Self {
        Self(prober)
    }

    /// Begins to send heartbeats; see [`WatchInstance`].
    pub fn watch(&self, id: InstanceId, endpoint: SocketAddr, machine: Option<SocketAddr>) {
        self.0.do_send(WatchInstance {
            id,
            endpoint,
            machine,
        });
    }

    /// Has only silence reported; see [`FollowDrain`].
    pub fn follow_drain(&self, id: InstanceId) {
        self.0.do_send(FollowDrain(id));
    }

    /// Stops sending heartbeats to an instance that was to finish its requests; see [`UnfollowDrain`].
    pub fn unfollow_drain(&self, id: InstanceId) {
        self.0.do_send(UnfollowDrain(id));
    }

    /// Sends a heartbeat now; see [`AskNow`].
    pub fn ask_now(&self, id: InstanceId) {
        self.0.do_send(AskNow(id));
    }

    /// Stops sending heartbeats.
    pub fn unwatch(&self, id: InstanceId) {
        self.0.do_send(UnwatchInstance(id));
    }

    /// The heartbeats of the last minutes; see [`GetHeartbeats`].
    pub async fn heartbeats(&self, after: u64, limit: usize) -> ActorReply<Vec<ReplicaHeartbeat>> {
        self.0.send(GetHeartbeats { after, limit }).await
    }

    /// How the last heartbeats came out; see [`GetProbes`]. Asked for when this is called, not
    /// when the future is polled: the instance may be unwatched next.
    pub fn probes(
        &self,
        id: InstanceId,
    ) -> impl Future<Output = ActorReply<Vec<Heartbeat>>> + use<> {
        self.0.send(GetProbes(id))
    }
}
