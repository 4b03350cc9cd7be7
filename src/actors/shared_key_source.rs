//! What is hashed for a request (`--key`), which an operator can change while the balancer runs.
//!
//! Every request reads it, on every thread, so a thread has a copy of its own and looks at a number
//! alone, which says whether there is a newer one.

use std::cell::{Cell, Ref, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ring::KeySource;

/// The key source of a fleet, for all threads.
#[derive(Debug, Default)]
pub struct SharedKeySource {
    source: Mutex<KeySource>,
    /// Counts the changes.
    changes: AtomicU64,
}

impl SharedKeySource {
    /// The one to begin with.
    pub fn new(source: KeySource) -> Arc<Self> {
        Arc::new(Self {
            source: Mutex::new(source),
            changes: AtomicU64::new(0),
        })
    }

    /// The one in effect.
    pub fn get(&self) -> KeySource {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.clone()
    }

    /// Has another one in effect, for every request that arrives from now on.
    pub fn set(&self, source: KeySource) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = source;
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// A thread's access to it.
    pub fn reader(self: &Arc<Self>) -> KeySourceReader {
        KeySourceReader {
            seen: Cell::new(self.changes.load(Ordering::Acquire)),
            copy: RefCell::new(self.get()),
            shared: Arc::clone(self),
        }
    }
}

/// A thread's copy of the key source.
#[derive(Debug)]
pub struct KeySourceReader {
    shared: Arc<SharedKeySource>,
    seen: Cell<u64>,
    copy: RefCell<KeySource>,
}

impl KeySourceReader {
    /// The one in effect. Not to be held while something is awaited.
    pub fn current(&self) -> Ref<'_, KeySource> {
        let changes = self.shared.changes.load(Ordering::Acquire);
        if changes != self.seen.get() {
            self.seen.set(changes);
            *self.copy.borrow_mut() = self.shared.get();
        }
        self.copy.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_has_what_was_set_last() {
        let shared = SharedKeySource::new(KeySource::Path);
        let reader = shared.reader();
        assert_eq!(*reader.current(), KeySource::Path);
        for source in [KeySource::ClientIp, KeySource::Header("a".to_owned())] {
            shared.set(source.clone());
            assert_eq!(*reader.current(), source);
            assert_eq!(*shared.reader().current(), source);
            assert_eq!(shared.get(), source);
        }
    }
}
