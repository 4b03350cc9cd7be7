//! A body of any framing, decoded as its bytes arrive (RFC 9112, section 6.3).

use std::task::Poll;

use actix_web::web::{Bytes, BytesMut};

use super::{BodyLength, ChunkDecoder, FramingError, Rules};

/// A chunk of at least this many bytes is passed on from where it lies. Smaller ones that are
/// there at once are moved together and passed on as one. (Thousands of chunks of a byte would
/// cost a thousand times what their bytes do, and be as many chunks again.)
const MIN_CHUNK: usize = 8 * 1024;

/// Where in a body the next byte falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyDecoder {
    /// Before this many bytes.
    Length(u64),
    /// In chunks.
    Chunked(ChunkDecoder),
    /// Anywhere before the end of the connection.
    UntilClose,
}

impl BodyDecoder {
    /// Before the first byte of a body.
    pub fn new(length: BodyLength, rules: Rules) -> Self {
        match length {
            BodyLength::Known(length) => Self::Length(length),
            BodyLength::Chunked => Self::Chunked(ChunkDecoder::new(rules)),
            BodyLength::UntilClose => Self::UntilClose,
        }
    }

    /// Whether the last byte has passed.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Length(remaining) => *remaining == 0,
            Self::Chunked(chunks) => chunks.is_complete(),
            Self::UntilClose => false,
        }
    }

    /// Takes the next data from the beginning of `buffer`; `None` after the last, pending while
    /// more bytes are needed. What is behind the body stays in `buffer`. The lines of a trailer
    /// section, and the empty one that ends it, are added to `trailers`.
    //
    // Inlined: for most bodies it is one comparison and one split.
    #[inline]
    pub fn decode(
        &mut self,
        buffer: &mut BytesMut,
        trailers: &mut Vec<u8>,
    ) -> Result<Poll<Option<Bytes>>, FramingError> {
        match self {
            Self::Length(0) => Ok(Poll::Ready(None)),
            Self::Length(_) | Self::UntilClose if buffer.is_empty() => Ok(Poll::Pending),
            Self::Length(remaining) => {
                let taken =
                    usize::try_from(*remaining).map_or(buffer.len(), |n| n.min(buffer.len()));
                *remaining -= taken as u64;
                Ok(Poll::Ready(Some(buffer.split_to(taken).freeze())))
            }
            Self::Chunked(chunks) => decode_chunks(chunks, buffer, trailers),
            Self::UntilClose => Ok(Poll::Ready(Some(buffer.split().freeze()))),
        }
    }
}

/// The data of the chunks that `buffer` begins with, as far as it is there.
fn decode_chunks(
    chunks: &mut ChunkDecoder,
    buffer: &mut BytesMut,
    trailers: &mut Vec<u8>,
) -> Result<Poll<Option<Bytes>>, FramingError> {
    let (mut at, mut moved) = (0, 0);
    while at < buffer.len() && !chunks.is_complete() {
        let before = *chunks;
        let step = chunks.next(buffer, at)?;
        if before.is_in_trailers() {
            trailers.extend_from_slice(buffer.get(at..step.end).unwrap_or_default());
        }
        if step.data.len() < MIN_CHUNK {
            let length = step.data.len();
            if length > 0 {
                buffer.copy_within(step.data, moved);
                moved += length;
            }
            at = step.end;
        } else if moved == 0 {
            let _framing = buffer.split_to(step.data.start);
            return Ok(Poll::Ready(Some(buffer.split_to(step.data.len()).freeze())));
        } else {
            // What was moved goes first.
            *chunks = before;
            break;
        }
    }
    let mut data = buffer.split_to(at);
    if moved > 0 {
        data.truncate(moved);
        return Ok(Poll::Ready(Some(data.freeze())));
    }
    Ok(match chunks.is_complete() {
        true => Poll::Ready(None),
        false => Poll::Pending,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of a body that arrives in these pieces, its trailer section, and what is left
    /// behind it.
    fn decoded(mut decoder: BodyDecoder, pieces: &[&[u8]]) -> Result<[Vec<u8>; 3], FramingError> {
        let (mut buffer, mut data, mut trailers) = (BytesMut::new(), Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Poll::Ready(Some(more)) = decoder.decode(&mut buffer, &mut trailers)? {
                data.extend_from_slice(&more);
            }
        }
        Ok([data, trailers, buffer.to_vec()])
    }

    #[test]
    fn body_ends_where_its_framing_says() {
        let chunked = |rules| BodyDecoder::new(BodyLength::Chunked, rules);
        for (decoder, bytes, data, trailers, behind) in [
            (BodyDecoder::Length(3), "abcGET", "abc", "", "GET"),
            (BodyDecoder::Length(0), "GET", "", "", "GET"),
            (BodyDecoder::UntilClose, "abc", "abc", "", ""),
            (
                chunked(Rules::Request),
                "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\nGET",
                "abcd",
                "\r\n",
                "GET",
            ),
            (
                chunked(Rules::Request),
                "1\r\na\r\n0\r\nx: y\r\nz:\r\n\r\nGET",
                "a",
                "x: y\r\nz:\r\n\r\n",
                "GET",
            ),
            (
                chunked(Rules::Response),
                "1 \r\na\r\n0\r\nx\r\n\r\n",
                "a",
                "x\r\n\r\n",
                "",
            ),
        ] {
            let expected = Ok([data, trailers, behind].map(|text| text.as_bytes().to_vec()));
            assert_eq!(decoded(decoder, &[bytes.as_bytes()]), expected, "{bytes:?}");
            let single: Vec<_> = bytes.as_bytes().chunks(1).collect();
            assert_eq!(decoded(decoder, &single), expected, "{bytes:?}");
        }
    }

    #[test]
    fn body_is_complete_once_its_last_byte_has_passed() {
        let chunked = BodyDecoder::new(BodyLength::Chunked, Rules::Request);
        for (mut decoder, bytes, last) in [
            (BodyDecoder::Length(0), "", Some(0)),
            (BodyDecoder::Length(3), "abcGET", Some(3)),
            (BodyDecoder::UntilClose, "abc", None),
            (chunked, "1\r\na\r\n0\r\n\r\nGET", Some(11)),
        ] {
            let (mut buffer, mut trailers) = (BytesMut::new(), Vec::new());
            let length = decoder;
            assert_eq!(decoder.is_complete(), last == Some(0), "{length:?}");
            for (index, byte) in bytes.bytes().enumerate() {
                buffer.extend_from_slice(&[byte]);
                let _data = decoder.decode(&mut buffer, &mut trailers).unwrap();
                let expected = last.is_some_and(|last| index + 1 >= last);
                assert_eq!(decoder.is_complete(), expected, "{length:?}, {index}");
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_change_the_data(
            sizes in prop::collection::vec(prop_oneof![4 => 1..40usize, 1 => 8_000..20_000usize], 0..8),
            cut in 1..9_000usize,
        ) {
            let data: Vec<u8> = (0..sizes.iter().sum()).map(|n: usize| (n % 251) as u8).collect();
            let (mut body, mut rest) = (Vec::new(), &data[..]);
            for size in &sizes {
                let (chunk, behind) = rest.split_at(*size);
                body.extend_from_slice(&[format!("{size:x}\r\n").as_bytes(), chunk, b"\r\n"].concat());
                rest = behind;
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let decoder = BodyDecoder::new(BodyLength::Chunked, Rules::Request);
            let pieces: Vec<_> = body.chunks(cut).collect();
            prop_assert_eq!(decoded(decoder, &pieces), Ok([data, b"\r\n".to_vec(), Vec::new()]));
        }
    }
}
