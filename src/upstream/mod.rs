//! The way to a replica.
//!
//! * `instance`: a replica's running instance as the data path sees it, what it may have in
//!   flight, and what its requests say about its health;
//! * [`framed_connection`]: a socket to it that knows where each response ends;
//! * `pool`: the connections of each instance, one pool a worker thread, and the awc clients that
//!   send by them;
//! * `retry`: what went wrong with an attempt, and whether the request may be sent again;
//! * `replay_body`: a request's body, kept for that while it is small;
//! * [`stats`]: what is counted of all that.

mod body_rate;
mod coarse_sleep;
pub mod framed_connection;
mod idle_timeout;
mod instance;
mod pool;
mod replay_body;
mod retry;
pub mod stats;

pub use body_rate::BodyRate;
pub use coarse_sleep::{CoarseSleep, TICK};
pub use framed_connection::{
    InterimResponses, ReadGate, RequestHeadBuilder, Trailers, UpstreamRequest,
};
pub use idle_timeout::IdleTimeout;
pub use instance::{
    CapacityWaker, ConcurrencyLimit, FailureReporter, FleetLoad, InFlightPermit, Instance,
    InterruptedRequests,
};
pub use pool::{
    ConnectionSlot, IDLE_CONNECTION, KeptConnection, OneShotClient, RawResponseHead, UpstreamBody,
    UpstreamPools, UpstreamResponse,
};
pub use replay_body::ReplayBody;
pub use retry::{AttemptError, Exclude, RetryBudget, RetryDecision, RetryState};
pub use stats::{ReplicaStats, Stats, ThreadCounters};
