//! The load that never stops while things break: five kinds of clients.

use std::time::Duration;

use ringmaster::experiments::load::{LoadGenerator, LoadRequest, RequestKind};

use crate::support::eventually;

/// Longer than anything may take.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Of ten clients.
const KINDS: [RequestKind; 10] = [
    RequestKind::Get,
    RequestKind::Get,
    RequestKind::Get,
    RequestKind::FreshGet,
    RequestKind::FreshGet,
    RequestKind::Put,
    RequestKind::Put,
    RequestKind::Post,
    RequestKind::Post,
    RequestKind::EventStream,
];

/// Starts clients each of which has one request out at any time.
pub fn start(url: &str, clients: usize) -> LoadGenerator {
    let url = url.to_owned();
    LoadGenerator::start(clients, None, TIMEOUT, move |client, number| {
        let kind = KINDS[client % KINDS.len()];
        let path = match kind {
            // A POST has to be told from every other one.
            RequestKind::Post => format!("/count/{number}"),
            RequestKind::EventStream => "/events".to_owned(),
            _ => format!("/{number}"),
        };
        LoadRequest {
            kind,
            url: format!("{url}{path}"),
            id: 100_000 + (number % 900_000) as u32,
        }
    })
}

/// Whether a single fault may not make a request of this kind fail.
pub fn never_fails(kind: RequestKind) -> bool {
    matches!(
        kind,
        RequestKind::Get | RequestKind::FreshGet | RequestKind::Put
    )
}

/// Waits until this many more requests have ended.
pub async fn go_on_for(load: &LoadGenerator, requests: u64) {
    let goal = load.completed() + requests;
    eventually("the load goes on", || async { load.completed() >= goal }).await;
}

/// Waits until all requests that have been sent by now have ended: one that was stuck in a fault
/// may fail some seconds after it. Each ends by [`TIMEOUT`], and then counts as failed.
pub async fn settle(load: &LoadGenerator) {
    let sent = load.sent();
    while !load.has_completed(sent) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
