//! The way to a replica: instances as the data path sees them, awc clients and their
//! transport, the guard over its sockets, and the rules for sending a request a second time.

mod body;
mod body_rate;
mod capacity;
mod clients;
mod connector;
mod counters;
pub mod guard;
mod idle;
mod instance;
mod interrupted;
mod lone;
mod outlier;
mod retry;
mod retry_budget;
mod sign;
mod tick;
mod transport;
mod warmth;

pub use body::{Break, Replay, RequestBody};
pub use body_rate::BodyRate;
pub use capacity::{Bell, Capacity};
pub use clients::{ClientSettings, Clients, IDLE_CONNECTION};
pub use counters::{Counters, Tally};
pub use guard::{Exchange, OutgoingHead, Pause};
pub use idle::Idle;
pub use instance::{FleetLoad, Grant, Instance};
pub use interrupted::InterruptedRequests;
pub use lone::LoneClient;
pub use outlier::OutlierDesk;
pub use retry::{Attempt, Failure, Verdict};
pub use retry_budget::RetryBudget;
pub use tick::{TICK, Ticks};
pub use transport::{FieldSlot, Fields, ResponseSlot, recycle};
