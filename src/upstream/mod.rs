//! The way to a replica: instances as the data path sees them, awc clients, the guard
//! under them, and the rules for sending a request a second time.

mod body;
mod clients;
mod connector;
mod counters;
pub mod guard;
mod instance;
mod outlier;
mod retry;
mod warmth;

pub use body::{BodyFault, Replay, RequestBody};
pub use clients::{ClientSettings, Clients};
pub use counters::{Counters, Counts, Tally};
pub use guard::{Exchange, Pause};
pub use instance::{FleetLoad, Grant, Instance};
pub use outlier::OutlierDesk;
pub use retry::{Attempt, Failure, Verdict};
