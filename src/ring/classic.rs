//! `classic`, `quadratic` and `modulo`: the ring of the original write-up, exactly.
//!
//! A server with number i puts virtual server j, from 0 to K - 1, on slot Phi(i, j) mod M,
//! or on the next free slot if that one is taken (linear probing). A request with number
//! i goes to slot H(i) mod M and from there clockwise to the nearest virtual server.
//!
//! | strategy | H(i) | Phi(i, j) |
//! | --- | --- | --- |
//! | `classic`, as printed | i + 2i + 1 | i + j + 2j + 25 |
//! | `quadratic`, as most likely meant | i^2 + 2i + 17 | i^2 + j^2 + 2j + 25 |
//! | `modulo`, of the write-up's last experiment | i | as `classic` |
//!
//! The printed formulas do not balance, although the write-up claims it: Phi puts the virtual
//! servers of neighbouring numbers side by side, so that with three servers the first one
//! owns the whole way around the ring and serves 96.5 % of the requests (84.4 % with
//! `quadratic`). They are here for comparison.
//!
//! # Which number a server has
//!
//! The original numbers its servers 1, 2, 3; ours have names. The number of a server is
//! the one at the end of its name: `Server3` and `S3` are number 3. A name without digits
//! at its end gets 31 bits of its hash as its number. So the name alone decides the
//! number, and a server that leaves does not renumber the others, as in the original. Servers
//! take their slots in the order of their numbers, then of their names. Where two compete for a
//! slot the lower number gets it, so a server that leaves can still move a virtual server of
//! another.

use super::hash::HashRng;
use super::member::{Member, ReplicaName};
use super::slot::NO_OWNER;
use super::spec::Strategy;

/// H of a number below 2^31, over the integers.
#[inline]
pub(super) fn h(strategy: Strategy, i: u64) -> u64 {
    match strategy {
        Strategy::Modulo => i,
        Strategy::Quadratic => i * i + 2 * i + 17,
        _ => i + 2 * i + 1,
    }
}

/// The slot of a request with this number.
///
/// The formulas are over the integers. Reducing the number first gives the same slot and
/// cannot overflow: the remainder is below 2^20, its square below 2^40.
#[inline]
pub(super) fn slot(strategy: Strategy, number: u64, slots: u32) -> u32 {
    let m = u64::from(slots);
    (h(strategy, number % m) % m) as u32
}

/// Phi: the preferred slot of virtual server `j` of server `i`. Cannot overflow for i and j
/// below 2^31.
fn place(strategy: Strategy, i: u64, j: u64, slots: u32) -> u32 {
    let phi = match strategy {
        Strategy::Quadratic => i * i + j * j + 2 * j + 25,
        _ => i + j + 2 * j + 25,
    };
    (phi % u64::from(slots)) as u32
}

/// The number of the server with this name.
pub(super) fn number(name: &ReplicaName) -> u64 {
    let text = name.as_str();
    let start = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    match text[start..].parse::<u64>() {
        Ok(number) if number < 1 << 31 => number,
        _ => HashRng::of(name).draw() >> 33,
    }
}

/// A virtual server and its slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlacedServer {
    /// Its member's index.
    pub(super) member: u16,
    /// Its number among its member's.
    pub(super) j: u32,
    /// The slot that Phi gives.
    pub(super) wanted: u32,
    /// The slot that it got: the first free one from there on.
    pub(super) slot: u32,
}

/// All virtual servers, in the order in which they take their slots. There must be enough
/// slots: see `RingSpec::check_limits`.
pub(super) fn virtual_servers_of(
    strategy: Strategy,
    slots: u32,
    virtual_servers: u32,
    members: &[Member],
) -> Vec<PlacedServer> {
    let numbers = (0..).zip(members);
    let numbers = numbers.map(|(m, member)| (number(&member.name), m));
    let mut by_number: Vec<(u64, u16)> = numbers.collect();
    by_number.sort_unstable();

    let mut taken = vec![false; slots as usize];
    let mut placed = Vec::new();
    for (i, member) in by_number {
        for j in 0..virtual_servers * members[usize::from(member)].weight.get() {
            let wanted = place(strategy, i, u64::from(j), slots);
            let mut slot = wanted;
            while taken[slot as usize] {
                slot = if slot + 1 == slots { 0 } else { slot + 1 };
            }
            taken[slot as usize] = true;
            placed.push(PlacedServer {
                member,
                j,
                wanted,
                slot,
            });
        }
    }
    placed
}

/// The owner of every slot. There must be enough slots: see `RingSpec::check_limits`.
pub(super) fn build(
    strategy: Strategy,
    slots: u32,
    virtual_servers: u32,
    members: &[Member],
) -> Box<[u16]> {
    let mut owners = vec![NO_OWNER; slots as usize].into_boxed_slice();
    for server in virtual_servers_of(strategy, slots, virtual_servers, members) {
        owners[server.slot as usize] = server.member;
    }
    fill_free_slots(&mut owners);
    owners
}

/// Gives every free slot to the nearest virtual server clockwise. Two counter-clockwise
/// rounds carry each owner back to the slots before it.
fn fill_free_slots(owners: &mut [u16]) {
    let mut nearest = NO_OWNER;
    for _ in 0..2 {
        for owner in owners.iter_mut().rev() {
            if *owner == NO_OWNER {
                *owner = nearest;
            } else {
                nearest = *owner;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::{self, member};
    use crate::ring::{BuildError, Key, Ownership, RingSpec, SlotTable};

    fn table(strategy: Strategy, names: &[&str]) -> SlotTable {
        let members: Vec<Member> = names.iter().map(|name| member(name, 1)).collect();
        testing::table(strategy, None, &members)
    }

    /// The shares of the original experiment, N = 3, exactly: those of the slots and those
    /// of all 900,000 six-digit request ids, computed by a second program in Python:
    /// 96.48 / 1.76 / 1.76 % for `classic`, 84.37 / 4.69 / 10.94 % for `quadratic`. The
    /// write-up claims 33.42 / 33.17 / 33.41 %.
    #[test]
    fn the_original_formulas_give_what_they_give() {
        for (strategy, slots, keys) in [
            (Strategy::Classic, [494, 9, 9], [868_356, 15_822, 15_822]),
            (
                Strategy::Quadratic,
                [457, 22, 33],
                [759_374, 42_187, 98_439],
            ),
            (Strategy::Modulo, [494, 9, 9], [868_356, 15_822, 15_822]),
        ] {
            let table = table(strategy, &["Server1", "Server2", "Server3"]);
            let owned = |o: &Ownership| table.indices().map(|m| o.owned(m)).collect::<Vec<_>>();
            assert_eq!(owned(&Ownership::by_slots(&table)), slots, "{strategy}");
            let ids = (100_000..1_000_000).map(Key);
            assert_eq!(owned(&Ownership::by_keys(&table, ids)), keys, "{strategy}");
        }
    }

    #[test]
    fn the_formulas_are_the_printed_ones() {
        let linear = (3 * 123_456 + 1) % 512;
        assert_eq!(slot(Strategy::Classic, 123_456, 512), linear);
        let square = (123_456u64 * 123_456 + 2 * 123_456 + 17) % 512;
        assert_eq!(u64::from(slot(Strategy::Quadratic, 123_456, 512)), square);
        assert_eq!(slot(Strategy::Modulo, 123_456, 512), 123_456 % 512);
        assert_eq!(place(Strategy::Classic, 3, 8, 512), 3 + 8 + 16 + 25);
        assert_eq!(place(Strategy::Quadratic, 3, 8, 512), 9 + 64 + 16 + 25);
    }

    #[test]
    fn no_request_number_is_too_large() {
        for strategy in [Strategy::Classic, Strategy::Quadratic, Strategy::Modulo] {
            for slots in [1, 511, 512, RingSpec::MAX_SLOTS] {
                assert!(slot(strategy, u64::MAX, slots) < slots);
            }
        }
        // 2^64 - 1 = 255 (mod 511), so H = 3 * 255 + 1 = 766 = 255 (mod 511): the formula
        // over the integers, which arithmetic that wraps at 2^64 would miss.
        let exact = (u128::from(u64::MAX) * 3 + 1) % 511;
        assert_eq!(slot(Strategy::Classic, u64::MAX, 511), exact as u32);
    }

    #[test]
    fn a_name_decides_its_number() {
        let number = |name: &str| number(&name.parse().unwrap());
        assert_eq!(number("Server3"), 3);
        assert_eq!(number("S10"), 10);
        assert_eq!(number("eu-1.007"), 7);
        assert_eq!(number("42"), 42);
        for hashed in ["api", "S1a", "S99999999999999999999", "S2147483648"] {
            assert_eq!(number(hashed), number(hashed));
            assert!(number(hashed) < 1 << 31);
        }
        assert_ne!(number("api"), number("web"));
    }

    /// A member that leaves renumbers no other, and numbers are compared as numbers.
    #[test]
    fn others_keep_their_virtual_servers_when_one_leaves() {
        let names = ["Server2", "Server10", "Server40"];
        let before = table(Strategy::Quadratic, &names);
        let after = table(Strategy::Quadratic, &names[..2]);
        for slot in before.slots() {
            let name = |table: &SlotTable| table.member(table.owner(slot).unwrap()).name.clone();
            let (old, new) = (name(&before), name(&after));
            assert!(old == new || old.as_str() == "Server40", "{slot:?}");
        }
    }

    #[test]
    fn weight_multiplies_the_virtual_servers() {
        let members = [member("S1", 1), member("S200", 3)];
        let spec = |slots| RingSpec::new(Strategy::Classic, Some(slots), Some(9)).unwrap();
        assert!(SlotTable::build(&spec(36), &members).is_ok());
        let (needed, allowed) = (36, 35);
        let refused = SlotTable::build(&spec(35), &members).unwrap_err();
        assert_eq!(
            refused,
            BuildError::TooManyVirtualServers { needed, allowed }
        );
    }
}
