//! Which keys go to the canary of a rollout.
//!
//! A key goes there if a hash of it is below the share. That hash has nothing to do with the slot
//! that the key has on a ring: it is the key mixed twice, a slot is the key mixed once (or a
//! polynomial of it). So the canary takes the same part of each replica's keys, and spreads its
//! keys over its own instances evenly.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::hash::mix;
use super::key::Key;

/// The part of the keys that go to a canary: 0.1 % to 50 %, in steps of 0.1 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CanaryShare {
    per_mille: u16,
}

/// A text that is no share of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {allowed}", allowed = CanaryShare::ALLOWED)]
pub struct InvalidCanaryShare(pub String);

impl CanaryShare {
    /// What is one.
    pub const ALLOWED: &str = "a share of the keys from 0.1% to 50%, such as 10%";

    /// The largest share, in tenths of a per cent.
    const MAX_PER_MILLE: u16 = 500;

    /// Whether a key goes to the canary.
    #[inline]
    pub fn takes(self, key: Key) -> bool {
        // Any constant: without one, the key 0 would stay 0.
        mix(mix(key.0) ^ 0x9e37_79b9_7f4a_7c15) < self.threshold()
    }

    /// How many instances serve as large a part of what this many replicas serve: one at least.
    pub fn instances(self, replicas: usize) -> usize {
        (replicas * usize::from(self.per_mille))
            .div_ceil(1_000)
            .max(1)
    }

    /// As a number from 0 to 1.
    pub fn as_fraction(self) -> f64 {
        f64::from(self.per_mille) / 1_000.0
    }

    fn threshold(self) -> u64 {
        u64::from(self.per_mille) * (u64::MAX / 1_000)
    }
}

impl FromStr for CanaryShare {
    type Err = InvalidCanaryShare;

    fn from_str(text: &str) -> Result<Self, InvalidCanaryShare> {
        let wrong = || InvalidCanaryShare(text.chars().take(80).collect());
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
        let is_plain = |digits: &str, most: usize| {
            (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        };
        if !is_plain(whole, 3) || !is_plain(tenth, 1) {
            return Err(wrong());
        }
        let per_mille: u16 = format!("{whole}{tenth}").parse().map_err(|_| wrong())?;
        match per_mille {
            1..=Self::MAX_PER_MILLE => Ok(Self { per_mille }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for CanaryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.per_mille / 10, self.per_mille % 10) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, tenth) => write!(f, "{whole}.{tenth}%"),
        }
    }
}

impl From<CanaryShare> for String {
    fn from(share: CanaryShare) -> Self {
        share.to_string()
    }
}

impl TryFrom<String> for CanaryShare {
    type Error = InvalidCanaryShare;

    fn try_from(text: String) -> Result<Self, InvalidCanaryShare> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::servers;
    use crate::ring::{RingSpec, SlotTable, Strategy};

    fn share(text: &str) -> CanaryShare {
        text.parse().unwrap()
    }

    #[test]
    fn share_reads_back_as_it_was_written_and_others_are_refused() {
        for text in ["0.1%", "1%", "2.5%", "10%", "50%"] {
            assert_eq!(share(text).to_string(), text);
            let json = serde_json::to_string(&share(text)).unwrap();
            assert_eq!(
                serde_json::from_str::<CanaryShare>(&json).unwrap(),
                share(text)
            );
        }
        assert_eq!(share("010.0%"), share("10%"));
        assert_eq!(share("2.5%").as_fraction(), 0.025);
        for text in [
            "0%", "0.0%", "50.1%", "101%", "100%", "10", "", "%", "-1%", "+1%", "1.25%", "1.%",
            ".5%", "0.05%", "1e1%", "10 %", "99999%", "NaN%", "１０%",
        ] {
            let error = text.parse::<CanaryShare>().unwrap_err().to_string();
            assert!(error.ends_with("from 0.1% to 50%, such as 10%"), "{error}");
        }
    }

    #[test]
    fn instances_are_the_share_of_the_replicas_rounded_up() {
        for (text, replicas, instances) in [
            ("10%", 10, 1),
            ("10%", 11, 2),
            ("10%", 1, 1),
            ("50%", 3, 2),
            ("0.1%", 1_024, 2),
            ("50%", 1_024, 512),
        ] {
            assert_eq!(
                share(text).instances(replicas),
                instances,
                "{text} of {replicas}"
            );
        }
    }

    /// Keys below a smaller share are below a larger one, too: no key comes back and goes again.
    #[test]
    fn share_is_the_part_of_the_keys_that_it_takes() {
        let (small, large) = (share("10%"), share("25%"));
        // Consecutive numbers, and hashes of texts.
        let texts = (0..100_000).map(|n| Key::from_bytes(format!("user-{n}").as_bytes()));
        for keys in [(0..100_000).map(Key).collect::<Vec<_>>(), texts.collect()] {
            let taken = |share: CanaryShare| keys.iter().filter(|k| share.takes(**k)).count();
            // Standard deviations: 95 and 137.
            assert!((9_600..=10_400).contains(&taken(small)), "{}", taken(small));
            assert!(
                (24_400..=25_600).contains(&taken(large)),
                "{}",
                taken(large)
            );
            assert!(
                keys.iter()
                    .all(|key| !small.takes(*key) || large.takes(*key))
            );
        }
    }

    #[test]
    fn canary_takes_the_same_part_of_each_replica_s_keys_and_spreads_them_evenly() {
        let share = share("10%");
        for strategy in [
            Strategy::Rendezvous,
            Strategy::Maglev,
            Strategy::Ring,
            Strategy::Classic,
            Strategy::Modulo,
        ] {
            let spec = RingSpec::new(strategy, None, None).unwrap();
            let stable = SlotTable::build(&spec, &servers(4)).unwrap();
            let canary = SlotTable::build(&spec, &servers(2)).unwrap();
            let owner = |table: &SlotTable, key| table.owner(table.slot_of(key)).map(|o| o.get());
            let keys = || (100_000..400_000).map(Key);
            for replica in 0..4 {
                let of = |key: &Key| owner(&stable, *key) == Some(replica);
                let all = keys().filter(of).count() as f64;
                let taken = keys().filter(|k| of(k) && share.takes(*k)).count() as f64;
                let part = taken / all;
                assert!((0.09..0.11).contains(&part), "{strategy} {replica}: {part}");
            }
            // As evenly as all keys spread over such a ring.
            let part = |keys: Vec<Key>| {
                let first = keys.iter().filter(|k| owner(&canary, **k) == Some(0));
                first.count() as f64 / keys.len() as f64
            };
            let (some, all) = (
                part(keys().filter(|k| share.takes(*k)).collect()),
                part(keys().collect()),
            );
            assert!((some - all).abs() < 0.02, "{strategy}: {some} of {all}");
        }
    }
}
