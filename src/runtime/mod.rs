//! Where instances run.
//!
//! [`Runtime`] separates deciding from doing. Its implementations: `process` (child
//! processes), `docker` (containers), `swarm` (services) and `static_servers` (servers that are started elsewhere).
//! A runtime starts and stops instances on request and reports those that end by themselves. It
//! decides nothing.

pub mod docker;
pub(crate) mod engine_client;
pub mod process;
pub mod record;
pub mod record_file;
pub mod static_servers;
pub mod swarm;

mod balancer_name;
mod definition;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::stream::LocalBoxStream;

use crate::api::{FleetSpread, NewRollout};
use crate::fleet::RolloutError;
pub use crate::fleet::{
    BalancerLoad, Definition, Event, Existing, Exit, ImageDigests, InstanceEvent, InstanceId,
    LaunchAs, LaunchOrder, LeftSpares, ReplicaTemplate, ScalingRole,
};
pub use balancer_name::balancer_name;

/// An event that a runtime reports by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// Something has happened to the fleet.
    Fleet(Event),
    /// This version of the fleet record has been removed, by a newer one or by hand.
    RecordRemoved(u64),
}

impl From<Event> for RuntimeEvent {
    fn from(event: Event) -> Self {
        Self::Fleet(event)
    }
}

/// What a runtime answers once it has done something.
pub type Task<T> = LocalBoxFuture<'static, Result<T, RuntimeError>>;

/// The definition that a rollout is to bring, or why it cannot be one.
pub type DefinitionTask = LocalBoxFuture<'static, Result<Definition, RolloutError>>;

/// The result of [`Runtime::launch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launched {
    /// The instance: the one that was ordered, or that of another balancer that was first.
    pub id: InstanceId,
    /// The address at which it listens, or will.
    pub endpoint: SocketAddr,
    /// The hash of the definition that another balancer has started it by, if that is known.
    pub definition: Option<String>,
}

impl Launched {
    /// The instance that was ordered.
    pub fn ordered(id: InstanceId, endpoint: SocketAddr) -> Self {
        Self {
            id,
            endpoint,
            definition: None,
        }
    }
}

/// What has become of a spare that was to play a replica.
#[derive(Debug)]
pub enum TakenSpare {
    /// It plays the replica, as this instance.
    Plays(InstanceId),
    /// The same, until an instance of the owner's kind can: see [`LaunchAs::Relief`].
    StandsIn(InstanceId),
    /// It has ended, or is another balancer's by now.
    Gone,
    /// It is still a spare, and this is how the launch of the replica's instance went without it.
    Stays(Result<Launched, RuntimeError>),
    /// It is still a spare: an instance is to be launched.
    Refused,
}

/// How many of the last lines of an instance's output are kept.
pub const MAX_OUTPUT_LINES: usize = 50;

/// How an instance ended, and the end of its output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExitReport {
    /// How it ended, if by itself.
    pub exit: Option<Exit>,
    /// The last lines of its output, at most [`MAX_OUTPUT_LINES`], the oldest first.
    pub lines: Vec<String>,
}

/// The length to which lines are cut, in characters.
const MAX_LINE_LENGTH: usize = 500;

/// The last lines of a log, at most [`MAX_OUTPUT_LINES`], each cut to size and without control characters.
pub(crate) fn last_lines(log: &str) -> Vec<String> {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let readable = |line: &&str| {
        let line = line.trim_end().chars().take(MAX_LINE_LENGTH);
        line.map(clean).collect()
    };
    let lines: Vec<_> = log.lines().collect();
    let first = lines.len().saturating_sub(MAX_OUTPUT_LINES);
    lines[first..].iter().map(readable).collect()
}

/// How many of the last lines an error message repeats.
const LINES_IN_MESSAGE: usize = 3;

/// The reason for which an instance did not start, with its last output and a hint.
pub fn with_output(reason: &str, lines: &[String], hint: Option<&str>) -> String {
    let printed = lines.iter().filter(|line| !line.is_empty());
    let printed: Vec<_> = printed.map(|line| format!("{line:?}")).collect();
    let mut message = reason.to_owned();
    if !printed.is_empty() {
        let last = &printed[printed.len().saturating_sub(LINES_IN_MESSAGE)..];
        message.push_str("; it printed: ");
        message.push_str(&last.join(", "));
    }
    if let Some(hint) = hint {
        message.push_str("; ");
        message.push_str(hint);
    }
    message
}

/// What identifies a running instance on its machine, or says which machine that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceHandle {
    /// A process, by its id as the balancer sees it.
    Process(u32),
    /// A container, by its name.
    Container(String),
    /// A task of a Swarm: the name of the node that it runs on, and its container there.
    OnNode {
        /// The node's name.
        node: String,
        /// The beginning of the container's id, once it is known.
        container: Option<String>,
    },
}

/// The reason why a runtime failed. Continues a sentence such as "cannot start Server1: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuntimeError(pub String);

/// The place where instances run.
///
/// All calls are made from the control thread, which lives as long as the process; the
/// returned futures run there too and may overlap.
pub trait Runtime: 'static {
    /// `process`, `docker`, `swarm`, `static`.
    fn kind(&self) -> &'static str;

    /// Whether instances run in containers with the limits of `--replica-security restricted`,
    /// which cause some deaths.
    fn is_restricted(&self) -> bool {
        false
    }

    /// Whether instances have their generation in their names, which is the lock between balancers.
    fn names_have_generations(&self) -> bool {
        false
    }

    /// Whether its owner's names are a series that newcomers have to continue.
    fn continues_names(&self) -> bool {
        false
    }

    /// Whether this runtime can start and stop instances. `static` can only find their addresses.
    fn spawns(&self) -> bool {
        true
    }

    /// Checks, before anything listens, that instances can be started at all (the
    /// program exists, the engine answers, the image is there), and lists the instances of
    /// an earlier balancer.
    fn prepare(&self) -> LocalBoxFuture<'_, Result<Vec<Existing>, RuntimeError>>;

    /// The same where another balancer carries a rollout out: what that has started beside others is left
    /// to it.
    fn prepare_to_follow(&self) -> LocalBoxFuture<'_, Result<Vec<Existing>, RuntimeError>> {
        self.prepare()
    }

    /// Starts an instance of a definition and returns the address at which it will listen; heartbeats find out
    /// when it does. Removes what is left of an older generation that has ended. If another
    /// balancer has started the replica meanwhile, returns that instance. After an error nothing
    /// of this instance remains.
    fn launch(&self, _: LaunchOrder, _: &Arc<Definition>, launched_as: LaunchAs) -> Task<Launched>;

    /// Why it cannot start instances that play no replica, if it cannot.
    fn refusal_of_extra(&self) -> Option<String> {
        let kind = self.kind();
        Some(format!(
            "the runtime {kind} has no canaries: start the rollout without one"
        ))
    }

    /// What the generations of spares are counted from. Where a spare keeps its generation, that has to be
    /// above those of all replicas.
    fn first_spare_generation(&self) -> u64 {
        0
    }

    /// Whether this spare could be the replica's next instance.
    fn is_fit_spare(&self, _spare: &InstanceId, _order: &LaunchOrder) -> bool {
        true
    }

    /// Has a spare play the replica whose instance was to be started.
    fn take_spare(
        &self,
        _spare: InstanceId,
        _order: LaunchOrder,
    ) -> LocalBoxFuture<'static, TakenSpare> {
        Box::pin(async { TakenSpare::Gone })
    }

    /// Takes over the spares of balancers that have ended.
    fn adopt_spares(&self) -> LocalBoxFuture<'static, LeftSpares> {
        Box::pin(async { LeftSpares::default() })
    }

    /// An instance that was started beside another one plays the replica from now on.
    fn take_place(&self, _: InstanceId) -> LocalBoxFuture<'static, ()> {
        Box::pin(async {})
    }

    /// The definition that instances have by their owner before a rollout, if that is another than the
    /// known one.
    fn owned_definition(&self, _known: Definition, _: &NewRollout) -> Task<Option<Definition>> {
        Box::pin(async { Ok(None) })
    }

    /// What a rollout is to make of the present definition.
    fn define(&self, new: NewRollout, present: Definition) -> DefinitionTask {
        let kind = self.kind();
        Box::pin(async move { present.with_changes(&new, kind) })
    }

    /// Brings what a balancer has left unfinished of a rollout to one instance a replica, and lists those.
    fn settle_rollout(&self) -> Task<Vec<Existing>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// A rollout has begun, or has ended.
    fn on_rollout(&self, _under_way: bool) {}

    /// Makes sure that instances of another definition can be started, beside those that run if they
    /// are to be (the program exists, the image is there), or says why they cannot.
    fn prepare_rollout(&self, _: Definition, _beside: bool) -> Task<()> {
        let kind = self.kind();
        let error = format!("the runtime {kind} has no rollouts");
        Box::pin(async { Err(RuntimeError(error)) })
    }

    /// The digests of an image's tag, at its registry and here.
    fn image_digests(&self, _tag: String) -> Task<ImageDigests> {
        let error = format!("the runtime {} has no images", self.kind());
        Box::pin(async { Err(RuntimeError(error)) })
    }

    /// Tells other balancers that the replica of this instance is removed, so that its end is no
    /// death. Does nothing where there can be no other balancer.
    fn announce_removal(&self, _: InstanceId) -> LocalBoxFuture<'static, ()> {
        Box::pin(async {})
    }

    /// Keeps the log of an instance that has died, or is about to be killed because it hangs,
    /// until the replica's next death or removal. To be called before [`Runtime::stop`]. Does
    /// nothing where the log ends with the instance.
    fn keep_log(&self, _: &InstanceId) {}

    /// Ends an instance: SIGTERM, `grace`, SIGKILL, and removes what is left of it. It is no
    /// error if the instance has ended or is unknown. No [`InstanceEvent::Exited`] follows.
    fn stop(&self, id: InstanceId, grace: Duration) -> Task<()>;

    /// What is known of an instance's end. To be called before its successor is started; for an
    /// instance that is to be stopped both before and after that, unless its remains are kept.
    fn exit_report(&self, _: InstanceId) -> LocalBoxFuture<'static, ExitReport> {
        Box::pin(async { ExitReport::default() })
    }

    /// Whether what a dead instance leaves behind can be read while its successor starts.
    fn keeps_remains(&self) -> bool {
        false
    }

    /// Heartbeats to the instance at this address begin; none has been answered yet.
    fn on_probing_started(&self, _: &InstanceId, _: SocketAddr) {}

    /// No more heartbeats go to the instance.
    fn on_probing_stopped(&self, _: &InstanceId) {}

    /// Whether a death shows in the end of a connection before this runtime can report it: heartbeats
    /// keep theirs then.
    fn watches_connections(&self) -> bool {
        false
    }

    /// An instance may have ended: to be looked at now, where that is not reported at once anyway.
    /// `machine_answers`: whether the machine that it runs on answers, if that has just been found out.
    fn look_at(&self, _: &InstanceId, _machine_answers: Option<bool>) {}

    /// Where the machine of an instance can be asked whether it is there, beside the network of instances.
    fn machine_of(&self, _: &InstanceId) -> Option<SocketAddr> {
        None
    }

    /// The other instances on the machine of this one, where instances are on several.
    fn others_on_machine(&self, _: &InstanceId) -> Vec<InstanceId> {
        Vec::new()
    }

    /// The instance answers heartbeats and is on the ring.
    fn on_admitted(&self, _: &InstanceId) {}

    /// What identifies a running instance on its machine, for people and for `drill`. `None` if it
    /// does not run or is started elsewhere.
    fn instance_handle(&self, _: &InstanceId) -> Option<InstanceHandle> {
        None
    }

    /// How replicas of a definition are spread over nodes, and which are above the share of theirs. None where
    /// there are no nodes.
    fn spread(&self, _: &Arc<Definition>) -> Option<Task<FleetSpread>> {
        None
    }

    /// Has a node take no instances, which moves all that run there elsewhere, until
    /// [`Runtime::restore_node`] or the balancer's end. None where there are no nodes.
    fn drain_node(&self, _: String) -> Option<Task<()>> {
        None
    }

    /// The node that was drained takes instances again.
    fn restore_node(&self) -> Task<()> {
        Box::pin(async { Ok(()) })
    }

    /// The error that keeps the runtime from working, if any. Running instances may be unaffected.
    fn last_error(&self) -> Option<String> {
        None
    }

    /// A hint for an instance that runs while nothing listens on its port.
    fn port_hint(&self, _port: u16) -> Option<String> {
        None
    }

    /// The events from now on, for as long as the runtime lives. Called once. The stream
    /// reconnects by itself where it depends on a connection.
    fn events(&self) -> LocalBoxStream<'static, RuntimeEvent>;

    /// Whether a running instance was started by an earlier definition: a rollout would replace
    /// it. `by_definition`: by the hash of its definition it was.
    fn is_outdated(&self, _: &InstanceId, by_definition: bool) -> bool {
        by_definition
    }

    /// Whether another balancer serves these instances and will continue to. Called by a balancer
    /// that is about to end.
    fn has_peers(&self) -> LocalBoxFuture<'static, bool> {
        Box::pin(async { false })
    }

    /// Whether another balancer serves these instances now, too.
    fn is_shared(&self) -> LocalBoxFuture<'static, bool> {
        Box::pin(async { false })
    }

    /// Whether this balancer is the one, of those that serve these instances, that does what one alone
    /// has to do.
    fn leads(&self) -> LocalBoxFuture<'static, bool> {
        Box::pin(async { true })
    }

    /// Says to the other balancers which load this one has, and what they have said: who scales the fleet.
    /// None where balancers cannot say that to each other.
    fn share_load(&self, _: BalancerLoad) -> Option<LocalBoxFuture<'static, ScalingRole>> {
        None
    }

    /// Whether the balancer of this name serves these instances now.
    fn is_present(&self, _balancer: String) -> Task<bool> {
        Box::pin(async { Ok(false) })
    }

    /// Removes what belongs to the runtime itself (a network it created), after every instance
    /// has been stopped.
    fn close(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
