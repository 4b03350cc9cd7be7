//! How long the body of a message is, and whether its connection persists: what the headers say
//! about both (RFC 9112, sections 6 and 9.3).

use super::{connection, content_length, header_name};

/// Whose message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// A client's request. Whatever leaves its end in doubt is refused.
    Request,
    /// A replica's response. A Content-Length may be repeated, and chunks may be formatted
    /// loosely, as long as the end is the same to every reader.
    Response,
}

/// Why the end of a message cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A Content-Length is not a number, or several differ (RFC 9112, section 6.3).
    #[error("the Content-Length is invalid")]
    ContentLength,
    /// A Transfer-Encoding is not `chunked`, or HTTP/1.0 has one (RFC 9112, section 6.1).
    #[error("the Transfer-Encoding is invalid")]
    TransferEncoding,
    /// There are both, with which messages are smuggled (RFC 9112, section 6.3).
    #[error("there are both Content-Length and Transfer-Encoding")]
    Both,
    /// A chunk, or a trailer, is malformed (RFC 9112, section 7.1).
    #[error("the chunks are malformed")]
    Chunk,
}

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// After this many bytes.
    Known(u64),
    /// With the last chunk.
    Chunked,
    /// With the end of the connection.
    UntilClose,
}

/// What the headers of a message say about its framing and its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FramingHeaders {
    /// What Content-Length declares.
    pub content_length: Option<u64>,
    /// The transfer coding is `chunked`.
    pub is_chunked: bool,
    /// Connection has the option `close`.
    pub close: bool,
    /// Connection has the option `keep-alive`.
    pub keep_alive: bool,
    /// Connection has other options: the names of headers, or `upgrade`.
    pub has_connection_headers: bool,
}

impl FramingHeaders {
    /// Reads the names and values of all headers.
    pub fn read<'h>(
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
        rules: Rules,
        is_http10: bool,
    ) -> Result<Self, FramingError> {
        let mut framing = Self::default();
        for (name, value) in headers {
            framing.add(name, value, rules, is_http10)?;
        }
        framing.check()?;
        Ok(framing)
    }

    /// Reads one more header. After the last one, [`check`](Self::check) is due.
    //
    // Inlined: every header of every message passes here, and nearly none is of these.
    #[inline]
    pub fn add(
        &mut self,
        name: &[u8],
        value: &[u8],
        rules: Rules,
        is_http10: bool,
    ) -> Result<(), FramingError> {
        // The length alone tells most names apart.
        match name.len() {
            14 if header_name::eq_ignore_case(name, b"content-length") => {
                self.add_content_length(value, rules)
            }
            17 if header_name::eq_ignore_case(name, b"transfer-encoding") => {
                self.add_transfer_encoding(value, is_http10)
            }
            10 if header_name::eq_ignore_case(name, b"connection") => {
                self.add_connection(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_content_length(&mut self, value: &[u8], rules: Rules) -> Result<(), FramingError> {
        let length = match rules {
            Rules::Request => content_length::parse(value),
            Rules::Response => content_length::parse_list(value),
        };
        let length = length.ok_or(FramingError::ContentLength)?;
        match self.content_length.replace(length) {
            None => Ok(()),
            Some(before) if rules == Rules::Response && before == length => Ok(()),
            Some(_) => Err(FramingError::ContentLength),
        }
    }

    /// Only `chunked`, once, and only in HTTP/1.1 (RFC 9112, section 6.1).
    fn add_transfer_encoding(&mut self, value: &[u8], is_http10: bool) -> Result<(), FramingError> {
        let is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        if is_http10 || self.is_chunked || !is_chunked {
            return Err(FramingError::TransferEncoding);
        }
        self.is_chunked = true;
        Ok(())
    }

    fn add_connection(&mut self, value: &[u8]) {
        for option in connection::options(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                self.has_connection_headers = true;
            }
        }
    }

    /// Whether the headers agree with each other.
    pub fn check(&self) -> Result<(), FramingError> {
        match self.is_chunked && self.content_length.is_some() {
            true => Err(FramingError::Both),
            false => Ok(()),
        }
    }

    /// Whether they declare a body that is not empty.
    pub fn declares_body(&self) -> bool {
        self.is_chunked || self.content_length.is_some_and(|length| length > 0)
    }

    /// Whether the connection may be used again after the message (RFC 9112, section 9.3).
    pub fn is_persistent(&self, is_http10: bool) -> bool {
        !self.close && (!is_http10 || self.keep_alive)
    }

    /// The length of a request's body: without a declaration there is none.
    pub fn request_body(&self) -> BodyLength {
        match self.is_chunked {
            true => BodyLength::Chunked,
            false => BodyLength::Known(self.content_length.unwrap_or(0)),
        }
    }

    /// The length of the body of a response that may have one: without a declaration it ends with
    /// the connection.
    pub fn response_body(&self) -> BodyLength {
        match (self.is_chunked, self.content_length) {
            (true, _) => BodyLength::Chunked,
            (false, Some(length)) => BodyLength::Known(length),
            (false, None) => BodyLength::UntilClose,
        }
    }
}

/// Whether a response of this status ends with its head, whatever that declares: 1xx, 204 and 304
/// (RFC 9112, section 6.3). So does every response to HEAD.
pub fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &str, rules: Rules, is_http10: bool) -> Result<FramingHeaders, FramingError> {
        let headers = headers
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        FramingHeaders::read(headers, rules, is_http10)
    }

    #[test]
    fn body_length_follows_the_headers() {
        use BodyLength::{Chunked, Known, UntilClose};
        use FramingError::{Both, ContentLength, TransferEncoding};
        for (headers, request, response) in [
            ("", Ok(Known(0)), Ok(UntilClose)),
            ("Content-Length: 3", Ok(Known(3)), Ok(Known(3))),
            ("content-length:\t0 ", Ok(Known(0)), Ok(Known(0))),
            ("X-Content-Length: 3", Ok(Known(0)), Ok(UntilClose)),
            ("Transfer-Encoding: Chunked", Ok(Chunked), Ok(Chunked)),
            // As long as the names of the framing headers.
            (
                "Accept-Charset: 3\nIf-Modified-Since: chunked",
                Ok(Known(0)),
                Ok(UntilClose),
            ),
            (
                "Content-Length: 3\nContent-Length: 3",
                Err(ContentLength),
                Ok(Known(3)),
            ),
            ("Content-Length: 3, 3", Err(ContentLength), Ok(Known(3))),
            (
                "Content-Length: 3\nContent-Length: 4",
                Err(ContentLength),
                Err(ContentLength),
            ),
            ("Content-Length: +3", Err(ContentLength), Err(ContentLength)),
            (
                "Content-Length: 3\nTransfer-Encoding: chunked",
                Err(Both),
                Err(Both),
            ),
            (
                "Transfer-Encoding: gzip, chunked",
                Err(TransferEncoding),
                Err(TransferEncoding),
            ),
            (
                "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
                Err(TransferEncoding),
                Err(TransferEncoding),
            ),
            (
                "Transfer-Encoding: identity",
                Err(TransferEncoding),
                Err(TransferEncoding),
            ),
        ] {
            let as_request = read(headers, Rules::Request, false);
            assert_eq!(as_request.map(|it| it.request_body()), request, "{headers}");
            let as_response = read(headers, Rules::Response, false);
            let as_response = as_response.map(|it| it.response_body());
            assert_eq!(as_response, response, "{headers}");
        }
        for rules in [Rules::Request, Rules::Response] {
            let chunked = read("Transfer-Encoding: chunked", rules, true);
            assert_eq!(chunked, Err(TransferEncoding));
        }
    }

    #[test]
    fn connection_persists_by_version_and_option() {
        for (headers, http11, http10) in [
            ("", true, false),
            ("Connection: keep-alive", true, true),
            ("Set-Cookie: close", true, false),
            ("Connection: x, Close", false, false),
            ("Connection: close\nConnection: keep-alive", false, false),
        ] {
            let framing = read(headers, Rules::Request, false).unwrap();
            assert_eq!(framing.is_persistent(false), http11, "{headers}");
            assert_eq!(framing.is_persistent(true), http10, "{headers}");
        }
        let named = read("Connection: , X-Private", Rules::Response, false).unwrap();
        assert!(named.has_connection_headers);
    }

    #[test]
    fn body_is_declared_by_chunks_or_a_length_above_zero() {
        for (headers, expected) in [
            ("", false),
            ("Content-Length: 0", false),
            ("Content-Length: 1", true),
            ("Transfer-Encoding: chunked", true),
        ] {
            let framing = read(headers, Rules::Response, false).unwrap();
            assert_eq!(framing.declares_body(), expected, "{headers}");
        }
    }

    #[test]
    fn close_and_keep_alive_name_no_headers() {
        let framing = read("Connection: close, keep-alive", Rules::Request, false).unwrap();
        assert!(framing.close && framing.keep_alive && !framing.has_connection_headers);
    }

    #[test]
    fn some_statuses_have_no_body() {
        for (status, expected) in [
            (100, true),
            (103, true),
            (199, true),
            (200, false),
            (204, true),
            (205, false),
            (304, true),
            (404, false),
        ] {
            assert_eq!(is_bodiless(status), expected, "{status}");
        }
    }
}
