//! The head of a response as it came.
//!
//! What only passes a response on has no use for a map of its headers, with a hash and a share of
//! the bytes for each. So the head stays what it was, with the places of its parts.

use std::cell::Cell;
use std::ops::Range;

use actix_http::StatusCode;
use actix_web::web::Bytes;

use super::connection::Connection;
use crate::h1::{HeaderIndices, HeaderLines};
use crate::upstream::framed_connection::{ParsedHead, ProtocolError};

thread_local! {
    /// A list for the places in the next head, left by the last one.
    static SCRATCH: Cell<Vec<HeaderIndices>> = const { Cell::new(Vec::new()) };
}

/// The head of one response.
pub struct RawResponseHead {
    /// Its headers.
    pub lines: HeaderLines,
    status: StatusCode,
    reason: Range<usize>,
    has_connection_headers: bool,
    relays_trailers: bool,
    body_length: Option<u64>,
    content_length: Option<u64>,
    appended: &'static [u8],
}

impl RawResponseHead {
    /// Takes the head from what has been read, and the places that were found in it.
    pub(super) fn take_from(connection: &mut Connection) -> Result<Self, ProtocolError> {
        let bytes = connection.split_head();
        let headers = connection.replace_header_indices(SCRATCH.take());
        Self::new(bytes, connection.parsed_head(), headers)
    }

    fn new(
        bytes: Bytes,
        parsed: &ParsedHead,
        headers: Vec<HeaderIndices>,
    ) -> Result<Self, ProtocolError> {
        Ok(Self {
            lines: HeaderLines::new(bytes, headers),
            status: StatusCode::from_u16(parsed.status).map_err(|_| ProtocolError::BadHead)?,
            reason: parsed.reason.clone(),
            has_connection_headers: parsed.has_connection_headers,
            relays_trailers: parsed.relays_trailers,
            body_length: parsed.body_length,
            content_length: parsed.content_length,
            appended: &[],
        })
    }

    /// A head as it is read from a replica.
    #[cfg(test)]
    pub fn parse(head: &[u8]) -> Self {
        use crate::upstream::framed_connection::{RequestInfo, read_head};

        let mut parsed = ParsedHead::default();
        read_head(head, RequestInfo::default(), &mut parsed)
            .unwrap()
            .unwrap();
        let headers = std::mem::take(&mut parsed.headers);
        Self::new(Bytes::copy_from_slice(head), &parsed, headers).unwrap()
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether Connection names headers that concern the replica's connection alone.
    pub fn has_connection_headers(&self) -> bool {
        self.has_connection_headers
    }

    /// Whether the trailers behind the body are for the client, too.
    pub fn relays_trailers(&self) -> bool {
        self.relays_trailers
    }

    /// The reason phrase; empty if there is none.
    pub fn reason(&self) -> &[u8] {
        self.lines.part(&self.reason)
    }

    /// The bytes of the body that follows, if the head declares how many.
    pub fn body_length(&self) -> Option<u64> {
        self.body_length
    }

    /// What Content-Length declares, whether such a body follows or not.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Appends whole lines.
    pub fn append(&mut self, lines: &'static [u8]) {
        self.appended = lines;
    }

    /// The lines that were appended.
    pub fn appended(&self) -> &'static [u8] {
        self.appended
    }
}

impl Drop for RawResponseHead {
    fn drop(&mut self) {
        // At the end of the thread there may be no list any more.
        let _ = SCRATCH.try_with(|scratch| scratch.set(self.lines.take_indices()));
    }
}
