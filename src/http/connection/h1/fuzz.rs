//! What a client sends, held against itself: in whatever pieces it comes, the same requests are in
//! it, and nothing of a body is ever one.

use actix_web::http::Method;
use actix_web::web::{Bytes, BytesMut};

use super::MIN_PARSED;
use super::request::ParsedRequest;
use crate::h1::{BodyDecoder, HeaderLine, MAX_REQUEST_HEAD_BYTES, Rules};

/// What is found in the bytes of a client.
#[derive(Debug, PartialEq, Eq)]
struct SeenRequest {
    method: Method,
    target: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// As far as it has come.
    body: Vec<u8>,
    /// All of it has come.
    is_whole: bool,
}

/// All that is found, and whether something is refused behind it.
#[derive(Debug, Default, PartialEq, Eq)]
struct All {
    requests: Vec<SeenRequest>,
    is_refused: bool,
}

/// Reads a client as a connection does.
#[derive(Default)]
struct SplitReader {
    unread: BytesMut,
    /// This much of it has been looked at.
    seen: usize,
    body: Option<BodyDecoder>,
    all: All,
}

impl SplitReader {
    fn read(&mut self, piece: &[u8]) {
        self.unread.extend_from_slice(piece);
        while !self.all.is_refused && self.step() {}
    }

    /// Whether there may be more to do.
    fn step(&mut self) -> bool {
        let Some(body) = &mut self.body else {
            return self.parse();
        };
        let Ok(decoded) = body.decode(&mut self.unread, &mut Vec::new()) else {
            self.all.is_refused = true;
            return false;
        };
        let is_whole = body.is_complete();
        if let Some(request) = self.all.requests.last_mut() {
            request.is_whole = is_whole;
            if let std::task::Poll::Ready(Some(data)) = &decoded {
                request.body.extend_from_slice(data);
            }
        }
        if is_whole {
            self.body = None;
        }
        is_whole || matches!(decoded, std::task::Poll::Ready(Some(_)))
    }

    fn parse(&mut self) -> bool {
        while self.unread.starts_with(b"\r\n") {
            let _ = self.unread.split_to(2);
            self.seen = 0;
        }
        let news = self.unread.get(self.seen..).unwrap_or_default();
        let is_large = self.unread.len() > MAX_REQUEST_HEAD_BYTES;
        if news.is_empty() || (self.seen >= MIN_PARSED && !news.contains(&b'\n') && !is_large) {
            self.seen = self.unread.len();
            return false;
        }
        let mut bytes = Bytes::copy_from_slice(&self.unread);
        match ParsedRequest::parse(&mut bytes, None) {
            Err(_) => self.all.is_refused = true,
            Ok(None) => self.seen = self.unread.len(),
            Ok(Some(parsed)) => {
                self.seen = 0;
                let _head = self.unread.split_to(self.unread.len() - bytes.len());
                let headers = &parsed.raw.headers;
                let header =
                    |line: HeaderLine<'_>| (line.name.to_vec(), headers.part(line.value).to_vec());
                self.all.requests.push(SeenRequest {
                    method: parsed.request.method().clone(),
                    target: parsed.raw.path_and_query().into_owned(),
                    headers: headers.iter().map(header).collect(),
                    body: Vec::new(),
                    is_whole: false,
                });
                self.body = Some(BodyDecoder::new(parsed.body, Rules::Request));
                return true;
            }
        }
        false
    }
}

fn read<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> All {
    let mut reader = SplitReader::default();
    pieces.for_each(|piece| reader.read(piece));
    // A line that has not come to its end is looked at when it does.
    reader.seen = 0;
    reader.read(b"");
    reader.all
}

/// The bytes of a client, of which the first says how long the pieces are.
///
/// # Panics
///
/// If pieces change what is found.
pub fn fuzz(input: &[u8]) {
    let Some((&length, bytes)) = input.split_first() else {
        return;
    };
    let whole = read(std::iter::once(bytes));
    for length in [1, usize::from(length).max(1)] {
        let mut cut = read(bytes.chunks(length));
        // A large chunk comes in pieces, whose data goes on before the next chunk is refused.
        if cut.is_refused && whole.is_refused {
            for (cut, whole) in cut.requests.iter_mut().zip(&whole.requests) {
                if cut.body.starts_with(&whole.body) {
                    cut.body.truncate(whole.body.len());
                }
            }
        }
        assert_eq!(cut, whole, "pieces of {length}: {}", bytes.escape_ascii());
    }
}
