//! Requests without a pause, over connections that are kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// How many clients there are, and how many of them ask for what takes `SLOW_MS`.
const CLIENTS: usize = 16;
const SLOW_CLIENTS: usize = 4;
const SLOW_MS: u32 = 1_500;

/// How long a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct LoadResult {
    pub requests: usize,
    pub failures: Vec<String>,
    /// Of those that are not slow by themselves.
    pub slowest: Duration,
}

pub struct Load {
    over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    result: Arc<Mutex<LoadResult>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(port: u16) -> Self {
        let mut load = Self {
            over: Arc::default(),
            count: Arc::default(),
            result: Arc::default(),
            clients: Vec::new(),
        };
        for number in 0..CLIENTS {
            let (over, count) = (Arc::clone(&load.over), Arc::clone(&load.count));
            let result = Arc::clone(&load.result);
            let client = move || client(number, port, &over, &count, &result);
            load.clients.push(spawn(client));
        }
        load
    }

    /// Waits until this many requests have been answered, or have failed.
    pub fn wait_for(&self, requests: usize) {
        while self.count.load(Ordering::Relaxed) < requests {
            sleep(Duration::from_millis(10));
        }
    }

    pub fn stop(self) -> LoadResult {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            // A client that has panicked has said so.
            let _ = client.join();
        }
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.requests = self.count.load(Ordering::Relaxed);
        std::mem::take(&mut result)
    }
}

fn client(
    number: usize,
    port: u16,
    over: &AtomicBool,
    count: &AtomicUsize,
    result: &Mutex<LoadResult>,
) {
    let is_slow = number < SLOW_CLIENTS;
    let path = match is_slow {
        true => format!("/slow?ms={SLOW_MS}"),
        false => "/home".to_owned(),
    };
    let mut connection = None;
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let sent = request(&mut connection, port, &path);
        let took = begun.elapsed();
        count.fetch_add(1, Ordering::Relaxed);
        let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_slow {
            result.slowest = result.slowest.max(took);
        }
        if let Err(error) = sent {
            connection = None;
            result.failures.push(format!("GET {path}: {error}"));
        }
    }
}

/// One request and its whole response, which has to be a 200.
fn request(
    connection: &mut Option<BufReader<TcpStream>>,
    port: u16,
    path: &str,
) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    if connection.is_none() {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        *connection = Some(BufReader::new(stream));
    }
    let Some(reader) = connection else {
        return Err("no connection".to_owned());
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n");
    reader
        .get_mut()
        .write_all(request.as_bytes())
        .map_err(text)?;
    let (mut status, mut length, mut closes) = (String::new(), None, false);
    reader.read_line(&mut status).map_err(text)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).map_err(text)? == 0 {
            return Err("the connection ended before the response".to_owned());
        }
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse::<usize>().ok(),
            Some(("connection", value)) => closes = value.trim() == "close",
            Some(_) => {}
            None => break,
        }
    }
    let length = length.ok_or_else(|| format!("no Content-Length after {status:?}"))?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).map_err(text)?;
    if closes {
        *connection = None;
    }
    match status.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(format!(
            "{} {}",
            status.trim_end(),
            String::from_utf8_lossy(&body)
        )),
    }
}
