//! The head of a response: what it says about the body that follows (RFC 9112, section 6.3), and
//! where its parts lie.

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{Header, ParserConfig, Response, Status};

use super::protocol_error::ProtocolError;
use crate::h1::{
    BodyDecoder, BodyLength, FramingHeaders, HeaderIndices, MAX_HEADERS, MAX_RESPONSE_HEAD_BYTES,
    Rules, is_bodiless,
};

/// What the framing of a response depends on in its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestInfo {
    /// The method is HEAD: the response has no body, whatever it declares.
    pub head: bool,
    /// The request asks to switch protocols: 101 is a valid response.
    pub upgrade: bool,
    /// The client takes trailers.
    pub trailers: bool,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A body; an empty one after a HEAD request, 204 and 304.
    Framed(BodyDecoder),
    /// Another protocol.
    Tunnel,
}

/// What a whole head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// 1xx: another one follows.
    Interim {
        /// Its bytes.
        length: usize,
    },
    /// The response proper.
    Final {
        /// Its bytes.
        length: usize,
        /// What follows.
        body: Body,
        /// Whether the connection is good for another request after this response.
        reusable: bool,
    },
}

/// What a whole head says, and where its parts lie in its bytes, so that it is parsed once.
#[derive(Debug, Default)]
pub struct ParsedHead {
    /// The status code.
    pub status: u16,
    /// The head's bytes.
    pub length: usize,
    /// The reason phrase; empty if there is none.
    pub reason: Range<usize>,
    /// The bytes of the body that follows, if the head declares how many.
    pub body_length: Option<u64>,
    /// The body comes in chunks.
    pub is_chunked: bool,
    /// The trailers behind these chunks are for the client, too.
    pub relays_trailers: bool,
    /// What Content-Length declares, whether such a body follows or not.
    pub content_length: Option<u64>,
    /// The head declares a body where none may follow.
    pub declares_forbidden_body: bool,
    /// Connection names headers that concern this connection alone.
    pub has_connection_headers: bool,
    /// Its headers.
    pub headers: Vec<HeaderIndices>,
}

impl ParsedHead {
    fn note(&mut self, bytes: &[u8], status: u16, response: &Response<'_, '_>, head: &Head) {
        self.headers.clear();
        self.status = status;
        let Head::Final { length, body, .. } = head else {
            return;
        };
        self.length = *length;
        self.body_length = match body {
            Body::Framed(BodyDecoder::Length(length)) => Some(*length),
            Body::Framed(_) | Body::Tunnel => None,
        };
        self.is_chunked = matches!(body, Body::Framed(BodyDecoder::Chunked(_)));
        let reason = response.reason.unwrap_or_default();
        self.reason = HeaderIndices::place(bytes, reason.as_bytes());
        let headers = response.headers.iter();
        self.headers.extend(
            headers
                .map(|header| HeaderIndices::within(bytes, header.name.as_bytes(), header.value)),
        );
    }
}

/// Reads the head at the start of `bytes`; `None` if it is not whole yet. Where the parts
/// of a response proper lie is noted in `parsed`.
pub fn read(
    bytes: &[u8],
    asked: RequestInfo,
    parsed: &mut ParsedHead,
) -> Result<Option<Head>, ProtocolError> {
    const START: &[u8] = b"HTTP/1.";
    let start = bytes.len().min(START.len());
    if bytes[..start] != START[..start] {
        // A blank line before a response, which parsers skip, is none of its bytes either.
        return Err(ProtocolError::NotHttp);
    }
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut response = Response::new(&mut []);
    let mut config = ParserConfig::default();
    // As awc does; it forwards the name without the space (RFC 9112, section 5.1).
    config.allow_spaces_after_header_name_in_responses(true);
    let length = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields)
    {
        Ok(Status::Complete(length)) if length <= MAX_RESPONSE_HEAD_BYTES => length,
        Ok(Status::Partial) if bytes.len() < MAX_RESPONSE_HEAD_BYTES => return Ok(None),
        Ok(_) => return Err(ProtocolError::LargeHead),
        Err(httparse::Error::TooManyHeaders) => return Err(ProtocolError::ManyFields),
        Err(httparse::Error::Version) => return Err(ProtocolError::NotHttp),
        Err(_) => return Err(ProtocolError::BadHead),
    };
    let status = response.code.unwrap_or_default();
    let http10 = response.version == Some(0);
    let said = match status {
        // It ends at its blank line, whatever it declares (RFC 9112, section 6.3).
        101 => FramingHeaders::default(),
        _ => FramingHeaders::read(named(response.headers), Rules::Response, http10)?,
    };
    // Then it ends with its head, whatever that declares (RFC 9112, section 6.3).
    let has_no_body = asked.head || is_bodiless(status);
    let head = match status {
        0..=99 => Err(ProtocolError::BadHead),
        101 if !asked.upgrade || asked.head || http10 => Err(ProtocolError::UnsolicitedUpgrade),
        101 => Ok(Head::Final {
            length,
            body: Body::Tunnel,
            reusable: false,
        }),
        100..=199 => Ok(Head::Interim { length }),
        _ => Ok(frame(length, http10, &said, has_no_body)),
    }?;
    parsed.note(bytes, status, &response, &head);
    parsed.relays_trailers = parsed.is_chunked && asked.trailers;
    parsed.has_connection_headers = said.has_connection_headers;
    parsed.content_length = said.content_length;
    parsed.declares_forbidden_body = has_no_body && said.declares_body();
    Ok(Some(head))
}

/// The names and values of headers.
fn named<'h>(headers: &'h [Header<'h>]) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    let headers = headers.iter();
    headers.map(|header| (header.name.as_bytes(), header.value))
}

#[inline]
fn frame(length: usize, http10: bool, said: &FramingHeaders, has_no_body: bool) -> Head {
    let persistent = said.is_persistent(http10);
    let (body, reusable) = if has_no_body {
        // What HEAD and 304 declare is the body that a GET would have got (RFC 9110, section
        // 8.6); but some replicas send it, and it would answer the next request. It may come
        // long after the head, so looking whether it has come is not enough.
        (BodyLength::Known(0), persistent && !said.declares_body())
    } else {
        let body = said.response_body();
        (body, persistent && body != BodyLength::UntilClose)
    };
    Head::Final {
        length,
        body: Body::Framed(BodyDecoder::new(body, Rules::Response)),
        reusable,
    }
}
