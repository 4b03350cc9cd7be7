//! Responses, and what the framing makes of each: whole, byte by byte, cut at every place.

use super::super::fuzz::{End, follow};
use super::super::protocol_error::ProtocolError;
use super::super::response_head::RequestInfo;
use crate::h1::{FramingError, MAX_HEADERS, MAX_RESPONSE_HEAD_BYTES};

const GET: RequestInfo = RequestInfo {
    head: false,
    upgrade: false,
    trailers: false,
};
const HEAD: RequestInfo = RequestInfo {
    head: true,
    upgrade: false,
    trailers: false,
};
const UPGRADE: RequestInfo = RequestInfo {
    head: false,
    upgrade: true,
    trailers: false,
};
const REUSABLE: End = End::Whole { reusable: true };
const LAST: End = End::Whole { reusable: false };

/// In one piece, in single bytes and cut in two at every place, it ends alike; what awc
/// gets is returned.
fn outcome(asked: RequestInfo, response: &[u8]) -> (Vec<u8>, End) {
    let (passed, end) = follow(asked, [response]);
    let check = |pieces: &mut dyn Iterator<Item = &[u8]>, how: &str| {
        let (others, other_end) = follow(asked, pieces);
        let text = String::from_utf8_lossy(&response[..response.len().min(200)]).into_owned();
        assert_eq!(other_end, end, "{how}: {text:?}");
        match end {
            End::Whole { .. } => assert!(others == passed, "{how}: {text:?}"),
            End::Broken(_) => assert!(others.starts_with(&passed), "{how}: {text:?}"),
        }
    };
    check(&mut response.chunks(1), "byte by byte");
    for at in 0..=response.len().min(300) {
        let (first, second) = response.split_at(at);
        check(&mut [first, second].into_iter(), &format!("cut at {at}"));
    }
    (passed, end)
}

#[test]
fn what_passes_unchanged() {
    for (asked, response, end) in [
        (
            GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            REUSABLE,
        ),
        (GET, "HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n", REUSABLE),
        (
            GET,
            "HTTP/1.1 200\r\ncontent-length:  3  \r\n\r\nabc",
            REUSABLE,
        ),
        (GET, "HTTP/1.1 200 OK\ncontent-length: 3\n\nabc", REUSABLE),
        (
            GET,
            "HTTP/1.1 200 OK\r\ncontent-length : 3\r\n\r\nabc",
            REUSABLE,
        ),
        (
            GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
            LAST,
        ),
        (
            GET,
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n",
            LAST,
        ),
        (
            GET,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            REUSABLE,
        ),
        (
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\nx: y\r\n\r\n",
            REUSABLE,
        ),
        (GET, "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", LAST),
        (
            GET,
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nabc",
            REUSABLE,
        ),
        (GET, "HTTP/1.0 200 OK\r\n\r\nuntil the end", LAST),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n", REUSABLE),
        (
            GET,
            "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
            REUSABLE,
        ),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
            REUSABLE,
        ),
        (
            GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nContent-Length: 3\r\n\r\nabc",
            REUSABLE,
        ),
        (
            GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\nabc",
            REUSABLE,
        ),
        // A replica that claims a body here may send it.
        (
            GET,
            "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
            LAST,
        ),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            LAST,
        ),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
            LAST,
        ),
        (
            GET,
            "HTTP/1.0 304 Not Modified\r\nconnection: keep-alive\r\n\r\n",
            REUSABLE,
        ),
        (
            GET,
            "HTTP/1.1 426 No\r\nupgrade: WebSocket\r\ncontent-length: 2\r\n\r\nab",
            REUSABLE,
        ),
        (HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", LAST),
        (
            HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            REUSABLE,
        ),
        (
            HEAD,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            LAST,
        ),
        (HEAD, "HTTP/1.1 200 OK\r\n\r\n", REUSABLE),
        (
            GET,
            "HTTP/1.1 426 Upgrade Required\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc",
            REUSABLE,
        ),
        (
            UPGRADE,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n\x01\x02HTTP/1.1 500",
            LAST,
        ),
    ] {
        assert_eq!(
            outcome(asked, response.as_bytes()),
            (response.as_bytes().to_vec(), end),
            "{response:?}"
        );
    }
}

#[test]
fn what_awc_must_not_see_or_see_otherwise() {
    for (asked, response, passed, end) in [
        // Interim responses.
        (
            GET,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            REUSABLE,
        ),
        (
            GET,
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
             HTTP/1.1 199 ?\r\ncontent-length: 9\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",
            REUSABLE,
        ),
        // Bodies that only the end of the connection ends.
        (
            GET,
            "HTTP/1.1 200 OK\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\n\r\nabc",
            LAST,
        ),
        (
            GET,
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            LAST,
        ),
        // Bytes that belong nowhere.
        (
            GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            LAST,
        ),
        (
            GET,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            LAST,
        ),
        (
            GET,
            "HTTP/1.1 204 No\r\n\r\nx",
            "HTTP/1.1 204 No\r\n\r\n",
            LAST,
        ),
        (
            HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n",
            LAST,
        ),
    ] {
        assert_eq!(
            outcome(asked, response.as_bytes()),
            (passed.as_bytes().to_vec(), end),
            "{response:?}"
        );
    }
}

#[test]
fn what_is_an_error() {
    use ProtocolError::*;
    let ok = "HTTP/1.1 200 OK\r\n";
    for (response, fault) in [
        (String::new(), NoResponse),
        ("HTTP/1.1 200 OK\r\ncontent-le".into(), BrokenHead),
        ("HTTP/1.1 100 Continue\r\n\r\n".into(), BrokenHead),
        (format!("{ok}content-length: 3\r\n\r\nab"), BrokenBody),
        (format!("{ok}content-length: 3\r\n\r\n"), BrokenBody),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
            BrokenBody,
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\n0\r\n"),
            BrokenBody,
        ),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n".into(), NotHttp),
        ("<html>hello</html>".into(), NotHttp),
        ("220 mail.example ESMTP\r\n".into(), NotHttp),
        ("HTTP/0.9 200 OK\r\n\r\n".into(), NotHttp),
        ("HTTP/2 200\r\n\r\n".into(), NotHttp),
        ("HTTP/1.2 200 OK\r\n\r\n".into(), NotHttp),
        ("http/1.1 200 OK\r\n\r\n".into(), NotHttp),
        ("ICY 200 OK\r\n\r\n".into(), NotHttp),
        ("HTTP/1.1 2000 OK\r\n\r\n".into(), BadHead),
        ("HTTP/1.1 20 OK\r\n\r\n".into(), BadHead),
        ("HTTP/1.1 099 OK\r\n\r\n".into(), BadHead),
        ("HTTP/1.1 two OK\r\n\r\n".into(), BadHead),
        (format!("{ok}no colon\r\n\r\n"), BadHead),
        (format!("{ok}a b: c\r\n\r\n"), BadHead),
        (format!("{ok}: c\r\n\r\n"), BadHead),
        (format!("{ok}x: a\0b\r\n\r\n"), BadHead),
        (format!("{ok}x: a\rb\r\n\r\n"), BadHead),
        (format!("{ok}x\0: a\r\n\r\n"), BadHead),
        (format!("{ok}x: a\r\n folded\r\n\r\n"), BadHead),
        ("HTTP/1.1 200 O\rK\r\n\r\n".into(), BadHead),
        (
            format!("{ok}content-length: 3\r\ncontent-length: 4\r\n\r\nabc"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length: 3, 4\r\n\r\nabc"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length: 3,\r\n\r\nabc"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length: -3\r\n\r\nabc"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length: +3\r\n\r\nabc"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length: 0x3\r\n\r\nabc"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length: 3 3\r\n\r\nabc"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length:\r\n\r\nabc"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length: 99999999999999999999\r\n\r\n"),
            Framing(FramingError::ContentLength),
        ),
        (
            format!("{ok}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            Framing(FramingError::Both),
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n"),
            Framing(FramingError::TransferEncoding),
        ),
        (
            format!("{ok}transfer-encoding: gzip, chunked\r\n\r\n"),
            Framing(FramingError::TransferEncoding),
        ),
        (
            format!("{ok}transfer-encoding: identity\r\n\r\nabc"),
            Framing(FramingError::TransferEncoding),
        ),
        (
            format!("{ok}transfer-encoding: xchunked\r\n\r\n"),
            Framing(FramingError::TransferEncoding),
        ),
        (
            format!("{ok}transfer-encoding: chunked\x0b\r\n\r\n"),
            BadHead,
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            Framing(FramingError::TransferEncoding),
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\nxyz\r\n"),
            Framing(FramingError::Chunk),
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n"),
            Framing(FramingError::Chunk),
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\n3\nabc\r\n"),
            Framing(FramingError::Chunk),
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n".into(),
            UnsolicitedUpgrade,
        ),
        ("HTTP/1.1 100 Continue\r\n\r\n".repeat(33), ManyInterim),
        ("HTTP/1.1 100 Continue\r\n\r\ngarbage".into(), NotHttp),
        (
            format!("{ok}x: {}\r\n\r\n", "a".repeat(MAX_RESPONSE_HEAD_BYTES)),
            LargeHead,
        ),
        (
            format!("HTTP/1.1 200 {}", "a".repeat(MAX_RESPONSE_HEAD_BYTES)),
            LargeHead,
        ),
        (
            format!("{ok}{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1)),
            ManyFields,
        ),
    ] {
        let text = &response[..response.len().min(80)];
        assert_eq!(
            outcome(GET, response.as_bytes()).1,
            End::Broken(fault),
            "{text:?}"
        );
    }
    let old = b"HTTP/1.0 101 Switching Protocols\r\n\r\n";
    assert_eq!(outcome(UPGRADE, old).1, End::Broken(UnsolicitedUpgrade));
    for claim in [
        "content-length: 3",
        "content-length: x",
        "transfer-encoding: chunked",
    ] {
        let framed = format!("HTTP/1.1 101 Switching Protocols\r\n{claim}\r\n\r\n");
        let tunnel = follow(UPGRADE, [framed.as_bytes(), b"anything"]);
        let all = [framed.as_bytes(), b"anything"].concat();
        assert_eq!(tunnel, (all, LAST), "{claim}");
    }
}

#[test]
fn heads_up_to_the_limits_pass() {
    let value = "a".repeat(MAX_RESPONSE_HEAD_BYTES - 45);
    let large = format!("HTTP/1.1 200 OK\r\nx: {value}\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(follow(GET, [large.as_bytes()]).1, REUSABLE);
    assert_eq!(follow(GET, large.as_bytes().chunks(1)).1, REUSABLE);
    let fields = "x: y\r\n".repeat(MAX_HEADERS - 1);
    let many = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
    assert_eq!(follow(GET, [many.as_bytes()]).1, REUSABLE);
}
