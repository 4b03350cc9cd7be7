//! A replica that says what a test wants it to, when it wants it to.

use std::io::{self, Read, Write};
use std::net::TcpStream as Blocking;
use std::sync::{Arc, Condvar, Mutex};

use crate::support::threads::serve_in_threads;
use crate::support::wire::values;

/// A replica that answers heartbeats by itself, and everything else with a story; where that fails, the connection ends.
pub fn replica(
    story: impl Fn(&str, &mut Blocking) -> io::Result<()> + Send + Clone + 'static,
) -> u16 {
    serve_in_threads(move |mut stream| {
        while let Ok(request) = read_request(&mut stream) {
            let told = match request.starts_with("GET /heartbeat ") {
                true => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
                false => story(&request, &mut stream),
            };
            if told.is_err() {
                return;
            }
        }
    })
}

/// A head, and a body whose length it tells or whose last chunk comes, with its trailers.
pub fn read_request(stream: &mut Blocking) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    let mut length: Option<usize> = None;
    loop {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
        match length {
            None if bytes.ends_with(b"\r\n\r\n") => {}
            Some(length) if bytes.len() == length => break,
            _ => continue,
        }
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        if head.contains("transfer-encoding: chunked") {
            // There may be trailers behind the last chunk.
            if body.starts_with("0\r\n") || body.contains("\r\n0\r\n") {
                break;
            }
        } else {
            let body: usize = values(head, "content-length")
                .first()
                .map_or(0, |length| length.parse().unwrap());
            if body == 0 {
                break;
            }
            length = Some(bytes.len() + body);
        }
    }
    Ok(String::from_utf8(bytes).unwrap())
}

pub fn path_of(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

/// A replica's connection ends here.
pub fn the_end() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// A semaphore: `pass` waits until `open` adds a permit, and takes it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_one();
    }

    pub fn pass(&self) {
        let closed = |passes: &mut usize| *passes == 0;
        let mut passes = self
            .0
            .1
            .wait_while(self.0.0.lock().unwrap(), closed)
            .unwrap();
        *passes -= 1;
    }
}
