//! Assigns slots to members by score, none above its capacity.
//!
//! By scores alone the shares of N members vary by sqrt(N / M), and the largest of a
//! hundred is many per cent above the mean. So each member has a capacity, one per cent
//! above its fair share, and slots and members are matched by deferred acceptance (Gale,
//! Shapley: "College admissions and the stability of marriage", 1962): each slot goes to
//! the member with the lowest score for it; a member above its capacity keeps the slots with
//! its lowest scores and bumps the rest; a bumped slot goes to the member with the next lowest
//! score, which may bump another in turn.
//!
//! The outcome is the one stable matching: no slot and member would both prefer each other to
//! what they have. It is unique, since both sides order their pairs by the same scores, and
//! does not depend on the order of the steps (McVitie, Wilson: "The stable marriage problem",
//! 1971). So it is a function of the member set alone, without any history.
//!
//! When a member leaves, its slots go to the members with the next scores, and the capacities
//! of the others grow a little, so some bumped slots return: those are the only other moves.
//!
//! # Why one per cent, twenty slots, and 262,144 of them
//!
//! A wider capacity bumps fewer slots, and so do more slots, as shares then vary less. The
//! keys that move when one of N leaves, over 1 / N, and what it costs, by
//! `cargo bench --bench ring_balance` and `--bench ring` (one thread of a 2.8 GHz Xeon that
//! had other work too, so times are the fastest of many):
//!
//! | | peak / mean, N = 20, 100, 1,000 | N = 20 | N = 100 | N = 1,000 | build, N = 100 | table |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | Maglev, 65,537 slots | 1.000, 1.001, 1.007 | 1.06 | 1.57 | 6.84 | 4 ms | 128 KiB |
//! | 65,536 slots | 1.010, 1.031, 1.053 | 1.02 | 1.03 | 1.89 | 6 ms | 128 KiB |
//! | **262,144 slots** | 1.010, 1.010, 1.048 | 1.00 | 1.05 | 1.27 | 20 ms | 512 KiB |
//! | 1,048,576 slots | 1.007, 1.010, 1.019 | 1.00 | 1.01 | 1.16 | 100 ms | 2 MiB |
//!
//! One per cent of imbalance is far below the random variation of any real load, while a
//! key that moves is a cold cache or a lost session; so the capacity is the widest that still
//! counts as balanced. 262,144 slots are the most that build within 30 ms at N = 100 and
//! leave space in a core's level 2 cache.
//!
//! With many members one per cent is too few slots: two or three at N = 1,000, where 3.8 times
//! the unavoidable moved. So the slack is at least twenty slots of the mean share (from 132
//! members on), up to 4.5 per cent. Capacities are whole slots, so all would grow by one at
//! the same removal, and each would take a slot back: so each member's is rounded at an offset
//! that its name decides.

use std::collections::BinaryHeap;

use super::hash::{self, HashRng};
use super::member::Member;
use super::rendezvous::{Score, Scores};

/// How far a member may exceed its fair share, in millionths: one per cent, ...
const MIN_SLACK: u64 = 10_000;

/// ... or this many slots of the mean share, where that is more, ...
const SLACK_SLOTS: u64 = 20;

/// ... but at most 4.5 per cent, which stays below five when rounded up.
const MAX_SLACK: u64 = 45_000;

const MILLION: u64 = 1_000_000;

/// The most slots that each member may own: a function of the member set.
#[derive(Debug)]
pub(super) struct Capacities {
    slots: u64,
    total_weight: u64,
    /// In millionths of a fair share.
    slack: u64,
}

impl Capacities {
    /// The capacities of a table's members.
    pub(super) fn new(slots: u32, members: &[Member]) -> Self {
        let slots = u64::from(slots);
        let of_mean_share = SLACK_SLOTS * members.len() as u64 * MILLION / slots;
        Self {
            slots,
            total_weight: members.iter().map(|m| u64::from(m.weight.get())).sum(),
            slack: of_mean_share.clamp(MIN_SLACK, MAX_SLACK),
        }
    }

    /// The most slots that a member may own.
    ///
    /// Without spare capacity, bumping would pass through all members: slow (seconds, for
    /// thousands of them) and moving slots at every change. So very small shares get half a slot
    /// more, rounded up.
    pub(super) fn of(&self, member: &Member) -> usize {
        // Below 2^30, and in millionths below 2^51.
        let fair = self.slots * u64::from(member.weight.get());
        let rounding = match self.slack {
            MIN_SLACK => 0,
            _ => rounding(member) * self.total_weight,
        };
        let cap = (fair * (MILLION + self.slack) + rounding) / (self.total_weight * MILLION);
        let half_a_slot_more = (2 * fair + self.total_weight).div_ceil(2 * self.total_weight);
        half_a_slot_more.max(cap) as usize
    }
}

/// The offset at which a member's capacity is rounded, in millionths of a slot. The name decides
/// it, so that the capacities of a thousand members do not all grow by a slot when one leaves.
fn rounding(member: &Member) -> u64 {
    // The permutation uses the same number, unmixed.
    let number = hash::mix(HashRng::of(&member.name).draw());
    u64::from(hash::reduce(number, MILLION as u32))
}

/// The owner of every slot. There must be members.
pub(super) fn build(scores: &Scores, members: &[Member]) -> Box<[u16]> {
    let slots = scores.slots();
    let capacities = Capacities::new(slots, members);
    let capacities: Vec<usize> = members.iter().map(|m| capacities.of(m)).collect();

    let mut owners = vec![0; slots as usize].into_boxed_slice();
    let mut held: Vec<Vec<(Score, u32)>> = capacities
        .iter()
        .map(|capacity| Vec::with_capacity(capacity + capacity / 8))
        .collect();
    scores.lowest(|slot, score| {
        owners[slot as usize] = score.member().0;
        held[score.member().get()].push((score, slot));
    });
    // The top of each heap is the slot to bump next.
    let mut held: Vec<BinaryHeap<(Score, u32)>> = held.into_iter().map(BinaryHeap::from).collect();
    let mut bumped: Vec<(Score, u32)> = Vec::new();
    for (heap, &capacity) in held.iter_mut().zip(&capacities) {
        while heap.len() > capacity {
            bumped.extend(heap.pop());
        }
    }
    while let Some((score, slot)) = bumped.pop() {
        // There is a next score: a member that bumps is full, and were all full there would be
        // no slot left to bump, since the capacities add up to more than all slots.
        let Some(next) = scores.next_above(slot, score) else {
            continue;
        };
        owners[slot as usize] = next.member().0;
        let member = next.member().get();
        held[member].push((next, slot));
        if held[member].len() > capacities[member] {
            bumped.extend(held[member].pop());
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::member;

    fn members(weights: &[u32]) -> Vec<Member> {
        let numbered = weights.iter().enumerate();
        let members = numbered.map(|(i, &weight)| member(&format!("Server{i:03}"), weight));
        members.collect()
    }

    /// The stable matching by definition, in M * N log(M * N) steps: from the lowest score up,
    /// a slot that is free goes to a member that is below its capacity.
    fn by_definition(scores: &Scores, members: &[Member]) -> Vec<u16> {
        let capacities = Capacities::new(scores.slots(), members);
        let mut free: Vec<usize> = members.iter().map(|m| capacities.of(m)).collect();
        let mut all: Vec<(Score, u32)> = (0..scores.slots())
            .flat_map(|slot| scores.all(slot).map(move |score| (score, slot)))
            .collect();
        all.sort_unstable();
        let mut owners = vec![u16::MAX; scores.slots() as usize];
        for (score, slot) in all {
            let m = score.member();
            if owners[slot as usize] == u16::MAX && free[m.get()] > 0 {
                free[m.get()] -= 1;
                owners[slot as usize] = m.0;
            }
        }
        owners
    }

    #[test]
    fn the_table_is_the_stable_matching() {
        for (slots, weights) in [
            (1, &[1][..]),
            (5_000, &[1, 1, 1]),
            (1_000, &[1, 2, 4, 1, 2, 4, 1_000]),
            (4_200, &[3; 60]),
            (50, &[1; 50]),
        ] {
            let members = members(weights);
            let scores = Scores::new(slots, &members);
            let expected = by_definition(&scores, &members);
            let built = build(&scores, &members);
            assert_eq!(*built, *expected, "{slots} slots, {weights:?}");
        }
    }

    #[test]
    fn capacities_hold_all_slots_and_stay_near_the_fair_share() {
        for (slots, weights) in [
            (512, &[1; 20][..]),
            (65_536, &[1, 2, 4]),
            (7, &[1_000, 1, 1]),
            (65_536, &[1; 1_000]),
            (1_000, &[1; 1_000]),
            (262_144, &[1; 300]),
        ] {
            let members = members(weights);
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            let capacities = Capacities::new(slots, &members);
            let all = members.iter().map(|m| capacities.of(m));
            assert!(all.sum::<usize>() >= slots as usize);
            let mean = f64::from(slots) / members.len() as f64;
            let slack = (20.0 / mean).clamp(0.01, 0.045);
            for member in &members {
                let fair = f64::from(slots) * f64::from(member.weight.get()) / total as f64;
                let capacity = capacities.of(member) as f64;
                let rounding = if slack > 0.01 { 1.0 } else { 0.0 };
                let most = (fair + 1.5).max(fair * (1.0 + slack) + rounding);
                assert!(capacity >= fair + 0.5 - 1e-9 && capacity <= most + 1e-9);
            }
        }
    }

    /// The peak over the fair share, and the moved slots over those that have to, when one of
    /// `n` members leaves.
    fn peak_and_moved(slots: u32, n: usize) -> (f64, f64) {
        let owners = |members: &[Member]| build(&Scores::new(slots, members), members);
        let all = members(&vec![1; n]);
        let (before, after) = (owners(&all), owners(&all[..n - 1]));
        let most = |owners: &[u16]| {
            let mut owned = vec![0u32; n];
            owners.iter().for_each(|&m| owned[usize::from(m)] += 1);
            f64::from(*owned.iter().max().unwrap()) / f64::from(slots)
        };
        // The last by name left, so that the others have kept their numbers.
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        let peak = (most(&before) * n as f64).max(most(&after) * (n - 1) as f64);
        (peak, moved as f64 * n as f64 / f64::from(slots))
    }

    #[test]
    fn a_leaver_of_a_thousand_moves_little_more_than_its_own() {
        let (peak, moved) = peak_and_moved(262_144, 1_000);
        assert!(peak <= 1.05 && moved <= 1.5, "peak {peak}, moved {moved}");
    }

    #[test]
    fn up_to_a_hundred_members_are_within_one_per_cent() {
        for (n, most_moved) in [(3, 1.005), (20, 1.02), (100, 1.06)] {
            let (peak, moved) = peak_and_moved(262_144, n);
            assert!(peak <= 1.01 && moved <= most_moved, "{n}: {peak}, {moved}");
        }
    }
}
