//! A scripted replica, and a client that sees what is on the wire.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{MAX_WAIT, Ringmaster, eventually};

/// One answer that a replica gives.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub method: &'static str,
    pub response: &'static str,
    pub then: Then,
    pub reusable: bool,
    pub expected: Expected,
}

/// What the replica does after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Stay,
    Close,
}

#[derive(Debug, Clone, Copy)]
pub enum Expected {
    /// This status and body, and a proper end.
    Whole(u16, &'static str),
    /// 502.
    Refused,
    /// 502, or less than a response.
    Broken,
}

#[derive(Debug, Clone, Copy)]
pub enum Delivery {
    Whole,
    Cut(usize),
    Dribble,
}

/// What happened to one run.
#[derive(Debug, Default)]
struct Run {
    index: usize,
    how: Option<Delivery>,
    requests: usize,
    said_all: bool,
    reused: bool,
    ended: bool,
    reset: bool,
}

pub struct Replica {
    port: u16,
    runs: Rc<RefCell<HashMap<usize, Run>>>,
}

impl Replica {
    pub async fn start(cases: &'static [Case]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let runs = Rc::new(RefCell::new(HashMap::new()));
        let shared = Rc::clone(&runs);
        actix_web::rt::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let runs = Rc::clone(&shared);
                actix_web::rt::spawn(async move {
                    let mut last = None;
                    connection(&mut stream, cases, &runs, &mut last).await;
                    if let Some(id) = last {
                        runs.borrow_mut().get_mut(&id).unwrap().ended = true;
                    }
                });
            }
        });
        Self { port, runs }
    }

    /// Two names for it, so that there is a next replica: nothing must go there.
    pub async fn balancer(&self) -> Ringmaster {
        let port = self.port;
        let (a, b) = (format!("a=127.0.0.1:{port}"), format!("b=localhost:{port}"));
        let args = [
            "--workers",
            "1",
            "--key",
            "path",
            "--upstream",
            &a,
            "--upstream",
            &b,
        ];
        Ringmaster::ready(&args).await
    }

    /// One name: all requests share the same connections.
    pub async fn balancer_alone(&self) -> Ringmaster {
        let address = format!("127.0.0.1:{}", self.port);
        Ringmaster::ready(&["--workers", "1", "--upstream", &address]).await
    }

    pub fn expect(&self, index: usize, how: Delivery) -> usize {
        let mut runs = self.runs.borrow_mut();
        let id = runs.len();
        let run = Run {
            index,
            how: Some(how),
            ..Run::default()
        };
        runs.insert(id, run);
        id
    }

    pub async fn has_said_all(&self, id: usize) {
        eventually("the replica has said all", || async {
            self.runs.borrow()[&id].said_all
        })
        .await;
    }

    pub fn requests_for(&self, id: usize) -> usize {
        self.runs.borrow()[&id].requests
    }

    /// Another request came on the connection of this run.
    pub fn was_reused(&self, id: usize) -> bool {
        self.runs.borrow()[&id].reused
    }

    /// The balancer ended it by a reset.
    pub fn was_reset(&self, id: usize) -> bool {
        self.runs.borrow()[&id].reset
    }

    pub fn has_ended(&self, id: usize) -> bool {
        self.runs.borrow()[&id].ended
    }
}

async fn connection(
    stream: &mut TcpStream,
    cases: &[Case],
    runs: &RefCell<HashMap<usize, Run>>,
    last: &mut Option<usize>,
) {
    while let Some(head) = next_head(stream, runs, *last).await {
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if let Some(id) = *last {
            runs.borrow_mut().get_mut(&id).unwrap().reused = true;
        }
        let Some(id) = target.strip_prefix("/case/") else {
            // Heartbeats and clean requests: the answer is the request's own.
            let own = target.strip_prefix("/clean/").unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{own}",
                own.len()
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            continue;
        };
        let id = id.parse().unwrap();
        *last = Some(id);
        let (case, how) = {
            let mut runs = runs.borrow_mut();
            let run = runs.get_mut(&id).unwrap();
            run.requests += 1;
            (cases[run.index], run.how.unwrap())
        };
        say(stream, case.response.as_bytes(), how).await;
        runs.borrow_mut().get_mut(&id).unwrap().said_all = true;
        if case.then == Then::Close {
            return;
        }
    }
}

/// The next request's head; of a connection that ends, it is noted whether by a reset.
async fn next_head(
    stream: &mut TcpStream,
    runs: &RefCell<HashMap<usize, Run>>,
    last: Option<usize>,
) -> Option<String> {
    let mut first = [0];
    match (stream.peek(&mut first).await, last) {
        (Err(error), Some(id)) => {
            let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
            runs.borrow_mut().get_mut(&id).unwrap().reset = reset;
            None
        }
        _ => read_head(stream).await,
    }
}

async fn say(stream: &mut TcpStream, response: &[u8], how: Delivery) {
    let pieces: Vec<&[u8]> = match how {
        Delivery::Whole => vec![response],
        Delivery::Cut(at) => vec![&response[..at], &response[at..]],
        Delivery::Dribble => response.chunks(1).collect(),
    };
    for (place, piece) in pieces.into_iter().enumerate() {
        if place > 0 {
            // So that the pieces are read as pieces; nothing depends on it.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The balancer may have heard enough.
        if stream.write_all(piece).await.is_err() {
            return;
        }
    }
}

/// The head of a request; what is behind it stays.
pub async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// A client on one connection to the balancer.
pub struct Client {
    pub stream: TcpStream,
    closed: bool,
}

#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: String,
}

#[derive(Debug)]
pub enum Answer {
    Whole(Got),
    /// The connection ended before the response did.
    Cut,
}

impl Answer {
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Whole(got) => Some(got.status),
            Self::Cut => None,
        }
    }
}

impl Client {
    pub async fn connect(balancer: &Ringmaster) -> Self {
        Self {
            stream: TcpStream::connect(balancer.address()).await.unwrap(),
            closed: false,
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub async fn ask(&mut self, method: &str, path: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.answer(method).await
    }

    /// Reads one response by the book.
    pub async fn answer(&mut self, method: &str) -> Answer {
        let read = tokio::time::timeout(MAX_WAIT, self.read(method)).await;
        let answer = match read.expect("the balancer answers or closes") {
            Some(got) => Answer::Whole(got),
            None => Answer::Cut,
        };
        self.closed |= match &answer {
            Answer::Whole(got) => got.head.contains("\r\nconnection: close\r\n"),
            Answer::Cut => true,
        };
        answer
    }

    async fn read(&mut self, method: &str) -> Option<Got> {
        let mut head = read_head(&mut self.stream).await?.to_ascii_lowercase();
        while head.starts_with("http/1.1 10") && !head.starts_with("http/1.1 101") {
            assert!(head.contains("\r\nvia: 1.1 ringmaster\r\n"), "{head}");
            head = read_head(&mut self.stream).await?.to_ascii_lowercase();
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().to_owned())
        };
        let mut body = Vec::new();
        if method == "HEAD" || status == 204 || status == 304 {
            // No body.
        } else if let Some(length) = field("content-length:") {
            body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut body).await.ok()?;
        } else if field("transfer-encoding:").as_deref() == Some("chunked") {
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(&line, 16).unwrap();
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk).await.ok()?;
                body.extend(chunk);
                assert_eq!(self.line().await?, "");
                if size == 0 {
                    break;
                }
            }
        } else {
            panic!("a response without a length: {head}");
        }
        let body = String::from_utf8(body).unwrap();
        Some(Got { status, head, body })
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.stream.read_u8().await.ok()?);
        }
        line.truncate(line.len() - 2);
        Some(String::from_utf8(line).unwrap())
    }
}
