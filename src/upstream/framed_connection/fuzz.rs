//! The framing compared with awc's own reading of the same bytes.
//!
//! Two readers that find different ends of one response are how a client gets another client's. So
//! whatever comes, in whatever pieces, awc's codec is the oracle: it is given what the framing
//! forwards, and both must agree on the end, or, where the framing counts the body, on the head.

use std::task::Poll;

use actix_http::body::BodySize;
use actix_http::h1::{ClientCodec, Message, MessageType};
use actix_http::{Method, RequestHead, RequestHeadType};
use actix_web::web::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use super::protocol_error::ProtocolError;
use super::response_framing::{Framing, Progress};
use super::response_head::{ParsedHead, RequestInfo};
use crate::h1::HeaderIndices;

/// How the bytes of one response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Whole; whether the connection is good for another request.
    Whole {
        /// Nothing is wrong with the connection.
        reusable: bool,
    },
    /// Broken off, or not a response.
    Broken(ProtocolError),
}

/// Follows one response that comes in pieces, after which the connection ends. Returns
/// what awc is given, and how it ended.
pub fn follow<'a>(
    asked: RequestInfo,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, End) {
    follow_in(&mut Framing::new(), asked, pieces)
}

fn follow_in<'a>(
    framing: &mut Framing,
    asked: RequestInfo,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, End) {
    let mut passed = Vec::new();
    let (mut pending, mut undecoded) = (Vec::new(), BytesMut::new());
    if let Err(fault) = framing.begin(asked) {
        return (passed, End::Broken(fault));
    }
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        if framing.is_idle() {
            // As the pool's check does, between responses.
            framing.close_after();
        }
        pending.extend_from_slice(piece);
        while !pending.is_empty() {
            match framing.advance(&pending) {
                Ok(Progress::NeedMore) => break,
                Ok(Progress::SkipInterim(count)) => drop(pending.drain(..count)),
                Ok(Progress::Forward(count)) => {
                    // Of a head nothing is passed on before it is whole.
                    let head = match passed.is_empty() {
                        true => count.min(framing.parsed_head().length),
                        false => 0,
                    };
                    passed.extend_from_slice(&pending[..head]);
                    undecoded.extend_from_slice(&pending[head..count]);
                    pending.clear();
                    if let Err(fault) = decode_all(framing, &mut undecoded, &mut passed) {
                        return (passed, End::Broken(fault));
                    }
                }
                Err(fault) => return (passed, End::Broken(fault)),
            }
        }
    }
    let reusable = framing.is_idle();
    match framing.end(true) {
        Ok(()) => (passed, End::Whole { reusable }),
        Err(fault) => (passed, End::Broken(fault)),
    }
}

/// Has a body decoded as far as it has come, and adds the bytes that were its own to `passed`.
fn decode_all(
    framing: &mut Framing,
    undecoded: &mut BytesMut,
    passed: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    loop {
        let before = undecoded.clone();
        let decoded = framing.decode(undecoded, &mut Vec::new());
        passed.extend_from_slice(&before[..before.len() - undecoded.len()]);
        if !matches!(decoded?, Poll::Ready(Some(_))) {
            return Ok(());
        }
    }
}

/// What awc makes of the bytes that it is given until the stream ends.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    /// It took the response for whole before the stream ended.
    complete: bool,
    /// What it left unread.
    left: usize,
    /// The status code, names and values.
    head: Head,
}

type Head = (u16, Vec<(String, Vec<u8>)>);

/// What a reader of the noted places sees.
fn read_by_indices(head: &ParsedHead, passed: &[u8]) -> Head {
    let fields = head.headers.iter().map(|HeaderIndices { name, value }| {
        let name = String::from_utf8_lossy(&passed[name.clone()]).to_ascii_lowercase();
        (name, passed[value.clone()].to_vec())
    });
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    (head.status, fields)
}

fn repeats_length(head: &ParsedHead, passed: &[u8]) -> bool {
    let (_, fields) = read_by_indices(head, passed);
    let lengths = fields.iter().filter(|(name, _)| name == "content-length");
    let is_list = lengths.clone().any(|(_, value)| value.contains(&b','));
    is_list || lengths.count() > 1
}

fn read_by_awc(asked: RequestInfo, passed: &[u8]) -> Result<Read, String> {
    // The codec keeps a clock, which is a task.
    let tasks = tokio::task::LocalSet::new();
    let _entered = tasks.enter();
    let mut codec = ClientCodec::default();
    let mut request = RequestHead::default();
    if asked.head {
        request.method = Method::HEAD;
    }
    let head: RequestHeadType = request.into();
    codec
        .encode(Message::Item((head, BodySize::None)), &mut BytesMut::new())
        .map_err(|error| error.to_string())?;
    let mut bytes = BytesMut::from(passed);
    let Some(head) = codec
        .decode(&mut bytes)
        .map_err(|error| error.to_string())?
    else {
        return Err("no whole head".to_owned());
    };
    let fields = head.headers.iter();
    let mut fields: Vec<_> = fields
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    fields.sort();
    let head = (head.status.as_u16(), fields);
    let mut complete = codec.message_type() == MessageType::None;
    if !complete {
        let mut body = codec.into_payload_codec();
        while let Some(item) = body.decode(&mut bytes).map_err(|error| error.to_string())? {
            if item.is_none() {
                complete = true;
                break;
            }
        }
    }
    Ok(Read {
        complete,
        left: bytes.len(),
        head,
    })
}

/// One run on arbitrary bytes: the first says what was asked, the second where to cut.
pub fn fuzz(bytes: &[u8]) {
    let [flags, cut, response @ ..] = bytes else {
        return;
    };
    let asked = RequestInfo {
        head: flags & 1 != 0,
        upgrade: flags & 2 != 0,
        trailers: false,
    };
    let mut framing = Framing::new();
    let (passed, end) = follow_in(&mut framing, asked, [response]);
    let pieces = response.chunks(usize::from(*cut).max(1));
    let (in_pieces, end_in_pieces) = follow(asked, pieces);
    match end {
        // In one piece, a fault behind the head is found before awc has seen anything;
        // in several, one inside a line may be found at the line's end.
        End::Broken(_) => {
            assert!(matches!(end_in_pieces, End::Broken(_)), "whole in pieces");
            assert!(in_pieces.starts_with(&passed));
        }
        End::Whole { reusable } => {
            assert_eq!(end, end_in_pieces, "pieces change how it ends");
            assert_eq!(passed, in_pieces, "pieces change what awc sees");
            let head = framing.parsed_head();
            if let Some(length) = head.body_length {
                assert_eq!(passed.len() as u64, head.length as u64 + length);
            }
            if head.status == 101 {
                // What follows is the tunnel's, whatever the head says (RFC 9112, section 6.1: no
                // transfer coding in a 1xx response); awc would read chunks.
                return;
            }
            let mut passed = passed;
            if head.body_length.is_none() && !head.is_chunked {
                // awc takes a body without a declared length for an empty one, unless the
                // response is HTTP/1.0.
                passed[7] = b'0';
            }
            let read = match read_by_awc(asked, &passed) {
                Ok(read) => read,
                // It takes no list of lengths, even where they are the same.
                Err(_) if repeats_length(head, &passed) => return,
                Err(error) => panic!("awc does not read what the framing forwards: {error}"),
            };
            if head.body_length.is_some() {
                let head = read_by_indices(head, &passed);
                assert_eq!(head, read.head, "the noted places are not what awc reads");
            } else {
                assert_eq!(read.left, 0, "awc sees an end before the framing");
                assert!(
                    !reusable || read.complete,
                    "awc waits, the framing does not"
                );
            }
        }
    }
}
