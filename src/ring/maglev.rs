//! `maglev`: the lookup table of Google's load balancer.
//!
//! Eisenbud and others, "Maglev: a fast and reliable software network load balancer",
//! NSDI 2016, section 3.4: every member has its own permutation of the slots, and members
//! take turns in claiming their next slot that is still free. Shares differ by at most one
//! slot; in return slots move between members that both stay.
//!
//! Weights follow Envoy: in turn t a member claims a slot only if t * weight has reached
//! what it has claimed already. The heaviest member claims in every turn, one of half its
//! weight in every other.

use super::hash::{self, HashRng};
use super::member::{Member, ReplicaName};
use super::slot::NO_OWNER;

/// The preference list of the member of this name, as the paper's offset and skip: its n-th
/// preference is slot (offset + n * skip) mod M.
pub(super) fn permutation(name: &ReplicaName, slots: u32) -> (u32, u32) {
    let mut rng = HashRng::of(name);
    let offset = hash::reduce(rng.draw(), slots);
    // 1 to M - 1: the least prime is 2.
    (offset, hash::reduce(rng.draw(), slots - 1) + 1)
}

/// The place n of a slot in a preference list, from 0 on: (slot - offset) / skip mod M. As M
/// is prime, dividing by skip is multiplying by skip^(M - 2) (Fermat's little theorem).
pub(super) fn place_of(slot: u32, offset: u32, skip: u32, slots: u32) -> u32 {
    let m = u64::from(slots);
    let mut n = (u64::from(slot) + m - u64::from(offset)) % m;
    let (mut square, mut exponent) = (u64::from(skip), m - 2);
    while exponent > 0 {
        if exponent % 2 == 1 {
            n = n * square % m;
        }
        square = square * square % m;
        exponent /= 2;
    }
    n as u32
}

/// The owner of every slot; `slots` is prime and there are no more members than slots.
pub(super) fn build(slots: u32, members: &[Member]) -> Box<[u16]> {
    struct Claimant {
        next: u32,
        skip: u32,
        weight: u64,
        /// The turn times the weight at which it may claim again.
        due: u64,
    }

    let mut owners = vec![NO_OWNER; slots as usize].into_boxed_slice();
    let claimant = |member: &Member| {
        let (next, skip) = permutation(&member.name, slots);
        Claimant {
            next,
            skip,
            weight: u64::from(member.weight.get()),
            due: 0,
        }
    };
    let mut claimants: Vec<Claimant> = members.iter().map(claimant).collect();
    let Some(heaviest) = claimants.iter().map(|claimant| claimant.weight).max() else {
        return owners;
    };

    let mut free = slots;
    for turn in 1u64.. {
        for (m, claimant) in (0..).zip(&mut claimants) {
            if free == 0 {
                return owners;
            }
            if turn * claimant.weight < claimant.due {
                continue;
            }
            claimant.due += heaviest;
            while owners[claimant.next as usize] != NO_OWNER {
                claimant.next = (claimant.next + claimant.skip) % slots;
            }
            owners[claimant.next as usize] = m;
            free -= 1;
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::weighted;

    fn owned(slots: u32, weights: &[u32]) -> Vec<u32> {
        let mut owned = vec![0; weights.len()];
        for owner in build(slots, &weighted(weights)) {
            owned[usize::from(owner)] += 1;
        }
        owned
    }

    #[test]
    fn equal_members_have_equal_shares_to_within_a_slot() {
        let owned = owned(65_537, &[1; 100]);
        assert!(owned.iter().all(|n| (655..=656).contains(n)), "{owned:?}");
    }

    #[test]
    fn weights_are_kept_to_within_two_slots() {
        let owned = owned(4_093, &[1, 2, 4, 7]);
        for (n, weight) in owned.iter().zip([1.0, 2.0, 4.0, 7.0]) {
            let off = f64::from(*n) - 4_093.0 * weight / 14.0;
            assert!(off.abs() <= 2.0, "{owned:?}");
        }
    }

    #[test]
    fn the_smallest_tables_work() {
        assert_eq!(owned(2, &[1]), [2]);
        assert_eq!(owned(2, &[1, 1]), [1, 1]);
        assert_eq!(owned(3, &[1, 1, 1_000]).iter().sum::<u32>(), 3);
    }
}
