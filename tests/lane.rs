//! Requests that are answered without actix's dispatcher (`src/http/lane/`), and the way from
//! one to the other on a connection: what clients see on the wire is the same.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod wire;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream as Blocking};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use common::{Ringmaster, eventually, resident_kib};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use wire::{patiently, rest, values};

/// A replica in threads, so that it may stop in the middle of a sentence. It answers heartbeats
/// by itself, and everything else with a story; where that fails, the connection ends.
fn replica(story: impl Fn(&str, &mut Blocking) -> io::Result<()> + Send + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, story) = (stream.unwrap(), story.clone());
            thread::spawn(move || {
                while let Ok(request) = read_request(&mut stream) {
                    let told = match request.starts_with("GET /heartbeat ") {
                        true => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
                        false => story(&request, &mut stream),
                    };
                    if told.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// A head, and a body whose length it tells or whose last chunk comes.
fn read_request(stream: &mut Blocking) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    let (mut length, mut ends): (Option<usize>, &[u8]) = (None, b"\r\n\r\n");
    loop {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
        match length {
            None if bytes.ends_with(ends) => {}
            Some(length) if bytes.len() == length => break,
            _ => continue,
        }
        let head = String::from_utf8_lossy(&bytes).into_owned();
        if ends == b"0\r\n\r\n" {
            break;
        } else if head.contains("transfer-encoding: chunked") {
            ends = b"0\r\n\r\n";
        } else {
            let body: usize = values(&head, "content-length")
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

fn path_of(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

/// A replica's connection ends here.
fn the_end() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

async fn before(port: u16) -> Ringmaster {
    Ringmaster::ready(&["--workers", "1", "--upstream", &format!("127.0.0.1:{port}")]).await
}

/// What somebody waits for until it is opened, once for each who passes.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_one();
    }

    fn pass(&self) {
        let closed = |passes: &mut usize| *passes == 0;
        let mut passes = self
            .0
            .1
            .wait_while(self.0.0.lock().unwrap(), closed)
            .unwrap();
        *passes -= 1;
    }
}

/// A client, and what it has not looked at yet.
struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One response: its head, and its body without the framing.
#[derive(Debug)]
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Client {
    async fn of(balancer: &Ringmaster) -> Self {
        Self::with(TcpStream::connect(balancer.address()).await.unwrap())
    }

    /// One whose kernel keeps little for it.
    async fn slow(balancer: &Ringmaster) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let address = balancer.address().parse().unwrap();
        Self::with(socket.connect(address).await.unwrap())
    }

    fn with(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// What the kernel has of this connection.
    fn queues(&self) -> Queues {
        Queues::of(&self.stream)
    }

    /// Waits until the balancer has read all that was said.
    async fn is_heard(&self) {
        eventually("the balancer reads", || async {
            self.queues().unheard == 0
        })
        .await;
    }

    async fn more(&mut self) -> usize {
        patiently(self.stream.read_buf(&mut self.unread))
            .await
            .unwrap()
    }

    /// Reads until something is found that has so many bytes.
    async fn until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
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

    async fn line(&mut self) -> String {
        let line = self.until(|bytes| Some(bytes.iter().position(|byte| *byte == b'\n')? + 1));
        String::from_utf8(line.await).unwrap()
    }

    /// The next response, to a request by this method.
    async fn answer(&mut self, method: &str) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head += &self.line().await;
        }
        let status = head.split(' ').nth(1).unwrap();
        let mut body = Vec::new();
        if method == "HEAD" || ["204", "304"].contains(&status) {
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
    async fn rest(&mut self) -> String {
        let before = String::from_utf8_lossy(&self.unread).into_owned();
        before + &patiently(rest(&mut self.stream)).await
    }
}

/// How many bytes of a client's connection lie in the kernel.
#[derive(Debug, Default)]
struct Queues {
    /// Said by the client, and not read by the balancer.
    unheard: u64,
    /// Written by the balancer, and not taken by the client's kernel.
    unsent: u64,
    /// Not read by the client.
    unread: u64,
}

impl Queues {
    fn of(client: &TcpStream) -> Self {
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

/// What happens on a client's connection.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// It says this, and the balancer reads it.
    Says(&'static str),
    /// It has nothing more to say.
    Closes,
    /// The replica answers what it has held back.
    Opens,
    /// The next answer is to this path.
    Gets(&'static str),
    /// The next answer is to a HEAD, and has no body.
    GetsHead,
    /// So is this one, which says that it is the last.
    GetsLast(&'static str),
    /// The connection ends without another word.
    Ends,
}
use Does::{Closes, Ends, Gets, GetsHead, GetsLast, Opens, Says};

const A: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const B: &str = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
const HELD: &str = "GET /held HTTP/1.1\r\nHost: x\r\n\r\n";
const A_AND_B: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
const B_AND_A: &str = "GET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &str = "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
const CHUNKS: &str =
    "POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
const HEAD_AND_A: &str = "HEAD /head HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const A_AND_HEAD: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nHEAD /head HTTP/1.1\r\nHost: x\r\n\r\n";
const KEEPS: &str = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n";
const CLOSE: &str = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n";
const CLOSE_AND_B: &str =
    "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";

#[rustfmt::skip] // One line a case.
const CONVERSATIONS: &[(&str, &[Does])] = &[
    ("one after the other", &[Says(A), Gets("/a"), Says(B), Gets("/b"), Says(A), Gets("/a")]),
    ("one that says that it stays", &[Says(KEEPS), Gets("/a"), Says(KEEPS), Gets("/a")]),
    ("two in one packet", &[Says(A_AND_B), Gets("/a"), Gets("/b"), Says(A), Gets("/a")]),
    ("HEAD before another in one packet", &[Says(HEAD_AND_A), GetsHead, Gets("/a"), Says(B), Gets("/b")]),
    ("HEAD behind another in one packet", &[Says(A_AND_HEAD), Gets("/a"), GetsHead, Says(B), Gets("/b")]),
    ("a body between others in one packet", &[Says("GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyGET /b HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/a"), Gets("/post"), Gets("/b"), Says(A), Gets("/a")]),
    ("two bodies in one packet", &[Says("POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyPOST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"), Gets("/post"), Gets("/post"), Says(A), Gets("/a")]),
    ("a body later than its head", &[Says("POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"), Says("bo"), Says("dyGET /a HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/post"), Gets("/a"), Says(B), Gets("/b")]),
    ("chunks between others in one packet", &[Says("GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/a"), Gets("/chunks"), Gets("/b"), Says(A), Gets("/a")]),
    ("a second while the first is answered", &[Says(HELD), Says(B), Opens, Gets("/held"), Gets("/b"), Says(A), Gets("/a")]),
    ("two more while the first is answered", &[Says(HELD), Says(B_AND_A), Opens, Gets("/held"), Gets("/b"), Gets("/a")]),
    ("half of a second while the first is answered", &[Says(HELD), Says("GET /b HT"), Opens, Gets("/held"), Says("TP/1.1\r\nHost: x\r\n\r\n"), Gets("/b"), Says(A), Gets("/a")]),
    ("a body while the first is answered", &[Says(HELD), Says(POST), Opens, Gets("/held"), Gets("/post"), Says(A), Gets("/a")]),
    ("half a body while the first is answered", &[Says(HELD), Says("POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo"), Opens, Gets("/held"), Says("dy"), Gets("/post"), Says(A), Gets("/a")]),
    ("two that are held", &[Says(HELD), Says(HELD), Opens, Gets("/held"), Opens, Gets("/held")]),
    ("a head in two pieces", &[Says("GET /a HTTP/1.1\r\nHo"), Says("st: x\r\n\r\n"), Gets("/a"), Says(B), Gets("/b")]),
    ("a head cut in its end", &[Says("GET /a HTTP/1.1\r\nHost: x\r\n\r"), Says("\n"), Gets("/a"), Says(B), Gets("/b")]),
    ("its method first", &[Says("G"), Says("ET /a HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/a"), Says(B), Gets("/b")]),
    ("an empty line before it", &[Says("\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/a"), Says(B), Gets("/b")]),
    ("a head, a body, a head", &[Says(A), Gets("/a"), Says(POST), Gets("/post"), Says(B), Gets("/b")]),
    ("a head, chunks, a head", &[Says(A), Gets("/a"), Says(CHUNKS), Gets("/chunks"), Says(B), Gets("/b")]),
    ("its side closed after the answer", &[Says(A), Gets("/a"), Closes, Ends]),
    ("its side closed after the request", &[Says(A), Closes, Gets("/a"), Ends]),
    ("its side closed while it is answered", &[Says(HELD), Closes, Opens, Gets("/held"), Ends]),
    ("its side closed with two in hand", &[Says(HELD), Says(B), Closes, Opens, Gets("/held"), Gets("/b"), Ends]),
    ("its side closed with three in hand", &[Says(HELD), Says(B_AND_A), Closes, Opens, Gets("/held"), Gets("/b"), Gets("/a"), Ends]),
    ("its side closed at once", &[Closes, Ends]),
    ("its side closed in a second head", &[Says(HELD), Says("GET /b HT"), Closes, Opens, Gets("/held"), Ends]),
    ("the last one", &[Says(CLOSE), GetsLast("/a"), Ends]),
    ("the last one after another", &[Says(A), Gets("/a"), Says(CLOSE), GetsLast("/a"), Ends]),
    ("the last one while another is answered", &[Says(HELD), Says(CLOSE), Opens, Gets("/held"), GetsLast("/a"), Ends]),
    ("the last one, and another behind it", &[Says(CLOSE_AND_B), GetsLast("/a"), Ends]),
    ("the last one is held, and another comes", &[Says("GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), Says(B), Opens, GetsLast("/held"), Ends]),
];

#[actix_web::test]
async fn a_conversation_goes_as_it_would_with_any_server() {
    let gate = Gate::default();
    let at_replica = gate.clone();
    let port = replica(move |request, stream| {
        let path = path_of(request);
        if path == "/held" {
            at_replica.pass();
        }
        if path == "/post" || path == "/chunks" {
            assert!(request.contains("body"), "{request}");
        }
        let length = path.len();
        // A body here would spoil the next answer on that connection.
        let body = if request.starts_with("HEAD ") {
            ""
        } else {
            path
        };
        let told = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(told.as_bytes())
    });
    let balancer = before(port).await;
    for (story, acts) in CONVERSATIONS {
        println!("{story}");
        let mut client = Client::of(&balancer).await;
        for act in *acts {
            match *act {
                Says(text) => {
                    client.say(text).await;
                    client.is_heard().await;
                }
                Closes => client.stream.shutdown().await.unwrap(),
                Opens => gate.open(),
                Gets(path) | GetsLast(path) => {
                    let answer = client.answer("GET").await;
                    let is_last = values(&answer.head, "connection") == ["close"];
                    assert_eq!(answer.body, path.as_bytes(), "{story}: {answer:?}");
                    let said_so = matches!(act, GetsLast(_));
                    let may_say_so = acts.iter().any(|act| matches!(act, Closes));
                    assert!(is_last == said_so || may_say_so, "{story}: {answer:?}");
                }
                GetsHead => assert_eq!(client.answer("HEAD").await.body, b"", "{story}"),
                Ends => assert_eq!(client.rest().await, "", "{story}"),
            }
        }
        assert_eq!(client.unread, b"", "{story}");
    }
}

/// A field's name, and what of its values a client gets.
type Told = (&'static str, &'static [&'static str]);

/// What a replica says to a method, and what a client gets of it: fields, and the body.
#[rustfmt::skip] // One line a case.
const RESPONSES: &[(&str, &str, &str, &[Told], &str)] = &[
    ("a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", &[("content-length", &["2"]), ("transfer-encoding", &[]), ("connection", &[]), ("via", &["1.1 ringmaster"])], "ok"),
    ("an empty body", "GET", "HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 0\r\n\r\n", &[("content-length", &["0"])], ""),
    ("chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", &[("content-length", &[]), ("transfer-encoding", &["chunked"])], "abcde"),
    ("no chunk", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[("content-length", &[]), ("transfer-encoding", &["chunked"])], ""),
    ("chunks with fields behind them", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n", &[("trailer", &[]), ("x-sum", &[])], "ab"),
    ("until its connection ends", "GET", "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nuntil the end", &[("content-length", &[]), ("transfer-encoding", &["chunked"]), ("x-a", &["b"])], "until the end"),
    ("nothing until its connection ends", "GET", "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n", &[("x-a", &["b"])], ""),
    ("an older version", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", &[("content-length", &["2"]), ("connection", &[])], "ok"),
    ("a length to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", &[("content-length", &["1234"]), ("transfer-encoding", &[])], ""),
    ("chunks to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &[("content-length", &[])], ""),
    ("neither to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n", &[("content-length", &[]), ("x-a", &["b"])], ""),
    ("no content", "GET", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", &[("content-length", &[]), ("transfer-encoding", &[]), ("x-a", &["b"])], ""),
    ("no content, and a length", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", &[("content-length", &[])], ""),
    ("not modified", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n", &[("content-length", &[]), ("transfer-encoding", &[]), ("etag", &["\"1\""])], ""),
    ("not modified, and a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-LENGTH: 1234\r\n\r\n", &[("content-length", &["1234"])], ""),
    ("not modified, and a length, to HEAD", "HEAD", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", &[("content-length", &["1234"])], ""),
    ("not modified, and chunks", "GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", &[("content-length", &[]), ("transfer-encoding", &[])], ""),
    ("an upgrade that it asks for", "GET", "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: h9\r\nContent-Length: 2\r\n\r\nno", &[("connection", &["upgrade"]), ("upgrade", &["h9"])], "no"),
    ("an upgrade that it asks for in chunks", "GET", "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: h9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", &[("connection", &["upgrade"]), ("upgrade", &["h9"])], "no"),
    ("an upgrade that it offers", "GET", "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok", &[("connection", &[]), ("upgrade", &[])], "ok"),
    ("cookies", "GET", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-A: b\r\nset-cookie: b=2\r\nContent-Length: 2\r\n\r\nok", &[("set-cookie", &["a=1", "b=2"]), ("x-a", &["b"])], "ok"),
    ("cookies with chunks", "GET", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", &[("set-cookie", &["a=1", "b=2"])], "ok"),
    ("fields of its connection", "GET", "HTTP/1.1 200 OK\r\nConnection: X-Private, KEEP-ALIVE\r\nConnection: x-also\r\nx-private: 1\r\nX-ALSO: 2\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok", &[("connection", &[]), ("x-private", &[]), ("x-also", &[]), ("keep-alive", &[]), ("proxy-authenticate", &[]), ("x-a", &["b"])], "ok"),
    ("fields of its connection with chunks", "GET", "HTTP/1.1 200 OK\r\nConnection: X-Private, KEEP-ALIVE\r\nConnection: x-also\r\nx-private: 1\r\nX-ALSO: 2\r\nKeep-Alive: timeout=5\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", &[("connection", &[]), ("x-private", &[]), ("x-also", &[]), ("keep-alive", &[]), ("x-a", &["b"])], "ok"),
    ("the end of its connection", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", &[("connection", &[])], "ok"),
    ("a length that its connection names", "GET", "HTTP/1.1 200 OK\r\nConnection: content-length, date\r\nDate: then\r\nContent-Length: 2\r\n\r\nok", &[("content-length", &["2"])], "ok"),
    ("values without and within spaces", "GET", "HTTP/1.1 200 OK\r\nX-Tight:a\r\nX-Wide:  \t b c \t \r\nX-None:\r\nX-Space: \r\nX-Spaces:   \r\nContent-Length:2\r\n\r\nok", &[("x-tight", &["a"]), ("x-wide", &["b c"]), ("x-none", &[""]), ("x-space", &[""]), ("x-spaces", &[""]), ("content-length", &["2"])], "ok"),
    ("lines that end otherwise", "GET", "HTTP/1.1 200 OK\nX-A: b\nX-None:\nContent-Length: 2\n\nok", &[("x-a", &["b"]), ("x-none", &[""]), ("content-length", &["2"])], "ok"),
    ("a date", "GET", "HTTP/1.1 200 OK\r\nDATE: then\r\nContent-Length: 2\r\n\r\nok", &[("date", &["then"])], "ok"),
    ("its own way", "GET", "HTTP/1.1 200 OK\r\nVia: 1.1 other\r\nContent-Length: 2\r\n\r\nok", &[("via", &["1.1 other", "1.1 ringmaster"])], "ok"),
    ("a status of its own", "GET", "HTTP/1.1 799 Hm\r\nContent-Length: 2\r\n\r\nok", &[("content-length", &["2"])], "ok"),
    ("a word in between", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", &[("link", &[]), ("content-length", &["2"])], "ok"),
    ("an error", "GET", "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", &[("connection", &[])], "no"),
];

#[actix_web::test]
async fn what_a_replica_says_arrives_as_it_is_but_for_what_concerns_its_connection() {
    let port = replica(|request, stream| {
        let case = path_of(request).strip_prefix("/case/");
        let Some(case) = case else {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext");
        };
        let case: usize = case.parse().unwrap();
        let response = RESPONSES[case].2;
        stream.write_all(response.as_bytes())?;
        let head = response.to_ascii_lowercase();
        let told = ["content-length:", "chunked"];
        match told.iter().any(|told| head.contains(told)) || request.starts_with("HEAD") {
            true => Ok(()),
            // Who does not tell a length ends, but where there cannot be a body.
            false => the_end(),
        }
    });
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    for (case, (story, method, said, told, body)) in RESPONSES.iter().enumerate() {
        println!("{story}");
        let request = format!("{method} /case/{case} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.say(&request).await;
        let answer = client.answer(method).await;
        let status = said.split(' ').nth(1).filter(|status| *status != "103");
        let status = format!("HTTP/1.1 {} ", status.unwrap_or("200"));
        assert!(answer.head.starts_with(&status), "{story}: {answer:?}");
        for (name, expected) in *told {
            assert_eq!(values(&answer.head, name), *expected, "{story}: {answer:?}");
        }
        assert_eq!(values(&answer.head, "date").len(), 1, "{story}: {answer:?}");
        assert_eq!(answer.body, body.as_bytes(), "{story}: {answer:?}");
        // The connection stands where it should.
        client.say(A).await;
        let next = client.answer("GET").await;
        assert_eq!(next.body, b"next", "{story}: {next:?}");
    }
}

#[actix_web::test]
async fn a_response_that_breaks_off_breaks_the_clients_connection() {
    const HEADS: [&str; 3] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\npart",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\npart",
    ];
    let gate = Gate::default();
    let at_replica = gate.clone();
    let port = replica(move |request, stream| {
        let (when, head) = path_of(request)[1..].split_once('/').unwrap();
        let head: usize = head.parse().unwrap();
        stream.write_all(HEADS[head].as_bytes())?;
        if when == "later" {
            at_replica.pass();
        }
        the_end()
    });
    let balancer = before(port).await;
    for (index, head) in HEADS.iter().enumerate() {
        for when in ["later", "at-once"] {
            let mut client = Client::of(&balancer).await;
            client
                .say(&format!("GET /{when}/{index} HTTP/1.1\r\nHost: x\r\n\r\n"))
                .await;
            if when == "later" {
                let ends = |bytes: &[u8]| bytes.windows(4).position(|part| part == b"part");
                client.until(ends).await;
                gate.open();
            }
            let got = client.rest().await;
            let is_cut = !got.contains("0\r\n\r\n") && !got.contains(&"part".repeat(5));
            assert!(is_cut, "{when}, {head}: {got}");
        }
    }
}

/// A replica that is reset in the middle of a body that only its end would have ended.
#[actix_web::test]
async fn a_reset_is_no_end_of_a_body() {
    let gate = Gate::default();
    let at_replica = gate.clone();
    let port = replica(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\npart")?;
        at_replica.pass();
        SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO))?;
        the_end()
    });
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    client.say(A).await;
    let ends = |bytes: &[u8]| bytes.windows(6).position(|part| part == b"part\r\n");
    client.until(ends).await;
    gate.open();
    assert_eq!(client.rest().await, "part\r\n");
}

const LARGE: usize = 4 << 20;

/// No two places within 64 KiB look alike.
fn pattern(length: usize) -> Vec<u8> {
    let places = (0..length).step_by(4).map(|place| place as u32);
    places
        .flat_map(|place| place.wrapping_mul(0x9E37_79B1).to_le_bytes())
        .take(length)
        .collect()
}

/// Tells the same body in one of three ways.
fn tell_large(path: &str, stream: &mut Blocking) -> io::Result<()> {
    let body = pattern(LARGE);
    match path {
        "/counted" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
            stream.write_all(&body)
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
            stream.write_all(&body)?;
            the_end()
        }
    }
}

#[actix_web::test]
async fn a_large_response_arrives_whole_however_slowly_it_is_read() {
    let port = replica(|request, stream| tell_large(path_of(request), stream));
    let balancer = before(port).await;
    for path in ["/counted", "/chunked", "/until-the-end"] {
        let mut client = Client::slow(&balancer).await;
        client
            .say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        eventually("nobody takes more", || async { client.queues().unsent > 0 }).await;
        let answer = client.answer("GET").await;
        assert!(answer.body == pattern(LARGE), "{path}");
        // The connection is good for another.
        client
            .say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        assert!(client.answer("GET").await.body == pattern(LARGE), "{path}");
    }
}

/// What a client says behind its last request goes to nobody. It must not cost the client the
/// answer, either: a socket that is closed with something unread in it forgets what it has to send.
#[actix_web::test]
async fn a_last_answer_arrives_whole_though_more_is_said() {
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
    assert!(answer.body == pattern(LARGE));
    assert_eq!(client.rest().await, "");
}

#[actix_web::test]
async fn a_client_that_leaves_takes_its_replicas_connection_along() {
    let ended = Arc::new(AtomicBool::new(false));
    let at_replica = Arc::clone(&ended);
    let port = replica(move |request, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")?;
        match path_of(request) {
            "/pours" => while stream.write_all(b"4\r\npart\r\n").is_ok() {},
            // Says nothing more, and hears the end.
            _ => drop(stream.read(&mut [0])),
        }
        at_replica.store(true, Ordering::SeqCst);
        the_end()
    });
    let balancer = before(port).await;
    for path in ["/pours", "/waits"] {
        let mut client = Client::of(&balancer).await;
        client
            .say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        eventually("some of it", || async { client.queues().unread > 0 }).await;
        // With something unread, it is a reset.
        drop(client);
        eventually("the end at the replica", || async {
            ended.swap(false, Ordering::SeqCst)
        })
        .await;
    }
}

/// Even one that has sent another request ahead, so that there is no need to read on.
#[actix_web::test]
async fn a_client_that_resets_is_heard_though_it_has_asked_for_more() {
    let (asked, ended) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let (begun, over) = (asked.clone(), Arc::clone(&ended));
    let port = replica(move |_, stream| {
        begun.open();
        // Never answers, and hears the end.
        drop(stream.read(&mut [0]));
        over.store(true, Ordering::SeqCst);
        the_end()
    });
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    client.say(&A.repeat(2)).await;
    asked.pass();
    SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    eventually("the end at the replica", || async {
        ended.load(Ordering::SeqCst)
    })
    .await;
}

/// A byte of it may be kept for a second attempt, and not the room with it that it was read into.
#[actix_web::test]
async fn a_body_that_drips_costs_little_memory() {
    const DROPS: usize = 20_000;
    let port = replica(|_, stream| stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"));
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    let before = resident_kib(balancer.pid());
    client
        .say(&format!(
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {DROPS}\r\n\r\n"
        ))
        .await;
    client.is_heard().await;
    for _ in 0..DROPS {
        client.say("x").await;
        // Whoever reads has its turn, or there would be fewer drops.
        tokio::task::yield_now().await;
    }
    assert!(client.answer("PUT").await.head.contains(" 204 "));
    let grown = resident_kib(balancer.pid()).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for {DROPS} bytes");
}

/// Answers with fields and a body that are the path's own, however they are framed.
fn tell_own(request: &str, stream: &mut Blocking) -> io::Result<()> {
    let path = path_of(request);
    let own = fastrand::usize(0..8);
    let mut text = "HTTP/1.1 200 OK\r\n".to_owned();
    for number in 0..own {
        text += &format!("X-Own-{number}: {path}\r\n");
    }
    let body = path.repeat(fastrand::usize(1..2_000));
    if request.starts_with("HEAD ") {
        text += &format!("Content-Length: {}\r\n\r\n", body.len());
        return stream.write_all(text.as_bytes());
    }
    match fastrand::u8(0..3) {
        0 => {
            text += "Transfer-Encoding: chunked\r\n\r\n";
            for chunk in body.as_bytes().chunks(fastrand::usize(1_000..20_000)) {
                let chunk = str::from_utf8(chunk).unwrap();
                text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
            }
            text += "0\r\n\r\n";
        }
        _ => text += &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
    }
    stream.write_all(text.as_bytes())
}

#[actix_web::test]
async fn nobody_gets_anything_of_anothers_answer() {
    let port = replica(tell_own);
    let upstream = format!("127.0.0.1:{port}");
    let balancer = Ringmaster::ready(&["--workers", "2", "--upstream", &upstream]).await;
    futures::future::join_all((0..40).map(async |number| {
        let mut client = Client::of(&balancer).await;
        for round in 0..20 {
            // Up to three at once.
            let asked: Vec<(&str, String)> = (0..fastrand::usize(1..4))
                .map(|place| {
                    let method = fastrand::choice(["GET", "HEAD", "POST"]).unwrap();
                    (method, format!("/{number}/{round}/{place}/"))
                })
                .collect();
            for (method, path) in &asked {
                let body = match *method {
                    "POST" => "Content-Length: 4\r\n\r\nbody",
                    _ => "\r\n",
                };
                client
                    .say(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{body}"))
                    .await;
            }
            for (method, path) in &asked {
                let answer = client.answer(method).await;
                let head = answer.head.to_ascii_lowercase();
                assert!(head.starts_with("http/1.1 200 ok\r\n"), "{path}: {head}");
                for line in head.lines().filter(|line| line.starts_with("x-own-")) {
                    assert!(line.ends_with(&format!(": {path}")), "{path}: {head}");
                }
                let times = answer.body.len() / path.len();
                assert!(
                    answer.body == path.repeat(times).as_bytes(),
                    "{path}: {answer:?}"
                );
                let is_right = (*method == "HEAD") == (times == 0);
                assert!(is_right, "{path}: {answer:?}");
            }
        }
    }))
    .await;
}
