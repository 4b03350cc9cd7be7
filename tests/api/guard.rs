//! Who may use the calls of the client port that change replicas.

use serde_json::json;

use crate::support::wire;
use crate::support::{Ringmaster, get};

/// A request on a connection of its own; the response.
async fn raw(address: &str, line: &str, fields: &str, body: &str) -> String {
    let request = format!(
        "{line} HTTP/1.1\r\nConnection: close\r\n{fields}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    wire::told(address, request.as_bytes()).await
}

fn status_of(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

#[actix_web::test]
async fn changes_from_pages_foreign_hosts_and_proxies_are_refused() {
    let args = [
        "--replicas",
        "1",
        "--admin",
        "127.0.0.1:0",
        "--admin-host",
        "LB.example",
    ];
    let balancer =
        Ringmaster::ready(&[&args[..], &["--trusted-proxy", "127.0.0.1"]].concat()).await;
    let admin = balancer.admin_url().await;
    let admin = admin.strip_prefix("http://").unwrap();
    let client = balancer.address();
    let nothing = r#"{"n":1,"hostnames":["none","of","these"]}"#;
    let own = "Host: localhost\r\n";
    let page = "Host: localhost\r\nOrigin: http://localhost\r\n";
    let foreign = "Host: localhost\r\nOrigin: http://evil.example\r\n";
    let cross = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n";
    let rebound = "Host: evil.example\r\n";
    let named = "Host: lb.example:80\r\n";
    let forwarded = "Host: localhost\r\nX-Forwarded-For: 192.0.2.9\r\n";
    // What may be asked is wrong in itself: 400 says that it was read.
    for (line, fields, on_client, on_admin) in [
        ("POST /add", own, "400", "400"),
        ("POST /add", named, "400", "400"),
        ("POST /add", page, "403", "400"),
        ("POST /add", foreign, "403", "403"),
        ("POST /add", cross, "403", "403"),
        ("POST /add", rebound, "403", "403"),
        ("POST /add", forwarded, "403", "403"),
        ("DELETE /rm", own, "400", "400"),
        ("DELETE /rm", foreign, "403", "403"),
        ("DELETE /rm", forwarded, "403", "403"),
        ("GET /rep", own, "200", "200"),
        ("GET /rep", foreign, "200", "200"),
        ("GET /rep", forwarded, "200", "403"),
        ("GET /rep", rebound, "403", "403"),
        ("POST http://evil.example/add", own, "403", "403"),
    ] {
        for (address, expected) in [(client, on_client), (admin, on_admin)] {
            let response = raw(address, line, fields, nothing).await;
            assert_eq!(
                status_of(&response),
                expected,
                "{line} {fields} at {address}: {response}"
            );
        }
    }
    for (line, fields, expected) in [
        ("GET /api/v1/status", own, "200"),
        ("GET /api/v1/status", rebound, "403"),
        ("GET /api/v1/events", rebound, "403"),
        (
            "PATCH /api/v1/fleets/default/ring?dry_run=true",
            foreign,
            "403",
        ),
        ("PATCH /api/v1/fleets/default/ring?dry_run=true", own, "200"),
    ] {
        let response = raw(admin, line, fields, "{}").await;
        assert_eq!(
            status_of(&response),
            expected,
            "{line} {fields}: {response}"
        );
    }
    // The admin listener has the calls, too.
    let added = raw(admin, "POST /add", own, r#"{"n":1}"#).await;
    assert_eq!(status_of(&added), "200", "{added}");
    assert_eq!(balancer.replicas().await.len(), 2);
    assert_eq!(balancer.count_in_log("everyone who reaches"), 0);
}

#[actix_web::test]
async fn api_that_is_off_leaves_its_paths_to_the_application() {
    let replica = wire::Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let upstream = format!("127.0.0.1:{}", replica.port);
    let args = [
        "--upstream",
        &upstream,
        "--admin-calls",
        "off",
        "--admin",
        "127.0.0.1:0",
    ];
    let balancer = Ringmaster::start(&args);
    crate::support::eventually("the replica is ready", || async {
        balancer.count_in_log("is ready at") == 1
    })
    .await;
    let admin = format!("{}/rep", balancer.admin_url().await);
    replica.take_requests();
    for line in ["GET /rep", "POST /add", "DELETE /rm"] {
        let fields = "Host: shop.example\r\nOrigin: http://shop.example\r\n";
        let response = raw(balancer.address(), line, fields, "{}").await;
        assert!(response.ends_with("hi"), "{line}: {response}");
        assert!(replica.take_requests()[0].starts_with(line));
    }
    assert_eq!(get(&admin).await.names().len(), 1);
}

/// An address of this machine that is not its loopback.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses the address.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[actix_web::test]
async fn changes_from_other_addresses_need_permission() {
    let Some(address) = own_address() else {
        let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!required, "CI=true, but this machine has no other address");
        eprintln!("SKIPPED: this machine has no other address");
        return;
    };
    for (args, expected, told) in [
        (&[][..], "403", "replicas are added and removed from"),
        (
            &["--admin-calls", "on"],
            "200",
            "and add and remove replicas",
        ),
    ] {
        let args = [&["--replicas", "1"], args].concat();
        let balancer = Ringmaster::start_at("0.0.0.0:0", &args, &[]);
        assert_eq!(balancer.add(json!({"n": 1})).await.names().len(), 2);
        let port = balancer.address().rsplit_once(':').unwrap().1;
        let elsewhere = format!("{address}:{port}");
        let host = format!("Host: {address}\r\n");
        let added = raw(&elsewhere, "POST /add", &host, r#"{"n":1}"#).await;
        assert_eq!(status_of(&added), expected, "{added}");
        let listed = raw(&elsewhere, "GET /rep", &host, "").await;
        assert_eq!(status_of(&listed), "200", "{listed}");
        balancer.has_logged(told, 1).await;
        balancer.has_logged("everyone who reaches", 1).await;
    }
}
