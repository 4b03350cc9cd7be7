//! Maintenance: 503 and a page, while the fleet is looked after.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Reply, Ringmaster, ask, ask_with, eventually, get, signal};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

async fn start(more: &[&str]) -> (Ringmaster, String) {
    let balancer = Ringmaster::ready(&[&ADMIN[..], more].concat()).await;
    let fleet = balancer.status_url().await;
    (balancer, fleet)
}

async fn begin(fleet: &str, body: Value) -> Reply {
    ask(Method::PUT, &format!("{fleet}/maintenance"), Some(body)).await
}

async fn end(fleet: &str) -> Reply {
    ask(Method::DELETE, &format!("{fleet}/maintenance"), None).await
}

/// The status, headers and text of a page.
async fn page(balancer: &Ringmaster) -> (StatusCode, [String; 3], String) {
    let sent = awc::Client::new().get(balancer.url("/home")).send().await;
    let mut response = sent.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    let headers = ["retry-after", "content-type", "cache-control"].map(header);
    let text = response.body().await.unwrap();
    (
        response.status(),
        headers,
        String::from_utf8(text.to_vec()).unwrap(),
    )
}

#[actix_web::test]
async fn every_request_gets_the_page_while_the_fleet_is_looked_after() {
    let (balancer, fleet) = start(&["--rollout-monitor", "100ms"]).await;
    // One that waits gets it, too.
    ask(Method::POST, &format!("{fleet}/pause"), Some(json!({}))).await;
    let url = balancer.url("/home");
    let held = actix_web::rt::spawn(async move { get(&url).await });
    eventually("a request waits", || async {
        get(&fleet).await.body["pause"]["waiting"] == 1
    })
    .await;
    let begun = begin(
        &fleet,
        json!({"page": "<h1>Noon</h1>", "retry_after_seconds": 7}),
    )
    .await;
    assert_eq!(begun.status, StatusCode::OK, "{:?}", begun.body);
    assert_eq!(begun.body["maintenance"]["page_bytes"], 13);
    let held = held.await.unwrap();
    assert_eq!(
        (held.status.as_u16(), held.header("retry-after")),
        (503, "7")
    );
    // The pause's end does not end it.
    let resume = ask(Method::POST, &format!("{fleet}/resume"), None).await;
    assert_eq!(resume.status, StatusCode::OK);

    let (status, headers, text) = page(&balancer).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers, ["7", "text/html; charset=utf-8", "no-store"]);
    assert_eq!(text, "<h1>Noon</h1>");
    let posted = ask(Method::POST, &balancer.url("/echo"), Some(json!({}))).await;
    assert_eq!(posted.status, StatusCode::SERVICE_UNAVAILABLE);

    signal(balancer.child("Server1"), "KILL");
    let back = "Server1 (generation 2) is ready at";
    balancer.has_logged(back, 1).await;
    let new = json!({"env": {"COLOUR": "blue"}});
    let rollout = ask(Method::POST, &format!("{fleet}/rollouts"), Some(new)).await;
    assert_eq!(rollout.status, StatusCode::CREATED, "{:?}", rollout.body);
    balancer.has_logged("rollout 1 is done", 1).await;
    assert_eq!(page(&balancer).await.0, StatusCode::SERVICE_UNAVAILABLE);

    assert_eq!(end(&fleet).await.body["maintenance"], Value::Null);
    assert_eq!(page(&balancer).await.0, StatusCode::OK);
    assert_eq!(end(&fleet).await.status, StatusCode::OK);
    let events = balancer.events().await;
    let kinds = ["maintenance_on", "maintenance_off"];
    let kinds = kinds.map(|kind| events.iter().filter(|event| event["event"] == kind).count());
    assert_eq!(kinds, [1, 1]);
}

#[actix_web::test]
async fn maintenance_outlives_the_balancer_and_shows_the_page_of_the_flags() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("page.html"), "<h1>Soon</h1>").unwrap();
    let (state, file) = (path("state.json"), path("page.html"));
    let args = ["--state", &state, "--maintenance-page", &file];
    let (balancer, fleet) = start(&args).await;
    assert_eq!(begin(&fleet, json!({})).await.status, StatusCode::OK);
    let shown = page(&balancer).await;
    assert_eq!(
        (shown.1[0].as_str(), shown.2.as_str()),
        ("60", "<h1>Soon</h1>")
    );
    let (status, log) = balancer.terminate().await;
    assert!(status.success(), "{log}");

    let (balancer, fleet) = start(&args).await;
    assert_eq!(page(&balancer).await, shown);
    balancer
        .has_logged("maintenance: every request is answered with 503", 1)
        .await;
    end(&fleet).await;
    assert_eq!(page(&balancer).await.0, StatusCode::OK);
}

#[actix_web::test]
async fn page_that_cannot_be_shown_is_refused() {
    let (balancer, fleet) = start(&[]).await;
    let large = "x".repeat(64 * 1024 + 1);
    for (body, status, part) in [
        (json!({"page": large}), 422, "up to 65536 are allowed"),
        (
            json!({"retry_after_seconds": 0}),
            400,
            "1 to 86400 are allowed",
        ),
        (json!({"text": "x"}), 400, "text"),
    ] {
        let refused = begin(&fleet, body).await;
        assert_eq!(refused.status, status, "{:?}", refused.body);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{detail}");
    }
    let url = format!("{fleet}/maintenance");
    let outdated = [("If-Match", "\"0-0\"")];
    let refused = ask_with(Method::PUT, &url, &outdated, Some(json!({}))).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(page(&balancer).await.0, StatusCode::OK);
}
