//! Where requests end, as this server reads them and as actix-http does.

use std::task::Poll;

use actix_http::h1::{Codec, Message, MessageType};
use actix_web::rt::Runtime;
use actix_web::web::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use super::fuzz::fuzz;
use super::request::ParsedRequest;
use crate::h1::{BodyDecoder, Rules};

/// What is behind each.
const NEXT: &str = "HEAD / HTTP/1.1\r\n";

/// What becomes of the first request in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Refused,
    /// More is to come.
    Partial,
    /// This many bytes are left.
    Whole(usize),
}

fn read(bytes: &[u8]) -> Read {
    let mut behind = Bytes::copy_from_slice(bytes);
    let parsed = match ParsedRequest::parse(&mut behind, None) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Read::Partial,
        Err(_) => return Read::Refused,
    };
    let mut body = BodyDecoder::new(parsed.body, Rules::Request);
    let (mut behind, mut trailers) = (BytesMut::from(behind), Vec::new());
    loop {
        match body.decode(&mut behind, &mut trailers) {
            Ok(Poll::Ready(Some(_))) => {}
            Ok(Poll::Ready(None)) => return Read::Whole(behind.len()),
            Ok(Poll::Pending) => return Read::Partial,
            Err(_) => return Read::Refused,
        }
    }
}

fn read_by_actix(bytes: &[u8]) -> Read {
    thread_local! {
        /// For the codec's clock.
        static RUNTIME: Runtime = Runtime::new().unwrap();
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let mut bytes = BytesMut::from(bytes);
            let mut codec = Codec::default();
            match codec.decode(&mut bytes) {
                Ok(Some(Message::Item(_))) => {}
                Ok(_) => return Read::Partial,
                Err(_) => return Read::Refused,
            }
            if codec.message_type() == MessageType::None {
                return Read::Whole(bytes.len());
            }
            loop {
                match codec.decode(&mut bytes) {
                    Ok(Some(Message::Chunk(Some(_)))) => {}
                    Ok(Some(Message::Chunk(None))) => return Read::Whole(bytes.len()),
                    Ok(_) => return Read::Partial,
                    Err(_) => return Read::Refused,
                }
            }
        })
    })
}

#[test]
fn request_ends_where_its_framing_says() {
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n",
        "a".repeat(70_000)
    );
    let with = |headers: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n");
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        long,
        with("Content-Length: 0"),
        with("content-length:\t3 ") + "abc",
        with("Content-Length: 12") + "\r\n\r\n\r\n\r\n\r\n\r\n",
        with("Transfer-Encoding: Chunked") + "3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n",
        with("Upgrade: h2c\r\nContent-Length: 1") + "a",
        with("Connection: upgrade\r\nUpgrade: tcp"),
        with("X-Content-Length: 3"),
        with(&format!("Content-Length: {}1 ", " \t".repeat(64))) + "a",
        with(&format!("Upgrade: {}", "h2c, ".repeat(64))),
    ] {
        let whole = format!("{request}{NEXT}");
        assert_eq!(read(whole.as_bytes()), Read::Whole(NEXT.len()), "{request}");
        for cut in (0..request.len()).step_by(1 + request.len() / 256) {
            let begin = &request.as_bytes()[..cut];
            assert_eq!(read(begin), Read::Partial, "{cut} bytes of {request}");
        }
    }
    for request in [
        with("Content-Length: 1\r\nContent-Length: 1"),
        with("Content-Length: 1\r\nTransfer-Encoding: chunked"),
        with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        with("Transfer-Encoding: gzip, chunked"),
        with("Transfer-Encoding: identity"),
        with("Content-Length: +1"),
        with("Content-Length: 1a"),
        with("Content-Length:"),
        with("Content-Length: 18446744073709551616"),
        with(&format!("Content-Length: {}1", "0".repeat(64))),
        with("Upgrade: websocket\r\nContent-Length: x"),
        with("Transfer-Encoding: chunked") + "x\r\n",
        with("Transfer-Encoding: chunked") + "1\r\nab\r\n",
        with("Transfer-Encoding: chunked") + "1\nx",
        with("Transfer-Encoding: chunked") + "1 \r\nx",
        with("Transfer-Encoding: chunked") + "0\r\nx\r\n",
    ] {
        assert_eq!(
            read(format!("{request}{NEXT}").as_bytes()),
            Read::Refused,
            "{request}"
        );
    }
}

fn header() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("Content-Length"),
        Just("content-length"),
        Just("Transfer-Encoding"),
        Just("TRANSFER-ENCODING"),
        Just("Upgrade"),
        Just("X-Content-Length"),
        Just("Content-Length "),
        Just(" Content-Length"),
    ];
    let value = prop_oneof![
        "[0-9]{1,2}",
        Just("chunked".to_owned()),
        Just("Chunked".to_owned()),
        Just("identity".to_owned()),
        Just("gzip, chunked".to_owned()),
        Just("h2c".to_owned()),
        "[ -~]{0,80}",
    ];
    let space = prop_oneof![Just(""), Just(" "), Just("\t "), Just("  ")];
    let end = prop_oneof![4 => Just("\r\n"), 1 => Just("\n"), 1 => Just(" \r\n")];
    (name, space, value, end)
        .prop_map(|(name, space, value, end)| format!("{name}:{space}{value}{end}"))
}

fn headers() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(header(), 0..4).prop_map(|headers| headers.concat()),
        Just("transfer-encoding:  chunked\r\n".to_owned()),
        (0..40_u8).prop_map(|length| format!("Content-Length: {length} \r\n")),
    ]
}

fn body() -> impl Strategy<Value = String> {
    let chunk = ("[0-9a-fA-F]{1,2}", "[ -~]{0,20}")
        .prop_map(|(size, data)| format!("{size}\r\n{data}\r\n"));
    let good = "[ -~]{1,20}".prop_map(|data| format!("{:x}\r\n{data}\r\n", data.len()));
    let chunk = prop_oneof![1 => chunk, 6 => good];
    let chunks = prop::collection::vec(chunk, 0..4)
        .prop_map(|chunks| format!("{}0\r\n\r\n", chunks.concat()));
    prop_oneof![chunks, "[ -~]{0,100}"]
}

#[test]
fn fuzzers_seeds_hold() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/client_requests");
    for seed in std::fs::read_dir(seeds).unwrap() {
        let seed = std::fs::read(seed.unwrap().path()).unwrap();
        for length in 0..20 {
            fuzz(&[&[length], &seed[1..]].concat());
        }
    }
}

proptest! {
    /// In whatever pieces bytes come, the same requests are in them.
    #[test]
    fn pieces_change_no_request(
        requests in prop::collection::vec((headers(), body()), 1..4),
        length in 1..40_u8,
        place in any::<prop::sample::Index>(),
        other in any::<u8>(),
    ) {
        let text: String = requests
            .iter()
            .map(|(headers, body)| format!("PUT /a HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}"))
            .collect();
        let mut input = [&[length], text.as_bytes()].concat();
        fuzz(&input);
        let place = place.index(input.len());
        input[place] = other;
        fuzz(&input);
    }

    /// A server in front of this one, or behind it, that reads as actix does is never smuggled
    /// anything: what is not refused has the same end.
    #[test]
    fn actix_sees_the_same_end(
        version in prop_oneof![4 => Just("1.1"), 1 => Just("1.0")],
        headers in headers(),
        body in body(),
    ) {
        let text = format!("PUT / HTTP/{version}\r\nHost: x\r\n{headers}\r\n{body}{NEXT}");
        let ours = read(text.as_bytes());
        let actix = read_by_actix(text.as_bytes());
        match ours {
            Read::Refused => {}
            Read::Partial => prop_assert!(!matches!(actix, Read::Whole(_)), "{:?}", text),
            Read::Whole(_) => prop_assert_eq!(ours, actix, "{:?}", text),
        }
    }
}
