//! What a replica says, and what a client gets of it.

use std::io::Write;

use socket2::SockRef;

use crate::before;
use crate::pipelining::A;
use crate::raw_client::Client;
use crate::replica::{Gate, path_of, replica, the_end};
use crate::support::wire::values;

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
    ("a length twice", "GET", "HTTP/1.1 200 Well\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", &[("content-length", &["2"])], "ok"),
    ("a list of lengths, not modified", "GET", "HTTP/1.1 304 Same\r\nContent-Length: 2, 2\r\n\r\n", &[("content-length", &["2"])], ""),
    ("chunks and a reason", "GET", "HTTP/1.1 404 Not here\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", &[], "no"),
    ("an error", "GET", "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", &[("connection", &[])], "no"),
];

#[actix_web::test]
async fn response_headers_pass_unchanged_except_hop_by_hop() {
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
            // A response without a length ends by close, unless its status has no body.
            false => the_end(),
        }
    });
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    for (case, (story, method, said, told, body)) in RESPONSES.iter().enumerate() {
        println!("{story}");
        let request = format!("{method} /case/{case} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.say(&request).await;
        let mut answer = client.answer(method).await;
        let mut said = *said;
        if said.starts_with("HTTP/1.1 103") {
            let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nvia: 1.1 ringmaster\r\n\r\n";
            assert_eq!(answer.head, interim, "{story}");
            answer = client.answer(method).await;
            said = said.split_once("\r\n\r\n").unwrap().1;
        }
        // The reason is the replica's, too.
        let status = said.lines().next().unwrap().replace("1.0", "1.1");
        let line = answer.head.lines().next();
        assert_eq!(line, Some(&*status), "{story}: {answer:?}");
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

/// Lines that lie side by side go on together, and what lies between them does not.
#[actix_web::test]
async fn response_headers_keep_spelling_and_order() {
    const SAID: &str = "HTTP/1.1 200 OK\r\nX-First: 1\r\nx-second:  2 \r\nSeT-CooKie: a=b\r\n\
        Content-Length: 2\r\nX-Own: 3\r\nConnection: x-own\r\nDATE: today\r\nETag: \"4\"\r\n\r\nok";
    let port = replica(|_, stream| stream.write_all(SAID.as_bytes()));
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    client.say(A).await;
    let answer = client.answer("GET").await;
    assert_eq!(
        answer.head,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-First: 1\r\nx-second: 2\r\nSeT-CooKie: a=b\r\n\
         DATE: today\r\nETag: \"4\"\r\nvia: 1.1 ringmaster\r\n\r\n"
    );
}

#[actix_web::test]
async fn truncated_response_breaks_the_client_connection() {
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
async fn reset_does_not_end_a_body() {
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

/// An interim response comes when the replica says it, not with the response.
#[actix_web::test]
async fn interim_response_is_sent_at_once() {
    let gate = Gate::default();
    let at_replica = gate.clone();
    let port = replica(move |_, stream| {
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        at_replica.pass();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    client.say(A).await;
    let interim = client.answer("GET").await;
    assert!(interim.head.starts_with("HTTP/1.1 103 "), "{interim:?}");
    assert_eq!(values(&interim.head, "link"), ["</a>"]);
    gate.open();
    assert_eq!(client.answer("GET").await.body, b"ok");
}

/// Chunks that are there at once are one for the client.
#[actix_web::test]
async fn small_chunks_that_arrive_together_are_joined() {
    let port = replica(|_, stream| {
        let chunks = "1\r\nx\r\n".repeat(500);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}{chunks}0\r\n\r\n").as_bytes())
    });
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    client.say(A).await;
    let head = client.until(|bytes| Some(bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4));
    head.await;
    let whole = format!("1F4\r\n{}\r\n0\r\n\r\n", "x".repeat(500));
    let body = client.until(|bytes| bytes.ends_with(b"\r\n0\r\n\r\n").then_some(bytes.len()));
    assert_eq!(String::from_utf8(body.await).unwrap(), whole);
}

/// A chunk that comes alone does not wait for another.
#[actix_web::test]
async fn chunk_that_arrives_alone_is_sent_alone() {
    let gate = Gate::default();
    let at_replica = gate.clone();
    let port = replica(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..3 {
            stream.write_all(b"1\r\nx\r\n")?;
            at_replica.pass();
        }
        stream.write_all(b"0\r\n\r\n")
    });
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    client.say(A).await;
    client
        .until(|bytes| Some(bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4))
        .await;
    for _ in 0..3 {
        assert_eq!(client.line().await, "1\r\n");
        assert_eq!(client.line().await, "x\r\n");
        gate.open();
    }
    assert_eq!(client.line().await, "0\r\n");
}

/// RFC 9112, section 6.1: no chunks to a client that does not know them, and no interim responses.
#[actix_web::test]
async fn http10_client_gets_a_body_by_length_or_until_close() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
        Transfer-Encoding: chunked\r\n\r\n8\r\ndata: a\n\r\n0\r\n\r\n";
    let port = replica(|request, stream| {
        let response = match path_of(request) {
            "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "/chunks" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            }
            "/interim" => {
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            }
            _ => EVENTS,
        };
        stream.write_all(response.as_bytes())
    });
    let balancer = before(port).await;
    for (path, length, body) in [
        ("/length", Some("2"), "ok"),
        ("/chunks", None, "ok"),
        ("/interim", Some("2"), "ok"),
        ("/events", None, "data: a\n"),
    ] {
        for connection in ["close", "keep-alive"] {
            let mut client = Client::of(&balancer).await;
            let request = format!("GET {path} HTTP/1.0\r\nConnection: {connection}\r\n\r\n");
            client.say(&request).await;
            let head = client.answer_head().await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
            assert_eq!(
                values(&head, "transfer-encoding"),
                [""; 0],
                "{path}: {head}"
            );
            assert_eq!(
                values(&head, "content-length").first().copied(),
                length,
                "{head}"
            );
            let stays = connection == "keep-alive" && length.is_some();
            let said = if stays { "keep-alive" } else { "close" };
            assert_eq!(values(&head, "connection"), [said], "{path}: {head}");
            if stays {
                client.until(|bytes| (bytes.len() >= 2).then_some(2)).await;
                client.say("GET /length HTTP/1.0\r\n\r\n").await;
                let rest = client.rest().await;
                assert!(rest.ends_with("\r\n\r\nok"), "{path}: {rest}");
            } else {
                assert_eq!(client.rest().await, body, "{path}");
            }
        }
    }
}
