//! What goes through: methods, paths, bodies and header fields, to the byte.
//!
//! The upstream is scripted with a raw socket, so that what is on the wire is seen and
//! not what a library makes of it.

use std::sync::{Arc, Mutex};

use awc::http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::wire::{Scripted, read_request, told};
use crate::support::{Ringmaster, client};

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn last(upstream: &Scripted) -> String {
    upstream.take_requests().pop().unwrap_or_default()
}

/// Sends a request and returns everything that comes until the end of the connection.
async fn raw(balancer: &Ringmaster, request: &str) -> String {
    told(balancer.address(), request.as_bytes()).await
}

#[actix_web::test]
async fn method_path_and_query_pass_unchanged() {
    let upstream = Scripted::saying(EMPTY).await;
    let balancer = upstream.balancer(&[]).await;
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/a/../b//c/./d"),
        ("PATCH", "/caf%C3%A9/%2e%2e/x;y=1"),
        ("DELETE", "/rep/"),
        ("POST", "/%72ep"),
        ("OPTIONS", "/x?"),
        ("BREW", "/pot?a=1&a=2&b=%20+%2F"),
        ("GET", "/heartbeats?x=/add"),
        ("GET", "/<\"`>{|}\\^\u{fc}?<\"`>{|}\\^\u{fc}"),
    ] {
        raw(&balancer, &format!("{method} {target} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
        let sent = last(&upstream);
        assert!(
            sent.starts_with(&format!("{method} {target} HTTP/1.1\r\n")),
            "{sent}"
        );
        assert!(sent.contains("\r\nHost: shop.example\r\n"), "{sent}");
    }
}

#[actix_web::test]
async fn bodies_of_known_and_unknown_length_pass() {
    let upstream = Scripted::saying(EMPTY).await;
    let balancer = upstream.balancer(&[]).await;
    raw(
        &balancer,
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    )
    .await;
    let sent = last(&upstream);
    assert!(
        sent.contains("\r\ncontent-length: 5\r\n") && sent.ends_with("\r\n\r\nhello"),
        "{sent}"
    );
    assert!(!sent.contains("chunked"), "{sent}");

    raw(&balancer, "PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    let sent = last(&upstream);
    assert!(
        sent.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{sent}"
    );
    assert!(!sent.contains("content-length"), "{sent}");
    assert!(sent.contains("abc") && sent.contains("de"), "{sent}");
}

#[actix_web::test]
async fn headers_pass_except_hop_by_hop() {
    let upstream = Scripted::saying(
        "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-private: 1\r\n\
         connection: keep-alive, x-private\r\nkeep-alive: timeout=5\r\ncontent-encoding: gzip\r\n\
         content-length: 3\r\n\r\nabc",
    )
    .await;
    let balancer = upstream.balancer(&[]).await;
    let got = raw(
        &balancer,
        "GET /h HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br\r\nX-Two: 1\r\nX-Two: 2\r\nTE: deflate\r\n\
         X-Hop: 1\r\nConnection: close, x-hop\r\nProxy-Authorization: secret\r\n\
         Expect: 200-maybe\r\n\r\n",
    )
    .await
    .to_ascii_lowercase();
    let sent = last(&upstream).to_ascii_lowercase();
    assert!(sent.contains("\r\naccept-encoding: br\r\n"), "{sent}");
    assert!(sent.contains("\r\nx-two: 1\r\nx-two: 2\r\n"), "{sent}");
    for hop in [
        "x-hop:",
        "te:",
        "proxy-authorization:",
        "connection:",
        "user-agent:",
        "content-length:",
        "date:",
        "expect:",
    ] {
        assert!(!sent.contains(&format!("\r\n{hop}")), "{hop} in {sent}");
    }
    assert!(
        got.contains("\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n"),
        "{got}"
    );
    assert!(got.contains("\r\ncontent-encoding: gzip\r\n"), "{got}");
    assert!(
        got.contains("\r\ncontent-length: 3\r\n") && got.ends_with("\r\n\r\nabc"),
        "{got}"
    );
    assert!(
        !got.contains("x-private") && !got.contains("keep-alive"),
        "{got}"
    );
}

#[actix_web::test]
async fn date_header_passes_unchanged() {
    let upstream = Scripted::saying(EMPTY).await;
    let balancer = upstream.balancer(&[]).await;
    for body in ["", "Content-Length: 5\r\n"] {
        let end = if body.is_empty() { "" } else { "hello" };
        raw(
            &balancer,
            &format!("PUT /d HTTP/1.1\r\nHost: x\r\n{body}Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nConnection: close\r\n\r\n{end}"),
        )
        .await;
        let sent = last(&upstream);
        assert_eq!(sent.matches("Date: ").count(), 1, "{sent}");
        assert!(
            sent.contains("\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n"),
            "{sent}"
        );
        assert!(sent.ends_with(&format!("\r\n\r\n{end}")), "{sent}");
    }
}

#[actix_web::test]
async fn head_response_keeps_its_length_without_a_body() {
    let upstream = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
    let balancer = upstream.balancer(&[]).await;
    let got = raw(
        &balancer,
        "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        got.to_ascii_lowercase()
            .contains("\r\ncontent-length: 1234\r\n"),
        "{got}"
    );
    assert!(got.ends_with("\r\n\r\n"), "{got}");
}

#[actix_web::test]
async fn bodiless_status_ends_with_its_head() {
    for (response, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", "204"),
        ("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n", "304"),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            "304",
        ),
    ] {
        let upstream = Scripted::saying(response).await;
        let balancer = upstream.balancer(&[]).await;
        let got = raw(
            &balancer,
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
        assert!(
            got.ends_with("\r\n\r\n") && !got.contains("chunked"),
            "{got}"
        );
        // The length that the body would have had is the client's to know.
        let told = response.contains("content-length: 9");
        assert_eq!(got.contains("content-length: 9"), told, "{got}");
    }
}

#[actix_web::test]
async fn large_bodies_stream_both_ways() {
    let balancer = Ringmaster::ready(&["--replicas", "1"]).await;
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let sent = client()
        .request(Method::POST, balancer.url("/echo"))
        .send_body(body.clone())
        .await;
    let mut response = sent.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let echoed = response.body().limit(10_000_000).await.unwrap();
    assert!(echoed == body);
}

#[actix_web::test]
async fn post_that_was_sent_is_never_retried_and_a_get_once() {
    // Takes the request and hangs up.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(request) = read_request(&mut stream).await else {
                continue;
            };
            if request.starts_with("GET /heartbeat ") {
                let _ = stream.write_all(EMPTY.as_bytes()).await;
            } else {
                kept.lock().unwrap().push(request);
            }
        }
    });
    // Two names for the same server, so that there is a next replica.
    let balancer = Ringmaster::ready(&[
        "--upstream",
        &format!("a=127.0.0.1:{port}"),
        "--upstream",
        &format!("b=localhost:{port}"),
    ])
    .await;
    for (method, times) in [(Method::POST, 1), (Method::GET, 2), (Method::PUT, 2)] {
        requests.lock().unwrap().clear();
        let sent = client()
            .request(method.clone(), balancer.url("/x"))
            .send_body("hello")
            .await;
        assert_eq!(sent.unwrap().status(), StatusCode::BAD_GATEWAY, "{method}");
        let requests = requests.lock().unwrap();
        assert_eq!(requests.len(), times, "{method}: {requests:?}");
        assert!(
            requests.iter().all(|request| request.ends_with("hello")),
            "{requests:?}"
        );
    }
}

#[actix_web::test]
async fn truncated_response_is_not_complete() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(request) = read_request(&mut stream).await else {
                continue;
            };
            let answer = if request.starts_with("GET /heartbeat ") {
                EMPTY
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let balancer = Ringmaster::ready(&["--upstream", &format!("127.0.0.1:{port}")]).await;
    // A 502, if the end came before the head was out; else less than the head promises. Either
    // way the connection ends although neither side asked for that.
    let got = raw(&balancer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    if head.starts_with("HTTP/1.1 502 ") {
        assert!(body.contains("\"status\":\"failure\""), "{got}");
    } else {
        assert!(head.contains("content-length: 100"), "{got}");
        assert!(body.len() < 100, "{got}");
    }
}

/// What a session is answered by, and the cookie that it is given.
async fn in_session(balancer: &Ringmaster, cookie: Option<&str>) -> (String, Option<String>) {
    let request = client().get(balancer.url("/whoami"));
    let request = match cookie {
        Some(cookie) => request.insert_header(("cookie", format!("a=1; {cookie}; b=2"))),
        None => request,
    };
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let given = response.headers().get("set-cookie");
    let given = given.map(|value| value.to_str().unwrap().to_owned());
    if given.is_some() {
        assert_eq!(response.headers().get("cache-control").unwrap(), "private");
    }
    let body: serde_json::Value = response.json().await.unwrap();
    let text = body.to_string();
    assert!(!text.contains("rm="), "the replica sees it: {text}");
    assert_eq!(cookie.is_some(), text.contains("a=1; b=2"), "{text}");
    (body["id"].as_str().unwrap().to_owned(), given)
}

#[actix_web::test]
async fn session_sticks_through_a_respawn_and_another_balancer() {
    let args = [
        "--sticky-cookie",
        "rm",
        "--sticky-ttl",
        "1h",
        "--replicas",
        "3",
        "--admin",
        "127.0.0.1:0",
    ];
    let balancer = Ringmaster::ready(&args).await;
    let other = Ringmaster::ready(&args).await;
    let mut replicas = std::collections::HashSet::new();
    for _ in 0..30 {
        let (replica, given) = in_session(&balancer, None).await;
        let given = given.expect("a cookie with the first answer");
        let (cookie, attributes) = given.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
        for asked in [&balancer, &other] {
            let again = in_session(asked, Some(cookie)).await;
            assert_eq!(again, (replica.clone(), None));
        }
        replicas.insert(replica);
    }
    assert_eq!(replicas.len(), 3, "{replicas:?}");
    let (replica, given) = in_session(&balancer, None).await;
    let cookie = given.unwrap().split_once(';').unwrap().0.to_owned();
    let name = format!("Server{replica}");
    crate::support::signal(balancer.child(&name), "KILL");
    // Every thread has it on its ring by then, which the log does not say.
    balancer.event_of(&name, 2, "ready").await;
    assert_eq!(in_session(&balancer, Some(&cookie)).await, (replica, None));
}

#[actix_web::test]
async fn session_cookie_is_secure_behind_tls_and_keeps_cache_control() {
    let replica = Scripted::saying(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=5\r\nSet-Cookie: own=1\r\n\r\nok",
    )
    .await;
    let upstream = format!("127.0.0.1:{}", replica.port);
    let args = ["--upstream", &upstream, "--sticky-cookie", "rm"];
    let balancer =
        Ringmaster::ready(&[&args[..], &["--trusted-proxy", "127.0.0.1/32"]].concat()).await;
    for (proto, is_secure) in [("https", true), ("https, http", true), ("http", false)] {
        let request = client().get(balancer.url("/"));
        let request = request.insert_header(("x-forwarded-proto", proto));
        let response = request.send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers.get("cache-control").unwrap(), "max-age=5");
        let cookies: Vec<_> = headers
            .get_all("set-cookie")
            .map(|v| v.to_str().unwrap())
            .collect();
        assert_eq!(cookies.len(), 2, "{cookies:?}");
        let ours = cookies
            .iter()
            .find(|cookie| cookie.starts_with("rm="))
            .unwrap();
        assert_eq!(ours.ends_with("; Secure"), is_secure, "{ours}");
    }
    // Nothing of ours is told by ours.
    let response = client().get(balancer.url("/rep")).send().await.unwrap();
    assert!(!response.headers().contains_key("set-cookie"));
}
