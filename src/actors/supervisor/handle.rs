//! The Supervisor as others see it: a method for each message.

use std::time::Duration;

use actix::Addr;

use super::{
    ChangeReplicas, CompareVersion, ConfigVersion, ConnectionRefused, DirectRollout, DrainNode,
    EventFeed, ExpectedVersions, FleetReport, FollowEvents, GetDeaths, GetEvents, GetFleet,
    GetRollouts, GetSpread, GetWatchedImage, ListReplicas, NoteDigest, NoteImageWatch, NoteScaling,
    PauseFleet, RestoreNode, ResumeFleet, RingReconfigured, RollOut, RolloutCommand, SetKey,
    SetMaintenance, ShutDown, StartRollout, Supervisor, WatchedImage,
};
use crate::actors::ActorReply;
use crate::api::{Death, FleetScaling, FleetSpread, ImageWatch, NewRollout, ReplicaEvent, Rollout};
use crate::fleet::{
    Change, ChangeError, Changed, Definition, InstanceId, RecordChange, RolloutError,
};
use crate::ring::{KeySource, ReplicaName};
use crate::runtime::RuntimeError;

/// Sends messages to the Supervisor.
#[derive(Clone)]
pub struct SupervisorHandle(Addr<Supervisor>);

impl SupervisorHandle {
    pub fn new(supervisor: Addr<Supervisor>) -> Self {
        Self(supervisor)
    }

    pub async fn list(&self) -> ActorReply<Vec<ReplicaName>> {
        self.0.send(ListReplicas).await
    }

    /// Adds or removes replicas; see [`ChangeReplicas`].
    pub async fn change(&self, change: Change) -> ActorReply<Result<Changed, ChangeError>> {
        self.change_if(None, change).await
    }

    /// The same, if the configuration has one of these versions.
    pub async fn change_if(
        &self,
        expected: Option<ExpectedVersions>,
        change: Change,
    ) -> ActorReply<Result<Changed, ChangeError>> {
        self.0.send(ChangeReplicas { change, expected }).await
    }

    /// The version of the configuration, raised if a change is accepted by this; see
    /// [`CompareVersion`].
    pub async fn compare_version(
        &self,
        expected: Option<ExpectedVersions>,
        raise: bool,
    ) -> ActorReply<Result<ConfigVersion, ChangeError>> {
        self.0.send(CompareVersion { expected, raise }).await
    }

    /// How the replicas are spread over nodes; see [`GetSpread`].
    pub async fn spread(&self) -> ActorReply<Result<FleetSpread, ChangeError>> {
        self.0.send(GetSpread).await
    }

    /// Drains a node for a drill; see [`DrainNode`].
    pub async fn drain_node(&self, node: String) -> ActorReply<Result<(), ChangeError>> {
        self.0.send(DrainNode(node)).await
    }

    /// The node that was drained takes instances again.
    pub async fn restore_node(&self) -> ActorReply<Result<(), RuntimeError>> {
        self.0.send(RestoreNode).await
    }

    /// The same, without an answer.
    pub fn begin_restoring_node(&self) {
        self.0.do_send(RestoreNode);
    }

    /// Begins a rollout; see [`StartRollout`].
    pub async fn start_rollout(
        &self,
        new: NewRollout,
    ) -> ActorReply<Result<Rollout, RolloutError>> {
        self.0.send(StartRollout(new)).await
    }

    /// Begins a rollout of a complete definition; see [`RollOut`].
    pub async fn roll_out(
        &self,
        to: Definition,
        noting: Option<RecordChange>,
    ) -> ActorReply<Result<Rollout, RolloutError>> {
        self.0.send(RollOut { to, noting }).await
    }

    /// Pauses, resumes, promotes or undoes a rollout; see [`DirectRollout`].
    pub async fn direct_rollout(
        &self,
        id: u64,
        command: RolloutCommand,
    ) -> ActorReply<Result<Rollout, RolloutError>> {
        self.0.send(DirectRollout(id, command)).await
    }

    /// Holds requests; see [`PauseFleet`].
    pub async fn pause(
        &self,
        lasts: Option<Duration>,
        expected: Option<ExpectedVersions>,
    ) -> ActorReply<Result<(), ChangeError>> {
        self.0.send(PauseFleet { lasts, expected }).await
    }

    /// Lets requests go again; see [`ResumeFleet`].
    pub async fn resume(
        &self,
        expected: Option<ExpectedVersions>,
    ) -> ActorReply<Result<(), ChangeError>> {
        self.0.send(ResumeFleet(expected)).await
    }

    /// Has every request answered with a page, or none any more; see [`SetMaintenance`].
    pub async fn set_maintenance(
        &self,
        set: SetMaintenance,
    ) -> ActorReply<Result<(), ChangeError>> {
        self.0.send(set).await
    }

    /// What `--image-watch` has to know.
    pub async fn watched_image(&self) -> ActorReply<WatchedImage> {
        self.0.send(GetWatchedImage).await
    }

    /// The registry has this digest; see [`NoteDigest`].
    pub fn note_digest(&self, note: NoteDigest) {
        self.0.do_send(note);
    }

    /// Has this shown of the watch of an image.
    pub fn note_image_watch(&self, watch: ImageWatch) {
        self.0.do_send(NoteImageWatch(watch));
    }

    /// Has this shown of scaling by the load.
    pub fn note_scaling(&self, scaling: FleetScaling) {
        self.0.do_send(NoteScaling(scaling));
    }

    /// The last rollouts.
    pub async fn rollouts(&self) -> ActorReply<Vec<Rollout>> {
        self.0.send(GetRollouts).await
    }

    /// What has happened to replicas lately.
    pub async fn events(&self) -> ActorReply<Vec<ReplicaEvent>> {
        self.0.send(GetEvents).await
    }

    /// What happens to replicas, after the event with this number; see [`FollowEvents`].
    pub async fn follow_events(&self, after: Option<u64>) -> ActorReply<EventFeed> {
        self.0.send(FollowEvents(after)).await
    }

    /// The replicas.
    pub async fn fleet(&self) -> ActorReply<FleetReport> {
        self.0.send(GetFleet).await
    }

    pub async fn deaths(&self) -> ActorReply<Vec<Death>> {
        self.0.send(GetDeaths).await
    }

    /// Reports a change of the ring; answered when it is in the fleet record.
    pub async fn ring_reconfigured(
        &self,
        change: RingReconfigured,
    ) -> ActorReply<Result<(), ChangeError>> {
        self.0.send(change).await
    }

    /// Has something else hashed for a request; answered when it is in the fleet record.
    pub async fn set_key(&self, key: KeySource) -> ActorReply<Result<(), ChangeError>> {
        self.0.send(SetKey(key)).await
    }

    /// Reports that an instance refuses connections.
    pub fn connection_refused(&self, id: InstanceId) {
        self.0.do_send(ConnectionRefused(id));
    }

    /// Stops all instances, or leaves them to another balancer; see [`ShutDown`].
    pub async fn shut_down(&self, hand_over: bool) -> ActorReply<()> {
        self.0.send(ShutDown { hand_over }).await
    }
}
