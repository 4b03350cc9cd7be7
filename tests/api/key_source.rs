//! What is hashed for a request, changed while the balancer runs.

use std::collections::BTreeSet;

use awc::http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Load, Reply, Ringmaster, ask, ask_with, get, signal};

async fn set_key(fleet: &str, key: &str) -> Reply {
    ask(Method::PATCH, fleet, Some(json!({"key": key}))).await
}

/// The replicas that serve one user's requests.
async fn replicas_of_alice(balancer: &Ringmaster) -> BTreeSet<String> {
    let mut replicas = BTreeSet::new();
    for _ in 0..40 {
        let headers = [("X-User", "alice")];
        let reply = ask_with(Method::GET, &balancer.url("/home"), &headers, None).await;
        assert_eq!(reply.status, StatusCode::OK);
        replicas.insert(reply.message().to_owned());
    }
    replicas
}

#[actix_web::test]
async fn key_is_another_at_once_on_every_thread_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("fleet.json");
    let state = state.to_str().unwrap();
    // On a busy machine the requests of the load may all be at one replica for a moment: with a bound,
    // alice's would go elsewhere.
    let unbounded = ["--balance-factor", "none"];
    let args = ["--admin", "127.0.0.1:0", "--state", state, "--workers", "3"];
    let args = [&args[..], &unbounded].concat();
    let balancer = Ringmaster::ready(&args).await;
    let fleet = balancer.status_url().await;
    assert!(replicas_of_alice(&balancer).await.len() > 1);
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(20).await;
    let changed = set_key(&fleet, "header:X-User").await;
    assert_eq!(changed.status, StatusCode::OK, "{:?}", changed.body);
    assert_eq!(changed.body["key"], "header:x-user");
    let before = replicas_of_alice(&balancer).await;
    assert_eq!(before.len(), 1, "{before:?}");
    load.go_on_for(20).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    balancer
        .has_logged("(--key) is header:x-user from now on", 1)
        .await;

    // Killed, so that the record stays; the flags are the same.
    signal(balancer.pid(), "KILL");
    drop(balancer);
    let balancer = Ringmaster::ready(&args).await;
    let fleet = balancer.status_url().await;
    assert_eq!(get(&fleet).await.body["key"], "header:x-user");
    assert_eq!(replicas_of_alice(&balancer).await, before);

    // Flags that say something else of it than they did hold.
    signal(balancer.pid(), "KILL");
    drop(balancer);
    let balancer = Ringmaster::ready(&[&args[..], &["--key", "path"]].concat()).await;
    assert_eq!(get(&balancer.status_url().await).await.body["key"], "path");
    balancer.has_logged("key id -> path", 1).await;
}

#[actix_web::test]
async fn key_that_is_none_is_refused_and_changes_nothing() {
    let balancer = Ringmaster::ready(&["--admin", "127.0.0.1:0", "--replicas", "1"]).await;
    let fleet = balancer.status_url().await;
    for (key, said) in [
        ("moon", "key: not a kind of key"),
        ("", "key: not a kind of key"),
        ("header:", "key: a name is missing: write header:NAME"),
        ("query:a=b", "key: \"a=b\" cannot be the name of a query"),
    ] {
        let body = json!({"key": key, "desired_replicas": 2});
        let refused = ask(Method::PATCH, &fleet, Some(body)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{key}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.starts_with(said), "{key}: {detail}");
        assert!(detail.contains("; allowed is id, header:NAME"), "{detail}");
    }
    let status = get(&fleet).await.body;
    assert_eq!(
        (&status["key"], &status["desired_replicas"]),
        (&json!("id"), &json!(1))
    );
}
