//! The API: what Ringmaster itself answers, on the client port and on the admin listener.
//!
//! The JSON is described by [`crate::api`].

mod admin;
mod caller;
mod client_calls;
mod conditional;
mod dashboard;
mod docs_page;
mod drill_run;
mod drills;
mod error;
mod event_stream;
mod extract;
mod fleet_patch;
mod fleet_replicas;
mod fleets;
mod guard;
mod handles;
mod health;
mod history;
mod idempotency;
mod json;
mod keys;
mod maintenance;
mod metrics;
mod middleware;
mod node_drill;
mod openapi;
mod params;
mod pause;
mod prefer;
mod problem_kind;
mod problem_page;
mod rebalance;
mod restart;
mod ring;
mod rollouts;
mod session;
mod sessions;
#[cfg(test)]
mod tests;
mod tokens;

pub use admin::admin_site;
pub use client_calls::{ReplicaHandles, answer};
pub use error::ApiError;
pub use guard::AdminGuard;
pub use handles::AdminHandles;
pub use sessions::Sessions;
pub use tokens::AdminTokens;
