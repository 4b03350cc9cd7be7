//! What is hashed for a request.

use xxhash_rust::xxh3::xxh3_64;

/// A request's key (its id, a header, a cookie, the path) as a number.
///
/// A text of one to eighteen decimal digits is that number, so that the request ids of
/// the original write-up (six digits) reach the original formulas unchanged. Any other
/// text is its XXH3 hash. Strategies that need well-spread bits mix the number once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

impl Key {
    /// The key of a text.
    pub fn from_bytes(text: &[u8]) -> Self {
        decimal(text).unwrap_or_else(|| Self(xxh3_64(text)))
    }
}

fn decimal(text: &[u8]) -> Option<Key> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let mut number = 0u64;
    for &byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
    }
    Some(Key(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_their_number_and_text_is_hashed() {
        assert_eq!(Key::from_bytes(b"123456"), Key(123_456));
        assert_eq!(Key::from_bytes(b"000007"), Key(7));
        assert_eq!(Key::from_bytes(b"alice"), Key(xxh3_64(b"alice")));
        let most = b"999999999999999999";
        assert_eq!(Key::from_bytes(most), Key(999_999_999_999_999_999));
        let long = b"9999999999999999999";
        assert_eq!(Key::from_bytes(long), Key(xxh3_64(long)));
        assert_eq!(Key::from_bytes(b""), Key(xxh3_64(b"")));
    }
}
