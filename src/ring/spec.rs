//! How a slot table is to be built: strategy, slots, virtual servers.

use std::fmt;
use std::str::FromStr;

/// How slots get their owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// The original write-up's formulas as printed: H(i) = i + 2i + 1 and
    /// Phi(i, j) = i + j + 2j + 25.
    Classic,
    /// What the original formulas most likely meant: H(i) = i^2 + 2i + 17 and
    /// Phi(i, j) = i^2 + j^2 + 2j + 25.
    Quadratic,
    /// H(i) = i mod M over the `classic` virtual servers.
    Modulo,
    /// Virtual servers placed by a strong hash, as ketama does.
    Ring,
    /// Google's Maglev table.
    Maglev,
    /// Weighted rendezvous scores under a capacity; the default.
    #[default]
    Rendezvous,
}

impl Strategy {
    /// Every strategy, in the order in which help texts list them.
    pub const ALL: [Self; 6] = [
        Self::Classic,
        Self::Quadratic,
        Self::Modulo,
        Self::Ring,
        Self::Maglev,
        Self::Rendezvous,
    ];

    /// The strategy's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quadratic => "quadratic",
            Self::Modulo => "modulo",
            Self::Ring => "ring",
            Self::Maglev => "maglev",
            Self::Rendezvous => "rendezvous",
        }
    }

    /// True for the formulas of the original write-up, which do not spread keys evenly over
    /// the slots as the hash of the others does.
    pub fn is_formula(self) -> bool {
        matches!(self, Self::Classic | Self::Quadratic | Self::Modulo)
    }

    /// True if keys find their slots in the same way under both.
    pub(super) fn hashes_like(self, other: Self) -> bool {
        let formula = |strategy: Self| Some(strategy).filter(|s| s.is_formula());
        formula(self) == formula(other)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Strategy {
    type Err = InvalidSpec;

    fn from_str(text: &str) -> Result<Self, InvalidSpec> {
        Self::ALL
            .into_iter()
            .find(|s| s.name() == text)
            .ok_or_else(|| InvalidSpec::UnknownStrategy(text.to_owned()))
    }
}

/// What is to be another in a recipe; what is absent stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpecChange {
    /// Another strategy.
    pub strategy: Option<Strategy>,
    /// Another number of slots.
    pub slots: Option<u32>,
    /// Another number of virtual servers.
    pub virtual_servers: Option<u32>,
}

impl From<RingSpec> for SpecChange {
    /// To this recipe, whatever is before.
    fn from(spec: RingSpec) -> Self {
        Self {
            strategy: Some(spec.strategy),
            slots: Some(spec.slots),
            virtual_servers: spec.virtual_servers,
        }
    }
}

/// A validated recipe for slot tables.
///
/// ```
/// use ringmaster::ring::{RingSpec, Strategy};
///
/// let original = RingSpec::new(Strategy::Classic, None, None).unwrap();
/// assert_eq!((original.slots(), original.virtual_servers()), (512, Some(9)));
/// assert!(RingSpec::new(Strategy::Maglev, Some(65_536), None).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RingSpec {
    strategy: Strategy,
    slots: u32,
    /// None for the strategies that have no virtual servers.
    virtual_servers: Option<u32>,
}

impl RingSpec {
    /// The most slots of any table. At two bytes a slot that is 2 MiB, which a core's own
    /// cache still holds; more would not improve the balance visibly.
    pub const MAX_SLOTS: u32 = 1 << 20;

    /// The most virtual servers a replica of weight 1 may have.
    pub const MAX_VIRTUAL_SERVERS: u32 = 10_000;

    /// The recipe after a change of some of its parts. Another strategy begins with its own slots
    /// and virtual servers.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn changed(&self, change: SpecChange) -> Result<Self, InvalidSpec> {
        match change.strategy {
            Some(strategy) => Self::new(strategy, change.slots, change.virtual_servers),
            None => Self::new(
                self.strategy,
                change.slots.or(Some(self.slots)),
                change.virtual_servers.or(self.virtual_servers),
            ),
        }
    }

    /// Checks a recipe; `None` stands for the strategy's default.
    ///
    /// | strategy | slots | virtual servers |
    /// | --- | --- | --- |
    /// | `classic`, `quadratic`, `modulo` | 512, as in the original | 9, as in the original |
    /// | `ring` | 65,536 | 160, as in nginx and libketama |
    /// | `maglev` | 65,537 (a prime), as in the paper | has none |
    /// | `rendezvous` | 262,144 | has none |
    ///
    /// # Errors
    ///
    /// Zero or too many slots or virtual servers, a number of slots for `maglev` that is
    /// not prime, and virtual servers for a strategy that has none.
    pub fn new(
        strategy: Strategy,
        slots: Option<u32>,
        virtual_servers: Option<u32>,
    ) -> Result<Self, InvalidSpec> {
        let (default_slots, default_virtual_servers) = defaults(strategy);
        let slots = slots.unwrap_or(default_slots);
        if slots == 0 || slots > Self::MAX_SLOTS {
            return Err(InvalidSpec::Slots(slots, "allowed are 1 to 1048576"));
        }
        // Every skip of Maglev's permutations must be coprime to the table's size (section
        // 3.4 of the paper), which only a prime size gives.
        if strategy == Strategy::Maglev && !is_prime(slots) {
            return Err(InvalidSpec::Slots(
                slots,
                "maglev needs a prime number, such as 251, 1021, 4093, 65537 or 655373",
            ));
        }
        match (virtual_servers, default_virtual_servers) {
            (Some(n), None) => Err(InvalidSpec::VirtualServers(
                n,
                "only classic, quadratic, modulo and ring have virtual servers",
            )),
            (Some(n), Some(_)) if n == 0 || n > Self::MAX_VIRTUAL_SERVERS => {
                Err(InvalidSpec::VirtualServers(n, "allowed are 1 to 10000"))
            }
            _ => Ok(Self {
                strategy,
                slots,
                virtual_servers: virtual_servers.or(default_virtual_servers),
            }),
        }
    }

    /// How slots get their owners.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// The number of slots, M.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The number of virtual servers that weight 1 gives a replica, K; `None` for the
    /// strategies that have no virtual servers.
    pub fn virtual_servers(&self) -> Option<u32> {
        self.virtual_servers
    }
}

impl Default for RingSpec {
    /// The default strategy with its defaults.
    fn default() -> Self {
        let strategy = Strategy::default();
        let (slots, virtual_servers) = defaults(strategy);
        Self {
            strategy,
            slots,
            virtual_servers,
        }
    }
}

/// The default slots and virtual servers of a strategy.
const fn defaults(strategy: Strategy) -> (u32, Option<u32>) {
    match strategy {
        Strategy::Classic | Strategy::Quadratic | Strategy::Modulo => (512, Some(9)),
        Strategy::Ring => (65_536, Some(160)),
        Strategy::Maglev => (65_537, None),
        Strategy::Rendezvous => (262_144, None),
    }
}

/// Trial division: at most 512 odd divisors for the largest table.
fn is_prime(n: u32) -> bool {
    n == 2
        || (n > 2
            && n % 2 == 1
            && (3..)
                .step_by(2)
                .take_while(|d| d * d <= n)
                .all(|d| !n.is_multiple_of(d)))
}

/// Why a recipe is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// No strategy of that name.
    #[error(
        "{0:?} is not a strategy: allowed are classic, quadratic, modulo, ring, maglev and rendezvous"
    )]
    UnknownStrategy(String),
    /// The number of slots does not suit the strategy.
    #[error("{0} slots: {1}")]
    Slots(u32, &'static str),
    /// The number of virtual servers does not suit the strategy.
    #[error("{0} virtual servers: {1}")]
    VirtualServers(u32, &'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_has_defaults_that_pass_its_own_checks() {
        for strategy in Strategy::ALL {
            let (slots, virtual_servers) = defaults(strategy);
            let spec = RingSpec::new(strategy, None, None).unwrap();
            let same = RingSpec::new(strategy, Some(slots), virtual_servers);
            assert_eq!(Ok(spec), same);
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }
        let of = |strategy| defaults(strategy);
        assert_eq!(of(Strategy::Classic), (512, Some(9)));
        assert_eq!(of(Strategy::Ring), (65_536, Some(160)));
        assert_eq!(of(Strategy::Maglev), (65_537, None));
        assert_eq!(of(Strategy::Rendezvous), (262_144, None));
        let default = RingSpec::new(Strategy::Rendezvous, None, None).unwrap();
        assert_eq!(RingSpec::default(), default);
    }

    #[test]
    fn refusals_say_what_is_allowed() {
        for (strategy, slots, virtual_servers) in [
            (Strategy::Rendezvous, 1, None),
            (Strategy::Rendezvous, 1 << 20, None),
            (Strategy::Ring, 512, Some(1)),
            (Strategy::Ring, 512, Some(10_000)),
        ] {
            let spec = RingSpec::new(strategy, Some(slots), virtual_servers).unwrap();
            assert_eq!(
                (spec.slots(), spec.virtual_servers()),
                (slots, virtual_servers)
            );
        }
        let refusal = |strategy, slots, virtual_servers| {
            let refused = RingSpec::new(strategy, slots, virtual_servers);
            refused.unwrap_err().to_string()
        };
        assert_eq!(
            refusal(Strategy::Classic, Some(0), None),
            "0 slots: allowed are 1 to 1048576"
        );
        assert_eq!(
            refusal(Strategy::Rendezvous, Some(1_048_577), None),
            "1048577 slots: allowed are 1 to 1048576"
        );
        assert_eq!(
            refusal(Strategy::Maglev, Some(65_536), None),
            "65536 slots: maglev needs a prime number, such as 251, 1021, 4093, 65537 or 655373"
        );
        assert_eq!(
            refusal(Strategy::Ring, None, Some(0)),
            "0 virtual servers: allowed are 1 to 10000"
        );
        assert_eq!(
            refusal(Strategy::Ring, None, Some(10_001)),
            "10001 virtual servers: allowed are 1 to 10000"
        );
        assert_eq!(
            refusal(Strategy::Rendezvous, None, Some(9)),
            "9 virtual servers: only classic, quadratic, modulo and ring have virtual servers"
        );
    }

    #[test]
    fn change_keeps_what_it_does_not_name_unless_it_names_a_strategy() {
        let spec = |strategy, slots, k| RingSpec::new(strategy, Some(slots), k).unwrap();
        let ring = spec(Strategy::Ring, 512, Some(7));
        let change = |strategy, slots, virtual_servers| SpecChange {
            strategy,
            slots,
            virtual_servers,
        };
        for (change, expected) in [
            (change(None, None, None), ring),
            (
                change(None, Some(64), None),
                spec(Strategy::Ring, 64, Some(7)),
            ),
            (
                change(None, None, Some(9)),
                spec(Strategy::Ring, 512, Some(9)),
            ),
            (
                change(Some(Strategy::Maglev), None, None),
                spec(Strategy::Maglev, 65_537, None),
            ),
            (
                change(Some(Strategy::Ring), Some(64), None),
                spec(Strategy::Ring, 64, Some(160)),
            ),
            (
                change(Some(Strategy::Ring), None, Some(9)),
                spec(Strategy::Ring, 65_536, Some(9)),
            ),
        ] {
            assert_eq!(ring.changed(change), Ok(expected), "{change:?}");
            assert_eq!(
                ring.changed(expected.into()),
                Ok(expected),
                "to {expected:?}"
            );
        }
        assert!(ring.changed(change(None, Some(0), None)).is_err());
    }

    #[test]
    fn primes_are_told_from_the_rest() {
        let primes: Vec<u32> = (0..50).filter(|&n| is_prime(n)).collect();
        assert_eq!(
            primes,
            [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]
        );
        for prime in [251, 1_021, 4_093, 65_537, 655_373] {
            assert!(is_prime(prime), "{prime}");
        }
        assert!(!is_prime(1_021 * 1_021));
    }
}
