//! Bounded load: how many requests a replica may hold before a key goes to the next replica
//! in its order.
//!
//! Consistent hashing spreads keys evenly, but a few keys can be most of the traffic.
//! Mirrokni, Thorup and Zadimoghaddam ("Consistent hashing with bounded loads", SODA 2018)
//! let no server hold more than c times the mean, rounded up, and pass the excess to the
//! next server of the key. HAProxy has it as `hash-balance-factor`. This file computes the
//! bound only; `actors::ring_view` compares it with the requests in flight.

use std::fmt;
use std::str::FromStr;

/// How far a replica may exceed its fair share of the requests in flight: the paper's
/// c = 1 + epsilon. Near 1 loads are even and keys leave their owners often; a large factor
/// keeps keys at their owners, which a hot key can then overload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BalanceFactor {
    /// Thousandths: every balancer computes the same bound.
    thousandths: u32,
}

/// A number that cannot be a balance factor.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0} is not a balance factor: allowed are 1.001 to 100, such as 1.25")]
pub struct InvalidBalanceFactor(pub String);

impl BalanceFactor {
    /// The number of requests a replica may always hold. When few are in flight the mean is
    /// below one or two, and a bound that low would send keys away from their owners without
    /// relieving any.
    pub const FLOOR: u64 = 8;

    /// A factor from 1.001 to 100. Thousandths count, smaller parts are rounded.
    ///
    /// # Errors
    ///
    /// Any other number. At 1 the paper's guarantees do not hold: a request might have to try
    /// every replica.
    pub fn new(factor: f64) -> Result<Self, InvalidBalanceFactor> {
        let thousandths = (factor * 1_000.0).round();
        if (1_001.0..=100_000.0).contains(&thousandths) {
            Ok(Self {
                thousandths: thousandths as u32,
            })
        } else {
            Err(InvalidBalanceFactor(factor.to_string()))
        }
    }

    /// The factor as a number.
    pub fn get(self) -> f64 {
        f64::from(self.thousandths) / 1_000.0
    }

    /// The most requests that a replica of `weight` may hold, the new one included, while the
    /// fleet, whose weights add up to `total_weight`, holds `in_flight` others:
    /// ceil(c * weight / total_weight * (in_flight + 1)), but at least [`Self::FLOOR`].
    ///
    /// The bounds of all replicas add up to more than `in_flight`, so some replica is always
    /// below its bound.
    pub fn bound(self, weight: u32, total_weight: u64, in_flight: u64) -> u64 {
        let allowed = in_flight
            .saturating_add(1)
            .saturating_mul(u64::from(self.thousandths) * u64::from(weight))
            .div_ceil(total_weight.max(1).saturating_mul(1_000));
        allowed.max(Self::FLOOR)
    }
}

impl fmt::Display for BalanceFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl FromStr for BalanceFactor {
    type Err = InvalidBalanceFactor;

    fn from_str(text: &str) -> Result<Self, InvalidBalanceFactor> {
        match text.parse() {
            Ok(factor) => Self::new(factor),
            Err(_) => Err(InvalidBalanceFactor(format!("{text:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_papers() {
        let c = BalanceFactor::new(1.25).unwrap();
        // 100 requests over 4 equal replicas: 25 each, and a quarter more.
        assert_eq!(c.bound(1, 4, 99), 32);
        assert_eq!(c.bound(1, 4, 100), 32);
        assert_eq!(c.bound(1, 4, 102), 33);
        // Twice the weight, twice the share.
        assert_eq!(c.bound(2, 5, 99), 50);
    }

    #[test]
    fn small_loads_stay_at_their_owner() {
        let c = BalanceFactor::new(1.001).unwrap();
        assert_eq!(c.bound(1, 100, 0), 8);
        assert_eq!(c.bound(1, 100, 799), 9);
    }

    #[test]
    fn some_replica_is_always_below_its_bound() {
        for thousandths in [1_001, 1_250, 2_000] {
            let c = BalanceFactor { thousandths };
            let weights = [1u32, 2, 4, 7, 1_000];
            let total = weights.iter().map(|&w| u64::from(w)).sum();
            for in_flight in (0..100_000).step_by(97) {
                let room: u64 = weights.iter().map(|&w| c.bound(w, total, in_flight)).sum();
                assert!(room > in_flight);
            }
        }
    }

    #[test]
    fn no_number_is_too_large() {
        let c = BalanceFactor::new(100.0).unwrap();
        assert!(c.bound(1_000, 1, u64::MAX) > 1 << 50);
        assert!(c.bound(1, u64::MAX, u64::MAX) >= 1);
        assert_eq!(c.bound(1, 0, 0), 100);
    }

    #[test]
    fn factors_are_read_as_people_write_them() {
        for good in ["1.25", "2", "100", "1.001"] {
            assert_eq!(good.parse::<BalanceFactor>().unwrap().to_string(), good);
        }
        for bad in ["1", "0", "-2", "101", "NaN", "inf", "", "x"] {
            assert!(bad.parse::<BalanceFactor>().is_err(), "{bad}");
        }
        assert_eq!(
            "1".parse::<BalanceFactor>().unwrap_err().to_string(),
            "1 is not a balance factor: allowed are 1.001 to 100, such as 1.25"
        );
    }
}
