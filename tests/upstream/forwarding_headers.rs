//! What replicas learn of a request's way, and from whom they may learn it.

use crate::support::Ringmaster;
use crate::support::wire::{Scripted, told, values};

const EMPTY: &str = "HTTP/1.1 200 OK\r\nvia: 1.1 shop\r\ncontent-length: 0\r\n\r\n";
const SAID: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\
     X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\nX-Forwarded-Proto: https\r\n\
     X-Forwarded-Host: www.example\r\nX-Forwarded-Port: 443\r\nForwarded: for=192.0.2.1\r\n\
     Via: 1.1 before\r\nX-Request-ID: 271828\r\n\r\n";

#[actix_web::test]
async fn untrusted_client_cannot_set_forwarding_headers() {
    let replica = Scripted::saying(EMPTY).await;
    // Another address is trusted.
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
async fn trusted_proxy_sets_the_client_address() {
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

/// A balancer before four servers.
struct Four {
    balancer: Ringmaster,
    servers: Vec<Scripted>,
}

impl Four {
    async fn start(args: &[&str]) -> Self {
        let mut servers = Vec::new();
        for _ in 0..4 {
            servers.push(Scripted::saying(EMPTY).await);
        }
        let upstreams = servers.iter().map(|s| format!("127.0.0.1:{}", s.port));
        let upstreams: Vec<String> = upstreams.collect();
        let mut all = vec!["--workers", "1"];
        all.extend(upstreams.iter().flat_map(|at| ["--upstream", at]));
        all.extend(args);
        let balancer = Ringmaster::ready(&all).await;
        Self { balancer, servers }
    }

    /// Which server is asked, and the id that it is told.
    async fn ask(&self, fields: &str) -> (usize, String) {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        told(self.balancer.address(), request.as_bytes()).await;
        let asked = self.servers.iter().enumerate().find_map(|(place, server)| {
            let request = server.take_requests().pop()?;
            Some((place, values(&request, "x-request-id")[0].to_owned()))
        });
        asked.unwrap()
    }
}

#[actix_web::test]
async fn request_id_is_the_key_of_the_request() {
    let four = Four::start(&[]).await;
    for fields in ["", "X-Request-ID:\r\n"] {
        for _ in 0..8 {
            let (server, id) = four.ask(fields).await;
            let number: u64 = id.parse().unwrap();
            assert!((100_000..1_000_000).contains(&number), "{id}");
            let again = four.ask(&format!("X-Request-ID: {id}\r\n")).await;
            assert_eq!(again, (server, id));
        }
    }
}

/// With `--key client-ip`, everybody behind a proxy would share one replica.
#[actix_web::test]
async fn trusted_proxy_clients_are_keyed_by_their_address() {
    let args = [
        "--key",
        "client-ip",
        "--balance-factor",
        "none",
        "--trusted-proxy",
    ];
    // Whom all but the last of these come from says nothing that counts.
    let ways = |client: u8| {
        [
            format!("X-Forwarded-For: 192.0.2.{client}\r\n"),
            format!("X-Forwarded-For: 198.51.100.7, 192.0.2.{client}\r\n"),
            format!(
                "X-Forwarded-For: 198.51.100.8\r\nX-Forwarded-For: 192.0.2.{client}, 127.0.0.3\r\n"
            ),
        ]
    };
    let trusting = Four::start(&[&args[..], &["127.0.0.0/8"]].concat()).await;
    let mut asked = Vec::new();
    for client in 1..=16 {
        let mut by_way = Vec::new();
        for way in ways(client) {
            by_way.push(trusting.ask(&way).await.0);
        }
        by_way.dedup();
        assert_eq!(by_way.len(), 1, "{client}");
        asked.extend(by_way);
    }
    asked.sort_unstable();
    asked.dedup();
    assert!(asked.len() > 1, "{asked:?}");

    let strict = Four::start(&[&args[..], &["10.0.0.0/8"]].concat()).await;
    let mut asked = Vec::new();
    for client in 1..=16 {
        asked.push(strict.ask(&ways(client)[0]).await.0);
    }
    asked.dedup();
    assert_eq!(asked.len(), 1, "{asked:?}");
}
