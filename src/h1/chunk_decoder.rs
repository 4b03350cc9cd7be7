//! The chunked transfer coding, followed byte by byte (RFC 9112, section 7.1).
//!
//! Lines end in CRLF and in nothing else, and sizes and lines are bounded, so that every reader
//! finds the same end. Of a replica's response ([`Rules::Response`]) white space behind a size,
//! any number of its digits and any trailer line are accepted. In a request they are malformed: no
//! client sends them, and servers disagree about them.

use std::ops::Range;

use super::{FramingError, Rules, header_name};

/// The most bytes of a chunk's size line, and of all trailers together.
const MAX_LINE_BYTES: u16 = 8 * 1024;

/// The most digits of a size in a request: as many as 64 bits have.
const MAX_SIZE_DIGITS: u8 = 16;

/// Where in a chunked body the next byte falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// The first digit of a size.
    #[default]
    SizeFirst,
    Size,
    /// White space after a size: no more digits may come.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The start of a trailer line, or the CR of the empty line that ends the body.
    Line,
    /// The name of a trailer, whose colon has not come.
    TrailerName,
    /// The rest of a trailer line.
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

/// What [`ChunkDecoder::next`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkStep {
    /// Where data lies; mostly nowhere, in an empty range.
    pub data: Range<usize>,
    /// Where to go on.
    pub end: usize,
}

/// Follows one chunked body, from before its first chunk on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkDecoder {
    state: State,
    rules: Rules,
    /// Digits of the size so far, counted for requests.
    digits: u8,
    line_bytes: u16,
    /// Bytes of the chunk's data that are still to come.
    remaining: u64,
}

impl ChunkDecoder {
    /// Before the first chunk.
    pub fn new(rules: Rules) -> Self {
        Self {
            state: State::default(),
            rules,
            digits: 0,
            line_bytes: 0,
            remaining: 0,
        }
    }

    /// Whether the last byte of the body has passed.
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// Whether the last chunk has passed: what follows are trailers, and the empty line that ends
    /// the body.
    pub fn is_in_trailers(&self) -> bool {
        matches!(
            self.state,
            State::Line | State::TrailerName | State::Trailer | State::TrailerLf | State::EndLf
        )
    }

    /// How many of these bytes are the body's: all of them, unless it ends before.
    #[cfg(test)]
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, FramingError> {
        let mut at = 0;
        while at < bytes.len() && !self.is_complete() {
            at = self.next(bytes, at)?.end;
        }
        Ok(at)
    }

    /// Goes on at one of these bytes, in a body that is not complete. Returns which of them are
    /// data, and where to go on. A chunk that is small and lies here whole is one step.
    pub fn next(&mut self, bytes: &[u8], at: usize) -> Result<ChunkStep, FramingError> {
        let rest = bytes.get(at..).unwrap_or_default();
        if self.state == State::SizeFirst
            && let [size, b'\r', b'\n', rest @ ..] = rest
            && let Some(size @ 1..) = hex(*size).map(usize::from)
            && let Some([b'\r', b'\n']) = rest.get(size..size + 2)
        {
            let begin = at + 3;
            self.remaining = 0;
            return Ok(ChunkStep {
                data: begin..begin + size,
                end: begin + size + 2,
            });
        }
        if self.state != State::Data {
            if let Some(byte) = rest.first() {
                self.state = self.step(*byte)?;
            }
            return Ok(ChunkStep {
                data: at..at,
                end: at + 1,
            });
        }
        let here = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let end = at + here.min(rest.len());
        self.remaining -= (end - at) as u64;
        if self.remaining == 0 {
            self.state = State::DataCr;
        }
        Ok(ChunkStep { data: at..end, end })
    }

    fn step(&mut self, byte: u8) -> Result<State, FramingError> {
        self.line_bytes += 1;
        if self.line_bytes > MAX_LINE_BYTES {
            return Err(FramingError::Chunk);
        }
        let is_strict = self.rules == Rules::Request;
        match (self.state, byte) {
            (State::SizeFirst, _) => {
                self.remaining = u64::from(hex(byte).ok_or(FramingError::Chunk)?);
                self.digits = 1;
                Ok(State::Size)
            }
            (State::Size | State::SizeSpace, b' ' | b'\t') if !is_strict => Ok(State::SizeSpace),
            (State::Size | State::SizeSpace, b';') => Ok(State::Extension),
            (State::Size | State::SizeSpace | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Size, _) => self.add_digit(byte),
            (State::Extension, 0x00..=0x08 | 0x0a..=0x1f | 0x7f) => Err(FramingError::Chunk),
            (State::Extension, _) => Ok(State::Extension),
            (State::SizeLf, b'\n') => {
                self.line_bytes = 0;
                Ok(match self.remaining {
                    0 => State::Line,
                    _ => State::Data,
                })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line_bytes = 0;
                Ok(State::SizeFirst)
            }
            (State::Line, b'\r') => Ok(State::EndLf),
            (State::TrailerName, b':') => Ok(State::Trailer),
            (State::Line | State::TrailerName, _) if is_strict => {
                match header_name::is_token_byte(byte) {
                    true => Ok(State::TrailerName),
                    false => Err(FramingError::Chunk),
                }
            }
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::Line | State::Trailer, b'\n' | 0x00) => Err(FramingError::Chunk),
            (State::Trailer, 0x01..=0x08 | 0x0a..=0x1f | 0x7f) if is_strict => {
                Err(FramingError::Chunk)
            }
            (State::Line | State::Trailer, _) => Ok(State::Trailer),
            (State::TrailerLf, b'\n') => Ok(State::Line),
            (State::EndLf, b'\n') => Ok(State::End),
            _ => Err(FramingError::Chunk),
        }
    }

    fn add_digit(&mut self, byte: u8) -> Result<State, FramingError> {
        let digit = hex(byte).ok_or(FramingError::Chunk)?;
        let higher = self.remaining.checked_mul(16).ok_or(FramingError::Chunk)?;
        self.remaining = higher | u64::from(digit);
        self.digits = self.digits.saturating_add(1);
        if self.rules == Rules::Request && self.digits > MAX_SIZE_DIGITS {
            return Err(FramingError::Chunk);
        }
        Ok(State::Size)
    }
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the body ends, all at once and byte by byte; or that it never does.
    fn end_of(body: &str, rules: Rules) -> Result<Option<usize>, FramingError> {
        let mut whole = ChunkDecoder::new(rules);
        let taken = whole.advance(body.as_bytes());
        let mut single = ChunkDecoder::new(rules);
        let mut count = Ok(0);
        for byte in body.as_bytes() {
            match single.advance(std::slice::from_ref(byte)) {
                Ok(taken) => count = count.map(|count| count + taken),
                Err(error) => {
                    count = Err(error);
                    break;
                }
            }
        }
        assert_eq!(taken, count, "{body:?}");
        // A small chunk that lies here whole is not counted digit by digit.
        (whole.digits, single.digits) = (0, 0);
        assert!(taken.is_err() || whole == single, "{body:?}");
        taken.map(|taken| whole.is_complete().then_some(taken))
    }

    const MALFORMED: Result<Option<usize>, FramingError> = Err(FramingError::Chunk);

    #[test]
    fn body_ends_with_its_last_chunk() {
        for (body, end) in [
            ("0\r\n\r\n", Ok(Some(5))),
            ("3\r\nabc\r\n0\r\n\r\n", Ok(Some(13))),
            ("3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200", Ok(Some(13))),
            ("A\r\n0123456789\r\n00\r\n\r\n", Ok(Some(21))),
            ("1;a=\"b c\"\r\nx\r\n0;z\r\n\r\n", Ok(Some(21))),
            ("0\r\nx: y\r\nz: \r\n\r\n.", Ok(Some(16))),
            ("3\r\nabc\r\n", Ok(None)),
            ("3\r\nabc\r\n0\r\n", Ok(None)),
            ("3\r\nabc\r\n0\r\n\r", Ok(None)),
            ("", Ok(None)),
            ("\r\n", MALFORMED),
            ("x\r\n", MALFORMED),
            ("-1\r\n", MALFORMED),
            ("0x1\r\n", MALFORMED),
            (" 1\r\n", MALFORMED),
            ("1 1\r\n", MALFORMED),
            ("1\nx\r\n", MALFORMED),
            ("1\r\nxy\r\n", MALFORMED),
            ("1\r\nx\n0\r\n\r\n", MALFORMED),
            ("1\rx", MALFORMED),
            ("1;a\nb\r\n", MALFORMED),
            ("1;a\0\r\n", MALFORMED),
            ("0\r\nx: y\n\r\n", MALFORMED),
            ("0\r\nx: y\r\r\n", MALFORMED),
            ("ffffffffffffffff\r\n", Ok(None)),
            ("10000000000000000\r\n", MALFORMED),
            ("f0000000000000003\r\n", MALFORMED),
        ] {
            for rules in [Rules::Request, Rules::Response] {
                assert_eq!(end_of(body, rules), end, "{rules:?} {body:?}");
            }
        }
    }

    #[test]
    fn requests_are_read_more_strictly_than_responses() {
        for (body, response) in [
            ("1 \t ;e\r\nx\r\n0 \r\n\r\n", Ok(Some(17))),
            ("00000000000000001\r\nx\r\n0\r\n\r\n", Ok(Some(27))),
            ("0\r\nx\r\n\r\n", Ok(Some(8))),
            ("0\r\n: x\r\n\r\n", Ok(Some(10))),
            ("0\r\nx y: z\r\n\r\n", Ok(Some(13))),
            ("0\r\nx : z\r\n\r\n", Ok(Some(12))),
            ("0\r\n x: z\r\n\r\n", Ok(Some(12))),
            ("0\r\na: b\r\n c\r\n\r\n", Ok(Some(15))),
            ("0\r\nx: \u{1}\r\n\r\n", Ok(Some(11))),
        ] {
            assert_eq!(end_of(body, Rules::Response), response, "{body:?}");
            assert_eq!(end_of(body, Rules::Request), MALFORMED, "{body:?}");
        }
    }

    #[test]
    fn small_chunk_that_lies_here_whole_is_one_step() {
        for size in 1..=15 {
            let body = format!("{size:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(size));
            let step = ChunkDecoder::new(Rules::Request).next(body.as_bytes(), 0);
            let (data, end) = (3..3 + size, size + 5);
            assert_eq!(step, Ok(ChunkStep { data, end }));
        }
    }

    /// With the line's end, in which every byte of an extension counts.
    #[test]
    fn line_of_eight_kibibytes_is_the_longest() {
        for (bytes, end) in [(8_192, Ok(None)), (8_193, MALFORMED)] {
            let line = format!("1;{}\r\n", "a".repeat(bytes - 4));
            assert_eq!(end_of(&line, Rules::Request), end, "{bytes}");
        }
    }

    #[test]
    fn lines_are_bounded() {
        let long = "a".repeat(usize::from(MAX_LINE_BYTES));
        let trailers = "a: b\r\n".repeat(usize::from(MAX_LINE_BYTES) / 6 + 1);
        for body in [
            format!("1;{long}\r\n"),
            format!("0\r\n{long}: a\r\n\r\n"),
            format!("0\r\n{trailers}\r\n"),
        ] {
            for rules in [Rules::Request, Rules::Response] {
                assert_eq!(end_of(&body, rules), MALFORMED, "{rules:?}");
            }
        }
    }
}
