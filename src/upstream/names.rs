//! Names of header fields, compared in any case.
//!
//! Each field of each response is compared with a few names; by the standard library's way a
//! letter at a time, that was a twentieth of all that a request costs in user space.

/// Whether a field's name is this one, which is given in lower case and of nothing but letters
/// and `-`. The name is to be a token (RFC 9110, section 5.6.2), as parsers let no other pass: of
/// all that a token may contain, the bit that makes letters lower-case ones makes nothing else a
/// lower-case letter or a `-`.
pub fn is_name(name: &[u8], lower: &[u8]) -> bool {
    if name.len() != lower.len() {
        return false;
    }
    // The last words overlap those before them: no byte is left over.
    match (name.last_chunk(), lower.last_chunk()) {
        (Some(name_end), Some(lower_end)) => {
            let words = name.as_chunks().0.iter().zip(lower.as_chunks().0);
            is_word(name_end, lower_end)
                && words.into_iter().all(|(name, lower)| is_word(name, lower))
        }
        _ => name
            .iter()
            .zip(lower)
            .all(|(name, lower)| name | LOWER == *lower),
    }
}

/// Sets the bit that makes a letter a lower-case one.
const LOWER: u8 = 0x20;

fn is_word(name: &[u8; 8], lower: &[u8; 8]) -> bool {
    u64::from_ne_bytes(*name) | u64::from_ne_bytes([LOWER; 8]) == u64::from_ne_bytes(*lower)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_are_compared_as_the_standard_library_does(
            token in "[!#$%&'*+.^_`|~0-9A-Za-z-]{0,20}",
            other in "[a-z-]{0,20}",
            upper in any::<u32>(),
        ) {
            let spell = |(place, byte): (usize, u8)| match upper >> place & 1 {
                1 => byte.to_ascii_uppercase(),
                _ => byte,
            };
            let spelt: Vec<u8> = other.bytes().enumerate().map(spell).collect();
            prop_assert!(is_name(&spelt, other.as_bytes()));
            prop_assert_eq!(
                is_name(token.as_bytes(), other.as_bytes()),
                token.eq_ignore_ascii_case(&other)
            );
        }

        /// Strings that differ in one byte.
        #[test]
        fn one_other_byte_makes_another_name(
            other in "[a-z-]{1,20}",
            place in any::<prop::sample::Index>(),
            byte in "[!#$%&'*+.^_`|~0-9A-Za-z-]",
        ) {
            let mut token = other.clone().into_bytes();
            token[place.index(other.len())] = byte.as_bytes()[0];
            prop_assert_eq!(
                is_name(&token, other.as_bytes()),
                token.eq_ignore_ascii_case(other.as_bytes())
            );
        }
    }
}
