//! What a Content-Length declares (RFC 9110, section 8.6).

/// More digits are refused, even zeros in front: no body needs them.
const MAX_DIGITS: usize = 32;

/// The length that a header's value declares: digits and nothing else, but for white space around
/// them. `None` if the value is invalid or does not fit.
pub fn parse(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    digits.iter().try_fold(0u64, |length, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        length.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The same of a list that repeats one length, as a sender upstream of a replica may have made it
/// (RFC 9110, section 8.6; RFC 9112, section 6.3).
pub fn parse_list(value: &[u8]) -> Option<u64> {
    parse(value).or_else(|| {
        let mut lengths = value.split(|byte| *byte == b',').map(parse);
        let first = lengths.next()??;
        lengths.all(|other| other == Some(first)).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_digits_and_nothing_else() {
        let long = format!("{}1", "0".repeat(MAX_DIGITS));
        for (value, single, list) in [
            ("0", Some(0), Some(0)),
            ("007", Some(7), Some(7)),
            (" 3\t", Some(3), Some(3)),
            ("18446744073709551615", Some(u64::MAX), Some(u64::MAX)),
            ("3, 3", None, Some(3)),
            ("3,3,03", None, Some(3)),
            ("3, 4", None, None),
            ("3,", None, None),
            (",3", None, None),
            ("18446744073709551616", None, None),
            ("", None, None),
            (" ", None, None),
            ("+5", None, None),
            ("-5", None, None),
            ("5a", None, None),
            ("0x5", None, None),
            ("5 5", None, None),
            ("5.0", None, None),
            (long.as_str(), None, None),
        ] {
            assert_eq!(parse(value.as_bytes()), single, "{value:?}");
            assert_eq!(parse_list(value.as_bytes()), list, "{value:?}");
        }
    }
}
