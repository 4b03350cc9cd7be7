//! Parsing a request's head.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

use actix_http::Request;
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, Uri, Version};
use actix_web::web::Bytes;
use httparse::Status;

use crate::h1::{
    BodyLength, FramingHeaders, HeaderIndices, MAX_HEADERS, MAX_REQUEST_HEAD_BYTES,
    MAX_TARGET_BYTES, Rules, connection, header_name,
};
use crate::http::error::ProxyError;
use crate::http::headers::request_id::REQUEST_ID;
use crate::http::raw_request::{self, KnownHeaders, RawRequest};

/// A header's name may have this many bytes: a `HeaderName` holds no more.
const MAX_NAME_BYTES: usize = 65_535;

const BAD_REQUEST: ProxyError = ProxyError::Malformed("the request is not valid HTTP/1.1");

/// What is declared of a body's end leaves it in doubt.
const BAD_FRAMING: ProxyError =
    ProxyError::Malformed("invalid message framing (Content-Length / Transfer-Encoding)");

/// A request whose head has come as a whole.
pub struct ParsedRequest {
    /// As actix reads it, but for its body and its headers, which [`RawRequest::headers`] copies into
    /// its map for those that look there.
    pub request: Request,
    /// How its response is written.
    pub options: ResponseOptions,
    /// How its body ends.
    pub body: BodyLength,
    /// It asks for nothing but a response: it declares no body, offers no upgrade and is no CONNECT.
    pub is_bare: bool,
    /// The client sends the body when it is told to (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
    /// The client takes trailers (RFC 9110, section 10.1.4).
    pub takes_trailers: bool,
    /// Its head as it came.
    pub raw: Rc<RawRequest>,
    /// It offers another protocol, which may follow its head (RFC 9110, section 7.8).
    pub is_upgrade: bool,
}

/// The headers that the server itself acts on.
enum KnownName {
    Host,
    /// Connection, Content-Length or Transfer-Encoding.
    Framing,
    Upgrade,
    Te,
    Expect,
    RequestId,
    Other,
}

impl KnownName {
    /// That of a name, in any case.
    fn of(name: &[u8]) -> Self {
        // The length tells nearly all names apart.
        let (lower, known) = match name.len() {
            2 => ("te", Self::Te),
            4 => ("host", Self::Host),
            6 => ("expect", Self::Expect),
            7 => ("upgrade", Self::Upgrade),
            10 => ("connection", Self::Framing),
            12 => (REQUEST_ID, Self::RequestId),
            14 => ("content-length", Self::Framing),
            17 => ("transfer-encoding", Self::Framing),
            _ => return Self::Other,
        };
        match header_name::eq_ignore_case(name, lower.as_bytes()) {
            true => known,
            false => Self::Other,
        }
    }
}

/// What of a request says how its response is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseOptions {
    /// The response has no body, whatever it says (RFC 9110, section 9.3.2).
    pub is_head: bool,
    /// The client speaks HTTP/1.0: it knows no chunks, and no interim responses.
    pub is_http10: bool,
    /// It is the connection's last one.
    pub close: bool,
}

impl ResponseOptions {
    /// For a response to what cannot be read as a request.
    pub const REFUSAL: Self = Self {
        is_head: false,
        is_http10: false,
        close: true,
    };
}

impl ParsedRequest {
    /// Takes the head of the request that `bytes` begin with; none if it is not whole.
    ///
    /// # Errors
    ///
    /// What the client is told if it is no request of HTTP/1.1 or 1.0 (RFC 9112, sections 2 to 6).
    pub fn parse(bytes: &mut Bytes, peer: Option<SocketAddr>) -> Result<Option<Self>, ProxyError> {
        let parsed = Self::parse_text(bytes, None, peer);
        if parsed.is_err()
            && let Some(text) = with_ascii_target(bytes)
        {
            return Self::parse_text(bytes, Some(&text), peer);
        }
        parsed
    }

    /// The same of a text that differs from the bytes at most in its target.
    fn parse_text(
        bytes: &mut Bytes,
        text: Option<&[u8]>,
        peer: Option<SocketAddr>,
    ) -> Result<Option<Self>, ProxyError> {
        let text = text.unwrap_or(bytes);
        let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut read = httparse::Request::new(&mut []);
        let length = match read.parse_with_uninit_headers(text, &mut fields) {
            Ok(Status::Complete(length)) if length <= MAX_REQUEST_HEAD_BYTES => length,
            Ok(Status::Partial) if bytes.len() <= MAX_REQUEST_HEAD_BYTES => return Ok(None),
            Ok(_) if !bytes.contains(&b'\n') => return Err(ProxyError::TargetTooLong),
            Ok(_) => return Err(ProxyError::HeadTooLarge),
            Err(error) => return unreadable(error, text),
        };
        let (Some(method), Some(target), Some(version)) = (read.method, read.path, read.version)
        else {
            return Err(BAD_REQUEST);
        };
        // A lone LF before the request line would be skipped, too.
        if method.as_ptr() != text.as_ptr() || !ends_lines_in_crlf(text, length, read.headers) {
            return Err(BAD_REQUEST);
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| BAD_REQUEST)?;
        let is_http10 = version == 0;

        let mut request = Request::new();
        let head = request.head_mut();
        if head.headers.capacity() > 0 {
            // actix makes a map with room for 28 headers for each head that it does not keep for
            // others: 6.6 KiB for as long as the request takes.
            head.headers = HeaderMap::new();
        }
        let mut framing = FramingHeaders::default();
        let mut known = KnownHeaders::default();
        let (mut expects_continue, mut has_upgrade, mut takes_trailers) = (false, false, false);
        let mut indices = raw_request::take_room();
        for field in &*read.headers {
            let header = HeaderIndices::within(text, field.name.as_bytes(), field.value);
            let name = field.name.as_bytes();
            if name.len() > MAX_NAME_BYTES {
                return Err(ProxyError::HeadTooLarge);
            }
            match KnownName::of(name) {
                KnownName::Host if known.host.is_some() => return Err(BAD_REQUEST),
                KnownName::Host => known.host = Some(header.value.clone()),
                KnownName::Framing => {
                    let added = framing.add(name, field.value, Rules::Request, is_http10);
                    added.map_err(|_| BAD_FRAMING)?;
                }
                KnownName::Upgrade => has_upgrade = true,
                KnownName::Te => {
                    let mut codings = connection::options(field.value);
                    takes_trailers |= !is_http10
                        && codings.any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
                }
                KnownName::Expect => {
                    expects_continue |=
                        !is_http10 && field.value.eq_ignore_ascii_case(b"100-continue");
                }
                KnownName::RequestId => {
                    known.request_id.get_or_insert_with(|| header.value.clone());
                }
                KnownName::Other => {}
            }
            indices.push(header);
        }
        // RFC 9112, section 3.2.
        if known.host.is_none() && !is_http10 {
            return Err(BAD_REQUEST);
        }
        framing.check().map_err(|_| BAD_FRAMING)?;
        let close = !framing.is_persistent(is_http10);
        let target = HeaderIndices::place(text, target.as_bytes());
        head.uri = uri_of(bytes, target.clone())?;
        let options = ResponseOptions {
            is_head: method == Method::HEAD,
            is_http10,
            close,
        };
        let declares_none = framing.content_length.is_none() && !framing.is_chunked;
        let is_bare = declares_none && !has_upgrade && method != Method::CONNECT;
        let is_upgrade = has_upgrade
            && !is_http10
            && !framing.declares_body()
            && read.headers.iter().any(names_upgrade);
        head.method = method;
        head.version = if is_http10 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        head.peer_addr = peer;
        Ok(Some(Self {
            request,
            options,
            body: framing.request_body(),
            is_bare,
            expects_continue,
            takes_trailers,
            is_upgrade,
            raw: Rc::new(RawRequest::new(
                bytes.split_to(length),
                target,
                known,
                indices,
                framing.has_connection_headers,
            )),
        }))
    }
}

/// Whether a header is a Connection with the option `upgrade`, without which Upgrade means nothing
/// (RFC 9110, section 7.8).
fn names_upgrade(header: &httparse::Header<'_>) -> bool {
    let mut options = connection::options(header.value);
    header.name.eq_ignore_ascii_case("connection")
        && options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// The same bytes with a target of nothing but ASCII, which is all that `httparse` reads beside
/// UTF-8; none if the target is that already.
fn with_ascii_target(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    let begin = line.iter().position(|byte| *byte == b' ')?;
    let mut text = bytes.to_vec();
    let target = text.get_mut(begin..line.len())?;
    let mut others = target.iter_mut().filter(|byte| !byte.is_ascii()).peekable();
    others.peek()?;
    others.for_each(|byte| *byte = b'a');
    Some(text)
}

/// A target as actix-web sees it: where a `Uri` cannot hold it as it is, percent-encoded. What
/// routes and what is sent on are the raw bytes.
fn uri_of(bytes: &Bytes, at: Range<usize>) -> Result<Uri, ProxyError> {
    const BAD_TARGET: ProxyError = ProxyError::Malformed("the request's target is malformed");
    let target = bytes.get(at.clone()).unwrap_or_default();
    if target.len() > MAX_TARGET_BYTES {
        return Err(ProxyError::TargetTooLong);
    }
    // A fragment stays with the client (RFC 9112, section 3.2).
    if target.contains(&b'#') {
        return Err(BAD_TARGET);
    }
    Uri::from_maybe_shared(bytes.slice(at))
        .or_else(|_| Uri::from_maybe_shared(percent_encoded(target)))
        .map_err(|_| BAD_TARGET)
}

/// A target whose path and query have nothing but what RFC 3986 allows in them.
fn percent_encoded(target: &[u8]) -> Bytes {
    let (before, path_and_query) = target.split_at(raw_request::path_start(target));
    let mut encoded = before.to_vec();
    for byte in path_and_query {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(byte) {
            encoded.push(*byte);
        } else {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value & 0xf)];
            encoded.extend_from_slice(&[b'%', digit(byte >> 4), digit(*byte)]);
        }
    }
    // It is used for nothing, so its end can be missing.
    encoded.truncate(MAX_TARGET_BYTES);
    encoded.into()
}

/// Whether each line ends in CRLF: a parser may take a lone LF for a line's end (RFC 9112, section
/// 2.2), and another one that does not sees other lines.
fn ends_lines_in_crlf(bytes: &[u8], length: usize, fields: &[httparse::Header<'_>]) -> bool {
    let begin = bytes.as_ptr() as usize;
    bytes.get(..length).is_some_and(|head| {
        head.ends_with(b"\r\n\r\n")
            && fields.iter().all(|field| {
                // What is before a name is the end of the line before.
                let at = (field.name.as_ptr() as usize).wrapping_sub(begin);
                at.checked_sub(2).and_then(|at| head.get(at)) == Some(&b'\r')
            })
    })
}

/// What a client is told whose bytes are not the beginning of a request.
fn unreadable<T>(error: httparse::Error, bytes: &[u8]) -> Result<Option<T>, ProxyError> {
    match error {
        // Until its line is whole it may name another version.
        httparse::Error::Version if !bytes.contains(&b'\n') && bytes.len() <= MAX_TARGET_BYTES => {
            Ok(None)
        }
        _ if is_other_version(bytes) => Err(ProxyError::OtherVersion),
        httparse::Error::TooManyHeaders => Err(ProxyError::HeadTooLarge),
        _ => Err(BAD_REQUEST),
    }
}

/// Whether the first line says that the request is in a version of HTTP other than 1.0 and 1.1.
fn is_other_version(bytes: &[u8]) -> bool {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    let line = bytes.get(..end).unwrap_or_default().trim_ascii_end();
    match line.get(line.len().saturating_sub(9)..) {
        Some([b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) => {
            major.is_ascii_digit()
                && minor.is_ascii_digit()
                && !(*major == b'1' && matches!(minor, b'0' | b'1'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Option<ParsedRequest>, ProxyError> {
        ParsedRequest::parse(&mut Bytes::copy_from_slice(text), None)
    }

    #[test]
    fn head_is_whole_at_its_empty_line_and_not_before() {
        let text = b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: b \r\n\r\n";
        for length in 0..text.len() {
            assert!(parse(&text[..length]).unwrap().is_none(), "{length} bytes");
        }
        let mut bytes = Bytes::from([&text[..], b"GET"].concat());
        assert!(ParsedRequest::parse(&mut bytes, None).unwrap().is_some());
        assert_eq!(bytes, "GET");
    }

    #[test]
    fn map_takes_every_header_that_is_parsed() {
        for byte in 0..=u8::MAX {
            let head = [
                b"GET / HTTP/1.1\r\nHost: x\r\nA",
                &[byte][..],
                b": y",
                &[byte],
                b"z\r\n\r\n",
            ]
            .concat();
            let Ok(Some(parsed)) = parse(&head) else {
                continue;
            };
            let mut map = HeaderMap::new();
            parsed.raw.headers.copy_to(&mut map);
            assert_eq!(map.len(), parsed.raw.headers.iter().count(), "{byte:#x}");
        }
        let parsed = parse(b"GET / HTTP/1.1\r\nHost: x\r\nA: y\xff\r\na: \r\n\r\n")
            .unwrap()
            .unwrap();
        let mut map = HeaderMap::new();
        parsed.raw.headers.copy_to(&mut map);
        let values: Vec<_> = map.get_all("a").map(|value| value.as_bytes()).collect();
        assert_eq!(values, [&b"y\xff"[..], b""]);
    }

    #[test]
    fn lone_lf_ends_no_line() {
        for text in [
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "GET / HTTP/1.0\n\n",
            "\nGET / HTTP/1.0\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn connection_persists_as_its_version_and_its_options_say() {
        for (version, options, closes) in [
            ("1.1", "", false),
            ("1.1", "Connection: close\r\n", true),
            ("1.1", "Connection: x\r\nConnection: Close\r\n", true),
            ("1.1", "Connection: keep-alive, close\r\n", true),
            ("1.0", "", true),
            ("1.0", "Connection: Keep-Alive\r\n", false),
            ("1.0", "Connection: keep-alive, close\r\n", true),
            ("1.0", "Connection: x\r\n", true),
        ] {
            let text = format!("GET / HTTP/{version}\r\nHost: x\r\n{options}\r\n");
            let parsed = parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!(parsed.options.close, closes, "{text:?}");
            assert_eq!(parsed.options.is_http10, version == "1.0", "{text:?}");
        }
    }

    #[test]
    fn versions_other_than_1_0_and_1_1_are_told_apart_from_what_is_no_http() {
        for other in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/3.0\r\nHost: x\r\n\r\n",
            "GET / HTTP/0.9\r\n",
        ] {
            let error = parse(other.as_bytes()).err();
            assert!(matches!(error, Some(ProxyError::OtherVersion)), "{other}");
        }
        for ours in ["GET / HTTP/x.y\r\n", "GET / SMTP/2.0\r\n", "HTTP/2.0\r\n"] {
            let error = parse(ours.as_bytes()).err();
            assert!(matches!(error, Some(ProxyError::Malformed(_))), "{ours}");
        }
        assert!(parse(b"GET / HTTP/2.0").unwrap().is_none());
    }

    #[test]
    fn target_keeps_its_bytes_beside_an_encoded_uri() {
        for (target, uri) in [
            (&b"/a?b=%20"[..], "/a?b=%20"),
            (b"/<\"`>?<\"`>", "/%3C%22%60%3E?%3C%22%60%3E"),
            ("/\u{fc}".as_bytes(), "/%C3%BC"),
            (b"/\xfc?\xff", "/%FC?%FF"),
            (b"http://x/\xfc", "http://x/%FC"),
            (b"/{|}[]^\\", "/{|}[]^\\"),
        ] {
            let text = [b"GET ", target, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
            let parsed = parse(&text).unwrap().unwrap();
            assert_eq!(parsed.request.uri().to_string(), uri);
            let sent = &target[raw_request::path_start(target)..];
            assert_eq!(parsed.raw.path_and_query(), sent, "{uri}");
        }
        for target in [
            &b"/a#b"[..],
            b"/a\x7f",
            b"/a\x01",
            b"h\xfctp://x/",
            b"http://\xfc/",
        ] {
            let text = [b"GET ", target, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
            let error = parse(&text).err();
            assert!(
                matches!(error, Some(ProxyError::Malformed(_))),
                "{target:?}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_told_apart() {
        let long = |target: usize, name: usize| {
            let (target, name) = ("a".repeat(target), "n".repeat(name));
            parse(format!("GET /{target} HTTP/1.1\r\nHost: x\r\nx{name}: y\r\n\r\n").as_bytes())
                .err()
        };
        assert!(long(65_533, 65_000 - 100).is_none());
        assert!(matches!(long(65_534, 1), Some(ProxyError::TargetTooLong)));
        assert!(matches!(long(1, 65_535), Some(ProxyError::HeadTooLarge)));
        assert!(matches!(
            long(70_000, 70_000),
            Some(ProxyError::HeadTooLarge)
        ));
        let no_end = parse(&vec![b'a'; MAX_REQUEST_HEAD_BYTES + 1]).err();
        assert!(matches!(no_end, Some(ProxyError::TargetTooLong)));
    }
}
