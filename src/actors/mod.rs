//! The four actors. Thin: a message comes in, a pure call decides, the steps are
//! carried out.
//!
//! ```text
//!   http handler --AcquireSlot--> ProxyWorker (one on every HTTP worker thread)
//!                                     ^ PublishRing
//!                                 RingState  <--AdmitReplica, EvictReplica, ...-- Supervisor
//!                                                                                  |   ^
//!                                             HeartbeatProber <--WatchInstance-----+   |
//!                                                    +-----HealthChanged---------------+
//! ```
//!
//! RingState, Supervisor and HeartbeatProber live on the control thread, the process's
//! first. An actor that panics has a closed mailbox for good, so the end of a control
//! actor ends the process (see [`lifeline`]); a restarted process adopts what still
//! runs.

pub mod admission;
mod connection_watch;
pub mod death_log;
pub mod heartbeat_history;
pub mod heartbeat_prober;
pub mod history;
pub mod lifeline;
mod machine_check;
pub mod proxy_worker;
pub mod request_queue;
pub mod ring_state;
pub mod ring_view;
pub mod shared_key_source;
pub mod supervisor;

/// The answer of an actor; an error if it has ended, and with it soon the process.
pub type ActorReply<T> = Result<T, actix::MailboxError>;
