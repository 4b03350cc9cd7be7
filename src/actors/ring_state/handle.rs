//! The ring as others see it: a method for each message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};

use super::messages::{
    AdmitReplica, CloseCanary, CountInFlight, DrainInstance, EjectionChanged, EndDrain,
    EvictReplica, Evicted, GetRing, InstanceEnded, JoinRing, LeaveRing, MarkDrained, MarkUnready,
    NoteDoubt, OpenCanary, ReconfigureRing, RegisterWorker, ReleaseRequests, SetAdmission,
    SubscribeEjections,
};
use super::{ReconfigureError, Reconfigured, RingState};
use crate::actors::ActorReply;
use crate::actors::admission::Admission;
use crate::actors::ring_view::RingView;
use crate::fleet::InstanceId;
use crate::ring::{BuildError, CanaryShare, Member, ReplicaName};

/// Sends messages to RingState. Each is sent when its method is called, not when the future is
/// polled: so the order of calls is the order in which the ring changes.
#[derive(Clone)]
pub struct RingHandle(Addr<RingState>);

impl RingHandle {
    pub fn new(ring: Addr<RingState>) -> Self {
        Self(ring)
    }

    /// Adds members; see [`JoinRing`].
    pub fn join(
        &self,
        members: Vec<Member>,
    ) -> impl Future<Output = ActorReply<Result<(), BuildError>>> + use<> {
        self.0.send(JoinRing(members))
    }

    /// Takes members off the ring for good; see [`LeaveRing`].
    pub fn leave(&self, names: Vec<ReplicaName>) -> impl Future<Output = ActorReply<()>> + use<> {
        self.0.send(LeaveRing(names))
    }

    /// Gives a canary its ring; see [`OpenCanary`].
    pub fn open_canary(
        &self,
        share: CanaryShare,
        names: Vec<ReplicaName>,
    ) -> impl Future<Output = ActorReply<Result<(), BuildError>>> + use<> {
        self.0.send(OpenCanary(share, names))
    }

    /// Takes the canary's ring away; see [`CloseCanary`].
    pub fn close_canary(&self) -> impl Future<Output = ActorReply<()>> + use<> {
        self.0.send(CloseCanary)
    }

    /// Makes a member ready; see [`AdmitReplica`].
    pub fn admit(
        &self,
        id: InstanceId,
        endpoint: SocketAddr,
    ) -> impl Future<Output = ActorReply<()>> + use<> {
        self.0.send(AdmitReplica(id, endpoint))
    }

    /// Makes a member unready; see [`MarkUnready`].
    pub fn mark_unready(
        &self,
        id: InstanceId,
        endpoint: SocketAddr,
    ) -> impl Future<Output = ActorReply<()>> + use<> {
        self.0.send(MarkUnready(id, endpoint))
    }

    /// Lets a member have no requests; see [`MarkDrained`].
    pub fn mark_drained(
        &self,
        id: InstanceId,
        endpoint: SocketAddr,
    ) -> impl Future<Output = ActorReply<()>> + use<> {
        self.0.send(MarkDrained(id, endpoint))
    }

    /// Aborts what a drained instance still has in flight; see [`EndDrain`].
    pub fn end_drain(&self, id: InstanceId) {
        self.0.do_send(EndDrain(id));
    }

    /// Makes a member neither ready nor unready; see [`EvictReplica`].
    pub fn evict(&self, id: InstanceId) -> impl Future<Output = ActorReply<Evicted>> + use<> {
        self.0.send(EvictReplica(id))
    }

    /// Waits until an instance has no request in flight; see [`DrainInstance`].
    pub fn drain(
        &self,
        id: InstanceId,
        deadline: Duration,
    ) -> impl Future<Output = ActorReply<u32>> + use<> {
        self.0.send(DrainInstance(id, deadline))
    }

    /// Aborts what an instance that has ended still holds; see [`InstanceEnded`].
    pub fn abort_requests(&self, id: InstanceId) {
        self.0.do_send(InstanceEnded(id));
    }

    /// Has what is sent a second time pass an instance over, or not any more; see [`NoteDoubt`].
    pub fn note_doubt(&self, id: InstanceId, in_doubt: bool) {
        self.0.do_send(NoteDoubt { id, in_doubt });
    }

    /// Has requests leave an instance that does not finish them; see [`ReleaseRequests`].
    pub fn release_requests(&self, id: InstanceId) {
        self.0.do_send(ReleaseRequests(id));
    }

    /// Lets requests through, or not; see [`SetAdmission`].
    pub fn set_admission(
        &self,
        admission: Admission,
    ) -> impl Future<Output = ActorReply<()>> + use<> {
        self.0.send(SetAdmission(admission))
    }

    /// How many requests are in flight; see [`CountInFlight`].
    pub fn count_in_flight(&self) -> impl Future<Output = ActorReply<u32>> + use<> {
        self.0.send(CountInFlight)
    }

    /// Registers the one recipient of ejections and their ends.
    pub fn subscribe_ejections(&self, subscriber: Recipient<EjectionChanged>) {
        self.0.do_send(SubscribeEjections(subscriber));
    }

    pub fn get(&self) -> impl Future<Output = ActorReply<Arc<RingView>>> + use<> {
        self.0.send(GetRing)
    }

    /// Changes how the ring is built, or asks what that would do; see [`ReconfigureRing`].
    pub fn reconfigure(
        &self,
        change: ReconfigureRing,
    ) -> impl Future<Output = ActorReply<Result<Reconfigured, ReconfigureError>>> + use<> {
        self.0.send(change)
    }

    /// Where a worker thread registers.
    pub fn registry(&self) -> Recipient<RegisterWorker> {
        self.0.clone().recipient()
    }
}
