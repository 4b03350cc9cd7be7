//! Servers that somebody else runs (runtime `static`).

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::process::{Child, Command, Stdio};

use awc::http::StatusCode;
use common::{Load, Ringmaster, eventually, get};
use serde_json::json;

/// A demo replica that a stranger runs.
struct Stranger {
    process: Child,
    port: u16,
}

impl Stranger {
    fn start(id: &str, port: u16) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args([
                "replica",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--id",
                id,
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, port }
    }

    fn upstream(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[actix_web::test]
async fn heartbeats_evict_and_readmit_and_nothing_is_spawned() {
    let one = Stranger::start("one", free_port());
    let two = Stranger::start("two", free_port());
    let balancer = Ringmaster::ready(&[
        "--upstream",
        &one.upstream(),
        "--upstream",
        &format!("blue={}", two.upstream()),
        "--heartbeat-interval",
        "50ms",
    ])
    .await;
    assert_eq!(
        balancer.replicas().await,
        [one.upstream(), "blue".to_owned()]
    );

    let load = Load::start(&balancer.url("/home"), 4);
    let port = two.port;
    drop(two);
    eventually("evicted", || async {
        balancer
            .log()
            .contains("blue (generation 1) is off the ring")
    })
    .await;
    for _ in 0..20 {
        assert_eq!(
            get(&balancer.url("/home")).await.message(),
            "Hello from Server: one"
        );
    }
    // It stays desired while it is away.
    assert_eq!(balancer.replicas().await.len(), 2);
    let _two = Stranger::start("two", port);
    eventually("readmitted", || async {
        get(&balancer.url("/home")).await.message() == "Hello from Server: two"
    })
    .await;
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
    assert!(balancer.children().is_empty());
}

#[actix_web::test]
async fn add_and_rm_answer_409_with_the_reason() {
    let one = Stranger::start("one", free_port());
    let balancer = Ringmaster::ready(&["--upstream", &one.upstream()]).await;
    for reply in [
        balancer.add(json!({"n": 1})).await,
        balancer.rm(json!({"n": 1})).await,
    ] {
        assert_eq!(reply.status, StatusCode::CONFLICT);
        assert!(
            reply.message().contains("run by somebody else"),
            "{reply:?}"
        );
    }
    assert_eq!(balancer.replicas().await, [one.upstream()]);
}

#[actix_web::test]
async fn an_upstream_that_comes_late_is_waited_for() {
    let port = free_port();
    let balancer = Ringmaster::start(&["--upstream", &format!("late=127.0.0.1:{port}")]);
    let url = balancer.url("/home");
    let waiting = actix_web::rt::spawn(async move { get(&url).await });
    let _late = Stranger::start("late", port);
    assert_eq!(waiting.await.unwrap().message(), "Hello from Server: late");
}
