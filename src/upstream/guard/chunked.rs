//! The chunked transfer coding (RFC 9112, section 7.1), followed byte by byte.
//!
//! The guard needs to know where the chunks of a response end, the transport what is in them, and
//! actix decodes those of requests that the lane does not take. So that all find the same end,
//! everything that this machine accepts means the same to actix: lines end in CRLF and in nothing
//! else, and lengths are bounded.

use std::ops::Range;

use super::fault::Fault;

/// A chunk's size line, or all trailer fields together, may be so long.
const MOST_LINE_BYTES: u16 = 8 * 1024;

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
    /// The start of a trailer line, or the CR of the line that ends it all.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

/// What [`Chunked::next`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where data lies; mostly nowhere, in an empty range.
    pub data: Range<usize>,
    /// Where to go on.
    pub end: usize,
}

/// Follows one chunked body, from before its first chunk on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chunked {
    state: State,
    /// Of the chunk's data, what is to come.
    left: u64,
    line_bytes: u16,
}

impl Chunked {
    /// Whether the last byte of the body has passed.
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// How many of these bytes are the body's: all of them, unless it ends before.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while at < bytes.len() && !self.is_complete() {
            at = self.next(bytes, at)?.end;
        }
        Ok(at)
    }

    /// Goes on at one of these bytes, in a body that is not complete. Returns which of them are
    /// data, and where to go on. A chunk that is small and lies here whole is one step.
    pub fn next(&mut self, bytes: &[u8], at: usize) -> Result<Step, Fault> {
        let rest = bytes.get(at..).unwrap_or_default();
        if self.state == State::SizeFirst
            && let [size, b'\r', b'\n', rest @ ..] = rest
            && let Some(size @ 1..) = hex(*size).map(usize::from)
            && let Some([b'\r', b'\n']) = rest.get(size..size + 2)
        {
            let begin = at + 3;
            self.left = 0;
            return Ok(Step {
                data: begin..begin + size,
                end: begin + size + 2,
            });
        }
        if self.state != State::Data {
            if let Some(byte) = rest.first() {
                self.state = self.step(*byte)?;
            }
            return Ok(Step {
                data: at..at,
                end: at + 1,
            });
        }
        let here = usize::try_from(self.left).unwrap_or(usize::MAX);
        let end = at + here.min(rest.len());
        self.left -= (end - at) as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        Ok(Step { data: at..end, end })
    }

    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        self.line_bytes += 1;
        if self.line_bytes > MOST_LINE_BYTES {
            return Err(Fault::BadChunk);
        }
        match (self.state, byte) {
            (State::SizeFirst, _) => {
                self.left = u64::from(hex(byte).ok_or(Fault::BadChunk)?);
                Ok(State::Size)
            }
            (State::Size | State::SizeSpace, b' ' | b'\t') => Ok(State::SizeSpace),
            (State::Size | State::SizeSpace, b';') => Ok(State::Extension),
            (State::Size | State::SizeSpace | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Size, _) => {
                let digit = hex(byte).ok_or(Fault::BadChunk)?;
                let left = self.left.checked_mul(16).ok_or(Fault::BadChunk)?;
                self.left = left | u64::from(digit);
                Ok(State::Size)
            }
            (State::Extension, 0x00..=0x08 | 0x0a..=0x1f | 0x7f) => Err(Fault::BadChunk),
            (State::Extension, _) => Ok(State::Extension),
            (State::SizeLf, b'\n') => {
                self.line_bytes = 0;
                Ok(if self.left == 0 {
                    State::Line
                } else {
                    State::Data
                })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line_bytes = 0;
                Ok(State::SizeFirst)
            }
            (State::Line, b'\r') => Ok(State::EndLf),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::Line | State::Trailer, b'\n' | 0x00) => Err(Fault::BadChunk),
            (State::Line | State::Trailer, _) => Ok(State::Trailer),
            (State::TrailerLf, b'\n') => Ok(State::Line),
            (State::EndLf, b'\n') => Ok(State::End),
            _ => Err(Fault::BadChunk),
        }
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
    fn end_of(body: &str) -> Result<Option<usize>, Fault> {
        let mut whole = Chunked::default();
        let taken = whole.advance(body.as_bytes());
        let mut single = Chunked::default();
        let mut count = Ok(0);
        for byte in body.as_bytes() {
            match single.advance(std::slice::from_ref(byte)) {
                Ok(taken) => count = count.map(|count| count + taken),
                Err(fault) => {
                    count = Err(fault);
                    break;
                }
            }
        }
        assert_eq!(taken, count, "{body:?}");
        assert!(taken.is_err() || whole == single, "{body:?}");
        taken.map(|taken| whole.is_complete().then_some(taken))
    }

    #[test]
    fn where_a_body_ends() {
        for (body, end) in [
            ("0\r\n\r\n", Ok(Some(5))),
            ("3\r\nabc\r\n0\r\n\r\n", Ok(Some(13))),
            ("3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200", Ok(Some(13))),
            ("A\r\n0123456789\r\n00\r\n\r\n", Ok(Some(21))),
            ("1;a=\"b c\"\r\nx\r\n0;z\r\n\r\n", Ok(Some(21))),
            ("1 \t ;e\r\nx\r\n0 \r\n\r\n", Ok(Some(17))),
            ("0\r\nx: y\r\nz: \r\n\r\n.", Ok(Some(16))),
            ("3\r\nabc\r\n", Ok(None)),
            ("3\r\nabc\r\n0\r\n", Ok(None)),
            ("3\r\nabc\r\n0\r\n\r", Ok(None)),
            ("", Ok(None)),
            ("\r\n", Err(Fault::BadChunk)),
            ("x\r\n", Err(Fault::BadChunk)),
            ("-1\r\n", Err(Fault::BadChunk)),
            ("0x1\r\n", Err(Fault::BadChunk)),
            (" 1\r\n", Err(Fault::BadChunk)),
            ("1 1\r\n", Err(Fault::BadChunk)),
            ("1\nx\r\n", Err(Fault::BadChunk)),
            ("1\r\nxy\r\n", Err(Fault::BadChunk)),
            ("1\r\nx\n0\r\n\r\n", Err(Fault::BadChunk)),
            ("1\rx", Err(Fault::BadChunk)),
            ("1;a\nb\r\n", Err(Fault::BadChunk)),
            ("1;a\0\r\n", Err(Fault::BadChunk)),
            ("0\r\nx: y\n\r\n", Err(Fault::BadChunk)),
            ("0\r\nx: y\r\r\n", Err(Fault::BadChunk)),
            ("ffffffffffffffff\r\n", Ok(None)),
            ("10000000000000000\r\n", Err(Fault::BadChunk)),
            ("f0000000000000003\r\n", Err(Fault::BadChunk)),
        ] {
            assert_eq!(end_of(body), end, "{body:?}");
        }
    }

    #[test]
    fn lines_are_bounded() {
        let long = "a".repeat(usize::from(MOST_LINE_BYTES));
        assert_eq!(end_of(&format!("1;{long}\r\n")), Err(Fault::BadChunk));
        assert_eq!(
            end_of(&format!("0\r\n{long}\r\n\r\n")),
            Err(Fault::BadChunk)
        );
        let trailers = "a: b\r\n".repeat(usize::from(MOST_LINE_BYTES) / 6 + 1);
        assert_eq!(
            end_of(&format!("0\r\n{trailers}\r\n")),
            Err(Fault::BadChunk)
        );
    }
}
