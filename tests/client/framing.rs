//! Clients that break the rules of HTTP/1.1, or stretch them: one row each, over raw
//! sockets. What is refused closes the connection, and nothing of it, nor anything behind
//! it, ever reaches a replica.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::wire::{Scripted, in_time, rest, told, values};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// What every refused request has behind it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

const CLOSING: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The status that refuses each.
#[rustfmt::skip] // One line a case, whatever its length.
const REFUSED: &[(u16, &str, &str)] = &[
    // The request line.
    (501, "CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"),
    (505, "HTTP/2.0 in letters", "GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
    (505, "the beginning of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (505, "HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
    (400, "HTTP/3", "GET / HTTP/3\r\nHost: x\r\n\r\n"),
    (400, "no version", "GET /\r\nHost: x\r\n\r\n"),
    (400, "another protocol", "GET / SMTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "a space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "a tab for a space", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "a method that is no token", "G@T / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "a fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "a target without a slash", "GET x HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "a target of control characters", "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "an asterisk for a GET", "GET * HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "an authority for a GET", "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "another scheme", "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "a user in the target", "GET http://user@x/ HTTP/1.1\r\nHost: x\r\n\r\n"),
    // Host.
    (400, "no Host", "GET / HTTP/1.1\r\n\r\n"),
    (400, "two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
    (400, "two Hosts, one empty", "GET / HTTP/1.1\r\nHost: x\r\nHost:\r\n\r\n"),
    (400, "a Host with a path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n"),
    (400, "a Host with a space", "GET / HTTP/1.1\r\nHost: x y\r\n\r\n"),
    (400, "a Host with a user", "GET / HTTP/1.1\r\nHost: user@x\r\n\r\n"),
    (400, "a list of Hosts", "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n"),
    (400, "a Host with a port that is none", "GET / HTTP/1.1\r\nHost: x:y\r\n\r\n"),
    (400, "a Host with letters outside ASCII", "GET / HTTP/1.1\r\nHost: b\u{fc}cher\r\n\r\n"),
    // Content-Length.
    (400, "two different lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    (400, "the same length twice", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    (400, "a list of lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello"),
    (400, "a length with a sign", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello"),
    (400, "a negative length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello"),
    (400, "a length in hex", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello"),
    (400, "an empty length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\nhello"),
    (400, "a length beyond 64 bits", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551621\r\n\r\nhello"),
    // Transfer-Encoding.
    (400, "both framings", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "both framings, the other way", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
    (400, "chunked, identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    (400, "gzip, chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (400, "identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    (400, "xchunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (400, "an empty encoding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
    (400, "identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n"),
    (400, "identity, and a length", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi"),
    (400, "a length of many zeros", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0000000000000000000000000000000000000000000000000000000000000002\r\n\r\nhi"),
    (400, "identity in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi"),
    (400, "chunked twice", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "chunked after identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, "a vertical tab before chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    // Field lines.
    (400, "a folded line", "GET / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n 2\r\n\r\n"),
    (400, "a fold before all fields", "GET / HTTP/1.1\r\n X-A: 1\r\nHost: x\r\n\r\n"),
    (400, "a space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n"),
    (400, "a tab before the colon", "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n"),
    (400, "a line without a colon", "GET / HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n"),
    (400, "a field without a name", "GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n"),
    (400, "a name with a bracket", "GET / HTTP/1.1\r\nHost: x\r\nX[A]: y\r\n\r\n"),
    (400, "a bare CR in a value", "GET / HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n"),
    // A recipient may take a bare LF for a line's end (RFC 9112, section 2.2); it need not.
    (400, "a bare LF behind the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n"),
    (400, "a bare LF behind a header", "GET / HTTP/1.1\r\nHost: x\nX-A: y\r\n\r\n"),
    (400, "a bare LF behind the last header", "GET / HTTP/1.1\r\nX-A: y\r\nHost: x\n\r\n"),
    (400, "a bare LF for the empty line", "GET / HTTP/1.1\r\nHost: x\r\n\n"),
    (400, "a bare LF before the request line", "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (400, "a NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n"),
];

/// Chunks that are none.
#[rustfmt::skip] // One line a case, whatever its length.
const BROKEN: &[(&str, &str)] = &[
    ("a chunk's size ended by a bare LF", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
    ("a chunk longer than it says", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
    ("a chunk's size with a sign", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk's size in 0x", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk's size beyond 64 bits", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a bare LF in a chunk's extension", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n"),
    ("a chunk without a size", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n;a\r\nhello\r\n0\r\n\r\n"),
];

/// What is refused, and nothing behind it heard.
#[actix_web::test]
async fn invalid_request_is_refused_and_closes_the_connection() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    let address = balancer.address();
    let large = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n",
        "a".repeat(200_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X-A: a\r\n".repeat(96)
    );
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(65_534));
    let endless = format!("GET /{}", "a".repeat(140_000));
    let name = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}: a\r\n\r\n",
        "a".repeat(65_536)
    );
    let built = [
        (431, "a head too large", large.as_str()),
        (431, "too many fields", &many),
        (414, "a target too long", &long),
        (414, "a target without an end", &endless),
        (431, "a header's name too long", &name),
    ];
    let rows = REFUSED.iter().copied().chain(built);
    let wrong = futures::future::join_all(rows.map(async |(status, what, request)| {
        let got = told(address, format!("{request}{SMUGGLED}").as_bytes()).await;
        let first = got.split(' ').nth(1).and_then(|status| status.parse().ok());
        let closes = got.starts_with("HTTP/1.0") || values(&got, "connection") == ["close"];
        let answers = got.matches("\r\n\r\n").count();
        // Each has something to say.
        let says = got.ends_with("\"status\":\"failure\"}");
        let right = first == Some(status) && closes && answers == 1 && says;
        (!right).then(|| format!("{what}: {status} expected\n{got}\n"))
    }));
    let wrong: Vec<String> = wrong.await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
    assert_eq!(replica.take_requests(), [""; 0]);
    // What a client does wrong is nothing that an operator has to hear of.
    assert_eq!(balancer.count_in_log("ERROR"), 0);
}

/// A body is what it is, even one that looks like an answer of actix's own.
#[actix_web::test]
async fn error_status_of_a_replica_keeps_the_connection() {
    let canned = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
    let bodiless = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
    let replica = Scripted::answering(move |request| {
        if request.starts_with("GET /bodiless ") {
            return bodiless.as_bytes().to_vec();
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            canned.len()
        );
        format!("{head}{canned}").into_bytes()
    })
    .await;
    let balancer = replica.balancer(&[]).await;
    let asking = "GET /bodiless HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let got = told(balancer.address(), asking.as_bytes()).await;
    let (first, second) = got.split_at(got.find("HTTP/1.1 200").unwrap());
    assert!(first.starts_with("HTTP/1.1 431 "), "{got}");
    assert_eq!(values(first, "content-length"), ["0"], "{got}");
    assert!(second.ends_with(canned), "{got}");
}

#[actix_web::test]
async fn invalid_chunk_is_refused_and_closes_the_connection() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    for (what, request) in BROKEN {
        let whole = format!("{request}{SMUGGLED}");
        // At once, and when it is known that it is read.
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        let head = format!("{head}\r\nExpect: 100-continue\r\n\r\n");
        let mut client = TcpStream::connect(balancer.address()).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        in_time(client.read_exact(&mut go_on)).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n", "{what}");
        client.write_all(body.as_bytes()).await.unwrap();
        let later = in_time(rest(&mut client)).await;
        for got in [told(balancer.address(), whole.as_bytes()).await, later] {
            assert!(got.starts_with("HTTP/1.1 400 "), "{what}: {got}");
            assert!(
                got.contains("a chunk of the request is malformed"),
                "{what}: {got}"
            );
            assert_eq!(values(&got, "connection"), ["close"], "{what}: {got}");
            assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{what}: {got}");
        }
    }
    assert_eq!(replica.take_requests(), [""; 0]);
}

/// What is behind a good request is judged by itself, and in the balancer's words.
#[actix_web::test]
async fn invalid_request_behind_chunks_is_refused_after_their_response() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    let chunks =
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    for (status, what, request) in REFUSED {
        let got = told(
            balancer.address(),
            format!("{chunks}{request}{SMUGGLED}").as_bytes(),
        )
        .await;
        let Some((first, second)) = got.split_once("\r\n\r\nok") else {
            panic!("{what}: {got}");
        };
        assert!(first.starts_with("HTTP/1.1 200 "), "{what}: {got}");
        assert_eq!(
            second.split(' ').nth(1),
            Some(&*status.to_string()),
            "{what}: {got}"
        );
        assert!(second.ends_with("\"status\":\"failure\"}"), "{what}: {got}");
    }
    let asked = replica.take_requests();
    assert_eq!(asked.len(), REFUSED.len());
    assert!(
        asked.iter().all(|request| request.starts_with("POST / ")),
        "{asked:?}"
    );
}

/// actix drains what its last answer did not wait for: nothing in there is a request.
#[actix_web::test]
async fn input_behind_a_refused_request_is_never_a_request() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    let chunked = "POST / HTTP/1.1\r\nHost: x,y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na";
    let expecting =
        "POST / HTTP/1.1\r\nHost: x,y\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\na";
    let bad = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx";
    for (begun, ended) in [(chunked, "bc\r\n0\r\n\r\n"), (expecting, "bc")] {
        for behind in [SMUGGLED, bad] {
            let mut client = TcpStream::connect(balancer.address()).await.unwrap();
            client.write_all(begun.as_bytes()).await.unwrap();
            let mut got = String::new();
            while !got.ends_with('}') {
                let mut buffer = [0; 1024];
                let count = in_time(client.read(&mut buffer)).await.unwrap();
                assert!(count > 0, "the end after {got:?}");
                got += str::from_utf8(&buffer[..count]).unwrap();
            }
            let (half, rest_of_it) = behind.split_at(behind.len() / 2);
            for piece in [ended, half, rest_of_it, behind] {
                // The connection may have ended.
                let _ = client.write_all(piece.as_bytes()).await;
            }
            got += &in_time(rest(&mut client)).await;
            assert!(got.starts_with("HTTP/1.1 400 "), "{begun}: {got}");
            assert_eq!(got.matches("\r\n\r\n").count(), 1, "{begun}: {got}");
        }
    }
    assert_eq!(replica.take_requests(), [""; 0]);
}

/// So much more is under way that the end of the connection would be a reset.
#[actix_web::test]
async fn refusal_of_a_large_upload_reaches_the_client() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&["--max-connections", "1"]).await;
    let mut client = TcpStream::connect(balancer.address()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nbad\r\n";
    let upload = format!("{head}{}{}", "a".repeat(0xbad), "b".repeat(1 << 20));
    client.write_all(upload.as_bytes()).await.unwrap();
    let got = in_time(rest(&mut client)).await;
    assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
    assert!(got.contains("a chunk of the request is malformed"), "{got}");
    // It keeps its place, the only one, no longer than it takes to read that.
    let again = told(balancer.address(), CLOSING.as_bytes()).await;
    assert!(again.starts_with("HTTP/1.1 200 "), "{again}");
}

#[actix_web::test]
async fn cookies_and_compressed_bodies_pass_unchanged() {
    let answer: &[u8] = b"HTTP/1.1 206 Partial Content\r\nset-cookie: a=1; path=/\r\n\
        set-cookie: b=2\r\nset-cookie: a=1; path=/\r\ncontent-range: bytes 1-4/9\r\n\
        content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x0b\x08\x01";
    let replica = Scripted::answering(move |_| answer.to_vec()).await;
    let balancer = replica.balancer(&[]).await;
    let request =
        b"GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let got = told(balancer.address(), request).await;
    assert!(got.starts_with("HTTP/1.1 206 Partial Content\r\n"), "{got}");
    let cookies = ["a=1; path=/", "b=2", "a=1; path=/"];
    assert_eq!(values(&got, "set-cookie"), cookies, "{got}");
    assert_eq!(values(&got, "content-range"), ["bytes 1-4/9"], "{got}");
    assert_eq!(values(&got, "content-encoding"), ["gzip"], "{got}");
    assert!(got.ends_with("\r\n\r\n\x1f\x0b\x08\x01"), "{got}");
    assert_eq!(
        values(&replica.take_requests()[0], "accept-encoding"),
        ["gzip"]
    );
}

/// By how many more an OPTIONS or TRACE may be forwarded, as a client and as the replica is told; in
/// other requests it means nothing, and so does what is no number.
#[actix_web::test]
async fn max_forwards_counts_down_and_ends_at_zero() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    for (method, said, told_on) in [
        ("OPTIONS", "3", "2"),
        ("OPTIONS", "18446744073709551615", "18446744073709551614"),
        ("OPTIONS", "1, 2", "1, 2"),
        ("OPTIONS", "+0", "+0"),
        ("TRACE", "1", "0"),
        ("GET", "0", "0"),
        ("GET", "3", "3"),
    ] {
        let request = format!(
            "{method} /a HTTP/1.1\r\nHost: x\r\nmax-Forwards: {said}\r\nConnection: close\r\n\r\n"
        );
        let got = told(balancer.address(), request.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{request}: {got}");
        let asked = replica.take_requests().pop().unwrap();
        assert_eq!(values(&asked, "max-forwards"), [told_on], "{request}");
    }
    for (method, line) in [
        ("OPTIONS", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"),
        ("TRACE", "HTTP/1.1 501 Not Implemented\r\n"),
    ] {
        let request = format!(
            "{method} /a HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n"
        );
        let got = told(balancer.address(), request.as_bytes()).await;
        assert!(got.starts_with(line), "{request}: {got}");
        assert!(replica.take_requests().is_empty(), "{request}");
    }
}

/// What stretches the rules and is right: the request line and Host that a replica sees.
#[rustfmt::skip] // One line a case, whatever its length.
const PASSED: &[(&str, &str, &str)] = &[
    ("OPTIONS * HTTP/1.1\r\nHost: x\r\n", "OPTIONS * HTTP/1.1", "x"),
    ("TRACE /a HTTP/1.1\r\nHost: x\r\n", "TRACE /a HTTP/1.1", "x"),
    ("OPTIONS http://shop.example HTTP/1.1\r\nHost: x\r\n", "OPTIONS * HTTP/1.1", "shop.example"),
    ("OPTIONS http://shop.example?b HTTP/1.1\r\nHost: x\r\n", "OPTIONS /?b HTTP/1.1", "shop.example"),
    ("OPTIONS http://shop.example/ HTTP/1.1\r\nHost: x\r\n", "OPTIONS / HTTP/1.1", "shop.example"),
    ("GET http://shop.example:81/a?b HTTP/1.1\r\nHost: x\r\n", "GET /a?b HTTP/1.1", "shop.example:81"),
    ("GET http://shop.example HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.1", "shop.example"),
    ("GET http://shop.example?b HTTP/1.1\r\nHost: x\r\n", "GET /?b HTTP/1.1", "shop.example"),
    ("GET / HTTP/1.1\r\nHost:\r\n", "GET / HTTP/1.1", ""),
    ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n", "GET / HTTP/1.1", "[::1]:80"),
    ("GET / HTTP/1.1\r\nHost: a_b.example\r\n", "GET / HTTP/1.1", "a_b.example"),
    ("GET / HTTP/1.1\r\nhOsT:\t x \t\r\n", "GET / HTTP/1.1", "x"),
    ("\r\nGET / HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.1", "x"),
    ("GET /<\"`>\u{fc}?<\"`> HTTP/1.1\r\nHost: x\r\n", "GET /<\"`>\u{fc}?<\"`> HTTP/1.1", "x"),
    ("GET http://x/<\"`>\u{fc} HTTP/1.1\r\nHost: x\r\n", "GET /<\"`>\u{fc} HTTP/1.1", "x"),
    ("GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2, 4-\r\n", "GET / HTTP/1.1", "x"),
];

#[actix_web::test]
async fn unusual_but_valid_requests_pass() {
    let replica = Scripted::saying(OK).await;
    let balancer = replica.balancer(&[]).await;
    let mut wrong = String::new();
    for (request, line, host) in PASSED {
        let request = format!("{request}Connection: close\r\n\r\n");
        let got = told(balancer.address(), request.as_bytes()).await;
        let asked = replica.take_requests().pop().unwrap_or_default();
        let hosts = values(&asked, "host").concat();
        // An empty value has nothing behind its colon.
        let right = got.starts_with("HTTP/1.1 200 OK\r\n")
            && asked.lines().next() == Some(line)
            && hosts == *host
            && asked.contains("Range: bytes=1-2, 4-") == request.contains("Range");
        if !right {
            wrong += &format!("{request}\n-> {got}\n-> {asked}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
