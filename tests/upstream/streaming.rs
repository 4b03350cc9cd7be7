//! Bodies flow: a huge one costs no memory, and a small piece does not wait for the next.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;

use crate::support::threads::serve_in_threads;
use crate::support::{MAX_WAIT, Ringmaster};

/// Sixteen times what memory may grow by.
const HUGE: usize = 256 << 20;
/// To have all threads there before it counts.
const WARM_UP: usize = 1 << 20;
const MAX_GROWTH_KIB: u64 = 16 << 10;

fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return String::new(),
        }
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

/// A server that answers heartbeats itself. Each connection tells one story and must say that it
/// closes: an upload that meets a connection which closes unannounced is rightly not sent again.
fn server(story: impl Fn(&str, &mut TcpStream) + Send + Clone + 'static) -> u16 {
    serve_in_threads(move |mut stream| {
        let head = head_of(&mut stream);
        if head.starts_with("get /heartbeat ") {
            let well = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(well);
        } else if !head.is_empty() {
            story(&head, &mut stream);
        }
    })
}

async fn before(port: u16) -> Ringmaster {
    Ringmaster::ready(&["--workers", "1", "--upstream", &format!("127.0.0.1:{port}")]).await
}

fn pour(stream: &mut TcpStream, bytes: usize) {
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..bytes >> 20 {
        stream.write_all(&piece).unwrap();
    }
}

/// Reads this many bytes, a little slower than they could arrive.
fn drain(stream: &mut TcpStream, bytes: usize) {
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let most = left.min(buffer.len());
        let count = stream.read(&mut buffer[..most]).unwrap();
        assert!(count > 0, "{left} bytes are missing");
        assert!(buffer[..count].iter().all(|&byte| byte == b'x'));
        left -= count;
    }
}

fn length_in(head: &str) -> usize {
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    line.unwrap().parse().unwrap()
}

fn client(balancer: &Ringmaster) -> TcpStream {
    let stream = TcpStream::connect(balancer.address()).unwrap();
    stream.set_read_timeout(Some(MAX_WAIT)).unwrap();
    stream.set_write_timeout(Some(MAX_WAIT)).unwrap();
    stream
}

fn costs_no_memory(balancer: &Ringmaster, transfer: impl Fn(usize)) {
    transfer(WARM_UP);
    let before = crate::support::forget_peak(balancer.pid());
    transfer(HUGE);
    let grown = crate::support::peak_kib(balancer.pid()).saturating_sub(before);
    assert!(grown < MAX_GROWTH_KIB, "grew by {grown} KiB");
    println!("{} MiB, and {grown} KiB more than {before}", HUGE >> 20);
}

#[actix_web::test]
async fn huge_response_costs_no_memory() {
    let port = server(|head, stream| {
        let bytes: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        pour(stream, bytes);
    });
    let balancer = before(port).await;
    costs_no_memory(&balancer, |bytes| {
        let mut client = client(&balancer);
        let request = format!("GET /{bytes} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let head = head_of(&mut client);
        assert_eq!(length_in(&head), bytes, "{head}");
        drain(&mut client, bytes);
    });
}

#[actix_web::test]
async fn huge_upload_costs_no_memory() {
    let port = server(|head, stream| {
        drain(stream, length_in(head));
        let done = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(done).unwrap();
    });
    let balancer = before(port).await;
    costs_no_memory(&balancer, |bytes| {
        let mut client = client(&balancer);
        let request = format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        pour(&mut client, bytes);
        let head = head_of(&mut client);
        assert!(head.starts_with("http/1.1 200 "), "{head}");
    });
}

#[actix_web::test]
async fn stalled_reader_stops_the_replica_and_costs_no_memory() {
    let (poured, pouring) = mpsc::channel();
    let port = server(move |_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
            .unwrap();
        // Until nothing is read for a while, which only the balancer can cause.
        stream
            .set_write_timeout(Some(std::time::Duration::from_millis(500)))
            .unwrap();
        let piece = vec![b'x'; 1 << 20];
        let mut bytes = 0;
        while bytes < HUGE && stream.write_all(&piece).is_ok() {
            bytes += piece.len();
        }
        let _ = stream.shutdown(Shutdown::Both);
        poured.send(bytes).unwrap();
    });
    let balancer = before(port).await;
    let before = crate::support::forget_peak(balancer.pid());
    let mut client = client(&balancer);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(head_of(&mut client).starts_with("http/1.1 200 "));
    let bytes = pouring.recv_timeout(MAX_WAIT).unwrap();
    assert!(bytes < HUGE, "all of it was taken although nobody reads");
    let grown = crate::support::peak_kib(balancer.pid()).saturating_sub(before);
    assert!(grown < MAX_GROWTH_KIB, "grew by {grown} KiB");
}

#[actix_web::test]
async fn server_sent_events_arrive_one_by_one() {
    for chunked in [true, false] {
        let (send_next, next) = mpsc::channel::<String>();
        let next = std::sync::Arc::new(std::sync::Mutex::new(next));
        let port = server(move |_, stream| {
            let framing = if chunked {
                "transfer-encoding: chunked\r\n"
            } else {
                ""
            };
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{framing}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            while let Ok(event) = next.lock().unwrap().recv() {
                let event = match chunked {
                    true => format!("{:x}\r\n{event}\r\n", event.len()),
                    false => event,
                };
                stream.write_all(event.as_bytes()).unwrap();
            }
            if chunked {
                stream.write_all(b"0\r\n\r\n").unwrap();
            }
        });
        let balancer = before(port).await;
        let mut client = client(&balancer);
        client
            .write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        // The head comes before any event is there.
        let head = head_of(&mut client);
        assert!(
            head.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{head}"
        );
        for number in 0..20 {
            let event = format!("id: {number}\ndata: {}\n\n", "x".repeat(number * 50));
            send_next.send(event.clone()).unwrap();
            let expected = format!("{:X}\r\n{event}\r\n", event.len());
            let mut got = vec![0; expected.len()];
            client.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8_lossy(&got), expected);
        }
        drop(send_next);
        let mut end = [0; 5];
        client.read_exact(&mut end).unwrap();
        assert_eq!(&end, b"0\r\n\r\n");
    }
}
