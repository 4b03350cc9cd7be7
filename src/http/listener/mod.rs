//! Accepting clients' connections: on each worker thread, evenly, and within limits.

pub mod acceptor;
pub mod client_limit;
pub mod loads;
