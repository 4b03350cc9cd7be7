//! A fresh instance's share of its own keys, from a tenth to all of them.
//!
//! Which slots it hands over to the next in order is a matter of their numbers alone: a
//! key that has come to it stays, and instances that are equally fresh hand over the same
//! slots, which then stay where they belong.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// The share to begin with, in percent.
const FIRST_PERCENT: u64 = 10;

/// All of an instance's own slots.
const WHOLE: u64 = 1_000_000;

/// Whether an instance of this age serves a slot of its own, if its share grows for `ramp`.
pub fn serves(slot: u32, age: Duration, ramp: Duration) -> bool {
    age >= ramp || xxh3_64(&slot.to_le_bytes()) % WHOLE < millionths(age, ramp)
}

/// The share of its own slots, 0.1 to 1, that it serves then.
pub fn share(age: Duration, ramp: Duration) -> f64 {
    millionths(age, ramp) as f64 / WHOLE as f64
}

fn millionths(age: Duration, ramp: Duration) -> u64 {
    if age >= ramp {
        return WHOLE;
    }
    // The ramp is longer than the age, so it is not zero.
    let grown = age.as_micros() * u128::from(WHOLE) / ramp.as_micros().max(1);
    let grown = u64::try_from(grown).unwrap_or(u64::MAX).min(WHOLE);
    WHOLE / 100 * FIRST_PERCENT + grown * (100 - FIRST_PERCENT) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAMP: Duration = Duration::from_secs(10);

    fn served(age: Duration) -> f64 {
        let served = (0..100_000).filter(|slot| serves(*slot, age, RAMP));
        served.count() as f64 / 100_000.0
    }

    #[test]
    fn the_share_grows_evenly_from_a_tenth_to_all() {
        for (seconds, expected) in [(0, 0.1), (2, 0.28), (5, 0.55), (9, 0.91), (10, 1.0)] {
            let age = Duration::from_secs(seconds);
            let served = served(age);
            assert!(
                (served - expected).abs() < 0.01,
                "{served} after {seconds} s"
            );
            assert!(
                (share(age, RAMP) - expected).abs() < 0.01,
                "after {seconds} s"
            );
        }
        assert_eq!((served(10 * RAMP), share(10 * RAMP, RAMP)), (1.0, 1.0));
    }

    #[test]
    fn a_slot_that_has_come_stays() {
        for slot in 0..2_000 {
            let served: Vec<bool> = (0..=100)
                .map(|step| serves(slot, RAMP * step / 100, RAMP))
                .collect();
            assert!(served.is_sorted(), "slot {slot}: {served:?}");
        }
    }

    #[test]
    fn without_a_ramp_all_is_served_at_once() {
        assert!((0..1_000).all(|slot| serves(slot, Duration::ZERO, Duration::ZERO)));
        assert_eq!(share(Duration::ZERO, Duration::ZERO), 1.0);
    }
}
