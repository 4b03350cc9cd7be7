//! Names for replicas that a request does not name, and its random choices.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ring::ReplicaName;

/// Pseudo-random numbers out of a seed, so that `fleet` stays a function of its input.
pub struct SeededRng {
    seed: u64,
    draws: u64,
}

impl SeededRng {
    /// A generator that yields the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, draws: 0 }
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        xxh3_64_with_seed(&self.draws.to_le_bytes(), self.seed)
            .checked_rem(bound)
            .unwrap_or(0)
    }

    /// A name such as `replica-k3m9qz` that is not taken.
    pub fn fresh_name(&mut self, taken: &HashSet<ReplicaName>) -> ReplicaName {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        loop {
            let suffix: String = (0..6)
                .map(|_| char::from(LETTERS[self.below(32) as usize]))
                .collect();
            // An address-like name is any text, and this one is a valid host name too.
            let name = ReplicaName::from_address(&format!("replica-{suffix}"));
            if !taken.contains(&name) {
                return name;
            }
        }
    }
}

/// The next name of the series that these are of: `web-3` beside `web-1` and `web-2`.
pub fn next_of_series(taken: &HashSet<ReplicaName>) -> Option<ReplicaName> {
    let digits = |c: char| c.is_ascii_digit();
    let stems = taken
        .iter()
        .map(|name| name.as_str().trim_end_matches(digits));
    let stem = stems.min()?;
    // There are more numbers than taken names, so one number is free.
    let mut numbered = (1..=taken.len() + 1).filter_map(|n| format!("{stem}{n}").parse().ok());
    numbered.find(|name| !taken.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_names_are_valid_distinct_and_repeatable() {
        let draw = |seed| {
            let mut rng = SeededRng::new(seed);
            let mut taken = HashSet::new();
            for _ in 0..500 {
                let name = rng.fresh_name(&taken);
                assert!(name.as_str().parse::<ReplicaName>().is_ok());
                assert!(taken.insert(name));
            }
            taken
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_series_goes_on_with_its_lowest_free_number() {
        let next = |names: &[&str]| {
            let taken = names.iter().map(|name| name.parse().unwrap()).collect();
            next_of_series(&taken).map(|name| name.to_string())
        };
        assert_eq!(next(&["web-1", "web-2"]).as_deref(), Some("web-3"));
        assert_eq!(
            next(&["web-3", "web-1", "web-12"]).as_deref(),
            Some("web-2")
        );
        assert_eq!(next(&[]), None);
        // No number fits behind it.
        assert_eq!(next(&["a".repeat(63).as_str()]), None);
    }
}
