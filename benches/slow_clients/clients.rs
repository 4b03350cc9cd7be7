//! Clients: healthy ones, whose latency is measured, and slow ones.

use std::fmt;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::replica::LARGE_PATH;

/// Healthy clients, and the pause of each between a response and its next request.
const HEALTHY: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// How often a slow client sends a byte.
const DRIP: Duration = Duration::from_secs(1);

/// What healthy clients have seen.
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
    requests: usize,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.p50.as_micros(), self.p99.as_micros());
        write!(f, "p50 {p50} us, p99 {p99} us ({} requests)", self.requests)
    }
}

/// Has healthy clients ask for this long.
pub fn measure(port: u16, time: Duration) -> io::Result<Latency> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut latencies = runtime.block_on(async {
        let until = Instant::now() + time;
        let mut clients = JoinSet::new();
        for number in 0..HEALTHY {
            clients.spawn(async move {
                // Not all at once.
                sleep(PAUSE * number as u32 / HEALTHY as u32).await;
                ask(port, until).await
            });
        }
        let asked = clients.join_all().await.into_iter();
        asked.collect::<io::Result<Vec<_>>>()
    })?;
    let mut latencies: Vec<Duration> = latencies.drain(..).flatten().collect();
    latencies.sort();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    Ok(Latency {
        p50: at(50),
        p99: at(99),
        requests: latencies.len(),
    })
}

async fn ask(port: u16, until: Instant) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    let mut response = Vec::new();
    while Instant::now() < until {
        let begun = Instant::now();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await?;
        response.clear();
        while !response.ends_with(b"\r\n\r\nxx") {
            if stream.read_buf(&mut response).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        latencies.push(begun.elapsed());
        if !response.starts_with(b"HTTP/1.1 200 ") {
            let said = String::from_utf8_lossy(&response).into_owned();
            return Err(io::Error::other(format!("a healthy client got {said}")));
        }
        sleep(PAUSE).await;
    }
    Ok(latencies)
}

/// Slow clients on a thread of their own, until this is dropped.
pub struct Slow {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Slow {
    /// Connects this many, and returns when each has sent what it has to send at first.
    pub fn start(port: u16, count: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (begun, beginning) = channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for number in 0..count {
                    clients.spawn(be_slow(port, number, begun.clone()));
                }
                // Stopped when the sender is dropped, too.
                let _ = stopped.await;
            });
        });
        for _ in 0..count {
            let client = beginning.recv().map_err(io::Error::other)?;
            client.map_err(|e| io::Error::new(e.kind(), format!("a slow client: {e}")))?;
        }
        Ok(Self { stop, thread })
    }

    /// Has all of them leave.
    pub fn stop(self) {
        drop(self.stop);
        // A panic has been reported.
        let _ = self.thread.join();
    }
}

async fn be_slow(port: u16, number: usize, begun: Sender<io::Result<()>>) {
    let client = match number % 3 {
        0 => upload(port).await,
        1 => unread_download(port).await,
        _ => web_socket(port).await,
    };
    let (mut client, drips) = match client {
        Ok(client) => client,
        Err(error) => return drop(begun.send(Err(error))),
    };
    let _ = begun.send(Ok(()));
    loop {
        sleep(DRIP).await;
        if drips && client.write_all(b"x").await.is_err() {
            return;
        }
    }
}

/// A connection, and whether its client sends a byte now and then.
type Client = (TcpStream, bool);

async fn upload(port: u16) -> io::Result<Client> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx";
    client.write_all(head).await?;
    Ok((client, true))
}

async fn unread_download(port: u16) -> io::Result<Client> {
    let socket = TcpSocket::new_v4()?;
    // What the client's own kernel takes, the client has not read either.
    socket.set_recv_buffer_size(4096)?;
    let mut client = socket.connect(([127, 0, 0, 1], port).into()).await?;
    let head = format!("GET {LARGE_PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(head.as_bytes()).await?;
    Ok((client, false))
}

async fn web_socket(port: u16) -> io::Result<Client> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(head).await?;
    let mut answer = vec![0; 1024];
    let length = client.read(&mut answer).await?;
    match answer.starts_with(b"HTTP/1.1 101 ") {
        true => Ok((client, true)),
        false => Err(io::Error::other(String::from_utf8_lossy(&answer[..length]))),
    }
}
