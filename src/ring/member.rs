//! A member of the ring: a replica's name and its weight.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a replica, such as `Server1`. It outlives the replica's instances.
///
/// A name doubles as a host name and as part of a container's name, so it is 1 to
/// 63 letters, digits, `-`, `_` and `.`, starts with a letter or a digit, does not end with `.`
/// and is not `localhost`. Two names of one member set must differ for DNS, too
/// ([`Self::is_same_in_dns`]), which the code that makes up the set checks. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaName(Arc<str>);

/// A text that cannot be a replica's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a replica name: {rule}", rule = broken_rule(.0))]
pub struct InvalidName(pub String);

/// Why a text is not a replica's name.
fn broken_rule(text: &str) -> &'static str {
    if is_plain(text) && is_localhost(text.trim_end_matches('.')) {
        "DNS takes it for the machine that asks"
    } else if is_plain(text) && text.ends_with('.') {
        "DNS cannot tell it from the name without the last '.'"
    } else {
        "1 to 63 letters, digits, '-', '_' and '.' are allowed, a letter or digit first"
    }
}

fn is_plain(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first_is_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    first_is_plain && text.len() <= ReplicaName::MAX_LEN && text.chars().all(allowed)
}

/// Whether resolvers answer a name with the loopback address (RFC 6761, 6.3).
fn is_localhost(text: &str) -> bool {
    let last_label = text.rsplit('.').next();
    last_label.is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

impl ReplicaName {
    /// The longest name, in bytes: the limit of a DNS label (RFC 1035, section 2.3.4).
    pub const MAX_LEN: usize = 63;

    /// The name of a server that is known by its address only (`127.0.0.1:9001`).
    pub fn from_address(address: &str) -> Self {
        Self(address.into())
    }

    /// Whether DNS cannot tell two names apart: it ignores case (RFC 4343).
    pub fn is_same_in_dns(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplicaName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_plain(text) && !text.ends_with('.') && !is_localhost(text) {
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
    /// The replica's name. Its place on the ring depends on it and on the weight only.
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
        for good in [
            "Server1",
            "s",
            "a.b-c_d",
            "9lives",
            "localhost.a",
            "localhost1",
            &"x".repeat(63),
        ] {
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
            "a.",
            "localhost",
            "LocalHost",
            "a.localhost",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<ReplicaName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_mislead_dns_are_refused_with_the_reason() {
        let refusal = |text: &str| text.parse::<ReplicaName>().unwrap_err().to_string();
        assert_eq!(
            refusal("S1."),
            "\"S1.\" is not a replica name: DNS cannot tell it from the name without the last '.'"
        );
        assert_eq!(
            refusal("Localhost."),
            "\"Localhost.\" is not a replica name: DNS takes it for the machine that asks"
        );
        // What no name may be made of goes before that.
        for text in ["", "-a", "a b", "a b.", "a b.localhost", "-localhost"] {
            let rule =
                "1 to 63 letters, digits, '-', '_' and '.' are allowed, a letter or digit first";
            let wrong = format!("{text:?} is not a replica name: {rule}");
            assert_eq!(refusal(text), wrong);
        }
        let name = |text: &str| text.parse::<ReplicaName>().unwrap();
        assert!(name("Server1").is_same_in_dns(&name("sERVER1")));
        assert!(!name("Server1").is_same_in_dns(&name("Server2")));
        let padded = format!("{:4}|{:?}", name("S1"), name("S1"));
        assert_eq!(padded, "S1  |\"S1\"");
    }

    #[test]
    fn weights_run_from_one_to_a_thousand() {
        assert_eq!(Weight::new(0), None);
        assert_eq!(Weight::new(1_001), None);
        assert_eq!(Weight::new(1_000).map(Weight::get), Some(1_000));
    }
}
