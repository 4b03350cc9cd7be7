//! Parses members: `S1`, `S2=3`, `S1,S2=3`.

use crate::ring::{InvalidName, Member, Weight};

/// A text that is not a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMember {
    /// The name is invalid.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The weight is invalid.
    #[error("{0:?} is not a weight from 1 to 1000")]
    Weight(String),
}

/// Parses `NAME` or `NAME=WEIGHT`.
///
/// # Errors
///
/// What is wrong with the name or the weight.
pub fn member(text: &str) -> Result<Member, InvalidMember> {
    let (name, weight) = match text.rsplit_once('=') {
        Some((name, text)) => (name, weight(text)?),
        None => (text, Weight::default()),
    };
    Ok(Member {
        name: name.trim().parse()?,
        weight,
    })
}

/// Parses members separated by commas. Empty items are ignored.
///
/// # Errors
///
/// The first invalid member.
pub fn members(text: &str) -> Result<Vec<Member>, InvalidMember> {
    items(text).map(member).collect()
}

/// The items of a list.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Parses a weight. Digits only, as in all options: `+2` would parse but is a mistake.
///
/// # Errors
///
/// It is not a whole number from 1 to 1,000.
pub fn weight(text: &str) -> Result<Weight, InvalidMember> {
    let text = text.trim();
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.and_then(Weight::new).ok_or_else(|| {
        // Enough to identify it.
        InvalidMember::Weight(text.chars().take(80).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_members_is_parsed() {
        let read = |text| {
            let members = members(text).unwrap();
            let shown = members
                .iter()
                .map(|m| format!("{} {}", m.name, m.weight.get()));
            shown.collect::<Vec<_>>()
        };
        assert_eq!(read("S1"), ["S1 1"]);
        assert_eq!(
            read("S1,S2=3, cache.eu = 1000 ,"),
            ["S1 1", "S2 3", "cache.eu 1000"]
        );
        assert!(read("").is_empty() && read(" , ").is_empty());
    }

    #[test]
    fn invalid_member_is_refused_with_the_reason() {
        let refusal = |text: &str| members(text).unwrap_err().to_string();
        for weight in ["0", "1001", "", "+2", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(
                refusal(&format!("S1={weight}")),
                format!("{weight:?} is not a weight from 1 to 1000")
            );
        }
        assert!(refusal("a b").starts_with("\"a b\" is not a replica name"));
        assert!(refusal("=2").starts_with("\"\" is not a replica name"));
        assert!(refusal("a=b=2").starts_with("\"a=b\" is not a replica name"));
    }
}
