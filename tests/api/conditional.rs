//! `ETag`, `If-Match` and `If-None-Match` of the admin API.

use awc::http::{Method, StatusCode};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Reply, Ringmaster, ask, ask_with, eventually, get, signal};

async fn start(args: &[&str]) -> (Ringmaster, String) {
    let admin = ["--admin", "127.0.0.1:0"];
    let balancer = Ringmaster::ready(&[&admin, args].concat()).await;
    let fleet = balancer.status_url().await;
    (balancer, fleet)
}

async fn etag(fleet: &str) -> String {
    let etag = get(fleet).await.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 2, "{etag:?}");
    etag
}

async fn patch_if(etag: &str, url: &str, body: Value) -> Reply {
    ask_with(Method::PATCH, url, &[("If-Match", etag)], Some(body)).await
}

/// Every resource whose `ETag` is the version of the configuration.
const VERSIONED: [&str; 4] = ["", "/ring", "/replicas", "/replicas/Server1"];

/// A change: method, path, body.
type Change = (Method, &'static str, Option<Value>);

fn changes() -> Vec<Change> {
    vec![
        (
            Method::PATCH,
            "/replicas/Server1",
            Some(json!({"weight": 2})),
        ),
        (
            Method::PATCH,
            "/replicas/Server2",
            Some(json!({"state": "drained"})),
        ),
        (Method::PATCH, "/ring", Some(json!({"strategy": "maglev"}))),
        (Method::PATCH, "", Some(json!({"balance_factor": 1.5}))),
        (Method::PATCH, "", Some(json!({"key": "path"}))),
        (Method::POST, "/replicas", Some(json!({"names": ["S4"]}))),
        (Method::PATCH, "", Some(json!({"desired_replicas": 5}))),
        (Method::DELETE, "/replicas/S4", None),
    ]
}

#[actix_web::test]
async fn every_change_has_its_own_version_and_an_outdated_one_changes_nothing() {
    let (_balancer, fleet) = start(&[]).await;
    let first = etag(&fleet).await;
    let mut before = first.clone();
    for (method, path, body) in changes() {
        let url = format!("{fleet}{path}");
        let outdated = "\"0-0\", W/".to_owned() + &before;
        let shown = configured(&fleet).await;
        let refused = ask_with(
            method.clone(),
            &url,
            &[("If-Match", &outdated)],
            body.clone(),
        )
        .await;
        assert_eq!(
            refused.status,
            StatusCode::PRECONDITION_FAILED,
            "{path}: {:?}",
            refused.body
        );
        assert_eq!(refused.body["type"], "/api/problems/precondition-failed");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(&before), "{detail}");
        assert_eq!(configured(&fleet).await, shown, "{method} {path}");
        assert_eq!(etag(&fleet).await, before);

        let matching = "\"0-0\", ".to_owned() + &before;
        let made = ask_with(method.clone(), &url, &[("If-Match", &matching)], body).await;
        assert!(made.status.is_success(), "{method} {path}: {:?}", made.body);
        let after = etag(&fleet).await;
        assert_ne!(after, before, "{method} {path}");
        if method == Method::PATCH {
            assert_eq!(made.header("etag"), after, "{method} {path}");
        }
        before = after;
    }
    for path in VERSIONED {
        let read = get(&format!("{fleet}{path}")).await;
        assert_eq!(read.header("etag"), before, "{path}");
        // The state is measured, so nothing may be taken for unchanged.
        assert_eq!(read.header("cache-control"), "no-store", "{path}");
    }
}

/// What an operator has configured.
async fn configured(fleet: &str) -> Value {
    let body = get(fleet).await.body;
    let replicas = body["replicas"].as_array().unwrap().iter();
    let replicas: Vec<_> = replicas
        .map(|one| json!([one["name"], one["weight"], one["drained"]]))
        .collect();
    json!([
        body["desired_replicas"],
        body["ring"],
        body["key"],
        replicas
    ])
}

#[actix_web::test]
async fn of_writers_that_have_read_the_same_one_wins() {
    let (_balancer, fleet) = start(&[]).await;
    for path in ["/replicas/Server1", "/ring"] {
        let etag = etag(&fleet).await;
        let url = format!("{fleet}{path}");
        let body = |n: u32| match path {
            "/ring" => json!({"weights": {"Server1": n}}),
            _ => json!({"weight": n}),
        };
        let writers = (2..10).map(|n| patch_if(&etag, &url, body(n)));
        let answers = join_all(writers).await;
        let count = |status| answers.iter().filter(|one| one.status == status).count();
        let won = count(StatusCode::OK);
        assert_eq!(
            (won, count(StatusCode::PRECONDITION_FAILED)),
            (1, 7),
            "{path}"
        );
    }
    // An addition counts from when it is accepted, not from when it is done.
    let etag = etag(&fleet).await;
    let add = |name: &str| {
        let (url, body) = (format!("{fleet}/replicas"), json!({"names": [name]}));
        let etag = etag.clone();
        async move { ask_with(Method::POST, &url, &[("If-Match", &etag)], Some(body)).await }
    };
    let (one, other) = futures::join!(add("S4"), add("S5"));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 412]);
}

#[actix_web::test]
async fn version_changes_with_what_is_configured_and_not_with_what_happens() {
    let (balancer, fleet) = start(&[]).await;
    let before = etag(&fleet).await;
    signal(balancer.child("Server2"), "KILL");
    eventually("it is healed", || async {
        let server2 = get(&format!("{fleet}/replicas/Server2")).await.body;
        server2["generation"] == 2 && server2["state"] == "ready"
    })
    .await;
    get(&balancer.url("/home")).await;
    let restarted = ask(
        Method::POST,
        &format!("{fleet}/replicas/Server1/restart"),
        None,
    )
    .await;
    assert_eq!(restarted.status, StatusCode::OK);
    let dry_run = format!("{fleet}/ring?dry_run=true");
    let would = patch_if(&before, &dry_run, json!({"strategy": "maglev"})).await;
    assert_eq!(would.status, StatusCode::OK);
    for (path, body) in [
        ("", json!({"desired_replicas": "many"})),
        ("/ring", json!({"strategy": "maglev", "slots": 1})),
        ("/replicas/Server1", json!({"weight": 0})),
    ] {
        let refused = patch_if(&before, &format!("{fleet}{path}"), body).await;
        assert!(
            refused.status.is_client_error(),
            "{path}: {:?}",
            refused.body
        );
    }
    let taken = json!({"names": ["Server1"]});
    let refused = ask(Method::POST, &format!("{fleet}/replicas"), Some(taken)).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(etag(&fleet).await, before);
    // The calls of the first release change it as well.
    balancer.add(json!({"n": 1, "hostnames": ["S4"]})).await;
    let added = etag(&fleet).await;
    assert_ne!(added, before);
    balancer.rm(json!({"n": 1, "hostnames": ["S4"]})).await;
    assert_ne!(etag(&fleet).await, added);
    // Another start has other versions.
    let (_other, fleet) = start(&[]).await;
    assert_ne!(etag(&fleet).await, before);
}

#[actix_web::test]
async fn known_version_is_answered_without_a_body() {
    let (_balancer, fleet) = start(&[]).await;
    let known = etag(&fleet).await;
    for path in VERSIONED {
        let url = format!("{fleet}{path}");
        for (tags, status) in [
            (known.clone(), 304),
            (format!("W/{known}"), 304),
            (format!("\"x,y\", {known}"), 304),
            ("*".to_owned(), 304),
            ("\"x\"".to_owned(), 200),
        ] {
            let headers = [("If-None-Match", tags.as_str())];
            let read = ask_with(Method::GET, &url, &headers, None).await;
            assert_eq!(read.status.as_u16(), status, "{path}: {tags}");
            assert_eq!(read.header("etag"), known);
            assert_eq!(read.body.is_null(), status == 304);
        }
        let outdated = [("If-Match", "\"x\"")];
        let read = ask_with(Method::GET, &url, &outdated, None).await;
        assert_eq!(read.status, StatusCode::PRECONDITION_FAILED, "{path}");
    }
}

#[actix_web::test]
async fn malformed_tags_are_refused_and_change_nothing() {
    let (_balancer, fleet) = start(&[]).await;
    let before = (configured(&fleet).await, etag(&fleet).await);
    for (method, path, body) in changes() {
        let url = format!("{fleet}{path}");
        let headers = [("If-Match", "1a2b")];
        let refused = ask_with(method.clone(), &url, &headers, body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{method} {path}");
        assert_eq!(refused.body["type"], "/api/problems/invalid-header");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.starts_with("if-match must be"), "{detail}");
    }
    assert_eq!((configured(&fleet).await, etag(&fleet).await), before);
    let headers = [("If-None-Match", "\"a")];
    let refused = ask_with(Method::GET, &fleet, &headers, None).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn rollout_is_based_on_a_version_and_makes_another() {
    let (_balancer, fleet) = start(&["--replicas", "1"]).await;
    let before = etag(&fleet).await;
    let url = format!("{fleet}/rollouts");
    let body = json!({"env": {"VERSION": "2"}});
    let start = async |tag: &str| {
        ask_with(Method::POST, &url, &[("If-Match", tag)], Some(body.clone())).await
    };
    let refused = start("\"x\"").await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(get(&url).await.body["items"], json!([]));
    let begun = start(&before).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{:?}", begun.body);
    assert_ne!(etag(&fleet).await, before);
}
