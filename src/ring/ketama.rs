//! `ring`: virtual servers placed by a strong hash.
//!
//! Karger and others ("Consistent hashing and random trees", STOC 1997) hash servers and
//! keys onto a circle; a key belongs to the next server clockwise. Ketama (Last.fm, 2007)
//! gives each server many points, by custom 160, to even out the arcs. Here the circle has
//! 2^64 places, and slot s is at place s / M of the way around: a table of the next points
//! replaces the binary search of the usual implementations.
//!
//! The slots of a member that leaves go to the next points clockwise, and no other slot moves.
//! In return the shares of members with K points differ by about 1 / sqrt(K). With fewer slots
//! than points, a member may own no slot at all.

use super::hash::HashRng;
use super::member::Member;
use super::slot::NO_OWNER;

/// The place of a slot on the circle.
#[inline]
pub(super) fn place(slot: u32, slots: u32) -> u64 {
    ((u128::from(slot) << 64) / u128::from(slots)) as u64
}

/// Every point: its place, its member's index and its number among the points of that member.
pub(super) fn all(
    virtual_servers: u32,
    members: &[Member],
) -> impl Iterator<Item = (u64, u16, u32)> {
    (0..).zip(members).flat_map(move |(m, member)| {
        let mut rng = HashRng::of(&member.name);
        (0..virtual_servers * member.weight.get()).map(move |j| (rng.draw(), m, j))
    })
}

/// The owner of every slot.
pub(super) fn build(slots: u32, virtual_servers: u32, members: &[Member]) -> Box<[u16]> {
    // Two points on one place are next to impossible; the lower index would win.
    let points = all(virtual_servers, members).map(|(point, m, _)| (point, m));
    let mut points: Vec<(u64, u16)> = points.collect();
    points.sort_unstable();

    let first = points.first().map_or(NO_OWNER, |point| point.1);
    let mut clockwise = points.iter().peekable();
    let owners = (0..slots).map(|slot| {
        let place = place(slot, slots);
        while clockwise.next_if(|point| point.0 < place).is_some() {}
        clockwise.peek().map_or(first, |point| point.1)
    });
    owners.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::servers;

    #[test]
    fn slots_go_to_the_next_point_clockwise() {
        let members = servers(5);
        let owners = build(1_000, 3, &members);
        let mut points: Vec<(u64, u16)> = Vec::new();
        for (m, member) in (0..).zip(&members) {
            let mut rng = HashRng::of(&member.name);
            points.extend([(); 3].map(|()| (rng.draw(), m)));
        }
        for (slot, owner) in (0u64..).zip(owners) {
            let place = ((u128::from(slot) << 64) / 1_000) as u64;
            // Going clockwise from a place is adding to it, and 2^64 is 0 again.
            let next = points.iter().min_by_key(|p| p.0.wrapping_sub(place));
            assert_eq!(owner, next.unwrap().1, "slot {slot}");
        }
    }
}
