//! Requests one after the other, before another, and in pieces.

use std::io::{self, Write};
use std::net::TcpStream as Blocking;

use tokio::io::AsyncWriteExt;

use crate::before;
use crate::raw_client::Client;
use crate::replica::{Gate, path_of, replica};
use crate::support::Ringmaster;
use crate::support::wire::values;

/// What happens on a client's connection.
#[derive(Debug, Clone, Copy)]
enum Step {
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
use Step::{Closes, Ends, Gets, GetsHead, GetsLast, Opens, Says};

pub const A: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
pub const B: &str = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
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
const CONVERSATIONS: &[(&str, &[Step])] = &[
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
    ("HEAD behind chunks in one packet", &[Says("POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\nHEAD /head HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/chunks"), GetsHead, Gets("/a"), Says(B), Gets("/b")]),
    ("chunks behind chunks in one packet", &[Says("POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\nPOST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"), Gets("/chunks"), Gets("/chunks"), Says(CHUNKS), Gets("/chunks"), Says(A), Gets("/a")]),
    ("half of a HEAD behind chunks", &[Says("POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\nHEAD /he"), Gets("/chunks"), Says("ad HTTP/1.1\r\nHost: x\r\n\r\n"), GetsHead, Says(A), Gets("/a")]),
    ("its side closed behind chunks and HEAD", &[Says("POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\nHEAD /head HTTP/1.1\r\nHost: x\r\n\r\n"), Closes, Gets("/chunks"), GetsHead, Ends]),
    ("HEAD behind one in HTTP/1.0 that stays, with a body", &[Says("POST /post HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbodyHEAD /head HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/post"), GetsHead, Says(A), Gets("/a")]),
    ("one in pieces that offers another protocol", &[Says("GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"), Says("Upgrade: h2c\r\n\r\n"), Gets("/a"), Says(B), Gets("/b")]),
    ("chunks in pieces", &[Says("POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), Says("4;a=\"b\"\r"), Says("\nbody"), Says("\r\n0\r\nX-T: 1\r"), Says("\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/chunks"), Gets("/a"), Says(B), Gets("/b")]),
    ("its side closed behind chunks", &[Says("POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), Says("4\r\nbody\r\n0\r\n\r\n"), Closes, Gets("/chunks"), Ends]),
    ("one in HTTP/1.0", &[Says("GET /a HTTP/1.0\r\n\r\n"), GetsLast("/a"), Ends]),
    ("one in HTTP/1.0 behind one that stays", &[Says("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n"), Gets("/a"), GetsLast("/b"), Ends]),
    ("the last one, which offers another protocol", &[Says("GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, Close\r\n\r\n"), GetsLast("/a"), Ends]),
    ("two behind one that offers another protocol", &[Says("GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\nHEAD /head HTTP/1.1\r\nHost: x\r\n\r\n"), Gets("/a"), GetsHead, Says(B), Gets("/b")]),
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
async fn pipelined_requests_get_their_responses_in_order() {
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
async fn responses_never_mix_between_clients() {
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
