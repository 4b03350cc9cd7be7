//! The options of a Connection header (RFC 9110, section 7.6.1).

/// What one value lists. (A value that is not text may list names all the same.)
pub fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options.filter(|option| !option.is_empty())
}

/// The headers that one value names, which concern this connection alone: every option that is
/// not about the connection's persistence.
pub fn header_names(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    options(value).filter(|option| {
        !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_at_commas_and_trimmed() {
        let value = b" Close,,x-a ,\tKeep-Alive, x b";
        let all: Vec<_> = options(value).collect();
        assert_eq!(all, [&b"Close"[..], b"x-a", b"Keep-Alive", b"x b"]);
        let names: Vec<_> = header_names(value).collect();
        assert_eq!(names, [&b"x-a"[..], b"x b"]);
        assert_eq!(options(b" ").count(), 0);
    }
}
