//! Bids under a capacity: who gets which slot when nobody may have more than its share.
//!
//! By bids alone the shares of N members vary by sqrt(N / M), and the luckiest of a
//! hundred is many per cent above the mean. So each member has a capacity, one per cent
//! above its fair share, and slots and members are matched by deferred acceptance (Gale,
//! Shapley: "College admissions and the stability of marriage", 1962): each slot goes to
//! the member with the least bid for it; a member with too many keeps those it bid least
//! for and bumps the rest; those go to the next least bid, and may bump others in turn.
//!
//! The outcome is the one stable matching: no slot and member would both rather have each
//! other than what they have. It is unique, since both sides order their pairs by the same
//! bids, and does not depend on who moves first (McVitie, Wilson: "The stable marriage
//! problem", 1971). So it is a function of the member set alone, without any history.
//!
//! When a member leaves, its slots go to their next bids and the capacities of the others
//! grow a little, so some bumped slots come home: those are the only other moves.
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
//! One per cent of imbalance is far below the chance variation of any real load, while a
//! key that moves is a cold cache or a lost session; so the cap is the widest that still
//! counts as balanced. 262,144 slots are the most that build within 30 ms at N = 100 and
//! leave room in a core's level 2 cache.
//!
//! With many members one per cent is a few slots, too few: at N = 1,000 two or three, and 3.8
//! times the unavoidable moved. So the slack is twenty slots of the mean share at least (from
//! 132 members on), up to 4.5 per cent. And capacities are whole slots, which would all grow by
//! one at the same departure, and call a slot home each: so each is rounded at a place of its own.

use std::collections::BinaryHeap;

use super::hash::{self, Stream};
use super::member::Member;
use super::rendezvous::{Bid, Bids};

/// How far above its fair share a member may own, in millionths: one per cent ...
const MIN_SLACK: u64 = 10_000;

/// ... or, where that is less than this many slots of the mean share, those ...
const SLACK_SLOTS: u64 = 20;

/// ... but no more than 4.5 per cent, which rounding up keeps below five.
const MAX_SLACK: u64 = 45_000;

const MILLION: u64 = 1_000_000;

/// The most slots that members may own: a function of the member set.
#[derive(Debug)]
pub(super) struct Capacities {
    slots: u64,
    total_weight: u64,
    /// In millionths of a fair share.
    slack: u64,
}

impl Capacities {
    /// Those of a table's members.
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
    /// Without any room to spare, matching would shift slots through all the members, in time
    /// (seconds, for thousands) and on every change. So very small shares get half a slot and
    /// what rounding up adds to it.
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

/// What a member's capacity is rounded with, in millionths of a slot. It goes by the name: the
/// capacities of a thousand members do not all grow by a slot at once when one of them leaves.
fn rounding(member: &Member) -> u64 {
    // The permutation is made of the same number, unmixed.
    let number = hash::mix(Stream::of(&member.name).draw());
    u64::from(hash::reduce(number, MILLION as u32))
}

/// The owner of every slot. There must be members.
pub(super) fn build(bids: &Bids, members: &[Member]) -> Box<[u16]> {
    let slots = bids.slots();
    let capacities = Capacities::new(slots, members);
    let capacities: Vec<usize> = members.iter().map(|m| capacities.of(m)).collect();

    let mut owners = vec![0; slots as usize].into_boxed_slice();
    let mut held: Vec<Vec<(Bid, u32)>> = capacities
        .iter()
        .map(|capacity| Vec::with_capacity(capacity + capacity / 8))
        .collect();
    bids.least(|slot, bid| {
        owners[slot as usize] = bid.member().0;
        held[bid.member().get()].push((bid, slot));
    });
    // On top of each heap is the slot to bump next.
    let mut held: Vec<BinaryHeap<(Bid, u32)>> = held.into_iter().map(BinaryHeap::from).collect();
    let mut bumped: Vec<(Bid, u32)> = Vec::new();
    for (heap, &capacity) in held.iter_mut().zip(&capacities) {
        while heap.len() > capacity {
            bumped.extend(heap.pop());
        }
    }
    while let Some((bid, slot)) = bumped.pop() {
        // There is a next bid: who bumps is full, and if all were full there would be no
        // slot left to bump, since there is room for all.
        let Some(next) = bids.next_above(slot, bid) else {
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
    use crate::ring::Weight;

    fn members(weights: &[u32]) -> Vec<Member> {
        let member = |(i, &weight): (usize, &u32)| Member {
            name: format!("Server{i:03}").parse().unwrap(),
            weight: Weight::new(weight).unwrap(),
        };
        weights.iter().enumerate().map(member).collect()
    }

    /// Going through all bids from the least up and granting each whose slot is free and
    /// whose member has room gives the stable matching by definition, at M * N log(M * N).
    fn by_definition(bids: &Bids, members: &[Member]) -> Vec<u16> {
        let capacities = Capacities::new(bids.slots(), members);
        let mut room: Vec<usize> = members.iter().map(|m| capacities.of(m)).collect();
        let mut all: Vec<(Bid, u32)> = (0..bids.slots())
            .flat_map(|slot| bids.all(slot).map(move |bid| (bid, slot)))
            .collect();
        all.sort_unstable();
        let mut owners = vec![u16::MAX; bids.slots() as usize];
        for (bid, slot) in all {
            let m = bid.member();
            if owners[slot as usize] == u16::MAX && room[m.get()] > 0 {
                room[m.get()] -= 1;
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
            let bids = Bids::new(slots, &members);
            let expected = by_definition(&bids, &members);
            assert_eq!(
                *build(&bids, &members),
                *expected,
                "{slots} slots, {weights:?}"
            );
        }
    }

    #[test]
    fn capacities_leave_room_for_all_and_too_much_for_none() {
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
        let owners = |members: &[Member]| build(&Bids::new(slots, members), members);
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
