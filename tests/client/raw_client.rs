//! A client on a raw socket, which can look into the kernel's queues.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::wire::{in_time, rest, values};
use crate::support::{Ringmaster, eventually};

/// A client, and what it has not looked at yet.
pub struct Client {
    pub stream: TcpStream,
    pub unread: Vec<u8>,
}

/// One response: its head, and its body without the framing.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub async fn of(balancer: &Ringmaster) -> Self {
        Self::with(TcpStream::connect(balancer.address()).await.unwrap())
    }

    /// One whose kernel keeps little for it.
    pub async fn slow(balancer: &Ringmaster) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let address = balancer.address().parse().unwrap();
        Self::with(socket.connect(address).await.unwrap())
    }

    pub fn with(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    pub async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The head of the next response.
    pub async fn answer_head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head += &self.line().await;
        }
        head
    }

    /// What the kernel has of this connection.
    pub fn queues(&self) -> Queues {
        Queues::of(&self.stream)
    }

    /// Waits until the balancer has read all that was said.
    pub async fn is_heard(&self) {
        eventually("the balancer reads", || async {
            self.queues().unheard == 0
        })
        .await;
    }

    pub async fn more(&mut self) -> usize {
        in_time(self.stream.read_buf(&mut self.unread))
            .await
            .unwrap()
    }

    /// Reads until `found` returns a length, and takes that many bytes.
    pub async fn until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        loop {
            if let Some(length) = found(&self.unread) {
                return self.unread.drain(..length).collect();
            }
            let read = self.more().await;
            assert!(
                read > 0,
                "the end after {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    pub async fn line(&mut self) -> String {
        let line = self.until(|bytes| Some(bytes.iter().position(|byte| *byte == b'\n')? + 1));
        String::from_utf8(line.await).unwrap()
    }

    /// The next response, to a request by this method.
    pub async fn answer(&mut self, method: &str) -> Answer {
        let head = self.answer_head().await;
        let status = head.split(' ').nth(1).unwrap();
        let mut body = Vec::new();
        if method == "HEAD" || status.starts_with('1') || ["204", "304"].contains(&status) {
            return Answer { head, body };
        }
        if let Some(length) = values(&head, "content-length").first() {
            let length = length.parse().unwrap();
            body = self
                .until(|bytes| (bytes.len() >= length).then_some(length))
                .await;
        } else {
            assert_eq!(values(&head, "transfer-encoding"), ["chunked"], "{head}");
            loop {
                let size = self.line().await;
                let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
                let chunk = self.until(|bytes| (bytes.len() >= size + 2).then_some(size + 2));
                let chunk = chunk.await;
                let (chunk, end) = chunk.split_at(size);
                assert_eq!(end, b"\r\n");
                if size == 0 {
                    break;
                }
                body.extend_from_slice(chunk);
            }
        }
        Answer { head, body }
    }

    /// What comes until the end.
    pub async fn rest(&mut self) -> String {
        let before = String::from_utf8_lossy(&self.unread).into_owned();
        before + &in_time(rest(&mut self.stream)).await
    }
}

/// How many bytes of a client's connection lie in the kernel.
#[derive(Debug, Default)]
pub struct Queues {
    /// Said by the client, and not read by the balancer.
    pub unheard: u64,
    /// Written by the balancer, and not taken by the client's kernel.
    pub unsent: u64,
    /// Not read by the client.
    pub unread: u64,
}

impl Queues {
    pub fn of(client: &TcpStream) -> Self {
        let (ours, theirs) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut queues = Self::default();
        for line in table.lines().skip(1) {
            let parts: Vec<&str> = line.split_whitespace().collect();
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let port = |place: &str| number(place.split_once(':').unwrap().1);
            let ports = (port(parts[1]), port(parts[2]));
            let (sent, read) = parts[4].split_once(':').unwrap();
            if ports == (ours.port().into(), theirs.port().into()) {
                queues.unheard += number(sent);
                queues.unread += number(read);
            } else if ports == (theirs.port().into(), ours.port().into()) {
                queues.unsent += number(sent);
                queues.unheard += number(read);
            }
        }
        queues
    }
}
