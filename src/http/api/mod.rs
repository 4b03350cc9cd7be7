//! The API: what Ringmaster itself answers, on the client port and on the admin listener.
//!
//! The JSON is described by [`crate::api`].

mod admin;
mod error;
mod guard;
mod json;
mod replicas;

pub use admin::{AdminHandles, admin_site};
pub use error::ApiError;
pub use guard::AdminGuard;
pub use replicas::{ReplicaHandles, answer};
