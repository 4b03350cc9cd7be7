//! The headers of a head as they came, line by line.

use std::ops::Range;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Bytes;

use super::{HeaderIndices, connection, header_name};

const LINE_END: &[u8] = b"\r\n";

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderLine<'h> {
    /// In any case.
    pub name: &'h [u8],
    /// Where its value lies, without the white space around it.
    pub value: &'h Range<usize>,
    /// Where its line lies, with the line's end, if nothing but a colon and a space stands
    /// between name and value, and nothing behind.
    pub line: Option<Range<usize>>,
}

/// The headers of one head.
#[derive(Debug, Default)]
pub struct HeaderLines {
    head: Bytes,
    indices: Vec<HeaderIndices>,
}

impl HeaderLines {
    /// A head, and where its headers lie in it.
    pub fn new(head: Bytes, indices: Vec<HeaderIndices>) -> Self {
        Self { head, indices }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = HeaderLine<'_>> {
        self.indices.iter().map(|HeaderIndices { name, value }| {
            let line = name.start..value.end + LINE_END.len();
            let is_plain = self.part(&(name.end..value.start)) == b": "
                && self.part(&(value.end..line.end)) == LINE_END;
            HeaderLine {
                name: self.part(name),
                value,
                line: is_plain.then_some(line),
            }
        })
    }

    /// The values of the headers of a name, which is given in lower case and consists of letters
    /// and `-` only.
    pub fn get_all<'h>(
        &'h self,
        name: &'h str,
    ) -> impl DoubleEndedIterator<Item = &'h [u8]> + Clone {
        let named = self
            .indices
            .iter()
            .filter(|other| header_name::eq_ignore_case(self.part(&other.name), name.as_bytes()));
        named.map(|header| self.part(&header.value))
    }

    /// The value of the first header of such a name.
    pub fn get<'h>(&'h self, name: &'h str) -> Option<&'h [u8]> {
        self.get_all(name).next()
    }

    /// Copies them into a map, whose values share the head's bytes.
    pub fn copy_to(&self, map: &mut HeaderMap) {
        for HeaderIndices { name, value } in &self.indices {
            let name = HeaderName::from_bytes(self.part(name));
            let value = HeaderValue::from_maybe_shared(self.head.slice(value.clone()));
            // The parser lets through only what both accept.
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
    }

    /// Whether Connection names a header, which then concerns this connection alone (RFC 9110,
    /// section 7.6.1).
    pub fn is_named_by_connection(&self, name: &[u8]) -> bool {
        let mut named = self
            .get_all("connection")
            .flat_map(connection::header_names);
        named.any(|other| other.eq_ignore_ascii_case(name))
    }

    /// Takes the room for indices away.
    pub fn take_indices(&mut self) -> Vec<HeaderIndices> {
        std::mem::take(&mut self.indices)
    }

    /// What lies in a place of the head.
    pub fn part(&self, place: &Range<usize>) -> &[u8] {
        self.head.get(place.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static HEAD: &str = "Date:  today\r\nx-a: 1\r\nX-A: 2 \r\nConnection: close, X-A\r\n\r\n";

    fn lines() -> HeaderLines {
        let head = Bytes::from_static(HEAD.as_bytes());
        let headers = HEAD.split("\r\n").filter_map(|line| line.split_once(':'));
        let within = |(name, value): (&str, &str)| {
            // They lie in the text that the bytes share.
            HeaderIndices::within(&head, name.as_bytes(), value.trim().as_bytes())
        };
        let indices = headers.map(within).collect();
        HeaderLines::new(head, indices)
    }

    #[test]
    fn line_goes_through_as_it_is_if_nothing_but_a_colon_and_a_space_is_in_it() {
        let lines = lines();
        let plain: Vec<_> = lines
            .iter()
            .map(|header| {
                let line = header.line.map(|line| lines.part(&line));
                [Some(header.name), Some(lines.part(header.value)), line]
                    .map(|part| part.map(|part| str::from_utf8(part).unwrap()))
            })
            .collect();
        let line = "Connection: close, X-A\r\n";
        assert_eq!(
            plain,
            [
                [Some("Date"), Some("today"), None],
                [Some("x-a"), Some("1"), Some("x-a: 1\r\n")],
                [Some("X-A"), Some("2"), None],
                [Some("Connection"), Some("close, X-A"), Some(line)],
            ]
        );
    }

    #[test]
    fn headers_are_found_by_name_whatever_its_case() {
        let mut lines = lines();
        assert_eq!(lines.get("x-a"), Some(&b"1"[..]));
        assert_eq!(lines.get("x-b"), None);
        assert!(lines.get_all("x-a").eq([b"1", b"2"]));
        let mut map = HeaderMap::new();
        lines.copy_to(&mut map);
        assert_eq!(map.len(), 4);
        assert!(map.get_all("x-a").eq(["1", "2"]));
        assert!(lines.is_named_by_connection(b"x-a"));
        assert!(!lines.is_named_by_connection(b"close"));
        assert!(!lines.is_named_by_connection(b"date"));
        assert_eq!(lines.take_indices().len(), 4);
        assert_eq!(lines.get("x-a"), None);
    }
}
