//! The chunked transfer coding, written (RFC 9112, section 7.1).
//!
//! A chunk is its [`ChunkSizeLine`], its data and [`CHUNK_END`]; a body ends with [`LAST_CHUNK`].
//! The data is never copied here: who has several buffers writes them in one system call.

use std::ops::Deref;

/// What ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// What ends a body. Between the two lines there may be trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// As many hexadecimal digits as a `usize` has, and CRLF.
const MAX_LINE: usize = size_of::<usize>() * 2 + 2;

/// The line in front of a chunk's data: its size, without extensions.
#[derive(Debug, Clone, Copy)]
pub struct ChunkSizeLine {
    bytes: [u8; MAX_LINE],
    /// The line ends where the bytes do.
    begin: usize,
}

impl ChunkSizeLine {
    /// The line of a chunk with this many bytes: not 0, which would be the last chunk.
    pub fn new(mut size: usize) -> Self {
        let mut bytes = [0; MAX_LINE];
        let [digits @ .., cr, lf] = &mut bytes;
        (*cr, *lf) = (b'\r', b'\n');
        let mut begin = digits.len();
        for place in digits.iter_mut().rev() {
            *place = b"0123456789ABCDEF"[size & 0xf];
            begin -= 1;
            size >>= 4;
            if size == 0 {
                break;
            }
        }
        Self { bytes, begin }
    }
}

impl Deref for ChunkSizeLine {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{ChunkDecoder, Rules};

    #[test]
    fn size_is_written_in_hexadecimal() {
        for size in [1, 9, 10, 15, 16, 255, 4096, 0xabcdef, usize::MAX] {
            let line = ChunkSizeLine::new(size);
            assert_eq!(&*line, format!("{size:X}\r\n").as_bytes());
        }
    }

    #[test]
    fn what_is_encoded_decodes_strictly() {
        let data = [7; 300];
        let line = ChunkSizeLine::new(data.len());
        let body = [&*line, &data, CHUNK_END, LAST_CHUNK].concat();
        let mut decoder = ChunkDecoder::new(Rules::Request);
        assert_eq!(decoder.advance(&body), Ok(body.len()));
        assert!(decoder.is_complete());
    }
}
