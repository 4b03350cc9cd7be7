//! Clients: what a connection may do, and what it gets, as it is on the wire.

#![allow(clippy::unwrap_used, missing_docs)]

mod accept;
mod bodies;
mod body_rate;
mod disconnect;
mod framing;
mod half_close;
mod keep_alive;
mod limits;
mod open_files;
mod pipelining;
mod raw_client;
mod replica;
mod responses;
mod splits;
#[path = "../support/mod.rs"]
mod support;
mod timeouts;

use support::Ringmaster;

pub async fn before(port: u16) -> Ringmaster {
    with(port, &[]).await
}

/// One with these options.
pub async fn with(port: u16, args: &[&str]) -> Ringmaster {
    let upstream = format!("127.0.0.1:{port}");
    Ringmaster::ready(&[&["--workers", "1", "--upstream", &upstream], args].concat()).await
}
