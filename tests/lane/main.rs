//! Requests that are answered without actix's dispatcher (`src/http/lane/`), and the way from
//! one to the other on a connection: what clients see on the wire is the same.

#![allow(clippy::unwrap_used, missing_docs)]

mod bodies;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod conversations;
mod leaving;
mod replica;
mod responses;
#[path = "../wire/mod.rs"]
mod wire;

use common::Ringmaster;

pub async fn before(port: u16) -> Ringmaster {
    Ringmaster::ready(&["--workers", "1", "--upstream", &format!("127.0.0.1:{port}")]).await
}
