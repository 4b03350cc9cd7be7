//! The admin listener itself: its address, slow clients, health, old paths.

use awc::http::StatusCode;
use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::admin::start;
use crate::support::wire;
use crate::support::{Ringmaster, eventually, get};

/// A client that holds a connection without sending a request is disconnected, as on the main
/// listener.
#[actix_web::test]
async fn admin_client_that_is_slow_is_disconnected() {
    // Long enough for a busy machine to send a whole head in time; the clients wait side by side.
    let times = [
        "--header-timeout",
        "2s",
        "--body-timeout",
        "300ms",
        "--keep-alive-timeout",
        "2s",
    ];
    let (balancer, admin) = start(&[&["--replicas", "1"], &times[..]].concat()).await;
    let admin = admin.strip_prefix("http://").unwrap();
    let half = |path: &str| {
        format!(
            "PATCH {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
        )
    };
    let json = "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let whole = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let cases = [
        (admin, String::new(), " 408 Request Timeout\r\n"),
        (admin, "GET /hea".to_owned(), " 408 Request Timeout\r\n"),
        (admin, whole.to_owned(), " 200 OK\r\n"),
        (
            admin,
            format!("{whole}GET /hea"),
            " 408 Request Timeout\r\n",
        ),
        (
            admin,
            half("/api/v1/fleets/default/ring"),
            " 408 Request Timeout\r\n",
        ),
        (
            balancer.address(),
            format!("POST /add HTTP/1.1\r\nHost: localhost\r\n{json}"),
            " 408 Request Timeout\r\n",
        ),
        (
            balancer.address(),
            format!("DELETE /rm HTTP/1.1\r\nHost: localhost\r\n{json}"),
            " 408 Request Timeout\r\n",
        ),
    ];
    let clients = cases.map(|(address, said, last)| async move {
        let got = wire::told(address, said.as_bytes()).await;
        let answer = got.rsplit("HTTP/1.1").next().unwrap();
        assert!(answer.starts_with(last), "{said:?}: {got:?}");
    });
    join_all(clients).await;
    // A head after a pause is timed as the first is.
    let mut client = TcpStream::connect(admin).await.unwrap();
    client.write_all(whole.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    wire::in_time(client.read(&mut answer)).await.unwrap();
    client.write_all(b"GET /he").await.unwrap();
    let got = wire::in_time(wire::rest(&mut client)).await;
    assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
}

#[actix_web::test]
async fn health_of_the_balancer_is_whether_it_can_serve() {
    let args = ["--upstream", "127.0.0.1:9", "--admin", "127.0.0.1:0"];
    let balancer = Ringmaster::start(&args);
    let admin = balancer.admin_url().await;
    assert_eq!(
        get(&format!("{admin}/healthz")).await.status,
        StatusCode::OK
    );
    let reply = get(&format!("{admin}/readyz")).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.body, json!({"ready": false, "ready_replicas": 0}));
    let (_ready, admin) = start(&["--replicas", "1"]).await;
    let reply = get(&format!("{admin}/readyz")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body, json!({"ready": true, "ready_replicas": 1}));
}

#[actix_web::test]
async fn old_paths_lead_to_their_successors() {
    let (_balancer, admin) = start(&["--replicas", "1"]).await;
    for (path, successor) in [
        ("/status", "/api/v1/status"),
        ("/deaths?limit=3", "/api/v1/fleets/default/deaths?limit=3"),
        (
            "/ring?dry_run=true",
            "/api/v1/fleets/default/ring?dry_run=true",
        ),
    ] {
        let asked = crate::support::client()
            .patch(format!("{admin}{path}"))
            .send();
        let response = asked.await.unwrap();
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT, "{path}");
        assert_eq!(response.headers().get("location").unwrap(), successor);
    }
}

#[actix_web::test]
async fn admin_listener_is_on_by_default_and_takes_the_next_free_port() {
    // Of two, one at the least finds the port taken, whatever the balancers of other tests have.
    let default = "http://127.0.0.1:5001";
    let first = Ringmaster::start(&["--replicas", "1"]);
    let second = Ringmaster::start(&["--replicas", "1"]);
    let (balancer, url) = match second.admin_url().await {
        url if url == default => (&first, first.admin_url().await),
        url => (&second, url),
    };
    assert_ne!(url, default);
    assert_eq!(get(&format!("{url}/healthz")).await.status, StatusCode::OK);
    let address = url.strip_prefix("http://").unwrap();
    let told = format!("is taken: the admin API is at {address}");
    balancer.has_logged(&told, 1).await;
    let off = Ringmaster::start(&["--replicas", "1", "--admin", "off"]);
    eventually("the start-up text", || async {
        off.text().contains("stop ")
    })
    .await;
    assert!(!off.text().contains("admin"), "{}", off.text());
}
