//! Answers through a real socket, taken apart again.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use httparse::Status;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http::connection::h1::byte_stream::ClientTcp;

const GET: ResponseOptions = ResponseOptions {
    is_head: false,
    is_http10: false,
    close: false,
};
const HEAD: ResponseOptions = ResponseOptions {
    is_head: true,
    is_http10: false,
    close: false,
};

/// What a body does when it is asked for more. After it, it ends.
#[derive(Debug, Clone)]
enum Step {
    Gives(Bytes),
    /// There is nothing yet.
    Pauses,
    /// There never is again.
    Stops,
    BreaksOff,
}
use Step::{BreaksOff, Gives, Pauses, Stops};

struct Steps {
    size: BodySize,
    steps: VecDeque<Step>,
    /// Known to the test, which sees whether the body is still there.
    _life: Rc<()>,
}

impl MessageBody for Steps {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        match self.steps.pop_front() {
            Some(Gives(piece)) => Poll::Ready(Some(Ok(piece))),
            Some(Pauses) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Stops) => {
                self.steps.push_front(Stops);
                Poll::Pending
            }
            Some(BreaksOff) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            None => Poll::Ready(None),
        }
    }
}

fn response(size: BodySize, steps: &[Step]) -> Response<BoxBody> {
    let body = Steps {
        size,
        steps: steps.iter().cloned().collect(),
        _life: Rc::default(),
    };
    Response::with_body(StatusCode::OK, BoxBody::new(body))
}

/// The same, whose end is the connection's.
fn until_close(steps: &[Step]) -> Response<BoxBody> {
    let mut response = response(BodySize::Stream, steps);
    response.head_mut().no_chunking(true);
    response
}

/// A connection's both ends.
async fn connection() -> (ClientSocket<ClientTcp>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, client) = tokio::join!(listener.accept(), client);
    // As it is accepted: it is watched from when it is first full.
    let accepted = accepted.unwrap().0.into_std().unwrap();
    (
        ClientSocket::new(ClientTcp::Unwatched(accepted), Arc::default()),
        client.unwrap(),
    )
}

fn answer(response: Response<BoxBody>, options: ResponseOptions) -> Answer {
    Answer::new(response, b"", None, options, b"today")
}

/// How an answer went out, and what came: the head, and what is behind it.
async fn sent(mut answer: Answer) -> (io::Result<()>, String, Vec<u8>) {
    let (socket, mut client) = connection().await;
    let mut come = Vec::new();
    let write = async move {
        let done = poll_fn(|cx| answer.poll(cx, &socket)).await;
        drop(socket);
        done
    };
    let (done, read) = tokio::join!(write, client.read_to_end(&mut come));
    read.unwrap();
    // One that breaks off early may not have said anything.
    let end = come.windows(4).position(|end| end == b"\r\n\r\n");
    let body = come.split_off(end.map_or(come.len(), |end| end + 4));
    (done, String::from_utf8(come).unwrap(), body)
}

/// What chunks hold, and whether the last one has come.
fn dechunked(mut text: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Ok(Status::Complete((line, size))) = httparse::parse_chunk_size(text) {
        let size = usize::try_from(size).unwrap();
        let (chunk, rest) = text[line..].split_at_checked(size).expect("a whole chunk");
        body.extend_from_slice(chunk);
        text = rest.strip_prefix(b"\r\n").expect("the chunk's end");
        if size == 0 {
            assert_eq!(text, b"", "something behind the end");
            return (body, true);
        }
    }
    assert_eq!(text, b"", "no chunk");
    (body, false)
}

/// Pieces of these sizes, no two alike.
fn pieces(sizes: &[usize]) -> Vec<Bytes> {
    let mut next = 0u32;
    let mut piece = |size: &usize| {
        let bytes = (0..*size).map(|_| {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            next.to_be_bytes()[0]
        });
        bytes.collect()
    };
    sizes.iter().map(&mut piece).collect()
}

#[rustfmt::skip] // One line a case.
const SIZES: &[&[usize]] = &[
    &[],
    &[0],
    &[1],
    &[5, 0, 7, 0],
    &[LARGE - 1],
    &[LARGE],
    &[0, LARGE, 0],
    &[LARGE + 1, 1, 0, 3 * LARGE, 2],
    &[1, LARGE, LARGE, 1],
    &[LARGE - 1; 20],
    &[100; 1_000],
    &[FLUSH_BYTES - 200, 1, FLUSH_BYTES, FLUSH_BYTES + 1],
    // More than the socket takes at once.
    &[8 << 20, 3, 8 << 20],
];

#[actix_web::test]
async fn a_body_arrives_as_it_is_in_whatever_pieces_and_framing() {
    for sizes in SIZES {
        let pieces = pieces(sizes);
        let whole = pieces.concat();
        let at_once: Vec<Step> = pieces.iter().cloned().map(Gives).collect();
        let with_pauses: Vec<Step> = at_once
            .iter()
            .flat_map(|step| [Pauses, step.clone()])
            .collect();
        for steps in [at_once, with_pauses] {
            let length = BodySize::Sized(whole.len() as u64);
            let (done, head, body) = sent(answer(response(length, &steps), GET)).await;
            done.unwrap();
            assert!(body == whole, "counted: {sizes:?}");
            let told = format!("\r\ncontent-length: {}\r\n", whole.len());
            assert!(head.contains(&told), "{head}");

            let (done, head, body) = sent(answer(response(BodySize::Stream, &steps), GET)).await;
            done.unwrap();
            assert!(
                dechunked(&body) == (whole.clone(), true),
                "chunked: {sizes:?}"
            );
            assert!(
                head.contains("\r\ntransfer-encoding: chunked\r\n"),
                "{head}"
            );

            let (done, head, body) = sent(answer(until_close(&steps), GET)).await;
            done.unwrap();
            assert!(body == whole, "until close: {sizes:?}");
            assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        }
    }
}

#[actix_web::test]
async fn a_body_that_is_too_short_is_an_error() {
    for steps in [
        vec![],
        vec![Gives("four".into())],
        vec![Gives(vec![b'x'; LARGE].into())],
    ] {
        let length = BodySize::Sized(LARGE as u64 + 1);
        let (done, _, body) = sent(answer(response(length, &steps), GET)).await;
        assert_eq!(done.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(body.len() <= LARGE, "{}", body.len());
    }
}

#[actix_web::test]
async fn a_body_that_is_too_long_is_cut() {
    for length in [1, 4, 7, LARGE, LARGE + 7] {
        let steps = [b"four".as_slice(), b"more", &[b'x'; 2 * LARGE], b"and more"]
            .map(|piece| Gives(Bytes::from_static(Box::leak(piece.into()))));
        let (done, _, body) = sent(answer(
            response(BodySize::Sized(length as u64), &steps),
            GET,
        ))
        .await;
        done.unwrap();
        let whole = [b"fourmore".as_slice(), &[b'x'; 2 * LARGE]].concat();
        assert!(body == whole[..length], "{length}");
    }
}

#[actix_web::test]
async fn a_body_that_breaks_off_has_no_end() {
    for size in [1, LARGE] {
        let piece = Bytes::from(vec![b'x'; size]);
        let steps = [
            Gives(piece.clone()),
            Pauses,
            Gives(piece),
            Pauses,
            BreaksOff,
        ];
        let length = BodySize::Sized(3 * size as u64);
        let (done, _, body) = sent(answer(response(length, &steps), GET)).await;
        assert!(done.is_err());
        assert_eq!(body.len(), 2 * size);
        let (done, _, body) = sent(answer(response(BodySize::Stream, &steps), GET)).await;
        assert!(done.is_err());
        assert_eq!(dechunked(&body), (vec![b'x'; 2 * size], false));
    }
}

#[actix_web::test]
async fn who_asks_for_the_head_gets_no_body_and_nothing_waits_for_it() {
    for (size, told) in [
        (BodySize::Sized(5), "\r\ncontent-length: 5\r\n"),
        (BodySize::Stream, "\r\ntransfer-encoding: chunked\r\n"),
        (BodySize::None, "\r\ndate: today\r\n"),
    ] {
        let life = Rc::new(());
        let body = Steps {
            size,
            steps: [Stops].into(),
            _life: Rc::clone(&life),
        };
        let response = Response::with_body(StatusCode::OK, BoxBody::new(body));
        let answer = answer(response, HEAD);
        assert_eq!(Rc::strong_count(&life), 1, "the replica is still held");
        assert!(!answer.is_last());
        let (done, head, body) = sent(answer).await;
        done.unwrap();
        assert!(head.contains(told), "{head}");
        assert_eq!(body, b"");
    }
}

#[actix_web::test]
async fn a_status_without_a_body_tells_no_length_and_sends_none() {
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        for size in [BodySize::None, BodySize::Sized(5), BodySize::Stream] {
            let mut response = response(size, &[Gives("hello".into())]);
            response.head_mut().status = status;
            let (done, head, body) = sent(answer(response, GET)).await;
            done.unwrap();
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{head}"
            );
            for name in ["content-length", "transfer-encoding", "connection"] {
                assert!(!head.contains(name), "{head}");
            }
            assert_eq!(body, b"");
        }
    }
}

#[actix_web::test]
async fn the_last_answer_says_so() {
    let closes = ResponseOptions {
        is_http10: false,
        close: true,
        ..GET
    };
    let mut ends = response(BodySize::None, &[]);
    ends.head_mut().set_connection_type(ConnectionType::Close);
    for (story, answer, is_last) in [
        (
            "a plain one",
            answer(response(BodySize::None, &[]), GET),
            false,
        ),
        (
            "the client wants it",
            answer(response(BodySize::None, &[]), closes),
            true,
        ),
        ("the server wants it", answer(ends, GET), true),
        (
            "its end is the connection's",
            answer(until_close(&[]), GET),
            true,
        ),
        ("that has no body", answer(until_close(&[]), HEAD), false),
    ] {
        assert_eq!(answer.is_last(), is_last, "{story}");
        let (_, head, _) = sent(answer).await;
        assert_eq!(
            head.contains("\r\nconnection: close\r\n"),
            is_last,
            "{story}: {head}"
        );
    }
}

/// Who reads a chunk with its end does not wait for the next one.
#[actix_web::test]
async fn a_chunk_is_whole_before_the_next_is_there() {
    for size in [1, LARGE - 1, LARGE, 1 << 20] {
        let steps = [Gives(vec![b'x'; size].into()), Stops];
        let mut answer = answer(response(BodySize::Stream, &steps), GET);
        let (socket, mut client) = connection().await;
        let mut come = Vec::new();
        let whole = format!("\r\n\r\n{size:X}\r\n{}\r\n", "x".repeat(size));
        let reads = async {
            while !come.ends_with(whole.as_bytes()) {
                assert!(client.read_buf(&mut come).await.unwrap() > 0);
            }
        };
        let timeout = tokio::time::timeout(std::time::Duration::from_secs(30), reads);
        tokio::select! {
            read = timeout => read.unwrap_or_else(|_| panic!("a chunk of {size} is not whole")),
            _ = poll_fn(|cx| answer.poll(cx, &socket)) => unreachable!("it never ends"),
        }
    }
}

/// Before anything has gone out, a body that breaks off can still become an error; an interim
/// response goes out first all the same.
#[actix_web::test]
async fn only_an_answer_of_which_nothing_has_gone_can_be_replaced() {
    let (socket, mut client) = connection().await;
    let broken = [Gives(Bytes::from_static(b"part")), BreaksOff];
    for size in [BodySize::Sized(9), BodySize::Stream] {
        let broken = response(size, &broken);
        let mut first = Answer::new(broken, b"interim ", None, GET, b"today");
        let done = poll_fn(|cx| first.poll(cx, &socket)).await;
        assert!(done.is_err() && first.is_replaceable());
        let bad = Response::new(StatusCode::BAD_GATEWAY);
        let mut second = first.replaced_by(bad.set_body(BoxBody::new("no")), b"today");
        poll_fn(|cx| second.poll(cx, &socket)).await.unwrap();
        assert!(!second.is_replaceable());
        let mut got = vec![0; 256];
        let length = client.read(&mut got).await.unwrap();
        let got = std::str::from_utf8(&got[..length]).unwrap();
        assert!(
            got.starts_with("interim HTTP/1.1 502 Bad Gateway\r\n"),
            "{got}"
        );
        assert!(got.ends_with("\r\n\r\nno"), "{got}");
    }
    // A body that ends before its length does is broken off, too.
    let mut short = answer(response(BodySize::Sized(9), &broken[..1]), GET);
    assert!(poll_fn(|cx| short.poll(cx, &socket)).await.is_err());
    assert!(short.is_replaceable());
    let late = [Gives(Bytes::from_static(b"part")), Pauses, BreaksOff];
    let mut begun = answer(response(BodySize::Sized(9), &late), GET);
    assert!(poll_fn(|cx| begun.poll(cx, &socket)).await.is_err());
    assert!(!begun.is_replaceable());
}
