//! A response's head: what it says about the body that follows (RFC 9112, section 6.3),
//! and what awc would make of it.
//!
//! awc's codec frames bodies by rules of its own, which `fuzz` compares with these. Where they
//! differ from the RFC's, [`Head`] says what keeps it right: `as_http10` makes it read until the
//! end of the stream, which the guard then gives it in the right place.

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{Header, ParserConfig, Response, Status};

use super::chunked::Chunked;
use super::fault::Fault;
use crate::upstream::is_name;

/// A head larger than this is refused.
pub const MOST_HEAD_BYTES: usize = 64 * 1024;
/// So many header fields awc can read (actix-http's `MAX_HEADERS`), and no more.
pub const MOST_FIELDS: usize = 96;

/// What of a request bears on the framing of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The method is HEAD: the response has no body, whatever it says.
    pub head: bool,
    /// The request asks to switch protocols: 101 is an answer.
    pub upgrade: bool,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// So many bytes; none after a HEAD request, 204 and 304.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Everything until the connection ends.
    UntilEnd,
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
        /// awc must take it for HTTP/1.0, or it would not see the body.
        as_http10: bool,
    },
}

/// Where the parts of a whole head lie in its bytes, so that nobody has to look twice.
#[derive(Debug, Default)]
pub struct Index {
    /// The status code.
    pub status: u16,
    /// The head's bytes.
    pub length: usize,
    /// The reason phrase; empty if there is none.
    pub reason: Range<usize>,
    /// The body's bytes, where the head tells how many.
    pub body: Option<u64>,
    /// The body comes in chunks.
    pub is_chunked: bool,
    /// What Content-Length declares, whether such a body follows or not.
    pub declared_length: Option<u64>,
    /// The head declares a body where none may follow.
    pub claims_body: bool,
    /// Whether Connection names fields that concern this connection only.
    pub names_fields: bool,
    /// Names and values of its fields.
    pub fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Index {
    fn note(&mut self, bytes: &[u8], status: u16, response: &Response<'_, '_>, head: &Head) {
        self.fields.clear();
        self.status = status;
        let Head::Final { length, body, .. } = head else {
            return;
        };
        self.length = *length;
        self.body = match body {
            Body::Length(length) => Some(*length),
            Body::Chunked(_) | Body::UntilEnd | Body::Tunnel => None,
        };
        self.is_chunked = matches!(body, Body::Chunked(_));
        let place = |part: &[u8]| {
            let begin = part.as_ptr() as usize - bytes.as_ptr() as usize;
            begin..begin + part.len()
        };
        // An empty one lies nowhere.
        let reason = response.reason.filter(|reason| !reason.is_empty());
        self.reason = reason.map_or(0..0, |reason| place(reason.as_bytes()));
        let fields = response.headers.iter();
        self.fields
            .extend(fields.map(|field| (place(field.name.as_bytes()), place(field.value))));
    }
}

/// Reads the head at the start of `bytes`; `None` if it is not whole yet. Where the parts
/// of a response proper lie is noted in `index`.
pub fn read(bytes: &[u8], asked: Asked, index: &mut Index) -> Result<Option<Head>, Fault> {
    const START: &[u8] = b"HTTP/1.";
    let start = bytes.len().min(START.len());
    if bytes[..start] != START[..start] {
        // A blank line before a response, which parsers skip, is none of its bytes either.
        return Err(Fault::NotHttp);
    }
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_FIELDS];
    let mut response = Response::new(&mut []);
    let mut config = ParserConfig::default();
    // As awc does; it forwards the name without the space (RFC 9112, section 5.1).
    config.allow_spaces_after_header_name_in_responses(true);
    let length = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields)
    {
        Ok(Status::Complete(length)) if length <= MOST_HEAD_BYTES => length,
        Ok(Status::Partial) if bytes.len() < MOST_HEAD_BYTES => return Ok(None),
        Ok(_) => return Err(Fault::LargeHead),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::ManyFields),
        Err(httparse::Error::Version) => return Err(Fault::NotHttp),
        Err(_) => return Err(Fault::BadHead),
    };
    let status = response.code.unwrap_or_default();
    let http10 = response.version == Some(0);
    let said = match status {
        // It ends at its blank line, whatever it declares (RFC 9112, section 6.3).
        101 => Said::default(),
        _ => Said::by(response.headers, http10)?,
    };
    let head = match status {
        0..=99 => Err(Fault::BadHead),
        101 if !asked.upgrade || asked.head || http10 => Err(Fault::UnaskedUpgrade),
        101 => Ok(Head::Final {
            length,
            body: Body::Tunnel,
            reusable: false,
            as_http10: false,
        }),
        100..=199 => Ok(Head::Interim { length }),
        _ => Ok(frame(length, status, http10, said, asked)),
    }?;
    index.note(bytes, status, &response, &head);
    index.names_fields = said.names_fields;
    index.declared_length = said.length;
    index.claims_body = has_no_body(status, asked) && said.claims_body();
    Ok(Some(head))
}

/// Whether a response ends with its head, whatever that declares (RFC 9112, section 6.3).
fn has_no_body(status: u16, asked: Asked) -> bool {
    asked.head || status == 204 || status == 304
}

fn frame(length: usize, status: u16, http10: bool, said: Said, asked: Asked) -> Head {
    let persistent = !said.close && (!http10 || said.keep_alive);
    let (body, reusable) = if has_no_body(status, asked) {
        // What HEAD and 304 declare is the body that a GET would have got (RFC 9110, section
        // 8.6); but some replicas send it, and it would answer the next request. It may come
        // long after the head, so looking whether it has come is not enough.
        (Body::Length(0), persistent && !said.claims_body())
    } else if said.chunked {
        (Body::Chunked(Chunked::default()), persistent)
    } else if let Some(count) = said.length {
        (Body::Length(count), persistent)
    } else {
        (Body::UntilEnd, false)
    };
    Head::Final {
        length,
        body,
        reusable,
        // awc takes it for an empty body, unless it is HTTP/1.0.
        as_http10: body == Body::UntilEnd && !http10,
    }
}

/// What header fields say about framing.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    /// Connection names something else.
    names_fields: bool,
}

impl Said {
    fn claims_body(self) -> bool {
        self.chunked || self.length.is_some_and(|length| length > 0)
    }

    fn by(fields: &[Header<'_>], http10: bool) -> Result<Self, Fault> {
        let mut said = Self::default();
        for field in fields {
            // The length alone tells most names apart.
            match field.name.len() {
                14 if is_name(field.name.as_bytes(), b"content-length") => {
                    let length = length_of(field.value).ok_or(Fault::BadLength)?;
                    if said
                        .length
                        .replace(length)
                        .is_some_and(|other| other != length)
                    {
                        return Err(Fault::BadLength);
                    }
                }
                17 if is_name(field.name.as_bytes(), b"transfer-encoding") => {
                    let chunked = field.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                    if http10 || said.chunked || !chunked {
                        return Err(Fault::BadEncoding);
                    }
                    said.chunked = true;
                }
                10 if is_name(field.name.as_bytes(), b"connection") => {
                    for option in field.value.split(|&byte| byte == b',') {
                        match option.trim_ascii() {
                            b"" => {}
                            it if it.eq_ignore_ascii_case(b"close") => said.close = true,
                            it if it.eq_ignore_ascii_case(b"keep-alive") => said.keep_alive = true,
                            _ => said.names_fields = true,
                        }
                    }
                }
                _ => {}
            }
        }
        if said.chunked && said.length.is_some() {
            return Err(Fault::TwoFramings);
        }
        Ok(said)
    }
}

/// A length, or a list that repeats one (RFC 9112, section 6.3).
fn length_of(value: &[u8]) -> Option<u64> {
    number(value).or_else(|| {
        let mut lengths = value.split(|byte| *byte == b',').map(number);
        let first = lengths.next()??;
        lengths.all(|other| other == Some(first)).then_some(first)
    })
}

/// Digits and nothing else (RFC 9110, section 8.6).
fn number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
