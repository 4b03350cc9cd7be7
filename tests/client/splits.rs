//! The same bytes, however they are cut: the same requests reach the replica, and the same responses
//! come back.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::before;
use crate::raw_client::Client;
use crate::replica::{path_of, replica};
use crate::support::wire::in_time;

const ROUNDS: usize = 40;

/// A request by chance, and whether nothing behind it is one.
fn request(rng: &mut Rng, number: usize) -> (String, bool) {
    let common = format!("Host: x\r\nX-Request-ID: {number}\r\nX-Case: {number}\r\n");
    let length = rng.usize(0..200);
    let body: String = (0..length).map(|_| rng.alphanumeric()).collect();
    let get =
        |version: &str, more: &str| format!("GET /{number} HTTP/{version}\r\n{common}{more}\r\n");
    match rng.usize(0..12) {
        0..3 => (get("1.1", ""), false),
        3 => (format!("HEAD /{number} HTTP/1.1\r\n{common}\r\n"), false),
        4 => (get("1.0", "Connection: keep-alive\r\n"), false),
        5 => (get("1.0", ""), true),
        6 => (get("1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n"), false),
        7 | 8 => {
            let text = format!(
                "POST /{number} HTTP/1.1\r\n{common}Content-Length: {length}\r\n\r\n{body}"
            );
            (text, false)
        }
        9 | 10 => {
            let mut text =
                format!("PUT /{number} HTTP/1.1\r\n{common}Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (chunk, others) = rest.split_at(rng.usize(1..=rest.len()));
                text += &format!("{:x};e=\"1\"\r\n{chunk}\r\n", chunk.len());
                rest = others;
            }
            (text + "0\r\nX-Trailer: 1\r\n\r\n", false)
        }
        _ => {
            let wrong = [
                "GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
                "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ];
            (rng.choice(wrong).unwrap().to_owned(), true)
        }
    }
}

/// A request as the replica got it, by the book, with its chunks taken apart.
fn canonical(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    for line in head.split("\r\n").skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        assert!(!name.is_empty() && !name.contains([' ', '\t']), "{line:?}");
        assert!(!value.contains(['\r', '\n', '\0']), "{line:?}");
    }
    if !head.contains("\r\ntransfer-encoding: chunked") {
        return request.to_owned();
    }
    let (mut data, mut rest) = (String::new(), body);
    loop {
        let (size, behind) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(behind, "X-Trailer: 1\r\n\r\n");
            return format!("{head}\r\n\r\n{data}");
        }
        let (chunk, behind) = behind.split_at(size);
        data += chunk;
        rest = behind.strip_prefix("\r\n").unwrap();
    }
}

/// All that comes when these bytes are sent in such pieces, but for dates.
async fn sent(client: Client, pieces: Vec<&[u8]>) -> String {
    let (mut reads, mut writes) = client.stream.into_split();
    let writing = async {
        for piece in pieces {
            // A refusal ends the connection.
            if writes.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        writes
    };
    let mut got = Vec::new();
    let reading = async {
        let _ = reads.read_to_end(&mut got).await;
    };
    in_time(futures::future::join(reading, writing)).await;
    let text = String::from_utf8(got).unwrap();
    let lines = text.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("date: ")).collect()
}

#[actix_web::test]
async fn pieces_change_neither_requests_nor_responses() {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let recorded = Arc::clone(&asked);
    let port = replica(move |request, stream| {
        recorded.lock().unwrap().push(canonical(request));
        let path = path_of(request);
        let (length, body) = match request.starts_with("HEAD ") {
            true => (path.len(), ""),
            false => (path.len(), path),
        };
        stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
        )
    });
    let balancer = before(port).await;
    // SPLITS_SEED repeats a run.
    let seed = std::env::var("SPLITS_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut rng = Rng::with_seed(seed);
    for round in 0..ROUNDS {
        let mut text = String::new();
        let mut is_over = false;
        for number in 0..rng.usize(1..5) {
            if !is_over {
                let (request, is_last) = request(&mut rng, number);
                text += &request;
                is_over = is_last;
            }
        }
        text += "GET /last HTTP/1.1\r\nHost: x\r\nX-Request-ID: 9\r\nConnection: close\r\n\r\n";
        let bytes = text.as_bytes();
        let cuts = (0..5).map(|_| rng.usize(..bytes.len()));
        let mut cuts: Vec<usize> = cuts.chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let split = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        let mut seen = Vec::new();
        for pieces in [vec![bytes], split, bytes.chunks(1).collect()] {
            let got = sent(Client::of(&balancer).await, pieces).await;
            // What is refused has gone nowhere, but the one before it may just be there.
            tokio::time::sleep(Duration::from_millis(1)).await;
            seen.push((std::mem::take(&mut *asked.lock().unwrap()), got));
        }
        for cut in &seen[1..] {
            assert_eq!(*cut, seen[0], "seed {seed}, round {round}: {text:?}");
        }
    }
}
