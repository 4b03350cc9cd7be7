//! What tests share: a balancer, a client, its load, processes. A test waits for a state
//! ([`eventually`]).

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs
)]

pub mod dns;
pub mod threads;
pub mod wire;

mod balancer;
mod client;
mod load;
mod processes;

use std::future::Future;
use std::time::{Duration, Instant};

pub use balancer::Ringmaster;
pub use client::{Reply, ask, ask_with, client, get, items};
pub use load::{Load, LoadResult};
pub use processes::{
    children_of, forget_peak, is_alive, peak_kib, resident_kib, signal, sockets_of,
};

/// The longest that a test waits for a state. Nothing takes this long unless it is broken.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// A port that nothing listens at, for now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits for a state, never for a duration.
pub async fn eventually<F>(what: &str, mut state: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let begun = Instant::now();
    while !state().await {
        assert!(begun.elapsed() < MAX_WAIT, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
