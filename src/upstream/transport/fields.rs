//! A response's header fields as they came.
//!
//! Whoever only passes a response on has no use for a map of its fields, with a hash and a
//! share of the bytes for each. awc's response has no place for anything else; so who wants
//! them as they are gives a [`FieldSlot`] along with the request.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::error::HttpError;
use actix_web::web::Bytes;

use super::link::Link;
use crate::upstream::is_name;

/// Where names and values lie.
pub type Places = Vec<(Range<usize>, Range<usize>)>;

/// Where the fields of a response are left.
pub type FieldSlot = Rc<Cell<Option<Fields>>>;

thread_local! {
    /// Room for the places in the next head.
    static ROOM: Cell<Places> = Cell::default();
}

const LINE_END: &[u8] = b"\r\n";

/// One field.
pub struct Field<'f> {
    /// In any case.
    pub name: &'f [u8],
    /// Without the space around it.
    pub value: &'f [u8],
    /// Where its line lies, with the line's end, if nothing but a colon and a space stands
    /// between name and value, and nothing behind.
    pub line: Option<Range<usize>>,
}

/// The fields of one response.
pub struct Fields {
    head: Bytes,
    places: Places,
    names_fields: bool,
    body: u64,
}

impl Fields {
    /// Takes the head from what has been read, and the places that the guard has found in it.
    pub(super) fn split_from(link: &mut Link) -> Self {
        let (length, body) = (link.index().length, link.index().body);
        Self {
            body: body.unwrap_or_default(),
            names_fields: link.index().names_fields,
            head: link.unread.split_to(length).freeze(),
            places: link.replace_places(ROOM.take()),
        }
    }

    /// Those of a head whose body's length is told, as the guard reads it.
    #[cfg(test)]
    pub fn of(head: &[u8]) -> Self {
        use crate::upstream::guard::{Asked, Index, read_head};

        let mut index = Index::default();
        read_head(head, Asked::default(), &mut index)
            .unwrap()
            .unwrap();
        Self {
            body: index.body.unwrap(),
            names_fields: index.names_fields,
            head: Bytes::copy_from_slice(head),
            places: index.fields,
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.places.iter().map(|(name, value)| {
            let line = name.start..value.end + LINE_END.len();
            let is_plain = self.part(&(name.end..value.start)) == b": "
                && self.part(&(value.end..line.end)) == LINE_END;
            Field {
                name: self.part(name),
                value: self.part(value),
                line: is_plain.then_some(line),
            }
        })
    }

    /// What lies in a place of the head.
    pub fn part(&self, place: &Range<usize>) -> &[u8] {
        self.head.get(place.clone()).unwrap_or_default()
    }

    /// The values of the fields of a name, which is given in lower case.
    pub fn get_all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f [u8]> {
        let named = self
            .places
            .iter()
            .filter(|(other, _)| is_name(self.part(other), name.as_bytes()));
        named.map(|(_, value)| self.part(value))
    }

    /// Whether Connection names fields that concern the replica's connection only.
    pub fn names_fields(&self) -> bool {
        self.names_fields
    }

    /// The bytes that follow the head.
    pub fn body_length(&self) -> u64 {
        self.body
    }

    /// What Content-Length says, if it is a number.
    pub fn length(&self) -> Option<u64> {
        let value = self.get_all("content-length").next()?;
        str::from_utf8(value).ok()?.parse().ok()
    }

    /// Puts them into a map.
    pub fn fill(&self, map: &mut HeaderMap) -> Result<(), HttpError> {
        for (name, value) in &self.places {
            let name = self.head.get(name.clone()).unwrap_or_default();
            let value = HeaderValue::from_maybe_shared(self.head.slice(value.clone()))?;
            map.append(HeaderName::from_bytes(name)?, value);
        }
        Ok(())
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        // Where the thread ends, nobody needs it.
        let _ = ROOM.try_with(|room| room.set(std::mem::take(&mut self.places)));
    }
}
