//! `Idempotency-Key` on the addition of replicas.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Reply, Ringmaster, ask_with, eventually};

async fn add(replicas: &str, headers: &[(&str, &str)], body: Value) -> Reply {
    ask_with(Method::POST, replicas, headers, Some(body)).await
}

#[actix_web::test]
async fn addition_that_is_sent_again_is_made_once() {
    let balancer = Ringmaster::ready(&["--admin", "127.0.0.1:0"]).await;
    let replicas = format!("{}/replicas", balancer.status_url().await);
    let key = [("Idempotency-Key", "\"first\"")];
    let first = add(&replicas, &key, json!({"count": 2})).await;
    assert_eq!(first.status, StatusCode::CREATED, "{:?}", first.body);
    assert_eq!(first.header("idempotency-replayed"), "");
    // The same key without quotes, and the same body in other words.
    let key = [("Idempotency-Key", "first")];
    let again = add(&replicas, &key, json!({"names": [], "count": 2.0})).await;
    assert_eq!(
        (again.status, &again.body),
        (StatusCode::CREATED, &first.body)
    );
    assert_eq!(again.header("idempotency-replayed"), "?1");
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(balancer.replicas().await.len(), 5);

    let other = add(&replicas, &key, json!({"count": 1})).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.body["type"], "/api/problems/key-reused");
    // A place to look is replayed, too.
    let key = [("Idempotency-Key", "second")];
    for _ in 0..2 {
        let one = add(&replicas, &key, json!({"names": ["S6"]})).await;
        assert_eq!(one.header("location"), "/api/v1/fleets/default/replicas/S6");
    }
    assert_eq!(balancer.replicas().await.len(), 6);
    // An addition whose expectation fails has not been tried.
    let key = ("Idempotency-Key", "third");
    let outdated = [key, ("If-Match", "\"x\"")];
    let refused = add(&replicas, &outdated, json!({"names": ["S7"]})).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    let made = add(&replicas, &[key], json!({"names": ["S7"]})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{:?}", made.body);
}

#[actix_web::test]
async fn addition_is_in_use_until_it_is_over_even_if_its_client_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let args = ["--admin", "127.0.0.1:0", "--replicas", "1"];
    let command = format!(
        "sh -c 'until test {{name}} = Server1 -o -e {}; do sleep 0.02; done; \
         exec \"$RINGMASTER\" replica'",
        go.display()
    );
    let slow = ["--command", command.as_str()];
    let balancer = Ringmaster::start_with(
        &[args.as_slice(), &slow].concat(),
        &[("RINGMASTER", env!("CARGO_BIN_EXE_ringmaster"))],
    );
    let replicas = format!("{}/replicas", balancer.status_url().await);
    let body = json!({"names": ["S2"]});
    let key = [("Idempotency-Key", "slow")];
    let client = {
        let (replicas, body) = (replicas.clone(), body.clone());
        actix_web::rt::spawn(async move { add(&replicas, &key, body).await })
    };
    let in_use = || add(&replicas, &key, body.clone());
    eventually("the addition is under way", || async {
        balancer.children().iter().any(|(name, _)| name == "S2")
    })
    .await;
    let meanwhile = in_use().await;
    assert_eq!(
        meanwhile.status,
        StatusCode::CONFLICT,
        "{:?}",
        meanwhile.body
    );
    assert_eq!(meanwhile.body["type"], "/api/problems/key-in-use");
    client.abort();
    std::fs::write(&go, "").unwrap();
    eventually("the first answer is there", || async {
        in_use().await.status != StatusCode::CONFLICT
    })
    .await;
    let answer = in_use().await;
    assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
    assert_eq!(answer.body["added"], json!(["S2"]));
    assert_eq!(balancer.replicas().await, ["Server1", "S2"]);
}

#[actix_web::test]
async fn malformed_key_is_refused_and_adds_nothing() {
    let balancer = Ringmaster::ready(&["--admin", "127.0.0.1:0"]).await;
    let replicas = format!("{}/replicas", balancer.status_url().await);
    let long = "k".repeat(201);
    let one = ("Idempotency-Key", "one");
    for headers in [
        &[("Idempotency-Key", "")][..],
        &[("Idempotency-Key", "\"open")],
        &[("Idempotency-Key", &long)],
        &[one, one],
    ] {
        let refused = add(&replicas, headers, json!({"count": 1})).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{headers:?}");
        assert_eq!(refused.body["type"], "/api/problems/invalid-header");
    }
    assert_eq!(balancer.replicas().await.len(), 3);
}
