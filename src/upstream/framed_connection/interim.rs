//! Interim responses on their way to the client.

use std::cell::RefCell;

/// The most bytes that wait for the client to take them; more are dropped.
const MAX_BYTES: usize = 64 * 1024;

/// The interim responses to one request (RFC 9110, section 15.2): what reads from the replica adds
/// them, and what writes to the client takes them.
#[derive(Debug, Default)]
pub struct InterimResponses(RefCell<Vec<u8>>);

impl InterimResponses {
    /// Adds the head of one.
    pub fn push(&self, head: &[u8]) {
        let mut heads = self.0.borrow_mut();
        if heads.len() + head.len() <= MAX_BYTES {
            heads.extend_from_slice(head);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Takes the heads, one behind the other.
    pub fn take(&self) -> Vec<u8> {
        self.0.take()
    }
}
