//! Raw sockets on both sides of a balancer: what is on the wire, not what a library makes
//! of it.

#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{MAX_WAIT, Ringmaster};

/// A server that answers every request with what a script makes of it, and keeps what it
/// was asked.
pub struct Scripted {
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// One that always says the same.
    pub async fn saying(response: &'static str) -> Self {
        Self::answering(move |_| response.as_bytes().to_vec()).await
    }

    pub async fn answering(script: impl Fn(&str) -> Vec<u8> + 'static) -> Self {
        Self::answering_at(0, script).await
    }

    /// The same, at a port that a client may already poll.
    pub async fn answering_at(port: u16, script: impl Fn(&str) -> Vec<u8> + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (kept, script) = (Arc::clone(&requests), Rc::new(script));
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, script) = (Arc::clone(&kept), Rc::clone(&script));
                actix_web::rt::spawn(async move { serve(stream, &*script, &kept).await });
            }
        });
        Self { port, requests }
    }

    pub async fn balancer(&self, args: &[&str]) -> Ringmaster {
        let upstream = format!("127.0.0.1:{}", self.port);
        let args = [&["--workers", "1", "--upstream", &upstream], args].concat();
        Ringmaster::ready(&args).await
    }

    /// What it was asked since it was asked for the last time.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &dyn Fn(&str) -> Vec<u8>,
    requests: &Mutex<Vec<String>>,
) {
    while let Some(request) = read_request(&mut stream).await {
        if request.starts_with("GET /heartbeat ") {
            let well = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(well).await;
            return;
        }
        let response = script(&request);
        requests.lock().unwrap().push(request);
        let ends = !has_length(&response);
        if stream.write_all(&response).await.is_err() || ends {
            return;
        }
    }
}

/// Whether a response says where it ends, or the connection's end does.
fn has_length(response: &[u8]) -> bool {
    let head = String::from_utf8_lossy(response).to_ascii_lowercase();
    let head = head.split("\r\n\r\n").next().unwrap();
    head.contains("\r\ncontent-length:") || head.contains("\r\ntransfer-encoding:")
}

/// One request, head and body, by its Content-Length or its last chunk. The body's bytes
/// must be text.
pub async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let field = |name| head.lines().find_map(|line| line.strip_prefix(name));
            let length: usize = field("content-length: ").map_or(0, |n| n.parse().unwrap());
            let chunked = field("transfer-encoding: chunked").is_some();
            // There may be trailers behind the last chunk.
            let is_ended = (body.starts_with("0\r\n") || body.contains("\r\n0\r\n"))
                && body.ends_with("\r\n\r\n");
            if (chunked && is_ended) || (!chunked && body.len() >= length) {
                return Some(text.into_owned());
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}

/// Sends bytes to `address` and returns everything that comes until the connection's end.
pub async fn told(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The request of a client that is refused early may not have been read.
    let _ = stream.write_all(bytes).await;
    in_time(rest(&mut stream)).await
}

/// What comes until the end; a reset is one, too.
pub async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

pub async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(MAX_WAIT, work).await;
    done.expect("it takes no longer than anybody's patience")
}

/// The values of a field, in their order.
pub fn values<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    let head = message.split("\r\n\r\n").next().unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}
