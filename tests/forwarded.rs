//! What replicas learn of a request's way, and from whom they may learn it.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod wire;

use wire::{Scripted, told, values};

const EMPTY: &str = "HTTP/1.1 200 OK\r\nvia: 1.1 shop\r\ncontent-length: 0\r\n\r\n";
const SAID: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\
     X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\nX-Forwarded-Proto: https\r\n\
     X-Forwarded-Host: www.example\r\nX-Forwarded-Port: 443\r\nForwarded: for=192.0.2.1\r\n\
     Via: 1.1 before\r\nX-Request-ID: 271828\r\n\r\n";

#[actix_web::test]
async fn a_stranger_cannot_say_who_it_is() {
    let replica = Scripted::saying(EMPTY).await;
    // Somebody else is trusted.
    let balancer = replica.balancer(&["--trusted-proxy", "10.0.0.0/8"]).await;
    let answer = told(balancer.address(), SAID).await;
    let asked = replica.take_requests().remove(0);
    for (name, expected) in [
        ("x-forwarded-for", &["127.0.0.1"][..]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-host", &["shop.example"]),
        ("x-forwarded-port", &[]),
        ("forwarded", &[]),
        ("via", &["1.1 before", "1.1 ringmaster"]),
        ("x-request-id", &["271828"]),
    ] {
        assert_eq!(values(&asked, name), expected, "{name} in {asked}");
    }
    assert_eq!(values(&answer, "via"), ["1.1 shop", "1.1 ringmaster"]);
}

#[actix_web::test]
async fn a_trusted_proxy_is_believed() {
    let replica = Scripted::saying(EMPTY).await;
    let trusted = [
        "--trusted-proxy",
        "10.0.0.0/8",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let balancer = replica.balancer(&trusted).await;
    told(balancer.address(), SAID).await;
    let asked = replica.take_requests().remove(0);
    for (name, expected) in [
        ("x-forwarded-for", &["192.0.2.1, 192.0.2.2, 127.0.0.1"][..]),
        ("x-forwarded-proto", &["https"]),
        ("x-forwarded-host", &["www.example"]),
        ("x-forwarded-port", &["443"]),
        ("forwarded", &["for=192.0.2.1"]),
    ] {
        assert_eq!(values(&asked, name), expected, "{name} in {asked}");
    }
}

#[actix_web::test]
async fn the_id_that_a_replica_sees_is_the_key_by_which_it_was_chosen() {
    let mut servers = Vec::new();
    let mut args = vec!["--workers".to_owned(), "1".to_owned()];
    for _ in 0..4 {
        let server = Scripted::saying(EMPTY).await;
        args.extend([
            "--upstream".to_owned(),
            format!("127.0.0.1:{}", server.port),
        ]);
        servers.push(server);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let balancer = common::Ringmaster::ready(&args).await;
    // The server that was asked, and the id that it was told.
    let ask = async |fields: String| {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        told(balancer.address(), request.as_bytes()).await;
        let asked = servers.iter().enumerate().find_map(|(place, server)| {
            let request = server.take_requests().pop()?;
            Some((place, values(&request, "x-request-id")[0].to_owned()))
        });
        asked.unwrap()
    };
    for fields in ["", "X-Request-ID:\r\n"] {
        for _ in 0..8 {
            let (server, id) = ask(fields.to_owned()).await;
            let number: u64 = id.parse().unwrap();
            assert!((100_000..1_000_000).contains(&number), "{id}");
            assert_eq!(ask(format!("X-Request-ID: {id}\r\n")).await, (server, id));
        }
    }
}
