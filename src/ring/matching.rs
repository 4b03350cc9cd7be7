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
//! # Why 1.01 and 262,144 slots
//!
//! A wider capacity bumps fewer slots, and so do more slots, as shares then vary less. The
//! keys that move when one of N leaves, over 1 / N, and what it costs, by
//! `cargo bench --bench ring_balance` and `--bench ring` (one thread of a 2.8 GHz Xeon that
//! had other work too, so times are the fastest of many):
//!
//! | | peak / mean | N = 20 | N = 100 | build, N = 100 | table |
//! | --- | --- | --- | --- | --- | --- |
//! | Maglev, 65,537 slots | 1.001 | 1.06 | 1.57 | 4 ms | 128 KiB |
//! | 65,536 slots | 1.010 | 1.02 | 1.17 | 6 ms | 128 KiB |
//! | 131,072 slots | 1.010 | 1.01 | 1.10 | 12 ms | 256 KiB |
//! | **262,144 slots** | 1.010 | 1.00 | 1.05 | 20 ms | 512 KiB |
//! | 1,048,576 slots | 1.010 | 1.00 | 1.01 | 100 ms | 2 MiB |
//!
//! One per cent of imbalance is far below the chance variation of any real load, while a
//! key that moves is a cold cache or a lost session; so the cap is the widest that still
//! counts as balanced. 262,144 slots are the most that build within 30 ms at N = 100 and
//! leave room in a core's level 2 cache. Beyond a few hundred members a larger table pays:
//! at N = 1,000 two to four times the unavoidable share moves (1.4 times with 1,048,576
//! slots; Maglev: 7 times), since capacities are whole slots and all grow by one at once.

use std::collections::BinaryHeap;

use super::member::Member;
use super::rendezvous::{Bid, Bids};

/// A member may own this much of its fair share, in per cent.
pub(super) const CAP_PERCENT: u64 = 101;

/// The most slots a member of this weight may own.
///
/// Rounding down the cap makes sure that nobody is above it. If the members own fewer than
/// some hundred slots each, one per cent is less than a slot; then half a slot and what
/// rounding up adds to it has to do. Without any room to spare, matching would shift slots
/// through all the members, in time (seconds, for thousands) and on every change.
pub(super) fn capacity(slots: u32, weight: u32, total_weight: u64) -> usize {
    let fair = u64::from(slots) * u64::from(weight);
    let cap = fair * CAP_PERCENT / (total_weight * 100);
    let half_a_slot_more = (2 * fair + total_weight).div_ceil(2 * total_weight);
    half_a_slot_more.max(cap) as usize
}

/// The owner of every slot. There must be members.
pub(super) fn build(bids: &Bids, members: &[Member]) -> Box<[u16]> {
    let slots = bids.slots();
    let total = members.iter().map(|m| u64::from(m.weight.get())).sum();
    let capacities: Vec<usize> = members
        .iter()
        .map(|m| capacity(slots, m.weight.get(), total))
        .collect();

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
        let total = members.iter().map(|m| u64::from(m.weight.get())).sum();
        let mut room: Vec<usize> = members
            .iter()
            .map(|m| capacity(bids.slots(), m.weight.get(), total))
            .collect();
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
        ] {
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            let all = weights.iter().map(|&w| capacity(slots, w, total));
            assert!(all.sum::<usize>() >= slots as usize);
            for &weight in weights {
                let fair = f64::from(slots) * f64::from(weight) / total as f64;
                let capacity = capacity(slots, weight, total) as f64;
                assert!(capacity >= fair + 0.5 - 1e-9 && capacity <= (fair + 1.5).max(1.01 * fair));
            }
        }
    }
}
