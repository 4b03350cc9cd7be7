//! A response's header fields as they came.
//!
//! Whoever only passes a response on has no use for a map of its fields, with a hash and a
//! share of the bytes for each. awc's response has no place for anything else; so who wants
//! them as they are gives a [`FieldSlot`] along with the request.

use std::cell::{Cell, Ref, RefCell};
use std::ops::Range;
use std::rc::Rc;

use actix_http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use actix_web::error::HttpError;

use super::connection::Connection;
use crate::h1::{HeaderIndices, HeaderLine, HeaderLines};

/// Where the fields of a response are left.
pub type FieldSlot = Rc<ResponseSlot>;

/// So many bytes of interim responses wait for a client to take them; more are dropped.
const MAX_INTERIM_BYTES: usize = 64 * 1024;

/// What the transport leaves beside a response.
#[derive(Default)]
pub struct ResponseSlot {
    fields: RefCell<Option<Fields>>,
    added: Cell<&'static [u8]>,
    interim: RefCell<Vec<u8>>,
}

impl ResponseSlot {
    /// Leaves the fields of a response.
    pub fn set(&self, mut fields: Fields) {
        fields.added = self.added.get();
        *self.fields.borrow_mut() = Some(fields);
    }

    /// What was left, to be looked at where it lies.
    pub fn fields(&self) -> Ref<'_, Option<Fields>> {
        self.fields.borrow()
    }

    /// Takes what was left, with the lines that are added to it.
    pub fn take(&self) -> Option<Fields> {
        self.fields.take()
    }

    /// Adds these lines to the heads of responses that are left from now on.
    pub fn add(&self, lines: &'static [u8]) {
        self.added.set(lines);
    }

    /// What was added.
    pub fn added(&self) -> &'static [u8] {
        self.added.get()
    }

    /// Leaves the head of an interim response, behind others.
    pub fn push_interim(&self, head: &[u8]) {
        let mut heads = self.interim.borrow_mut();
        if heads.len() + head.len() <= MAX_INTERIM_BYTES {
            heads.extend_from_slice(head);
        }
    }

    /// Whether interim responses have been left.
    pub fn has_interim(&self) -> bool {
        !self.interim.borrow().is_empty()
    }

    /// Takes the heads of interim responses, one behind the other.
    pub fn take_interim(&self) -> Vec<u8> {
        self.interim.take()
    }

    /// Forgets what was left.
    pub fn clear(&self) {
        *self.fields.borrow_mut() = None;
        *self.interim.borrow_mut() = Vec::new();
    }
}

thread_local! {
    /// Room for the places in the next head.
    static ROOM: Cell<Vec<HeaderIndices>> = Cell::default();
}

/// The fields of one response.
pub struct Fields {
    lines: HeaderLines,
    names_fields: bool,
    reason: Range<usize>,
    body: Option<u64>,
    declared_length: Option<u64>,
    /// Lines that are added.
    added: &'static [u8],
}

impl Fields {
    /// Takes the head from what has been read, and the places that the guard has found in it.
    pub(super) fn split_from(connection: &mut Connection) -> Self {
        let index = connection.index();
        let length = index.length;
        Self {
            body: index.body,
            names_fields: index.names_fields,
            reason: index.reason.clone(),
            declared_length: index.declared_length,
            added: &[],
            lines: HeaderLines::new(
                connection.unread.split_to(length).freeze(),
                connection.replace_places(ROOM.take()),
            ),
        }
    }

    /// Those of a head as the guard reads it.
    #[cfg(test)]
    pub fn of(head: &[u8]) -> Self {
        use actix_web::web::Bytes;

        use crate::upstream::framed_connection::{Index, RequestInfo, read_head};

        let mut index = Index::default();
        read_head(head, RequestInfo::default(), &mut index)
            .unwrap()
            .unwrap();
        Self {
            body: index.body,
            names_fields: index.names_fields,
            reason: index.reason,
            declared_length: index.declared_length,
            added: &[],
            lines: HeaderLines::new(Bytes::copy_from_slice(head), index.headers),
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = HeaderLine<'_>> {
        self.lines.iter()
    }

    /// What lies in a place of the head.
    pub fn part(&self, place: &Range<usize>) -> &[u8] {
        self.lines.part(place)
    }

    /// The values of the fields of a name, which is given in lower case.
    pub fn get_all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f [u8]> {
        self.lines.get_all(name)
    }

    /// Whether Connection names fields that concern the replica's connection only.
    pub fn names_fields(&self) -> bool {
        self.names_fields
    }

    /// The reason phrase; empty if there is none.
    pub fn reason(&self) -> &[u8] {
        self.part(&self.reason)
    }

    /// The bytes that follow the head, if it declares how many.
    pub fn body_length(&self) -> Option<u64> {
        self.body
    }

    /// What Content-Length declares.
    pub fn length(&self) -> Option<u64> {
        self.declared_length
    }

    /// Whole lines of a head that belong to them, too.
    pub fn added(&self) -> &'static [u8] {
        self.added
    }

    /// Puts them into a map, a length that is declared several times once.
    pub fn fill(&self, map: &mut HeaderMap) -> Result<(), HttpError> {
        for HeaderIndices { name, value } in self.lines.indices() {
            let name = HeaderName::from_bytes(self.part(name))?;
            if name == CONTENT_LENGTH
                && let Some(length) = self.declared_length
            {
                map.insert(name, length.into());
                continue;
            }
            let value = HeaderValue::from_maybe_shared(self.lines.slice(value.clone()))?;
            map.append(name, value);
        }
        Ok(())
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        // Where the thread ends, nobody needs it.
        let _ = ROOM.try_with(|room| room.set(self.lines.take_indices()));
    }
}
