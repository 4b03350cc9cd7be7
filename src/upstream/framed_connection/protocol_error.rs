//! What can be wrong with a replica's side of a connection.

use std::io;

use crate::h1::FramingError;

/// Why a connection to a replica ended before its response did, or what of the response
/// is not HTTP. It travels through awc inside an [`io::Error`] and is found again by
/// [`ProtocolError::of`], so that `retry` knows exactly what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Not one byte of a response had come: the one fault after which a request may be
    /// sent again.
    #[error("the connection ended before the response")]
    NoResponse,
    /// The end came inside the head, or after interim responses only.
    #[error("the response broke off in its head")]
    BrokenHead,
    /// The end came before that of the body (RFC 9112, section 8).
    #[error("the response broke off in its body")]
    BrokenBody,
    /// The first bytes are not those of an HTTP/1.0 or HTTP/1.1 response.
    #[error("what came is not an HTTP/1 response")]
    NotHttp,
    /// A status line or a field line that is none.
    #[error("the response's head is malformed")]
    BadHead,
    /// More than 64 KiB.
    #[error("the response's head is too large")]
    LargeHead,
    /// More than 96, which is what awc's codec can read.
    #[error("the response has too many header fields")]
    ManyFields,
    /// Where the response ends cannot be known.
    #[error("invalid message framing of the response: {0}")]
    Framing(#[from] FramingError),
    /// 101 although no upgrade was asked for (RFC 9110, section 15.2.2).
    #[error("the replica switched protocols unasked")]
    UnsolicitedUpgrade,
    /// More interim responses than anybody needs.
    #[error("the replica sent too many interim responses")]
    ManyInterim,
    /// A request on a connection that is not free for one. A mistake of ours.
    #[error("a request was written where none belongs")]
    Pipelined,
}

impl ProtocolError {
    /// The fault that an I/O error carries.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl From<ProtocolError> for io::Error {
    fn from(fault: ProtocolError) -> Self {
        let kind = match fault {
            ProtocolError::NoResponse => io::ErrorKind::ConnectionReset,
            ProtocolError::BrokenHead | ProtocolError::BrokenBody => io::ErrorKind::UnexpectedEof,
            ProtocolError::Pipelined => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, fault)
    }
}
