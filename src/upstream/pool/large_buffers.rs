//! Large pieces of bodies, and how many there are.
//!
//! What a client does not take stays with the balancer, a piece for each. So few of them may be
//! large, over all threads: beyond that, all are of the ordinary size.

use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::Bytes;

/// The most large pieces at once: 16 MiB.
const MAX_OUT: usize = 64;

static OUT: AtomicUsize = AtomicUsize::new(0);

/// Whether one more may be large. (Several threads may be told so at once: as many more.)
pub fn may_be_large() -> bool {
    OUT.load(Ordering::Relaxed) < MAX_OUT
}

/// The piece, which counts for as long as anybody holds a byte of it.
pub fn count(piece: Bytes) -> Bytes {
    OUT.fetch_add(1, Ordering::Relaxed);
    Bytes::from_owner(Large(piece))
}

struct Large(Bytes);

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        OUT.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_counts_until_the_last_byte_of_it_has_gone() {
        let mut pieces: Vec<_> = (0..MAX_OUT)
            .map(|_| count(Bytes::from_static(b"piece")))
            .collect();
        assert!(!may_be_large());
        let rest = pieces.pop().map(|piece| piece.slice(4..));
        assert_eq!(rest.as_deref(), Some(&b"e"[..]));
        assert!(!may_be_large());
        drop(rest);
        assert!(may_be_large());
    }
}
