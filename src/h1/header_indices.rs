//! Where headers lie in a head that was read, so that nothing has to parse it again; and how one
//! is written.

use std::ops::Range;

/// Where one header lies in the bytes of its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderIndices {
    /// Its name.
    pub name: Range<usize>,
    /// Its value, without the white space around it.
    pub value: Range<usize>,
}

impl HeaderIndices {
    /// Where a name and a value lie in `head`, of which they are parts.
    pub fn within(head: &[u8], name: &[u8], value: &[u8]) -> Self {
        Self {
            name: Self::place(head, name),
            value: Self::place(head, value),
        }
    }

    /// Where `part` lies in `head`, of which it is a part.
    pub fn place(head: &[u8], part: &[u8]) -> Range<usize> {
        // An empty one may lie anywhere.
        let begin = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
        match part.is_empty() && begin > head.len() {
            true => 0..0,
            false => begin..begin + part.len(),
        }
    }
}

/// Writes a header line (RFC 9112, section 5).
//
// Inlined, and one part after the other: what has a known length is then a move, not a call.
#[inline(always)]
pub fn write_header(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_where_they_lie() {
        let head = b"Name: value\r\nEmpty:\r\n";
        let indices = HeaderIndices::within(head, &head[0..4], &head[6..11]);
        assert_eq!((indices.name, indices.value), (0..4, 6..11));
        assert_eq!(HeaderIndices::place(head, &[]), 0..0);
        for place in [0..0, 19..19, 21..21] {
            assert_eq!(HeaderIndices::place(head, &head[place.clone()]), place);
        }
    }

    #[test]
    fn header_is_one_line() {
        let mut line = Vec::new();
        write_header(&mut line, "date", b"today");
        assert_eq!(line, b"date: today\r\n");
    }
}
