//! The series of names that a fleet's replicas have: Server1, Server2, and so on.

use std::cmp::Reverse;

use crate::ring::ReplicaName;

/// What names begin with when there is none to go on from.
const DEFAULT_STEM: &str = "Server";

/// A name's stem and number, if it ends in one.
fn split(name: &str) -> (&str, Option<u64>) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (
        stem,
        name.get(stem.len()..)
            .and_then(|digits| digits.parse().ok()),
    )
}

/// Names that continue the series of the last of these that has a number.
pub fn next_names(existing: &[ReplicaName], count: usize) -> Vec<String> {
    let numbered = existing.iter().rev().map(|name| split(name.as_str()));
    let stem = numbered
        .filter(|(_, number)| number.is_some())
        .map(|(stem, _)| stem);
    let stem = stem.into_iter().next().unwrap_or(DEFAULT_STEM);
    let numbers = existing.iter().map(|name| split(name.as_str()));
    // DNS does not tell names apart by case.
    let numbers = numbers.filter(|(other, _)| other.eq_ignore_ascii_case(stem));
    let last = numbers.filter_map(|(_, number)| number).max().unwrap_or(0);
    let next = (1..=count as u64).map(|step| last.saturating_add(step));
    next.map(|number| format!("{stem}{number}")).collect()
}

/// The last ones of the series: those with the highest numbers, those without a number last of all.
pub fn newest(existing: &[ReplicaName], count: usize) -> Vec<String> {
    let mut names: Vec<&str> = existing.iter().map(ReplicaName::as_str).collect();
    names.sort_by_key(|name| Reverse(split(name).1));
    names.truncate(count);
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<ReplicaName> {
        text.split_whitespace()
            .map(|name| name.parse().unwrap())
            .collect()
    }

    #[test]
    fn names_continue_the_series() {
        for (existing, next) in [
            ("Server1 Server2 Server3", "Server4 Server5"),
            ("Server1 Server7", "Server8 Server9"),
            ("Server10 Server9", "Server11 Server12"),
            ("web-1 web-2 db", "web-3 web-4"),
            ("Web-1 web-3 x7", "x8 x9"),
            ("WEB4 web2", "web5 web6"),
            ("a b", "Server1 Server2"),
            ("", "Server1 Server2"),
        ] {
            assert_eq!(
                next_names(&names(existing), 2).join(" "),
                next,
                "{existing}"
            );
        }
    }

    #[test]
    fn newest_are_those_with_the_highest_numbers() {
        for (existing, last) in [
            ("Server1 Server2 Server10", "Server10 Server2"),
            ("a Server2 b", "Server2 a"),
            ("a", "a"),
        ] {
            assert_eq!(newest(&names(existing), 2).join(" "), last, "{existing}");
        }
    }
}
