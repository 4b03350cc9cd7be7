//! Bodies that are large, and bodies that drip.

use std::io::{self, Write};
use std::net::TcpStream as Blocking;
use std::sync::LazyLock;

use crate::pipelining::{A, B};
use crate::raw_client::Client;
use crate::replica::{path_of, replica, the_end};
use crate::support::{eventually, resident_kib};
use crate::{before, with};

const LARGE: usize = 4 << 20;

/// No two places within 64 KiB of it look alike.
static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let places = (0..LARGE as u32).step_by(4);
    places
        .flat_map(|place| place.wrapping_mul(0x9E37_79B1).to_le_bytes())
        .collect()
});

/// Tells the same body in one of three ways.
fn tell_large(path: &str, stream: &mut Blocking) -> io::Result<()> {
    let body = &*BODY;
    match path {
        "/counted" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
            stream.write_all(body)
        }
        "/chunked" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let mut left = &body[..];
            let mut sizes = [1, 100, 8 << 10, 70_000, 7, 8191, 300_000].iter().cycle();
            while !left.is_empty() {
                let (chunk, more) = left.split_at(left.len().min(*sizes.next().unwrap()));
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
                left = more;
            }
            stream.write_all(b"0\r\n\r\n")
        }
        _ => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n")?;
            stream.write_all(body)?;
            the_end()
        }
    }
}

#[actix_web::test]
async fn large_response_read_slowly_arrives_whole() {
    let port = replica(|request, stream| tell_large(path_of(request), stream));
    let balancer = before(port).await;
    for path in ["/counted", "/chunked", "/until-the-end"] {
        let mut client = Client::slow(&balancer).await;
        client
            .say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        eventually("nobody takes more", || async { client.queues().unsent > 0 }).await;
        let answer = client.answer("GET").await;
        assert!(answer.body == *BODY, "{path}");
        // The connection is good for another.
        client
            .say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        assert!(client.answer("GET").await.body == *BODY, "{path}");
    }
}

/// What a client says behind its last request goes to nobody. It must not cost the client the
/// answer, either: a socket that is closed with something unread in it forgets what it has to send.
#[actix_web::test]
async fn last_response_arrives_whole_with_unread_input() {
    let port = replica(|request, stream| tell_large(path_of(request), stream));
    let balancer = before(port).await;
    let mut client = Client::slow(&balancer).await;
    client
        .say("GET /counted HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    eventually("nobody takes more", || async { client.queues().unsent > 0 }).await;
    client.say(A).await;
    client.is_heard().await;
    client.say(B).await;
    let answer = client.answer("GET").await;
    assert!(answer.body == *BODY);
    assert_eq!(client.rest().await, "");
}

/// What they do not take is with the kernel, but for a piece each.
#[actix_web::test]
async fn many_stalled_readers_cost_little_memory() {
    const CLIENTS: usize = 200;
    let port = replica(|request, stream| tell_large(path_of(request), stream));
    // However long it takes this test to look at them all.
    let balancer = with(port, &["--min-body-rate=0"]).await;
    let before = resident_kib(balancer.pid());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::slow(&balancer).await;
        client.say("GET /counted HTTP/1.1\r\nHost: x\r\n\r\n").await;
        clients.push(client);
    }
    for client in &clients {
        eventually("it takes no more", || async { client.queues().unsent > 0 }).await;
    }
    // By then all that could be read ahead for the others has been.
    assert!(clients[0].answer("GET").await.body == *BODY);
    let grown = resident_kib(balancer.pid()).saturating_sub(before);
    assert!(grown < 40 * 1024, "{grown} KiB for {CLIENTS} clients");
}

/// A byte of it may be kept for a second attempt, and not the room with it that it was read
/// into; nor are so many pieces.
#[actix_web::test]
async fn dripping_request_body_costs_little_memory() {
    const DROPS: usize = 60_000;
    const REST: usize = 128 * 1024;
    let port = replica(|_, stream| stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"));
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    let before = resident_kib(balancer.pid());
    client
        .say(&format!(
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            DROPS + REST
        ))
        .await;
    client.is_heard().await;
    for _ in 0..DROPS {
        client.say("x").await;
        // Lets the readers run, or drops would be joined.
        tokio::task::yield_now().await;
    }
    client.is_heard().await;
    let grown = resident_kib(balancer.pid()).saturating_sub(before);
    assert!(grown < 1024, "{grown} KiB for {DROPS} bytes");
    client.say(&"x".repeat(REST)).await;
    assert!(client.answer("PUT").await.head.contains(" 204 "));
}
