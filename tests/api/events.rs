//! `GET /api/v1/events`: pages, and server-sent events.

use awc::http::StatusCode;
use futures::StreamExt;
use serde_json::Value;

use crate::support::{Ringmaster, client, eventually, get, items, signal, wire};

#[actix_web::test]
async fn stream_goes_on_where_the_client_was_and_shows_what_happens() {
    let args = ["--replicas", "2", "--admin", "127.0.0.1:0"];
    let balancer = Ringmaster::ready(&args).await;
    let url = format!("{}/api/v1/events", balancer.admin_url().await);
    eventually("both are ready", || async {
        balancer
            .events()
            .await
            .iter()
            .filter(|e| e["event"] == "ready")
            .count()
            == 2
    })
    .await;
    let page = get(&format!("{url}?limit=2")).await;
    assert_eq!(page.status, StatusCode::OK);
    let first: Vec<Value> = items(&page.body);
    assert_eq!(
        (&first[0]["id"], &first[0]["fleet"]),
        (&Value::from(1), &Value::from("default"))
    );
    assert_eq!(page.body["next"], "2");

    let request = client()
        .get(&url)
        .insert_header(("Accept", "text/event-stream"));
    let request = request.insert_header(("Last-Event-ID", "2"));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers().get("content-type").unwrap(),
        "text/event-stream"
    );
    signal(balancer.child("Server2"), "KILL");
    let mut text = String::new();
    while text.matches("\"event\":\"evicted\"").count() == 0 {
        let chunk = wire::in_time(response.next()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(
        text.starts_with("retry: 1000\n\nid: 3\ndata: {\"id\":3,"),
        "{text}"
    );
    let numbers = text.lines().filter_map(|line| line.strip_prefix("id: "));
    let numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );

    let request = client()
        .get(&url)
        .insert_header(("Accept", "text/event-stream"));
    let wrong = request
        .insert_header(("Last-Event-ID", "x"))
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}
