//! Who stands on the ring: a replica's name and its weight.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a replica, such as `Server1`. It outlives the replica's instances.
///
/// A name doubles as a host name and as part of a container's name, so it is 1 to
/// 63 letters, digits, `-`, `_` and `.`, and starts with a letter or a digit.
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaName(Arc<str>);

/// A text that cannot be a replica's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a replica name: 1 to 63 letters, digits, '-', '_' and '.' are allowed, a letter or digit first"
)]
pub struct InvalidName(pub String);

impl ReplicaName {
    /// The longest name, in bytes: that of a DNS label (RFC 1035, section 2.3.4).
    pub const MAX_LEN: usize = 63;

    /// A name for a server that is known by its address alone (`127.0.0.1:9001`).
    pub fn from_address(address: &str) -> Self {
        Self(address.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplicaName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let first_is_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if first_is_plain && text.len() <= Self::MAX_LEN && text.chars().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A replica's share of the ring relative to the others, from 1 to 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(NonZeroU32);

impl Weight {
    /// The largest weight.
    pub const MAX: u32 = 1_000;

    /// A weight, if it is from 1 to [`Weight::MAX`].
    pub fn new(weight: u32) -> Option<Self> {
        NonZeroU32::new(weight)
            .filter(|w| w.get() <= Self::MAX)
            .map(Self)
    }

    /// The weight as a number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

/// A replica as the ring sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// The replica's name: all that its place on the ring depends on, beside the weight.
    pub name: ReplicaName,
    /// Its share relative to the others.
    pub weight: Weight,
}

impl Member {
    /// A member of weight 1.
    pub fn new(name: ReplicaName) -> Self {
        Self {
            name,
            weight: Weight::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names_and_nothing_else() {
        for good in ["Server1", "s", "a.b-c_d", "9lives", &"x".repeat(63)] {
            assert_eq!(good.parse::<ReplicaName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            ".a",
            "a b",
            "a/b",
            "ä",
            "a\n",
            "a:1",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<ReplicaName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn weights_run_from_one_to_a_thousand() {
        assert_eq!(Weight::new(0), None);
        assert_eq!(Weight::new(1_001), None);
        assert_eq!(Weight::new(1_000).map(Weight::get), Some(1_000));
    }
}
