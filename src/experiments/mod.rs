//! What `analyze`, `drill`, `ctl` and `make chaos` share: a client of a balancer's API, a load
//! generator, and the measurement of a recovery.
//!
//! It knows a balancer from outside alone: by HTTP, and where its status says that replicas run.

mod admin_access;
pub mod client;
mod error;
pub mod load;
pub(crate) mod progress;
pub mod recovery;

pub use admin_access::{AdminAccess, AdminToken};
pub use error::ExperimentError;
