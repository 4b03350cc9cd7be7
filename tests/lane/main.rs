//! Requests that are answered without actix's dispatcher (`src/http/lane/`), and the way from
//! one to the other on a connection: what clients see on the wire is the same.

#![allow(clippy::unwrap_used, missing_docs)]

mod bodies;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod conversations;
mod half_closed;
mod leaving;
mod replica;
mod responses;
mod slow;
#[path = "../wire/mod.rs"]
mod wire;

use common::Ringmaster;

pub async fn before(port: u16) -> Ringmaster {
    with(port, &[]).await
}

/// One with these options.
pub async fn with(port: u16, args: &[&str]) -> Ringmaster {
    let upstream = format!("127.0.0.1:{port}");
    Ringmaster::ready(&[&["--workers", "1", "--upstream", &upstream], args].concat()).await
}
