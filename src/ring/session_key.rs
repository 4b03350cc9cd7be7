//! Keys for sessions, made to belong to a given member.

use std::fmt;

use super::key::Key;
use super::slot::MemberIndex;
use super::table::SlotTable;

/// How many times the expected number of tries are made before giving up.
const TRIES: u64 = 64;

/// The most tries: a member of very little weight must not keep a thread busy.
const MAX_TRIES: u64 = 65_536;

/// The key of a session: opaque text for a client to keep, 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey(pub u64);

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl SessionKey {
    /// The key that this text hashes to when a client sends it.
    pub fn key(self) -> Key {
        Key::from_bytes(self.to_string().as_bytes())
    }
}

impl SlotTable {
    /// The first session key from `draw` whose slot belongs to `owner`. `None` after too many
    /// tries: the member owns hardly a slot, as on a `classic` table, or none.
    pub fn session_key_of(
        &self,
        owner: MemberIndex,
        mut draw: impl FnMut() -> u64,
    ) -> Option<SessionKey> {
        let weight = |index| u64::from(self.member(index).weight.get());
        let all: u64 = self.indices().map(weight).sum();
        let tries = TRIES.saturating_mul(all.div_ceil(weight(owner).max(1)));
        let tries = tries.min(MAX_TRIES);
        (0..tries)
            .map(|_| SessionKey(draw()))
            .find(|session| self.owner(self.slot_of(session.key())) == Some(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::{servers, weighted};
    use crate::ring::{RingSpec, Strategy};

    fn draws() -> impl FnMut() -> u64 {
        let mut state = 7u64;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state ^ (state >> 31)
        }
    }

    #[test]
    fn session_key_belongs_to_the_member_it_was_made_for() {
        for count in [1, 3, 100] {
            let table = SlotTable::build(&RingSpec::default(), &servers(count)).unwrap();
            let mut draw = draws();
            for owner in table.indices() {
                let session = table.session_key_of(owner, &mut draw).unwrap();
                // As a client sends it: as text.
                let key = Key::from_bytes(session.to_string().as_bytes());
                assert_eq!(table.owner(table.slot_of(key)), Some(owner));
            }
        }
    }

    #[test]
    fn member_that_owns_no_slot_gets_no_session_key() {
        let spec = RingSpec::new(Strategy::Classic, Some(16), Some(4)).unwrap();
        let table = SlotTable::build(&spec, &servers(2)).unwrap();
        let owns = |owner| table.slots().any(|slot| table.owner(slot) == Some(owner));
        for owner in table.indices() {
            let found = table.session_key_of(owner, draws());
            assert!(found.is_none() || owns(owner));
        }
        let mut same = || 1;
        let held = table.owner(table.slot_of(SessionKey(1).key()));
        let other = table.indices().find(|index| Some(*index) != held).unwrap();
        assert_eq!(table.session_key_of(other, &mut same), None);
    }

    #[test]
    fn session_key_of_a_light_member_is_tried_for_longer() {
        for (weights, tries) in [
            (&[1, 1][..], 2 * 64),
            (&[1, 1, 1], 3 * 64),
            (&[2, 5], 4 * 64),
            (&[1, 999, 24], 65_536),
            (&[1, 1_000, 24], 65_536),
        ] {
            let table = SlotTable::build(&RingSpec::default(), &weighted(weights)).unwrap();
            let first = table.indices().next().unwrap();
            // A number whose key is another member's.
            let mut numbers = (0..).map(SessionKey);
            let of_others = |one: &SessionKey| table.owner(table.slot_of(one.key())) != Some(first);
            let theirs = numbers.find(of_others).unwrap();
            let mut draws = 0;
            let found = table.session_key_of(first, || {
                draws += 1;
                theirs.0
            });
            assert_eq!((found, draws), (None, tries), "{weights:?}");
        }
    }
}
