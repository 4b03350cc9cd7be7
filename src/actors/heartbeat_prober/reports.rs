//! What the prober reports, and to whom.

use actix::{Actor, Addr, Context, Handler, Message, Recipient};

use crate::fleet::{HealthTransition, InstanceId};

/// An instance is ready, unready or unresponsive; what its last bad answer was, for one that is
/// unready. Sent when that changes, not at each heartbeat.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct HealthChanged(pub InstanceId, pub HealthTransition, pub String);

/// A heartbeat of an instance that has not been ready yet has failed, and not as the one before.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ProbeFailed {
    pub id: InstanceId,
    pub reason: String,
    /// The port on which nothing listens, if it is that.
    pub refused: Option<u16>,
}

/// An instance may have ended: a heartbeat was missed, or a connection to it has ended.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct InstanceSuspected {
    pub id: InstanceId,
    pub sign: SuspectSign,
}

/// What makes an instance suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspectSign {
    /// A heartbeat was missed.
    Missed,
    /// A heartbeat was missed, and its machine, asked beside the network of instances, does not answer either.
    MachineSilent,
    /// A connection has ended and the instance has taken another.
    Unclear,
    /// Its machine has ended the connection, and the instance takes no other.
    ConnectionLost,
    /// The same, and nothing listens at its address any more.
    Refused,
}

/// An instance that missed heartbeats has answered one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct DoubtEnded(pub InstanceId);

/// An instance that drains has missed as many heartbeats in a row as count as a hang.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct DrainSilent(pub InstanceId);

/// The recipients of reports.
#[derive(Clone)]
pub struct ProbeRecipients {
    /// Of what has changed.
    pub health_changes: Recipient<HealthChanged>,
    /// Why an instance is not ready yet.
    pub failures: Recipient<ProbeFailed>,
    /// Which instances may have ended.
    pub suspects: Recipient<InstanceSuspected>,
    /// Which have not.
    pub cleared: Recipient<DoubtEnded>,
    /// Which do not finish their requests.
    pub silent_drains: Recipient<DrainSilent>,
}

impl ProbeRecipients {
    /// One actor for all of them.
    pub fn all_of<A>(actor: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>>
            + Handler<HealthChanged>
            + Handler<ProbeFailed>
            + Handler<InstanceSuspected>
            + Handler<DoubtEnded>
            + Handler<DrainSilent>,
    {
        Self {
            health_changes: actor.clone().recipient(),
            failures: actor.clone().recipient(),
            suspects: actor.clone().recipient(),
            cleared: actor.clone().recipient(),
            silent_drains: actor.clone().recipient(),
        }
    }
}
