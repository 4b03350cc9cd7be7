//! The stream itself, on a scripted connection.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use actix_web::body::BodySize;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use actix_web::web::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{
    FramedConnection, ProtocolError, ReadGate, RequestHeadBuilder, UpstreamRequest,
};
use crate::upstream::ReplayBody;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a replica does: `None` is the end of its side.
#[derive(Default)]
struct Script {
    reads: VecDeque<Option<Vec<u8>>>,
    written: Vec<u8>,
    /// The socket takes so many bytes in one write, and every other time none.
    narrow: Option<usize>,
    blocked: bool,
    /// Writing fails.
    deaf: bool,
}

impl Script {
    fn saying(reads: &[&str]) -> Self {
        Self {
            reads: reads
                .iter()
                .map(|read| Some(read.as_bytes().to_vec()))
                .collect(),
            ..Self::default()
        }
    }

    fn then_ends(mut self) -> Self {
        self.reads.push_back(None);
        self
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.reads.pop_front() {
            None => Poll::Pending,
            Some(None) => Poll::Ready(Ok(())),
            Some(Some(mut bytes)) => {
                let rest = bytes.split_off(bytes.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                if !rest.is_empty() {
                    self.reads.push_front(Some(rest));
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.blocked = self.narrow.is_some() && !self.blocked;
        if self.blocked {
            return Poll::Pending;
        }
        let count = bytes.len().min(self.narrow.unwrap_or(usize::MAX));
        self.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write(
            cx,
            &slices
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect::<Vec<u8>>(),
        )
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn head() -> RequestHeadBuilder {
    let mut head = RequestHeadBuilder::new("POST", b"/x");
    head.header("host", b"a");
    head
}

fn get() -> UpstreamRequest {
    UpstreamRequest::new(&Method::GET, head(), None)
}

fn post(body: &'static str, size: BodySize) -> UpstreamRequest {
    let (_, payload) = TestRequest::default().set_payload(body).to_http_parts();
    let replay = ReplayBody::new(payload, size, std::time::Duration::from_secs(60));
    UpstreamRequest::new(&Method::POST, head(), Some(replay.attempt_body()))
}

/// A body that comes from a client piece by piece.
fn replay(payload: actix_http::h1::Payload) -> ReplayBody {
    ReplayBody::new(
        payload.into(),
        BodySize::Stream,
        std::time::Duration::from_secs(60),
    )
}

/// A client that sends nothing for now.
fn stalled() -> UpstreamRequest {
    let (sender, payload) = actix_http::h1::Payload::create(false);
    // The sender's end would be the body's.
    std::mem::forget(sender);
    UpstreamRequest::new(&Method::POST, head(), Some(replay(payload).attempt_body()))
}

fn write(connection: &mut FramedConnection<Script>, exchange: UpstreamRequest) -> io::Result<()> {
    connection.start_request(&mut cx(), exchange)
}

/// One read into a buffer of so many bytes; `None` if there is nothing yet.
fn read(connection: &mut FramedConnection<Script>, room: usize) -> Option<io::Result<String>> {
    let mut bytes = vec![0; room];
    let mut buf = ReadBuf::new(&mut bytes);
    match Pin::new(connection).poll_read(&mut cx(), &mut buf) {
        Poll::Pending => None,
        Poll::Ready(Ok(())) => Some(Ok(String::from_utf8(buf.filled().to_vec()).unwrap())),
        Poll::Ready(Err(error)) => Some(Err(error)),
    }
}

/// Reads until there is nothing more for now.
fn read_all(connection: &mut FramedConnection<Script>, room: usize) -> String {
    let mut all = String::new();
    loop {
        match read(connection, room) {
            Some(Ok(bytes)) if !bytes.is_empty() => all.push_str(&bytes),
            Some(Err(error)) => panic!("{error} after {all:?}"),
            _ => break,
        }
    }
    decode(connection, &all);
    all
}

/// Has the body of a response that has been read decoded.
fn decode(connection: &mut FramedConnection<Script>, response: &str) {
    let mut body = BytesMut::from(&response[connection.parsed_head().length..]);
    while let Ok(Poll::Ready(Some(_))) = connection.decode(&mut body, &mut Vec::new()) {}
}

fn fault(connection: &mut FramedConnection<Script>) -> Option<ProtocolError> {
    match read(connection, 100) {
        Some(Err(error)) => ProtocolError::of(&error),
        _ => None,
    }
}

fn sent(connection: &FramedConnection<Script>) -> String {
    let script = connection.stream.as_ref().unwrap();
    String::from_utf8(script.written.clone()).unwrap()
}

#[actix_web::test]
async fn bodies_are_sent_with_their_framing_however_narrow_the_socket() {
    for narrow in [None, Some(1), Some(7)] {
        for (size, expected) in [
            (BodySize::Sized(5), "content-length: 5\r\n\r\nhello"),
            (
                BodySize::Stream,
                "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ),
        ] {
            let script = Script {
                narrow,
                ..Script::default()
            };
            let mut connection = FramedConnection::new(script);
            write(&mut connection, post("hello", size)).unwrap();
            for _ in 0..300 {
                assert!(read(&mut connection, 100).is_none());
            }
            let head = "POST /x HTTP/1.1\r\nhost: a\r\n";
            assert_eq!(sent(&connection), format!("{head}{expected}"), "{narrow:?}");
            // And then the answer, after which the connection is free.
            let stream = connection.stream.as_mut().unwrap();
            stream.reads.push_back(Some(OK.into()));
            assert_eq!(read_all(&mut connection, 100), OK);
            assert!(connection.stream.is_some());
            write(&mut connection, get()).unwrap();
        }
    }
}

#[actix_web::test]
async fn a_second_request_before_the_first_ones_answer_is_an_error() {
    let mut connection = FramedConnection::new(Script::default());
    write(&mut connection, get()).unwrap();
    let error = write(&mut connection, get()).unwrap_err();
    assert_eq!(ProtocolError::of(&error), Some(ProtocolError::Pipelined));
    assert!(connection.stream.is_none());
}

#[actix_web::test]
async fn answers_come_through_buffers_of_any_size() {
    let response = format!("HTTP/1.1 100 Continue\r\n\r\n{OK}");
    for room in [1, 2, 3, 7, 100] {
        for piece in 1..=response.len() {
            let pieces: Vec<&str> = response
                .as_bytes()
                .chunks(piece)
                .map(|piece| str::from_utf8(piece).unwrap())
                .collect();
            let mut connection = FramedConnection::new(Script::saying(&pieces));
            write(&mut connection, get()).unwrap();
            assert_eq!(read_all(&mut connection, room), OK, "{piece} into {room}");
            // The pool's check: alive, nothing to read.
            assert!(connection.stream.is_some());
            assert!(read(&mut connection, 2).is_none());
        }
    }
}

#[actix_web::test]
async fn the_pools_check_finds_the_end_where_a_byte_belongs_nowhere() {
    let surplus = format!("{OK}x");
    for reads in [&[OK, "x"][..], &[OK, OK][..], &[surplus.as_str()][..]] {
        let mut connection = FramedConnection::new(Script::saying(reads));
        write(&mut connection, get()).unwrap();
        let response = read(&mut connection, 100).unwrap().unwrap();
        assert!(response.starts_with(OK), "{response}");
        decode(&mut connection, &response);
        assert_eq!(read(&mut connection, 2).unwrap().unwrap(), "", "{reads:?}");
        assert!(connection.stream.is_none(), "the socket is closed");
        assert!(write(&mut connection, get()).is_err());
    }
}

#[actix_web::test]
async fn an_end_is_an_error_where_a_response_is_due() {
    for (reads, expected) in [
        (&[][..], ProtocolError::NoResponse),
        (
            &["HTTP/1.1 200 OK\r\nx: y\r\n"][..],
            ProtocolError::BrokenHead,
        ),
        (
            &["HTTP/1.1 100 Continue\r\n\r\n"][..],
            ProtocolError::BrokenHead,
        ),
    ] {
        let mut connection = FramedConnection::new(Script::saying(reads).then_ends());
        write(&mut connection, get()).unwrap();
        assert_eq!(fault(&mut connection), Some(expected), "{reads:?}");
    }
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort";
    let mut connection = FramedConnection::new(Script::saying(&[short]).then_ends());
    write(&mut connection, get()).unwrap();
    assert_eq!(read(&mut connection, 100).unwrap().unwrap(), short);
    assert_eq!(fault(&mut connection), Some(ProtocolError::BrokenBody));
}

#[actix_web::test]
async fn an_early_answer_stops_the_upload_and_the_connection() {
    let mut connection = FramedConnection::new(Script::saying(&[OK]));
    write(&mut connection, stalled()).unwrap();
    assert!(
        sent(&connection).ends_with("\r\n\r\n"),
        "the head goes at once"
    );
    assert_eq!(read_all(&mut connection, 100), OK);
    assert!(connection.stream.is_none());
    assert_eq!(read(&mut connection, 2).unwrap().unwrap(), "");
}

#[actix_web::test]
async fn a_replica_that_takes_no_more_is_heard_all_the_same() {
    let script = Script {
        narrow: Some(1),
        ..Script::saying(&[OK])
    };
    let mut connection = FramedConnection::new(script);
    let exchange = post("hello", BodySize::Sized(5));
    write(&mut connection, exchange).unwrap();
    connection.stream.as_mut().unwrap().deaf = true;
    assert_eq!(read_all(&mut connection, 100), OK);
    assert!(connection.stream.is_none());
}

#[actix_web::test]
async fn after_an_upgrade_bytes_flow_both_ways_as_they_are() {
    let (mut sender, payload) = actix_http::h1::Payload::create(false);
    let exchange = UpstreamRequest::new(&Method::GET, head(), Some(replay(payload).attempt_body()));
    let exchange = exchange.for_tunnel(ReadGate::default());

    let mut connection = FramedConnection::new(Script::default());
    write(&mut connection, exchange).unwrap();
    sender.feed_data("ping".into());
    assert!(read(&mut connection, 100).is_none());
    let head = "POST /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(sent(&connection), head, "nothing before the replica agrees");
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n\r\npo";
    let stream = connection.stream.as_mut().unwrap();
    stream.reads.push_back(Some(switch.into()));
    stream.reads.push_back(Some("ng".into()));
    assert_eq!(read_all(&mut connection, 1000), format!("{switch}ng"));
    assert_eq!(sent(&connection), format!("{head}ping"));
}
