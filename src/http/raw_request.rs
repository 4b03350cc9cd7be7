//! What a client's request says, byte by byte: its target and its headers as they came.
//!
//! actix-web's request has a `Uri`, which cannot hold every target, and a map of headers, which
//! knows neither their order nor their spelling. What routes and what goes on to a replica is this.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::ops::Range;

use actix_web::http::Method;
use actix_web::web::Bytes;

use crate::h1::{HeaderIndices, HeaderLines};
use crate::upstream::Trailers;

/// So many rooms are kept on a thread: about as many requests are in flight at once.
const MAX_ROOMS: usize = 64;

thread_local! {
    /// Room for the places of headers in the next heads.
    static ROOMS: RefCell<Vec<Vec<HeaderIndices>>> = const { RefCell::new(Vec::new()) };
}

/// Room for the places of headers, left by an earlier request.
pub fn take_room() -> Vec<HeaderIndices> {
    ROOMS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Where the values of the headers lie that each request is asked for: to note that while they are
/// parsed costs less than to look into a map.
#[derive(Debug, Default)]
pub struct KnownHeaders {
    /// Host.
    pub host: Option<Range<usize>>,
    /// The first X-Request-ID.
    pub request_id: Option<Range<usize>>,
}

/// A request's head.
#[derive(Debug)]
pub struct RawRequest {
    /// Its headers.
    pub headers: HeaderLines,
    /// Connection names headers that concern this connection alone.
    pub has_connection_headers: bool,
    /// What follows its body, once that has come to its end, if anything may.
    pub trailers: OnceCell<Trailers>,
    known: KnownHeaders,
    /// Path and query, which are empty in the absolute form of a target without them.
    path_and_query: Range<usize>,
}

impl RawRequest {
    /// A head, where its target lies in it, and its headers.
    pub fn new(
        head: Bytes,
        target: Range<usize>,
        known: KnownHeaders,
        headers: Vec<HeaderIndices>,
        has_connection_headers: bool,
    ) -> Self {
        let begin = path_start(head.get(target.clone()).unwrap_or_default());
        Self {
            path_and_query: target.start + begin..target.end,
            headers: HeaderLines::new(head, headers),
            has_connection_headers,
            trailers: OnceCell::new(),
            known,
        }
    }

    /// The value of Host.
    pub fn host(&self) -> Option<&[u8]> {
        Some(self.headers.part(self.known.host.as_ref()?))
    }

    /// The value of X-Request-ID, of the first if there are several.
    pub fn request_id(&self) -> Option<&[u8]> {
        Some(self.headers.part(self.known.request_id.as_ref()?))
    }

    /// Where the request line lies, with its end, if it is what a replica gets: the target is in
    /// origin form, and the version is 1.1.
    pub fn request_line(&self) -> Option<Range<usize>> {
        const BEHIND: &[u8] = b" HTTP/1.1\r\n";
        let Range { start, end } = self.path_and_query;
        let line_end = end + BEHIND.len();
        let is_plain = self.headers.part(&(start.checked_sub(1)?..start + 1)) == b" /"
            && self.headers.part(&(end..line_end)) == BEHIND;
        is_plain.then_some(0..line_end)
    }

    /// The path and the query, as a request in origin form has them (RFC 9112, section 3.2.1).
    pub fn path_and_query(&self) -> Cow<'_, [u8]> {
        match self.headers.part(&self.path_and_query) {
            b"" => b"/".into(),
            // In absolute form the path may be missing; written out, it is not.
            query @ [b'?', ..] => [b"/", query].concat().into(),
            whole => whole.into(),
        }
    }

    /// The target as a replica gets it: `*` for OPTIONS of a host without a path (RFC 9112, section
    /// 3.2.4).
    pub fn target_of(&self, method: &Method) -> Cow<'_, [u8]> {
        match *method == Method::OPTIONS && self.path_and_query.is_empty() {
            true => b"*".into(),
            false => self.path_and_query(),
        }
    }

    /// The path.
    pub fn path(&self) -> &[u8] {
        match self.split().0 {
            b"" => b"/",
            path => path,
        }
    }

    /// The query, without its question mark; empty if there is none.
    pub fn query(&self) -> &[u8] {
        self.split().1
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let whole = self.headers.part(&self.path_and_query);
        match whole.iter().position(|byte| *byte == b'?') {
            Some(at) => (&whole[..at], &whole[at + 1..]),
            None => (whole, b""),
        }
    }
}

impl Drop for RawRequest {
    fn drop(&mut self) {
        // The thread-local is gone when the thread ends; the buffer is then freed.
        let _ = ROOMS.try_with(|rooms| {
            let mut rooms = rooms.borrow_mut();
            if rooms.len() < MAX_ROOMS {
                let mut room = self.headers.take_indices();
                room.clear();
                rooms.push(room);
            }
        });
    }
}

/// Where path and query begin in a target: in absolute form behind the authority (RFC 9112,
/// section 3.2.2).
pub fn path_start(target: &[u8]) -> usize {
    let Some(scheme) = target.windows(3).position(|part| part == b"://") else {
        return 0;
    };
    if target.first() == Some(&b'/') {
        return 0;
    }
    let authority = scheme + 3;
    let rest = target.get(authority..).unwrap_or_default();
    let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    authority + length.unwrap_or(rest.len())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A request with this target and these headers.
    pub fn raw(target: &str, headers: &[(&str, &str)]) -> RawRequest {
        let mut head = format!("GET {target} HTTP/1.1\r\n");
        let (mut indices, mut known) = (Vec::new(), KnownHeaders::default());
        for (name, value) in headers {
            let begin = head.len();
            let value_begin = begin + name.len() + 2;
            let header = HeaderIndices {
                name: begin..begin + name.len(),
                value: value_begin..value_begin + value.len(),
            };
            let place = match name.to_ascii_lowercase().as_str() {
                "host" => Some(&mut known.host),
                "x-request-id" => Some(&mut known.request_id),
                _ => None,
            };
            if let Some(place) = place {
                place.get_or_insert_with(|| header.value.clone());
            }
            indices.push(header);
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let is_connection = |name: &str| name.eq_ignore_ascii_case("connection");
        let has_connection_headers = headers.iter().any(|(name, _)| is_connection(name));
        RawRequest::new(
            head.into(),
            4..4 + target.len(),
            known,
            indices,
            has_connection_headers,
        )
    }

    #[test]
    fn target_is_split_as_it_came() {
        for (target, sent, path, query) in [
            ("/", "/", "/", ""),
            ("/a?b?c", "/a?b?c", "/a", "b?c"),
            ("/a?", "/a?", "/a", ""),
            (
                "/<\"`>\u{fc}?x://y",
                "/<\"`>\u{fc}?x://y",
                "/<\"`>\u{fc}",
                "x://y",
            ),
            ("http://x:1/a?b", "/a?b", "/a", "b"),
            ("http://x", "/", "/", ""),
            ("http://x?b", "/?b", "/", "b"),
            ("*", "*", "*", ""),
        ] {
            let raw = raw(target, &[]);
            assert_eq!(raw.path_and_query(), sent.as_bytes(), "{target}");
            assert_eq!(raw.path(), path.as_bytes(), "{target}");
            assert_eq!(raw.query(), query.as_bytes(), "{target}");
        }
    }
}
