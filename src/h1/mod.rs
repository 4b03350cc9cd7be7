//! HTTP/1.1 as bytes (RFC 9112), once for both sides: what clients send us and what replicas
//! answer is framed by the same rules, so that the two sides never disagree about where a
//! message ends.
//!
//! Pure: bytes in, facts out; no socket, no clock, no other layer. Where the rules for requests
//! and for responses differ, [`Rules`] says which apply: a request is refused where its end is in
//! any doubt, because another server may read it differently (request smuggling, RFC 9112,
//! section 11.2); of a replica's response the usual slips are tolerated.
//!
//! | file | what it decides | source |
//! | --- | --- | --- |
//! | `framing` | how long a body is; whether the connection persists | RFC 9112, 6 and 9.3 |
//! | `content_length` | what a Content-Length declares | RFC 9110, 8.6 |
//! | `chunk_decoder`, `chunk_encoder` | the chunked transfer coding | RFC 9112, 7.1 |
//! | `body_decoder` | a body of any framing, as bytes arrive | RFC 9112, 6.3 |
//! | `connection` | the options of a Connection header | RFC 9110, 7.6.1 |
//! | `header_name` | names, compared without case | RFC 9110, 5.1 |
//! | `header_indices` | where headers lie in a head that was read | |
//! | `header_lines` | the headers of a head as they came, in order | |

mod body_decoder;
mod chunk_decoder;
mod chunk_encoder;
pub mod connection;
mod content_length;
mod framing;
mod header_indices;
mod header_lines;
pub mod header_name;

pub use body_decoder::BodyDecoder;
pub use chunk_decoder::{ChunkDecoder, ChunkStep};
pub use chunk_encoder::{CHUNK_END, ChunkSizeLine, LAST_CHUNK};
pub use content_length::parse as parse_content_length;
pub use framing::{BodyLength, FramingError, FramingHeaders, Rules, is_bodiless};
pub use header_indices::{HeaderIndices, write_header};
pub use header_lines::{HeaderLine, HeaderLines};

/// The largest head of a response, in bytes.
pub const MAX_RESPONSE_HEAD_BYTES: usize = 64 * 1024;

/// The largest head of a request, in bytes; a larger one is a 431 (RFC 6585, section 5).
pub const MAX_REQUEST_HEAD_BYTES: usize = 128 * 1024;

/// The longest request target, in bytes; a longer one is a 414 (RFC 9110, section 15.5.15).
pub const MAX_TARGET_BYTES: usize = 65_534;

/// The most headers of one head. It is also the most that actix-http reads.
pub const MAX_HEADERS: usize = 96;
