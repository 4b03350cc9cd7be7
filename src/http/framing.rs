//! Where a client's request ends, followed byte by byte on its way to actix's dispatcher.
//!
//! The dispatcher reads what is pipelined before it has answered, and goes by what it has read
//! last: behind a POST in chunks, a HEAD in the same packet takes the body from the POST's
//! answer. So it is given one request at a time (`stream.rs`), which somebody has to know the
//! end of. What is accepted here means the same to actix. Behind a head that leaves it in doubt,
//! and so is refused (`wellformed::check_framing`), nothing is passed. Behind one that may begin a
//! tunnel everything is.

use crate::h1::{self, ChunkDecoder, Rules};

/// So much of a line is looked at: the names and values that count are shorter.
const LINE: usize = 64;

/// A client's request, as far as it has come.
#[derive(Debug)]
pub enum Framing {
    /// Its head is under way.
    Head(Head),
    /// So many bytes of its body are to come.
    Length(u64),
    /// Chunks are to come.
    Chunks(ChunkDecoder),
    /// All of it has come.
    Whole,
    /// There may be a tunnel, which has no end that is seen.
    Open,
}

/// A head, line by line.
#[derive(Debug)]
pub struct Head {
    /// The beginning of the line that is under way, without its white space: around a value it
    /// means nothing, and elsewhere in what counts here it is refused.
    line: [u8; LINE],
    /// The bytes of that line so far, without white space.
    length: usize,
    /// Whether there was white space in it.
    has_space: bool,
    has_begun: bool,
    body: Body,
    /// It may begin a tunnel.
    asks_for_websocket: bool,
}

/// What a head says of the body behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Nothing.
    Unsaid,
    Length(u64),
    Chunks,
    /// More than one thing, or one that is not understood here. It is refused.
    Odd,
}

/// A chunk that is none (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadChunk;

impl Framing {
    /// Before the first byte of a request.
    pub fn new() -> Self {
        Self::Head(Head {
            line: [0; LINE],
            length: 0,
            has_space: false,
            has_begun: false,
            body: Body::Unsaid,
            asks_for_websocket: false,
        })
    }

    /// Whether nothing of it has passed but empty lines.
    pub fn is_new(&self) -> bool {
        matches!(self, Self::Head(head) if !head.has_begun && head.length == 0)
    }

    /// Whether the last byte has passed.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    /// How many of these bytes are the request's: all of them, unless it ends before.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut at = 0;
        while let Some(rest @ [_, ..]) = bytes.get(at..) {
            at += match self {
                Self::Head(head) => {
                    let (taken, has_ended) = head.advance(rest);
                    if has_ended {
                        *self = Self::behind(head);
                    }
                    taken
                }
                Self::Length(left) => {
                    let here =
                        usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        *self = Self::Whole;
                    }
                    here
                }
                Self::Chunks(chunks) => {
                    let taken = chunks.advance(rest).map_err(|_| BadChunk)?;
                    if chunks.is_complete() {
                        *self = Self::Whole;
                    }
                    taken
                }
                Self::Whole => break,
                Self::Open => rest.len(),
            };
        }
        Ok(at)
    }

    fn behind(head: &Head) -> Self {
        match head.body {
            Body::Odd => Self::Whole,
            Body::Chunks => Self::Chunks(ChunkDecoder::new(Rules::Request)),
            // To actix this means more than a length.
            _ if head.asks_for_websocket => Self::Open,
            Body::Unsaid | Body::Length(0) => Self::Whole,
            Body::Length(length) => Self::Length(length),
        }
    }
}

impl Head {
    /// How many of these bytes are the head's, and whether it has ended.
    fn advance(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            at += line.len();
            for byte in line {
                if matches!(byte, b' ' | b'\t') {
                    self.has_space = true;
                    continue;
                }
                if let Some(place) = self.line.get_mut(self.length) {
                    *place = *byte;
                }
                self.length += 1;
            }
            if line.ends_with(b"\n") {
                if self.ends_with_this_line() {
                    return (at, true);
                }
                (self.length, self.has_space) = (0, false);
            }
        }
        (at, false)
    }

    /// Whether a line that has come is the empty one at the end. Lines end in CRLF or LF, and
    /// empty ones before the first are nothing (RFC 9112, section 2.2).
    fn ends_with_this_line(&mut self) -> bool {
        let line = self.line.get(..self.length).unwrap_or(&self.line);
        match line {
            b"\r\n" | b"\n" if !self.has_space => self.has_begun,
            _ if self.has_begun => {
                let is_long = self.length > LINE;
                self.body = self.body.and(line, is_long);
                self.asks_for_websocket |= line
                    .trim_ascii_end()
                    .eq_ignore_ascii_case(b"upgrade:websocket");
                false
            }
            _ => {
                self.has_begun = true;
                false
            }
        }
    }
}

impl Body {
    /// What is said with one line more, without its white space; of a long one the beginning.
    fn and(self, line: &[u8], is_long: bool) -> Self {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return self;
        };
        let (name, value) = line.split_at(colon);
        let value = value[1..].trim_ascii();
        let said = if name.eq_ignore_ascii_case(b"content-length") {
            h1::parse_content_length(value).map_or(Self::Odd, Self::Length)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            match value.eq_ignore_ascii_case(b"chunked") {
                true => Self::Chunks,
                false => Self::Odd,
            }
        } else {
            return self;
        };
        match (self, is_long) {
            (Self::Unsaid, false) => said,
            _ => Self::Odd,
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_http::h1::{Codec, Message, MessageType};
    use actix_web::rt::Runtime;
    use actix_web::web::BytesMut;
    use proptest::prelude::*;
    use tokio_util::codec::Decoder;

    use super::*;

    /// What is behind each.
    const NEXT: &str = "HEAD / HTTP/1.1\r\n";

    /// What is known behind these pieces, and how many of their bytes are the request's.
    fn followed(pieces: &[&[u8]]) -> Result<(Framing, usize), BadChunk> {
        let mut framing = Framing::new();
        let mut taken = 0;
        for piece in pieces {
            taken += framing.advance(piece)?;
        }
        Ok((framing, taken))
    }

    /// How many bytes are the request's, if its end is seen.
    fn end_of(pieces: &[&[u8]]) -> Result<Option<usize>, BadChunk> {
        let (framing, taken) = followed(pieces)?;
        Ok(framing.is_whole().then_some(taken))
    }

    #[test]
    fn where_requests_end() {
        let long = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(70_000));
        let with = |fields: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        let lasting = [
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\n\n".to_owned(),
            "\r\n\nGET / HTTP/1.0\r\nHost: x\r\n\r\n".to_owned(),
            long,
            with("Content-Length: 0"),
            with("content-length:\t3 ") + "abc",
            with("Content-Length: 12") + "\r\n\r\n\r\n\r\n\r\n\r\n",
            with("Transfer-Encoding: Chunked") + "3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n",
            with("Upgrade: h2c\r\nContent-Length: 1") + "a",
            with("Upgrade: websocket\r\nTransfer-Encoding: chunked") + "0\r\n\r\n",
            with("X-Content-Length: 3"),
            with(&format!("Content-Length: {}1 ", " \t".repeat(64))) + "a",
            with(&format!("Upgrade: {}", "h2c, ".repeat(64))),
        ];
        for request in lasting {
            let whole = format!("{request}{NEXT}");
            let end = Ok(Some(request.len()));
            assert_eq!(end_of(&[whole.as_bytes()]), end, "{request}");
            let bytes: Vec<&[u8]> = whole.as_bytes().chunks(1).collect();
            assert_eq!(end_of(&bytes), end, "{request}");
            for cut in (0..request.len()).step_by(1 + request.len() / 256) {
                let (begin, _) = request.as_bytes().split_at(cut);
                assert_eq!(end_of(&[begin]), Ok(None), "{cut} bytes of {request}");
            }
        }
        let odd = [
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
        ];
        for request in odd {
            let whole = format!("{request}{NEXT}");
            let end = Ok(Some(request.len()));
            assert_eq!(end_of(&[whole.as_bytes()]), end, "{request}");
        }
        for upgrade in [
            with("Upgrade: WebSocket"),
            with("Upgrade:websocket\r\nContent-Length: 0"),
            with("Content-Length: 1\r\nUpgrade: \twebsocket "),
        ] {
            let whole = format!("{upgrade}{NEXT}{NEXT}");
            assert_eq!(end_of(&[whole.as_bytes()]), Ok(None), "{upgrade}");
        }
        for chunks in ["x\r\n", "1\r\nab\r\n", "1\nx"] {
            let request = with("Transfer-Encoding: chunked") + chunks;
            assert_eq!(end_of(&[request.as_bytes()]), Err(BadChunk), "{request}");
        }
    }

    /// What becomes of the first request in these bytes when actix reads it.
    #[derive(Debug, PartialEq, Eq)]
    enum Read {
        Refused,
        /// More is to come.
        Waits,
        /// So many bytes are left.
        Whole(usize),
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
                    Ok(_) => return Read::Waits,
                    Err(_) => return Read::Refused,
                }
                if codec.message_type() == MessageType::None {
                    return Read::Whole(bytes.len());
                }
                loop {
                    match codec.decode(&mut bytes) {
                        Ok(Some(Message::Chunk(Some(_)))) => {}
                        Ok(Some(Message::Chunk(None))) => return Read::Whole(bytes.len()),
                        Ok(_) => return Read::Waits,
                        Err(_) => return Read::Refused,
                    }
                }
            })
        })
    }

    fn field() -> impl Strategy<Value = String> {
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
            Just("websocket".to_owned()),
            Just("h2c".to_owned()),
            "[ -~]{0,80}",
        ];
        let space = prop_oneof![Just(""), Just(" "), Just("\t "), Just("  ")];
        let end = prop_oneof![4 => Just("\r\n"), 1 => Just("\n"), 1 => Just(" \r\n")];
        (name, space, value, end)
            .prop_map(|(name, space, value, end)| format!("{name}:{space}{value}{end}"))
    }

    fn fields() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::collection::vec(field(), 0..4).prop_map(|fields| fields.concat()),
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

    proptest! {
        /// Otherwise actix would wait for what is kept back, or have what is not for it yet.
        #[test]
        fn actix_sees_the_same_end(
            version in prop_oneof![4 => Just("1.1"), 1 => Just("1.0")],
            fields in fields(),
            body in body(),
            cuts in prop::collection::vec(1..40_usize, 1..10),
        ) {
            let text = format!("PUT / HTTP/{version}\r\nHost: x\r\n{fields}\r\n{body}{NEXT}");
            let bytes = text.as_bytes();
            let mut rest = bytes;
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                let (piece, others) = rest.split_at(rest.len().min(*cut));
                pieces.push(piece);
                rest = others;
                if rest.is_empty() {
                    break;
                }
            }
            let end = end_of(&pieces);
            prop_assert_eq!(end, end_of(&[bytes]));
            // In HTTP/1.0 nothing comes in chunks, and who says so is refused.
            prop_assume!(version == "1.1" || !text.to_ascii_lowercase().contains("chunked"));
            match (followed(&[bytes]), read_by_actix(bytes)) {
                (_, Read::Refused) | (Ok((Framing::Open, _)), _) => {}
                (Ok((Framing::Whole, end)), read) => {
                    prop_assert_eq!(read, Read::Whole(bytes.len() - end));
                    // Nor does it need what is behind.
                    prop_assert_eq!(read_by_actix(&bytes[..end]), Read::Whole(0));
                }
                (Ok(_), read) => prop_assert_eq!(read, Read::Waits),
                // What is stricter here is refused here.
                (Err(BadChunk), _) => {}
            }
        }
    }
}
