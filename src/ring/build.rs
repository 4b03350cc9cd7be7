//! Builds the slot table of a member set.

use super::limits::BuildError;
use super::member::Member;
use super::rendezvous::Scores;
use super::slot::NO_OWNER;
use super::spec::{RingSpec, Strategy};
use super::table::SlotTable;
use super::{bounded_assignment, classic, ketama, maglev};

impl SlotTable {
    /// Builds the table of a member set. The order in which the members are given does not
    /// matter. Without members no slot has an owner.
    ///
    /// # Errors
    ///
    /// A duplicate name, more members than slots or than [`Self::MAX_MEMBERS`], more virtual
    /// servers than the strategy takes.
    pub fn build(spec: &RingSpec, members: &[Member]) -> Result<Self, BuildError> {
        let mut members: Box<[Member]> = members.into();
        members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if let Some(twins) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(BuildError::DuplicateName(twins[0].name.clone()));
        }
        let total_weight = members.iter().map(|m| u64::from(m.weight.get())).sum();
        spec.check_limits(members.len(), total_weight)?;
        let slots = spec.slots();
        let virtual_servers = spec.virtual_servers().unwrap_or(1);
        let strategy = spec.strategy();
        let mut scores = None;
        let owners = match strategy {
            Strategy::Classic | Strategy::Quadratic | Strategy::Modulo => {
                classic::build(strategy, slots, virtual_servers, &members)
            }
            Strategy::Ring => ketama::build(slots, virtual_servers, &members),
            Strategy::Maglev => maglev::build(slots, &members),
            Strategy::Rendezvous if members.is_empty() => vec![NO_OWNER; slots as usize].into(),
            Strategy::Rendezvous => {
                let scores = scores.insert(Scores::new(slots, &members));
                bounded_assignment::build(scores, &members)
            }
        };
        Ok(Self::from_parts(*spec, members, owners, scores))
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;
    use crate::api::Explained;
    use crate::ring::testing::member;
    use crate::ring::{Key, MemberIndex};

    fn members(names: &[&str]) -> Vec<Member> {
        names.iter().map(|name| member(name, 1)).collect()
    }

    #[test]
    fn a_table_without_members_has_no_owners() {
        for strategy in Strategy::ALL {
            let spec = RingSpec::new(strategy, None, None).unwrap();
            let table = SlotTable::build(&spec, &[]).unwrap();
            let slot = table.slot_of(Key(u64::MAX));
            assert_eq!(table.owner(slot), None, "{strategy}");
            assert_eq!(table.failover(Key(1)).next(), None, "{strategy}");
        }
    }

    #[test]
    fn every_strategy_gives_every_slot_an_owner_and_every_key_an_order() {
        for strategy in Strategy::ALL {
            let spec = RingSpec::new(strategy, None, None).unwrap();
            let table = SlotTable::build(&spec, &members(&["S3", "S1", "S2"])).unwrap();
            let index = table.index_of(&"S3".parse().unwrap());
            assert_eq!(index.map(MemberIndex::get), Some(2));
            let is_owned = |slot| table.owner(slot).is_some();
            assert!(table.slots().all(is_owned), "{strategy}");
            for key in [0, 1, 123_456, u64::MAX].map(Key) {
                let mut order: Vec<MemberIndex> = table.failover(key).collect();
                assert_eq!(order.first().copied(), table.owner(table.slot_of(key)));
                order.sort_unstable();
                assert!(order.into_iter().eq(table.indices()), "{strategy}");
            }
        }
    }

    /// Balancers of different releases share a fleet, so an owner that differs is a key at the wrong
    /// replica. (`tests/golden` has whole tables, and says more about a difference.)
    #[test]
    fn owners_and_explanations_are_the_same_in_every_release() {
        let members = [
            member("S1", 1),
            member("S2", 2),
            member("S10", 1),
            member("api", 7),
            member("eu-1.web", 1),
        ];
        let fingerprints = |strategy| {
            let slots = if strategy == Strategy::Maglev {
                5_003
            } else {
                5_000
            };
            let spec = RingSpec::new(strategy, Some(slots), None).unwrap();
            let table = SlotTable::build(&spec, &members).unwrap();
            let owners = table.slots().map(|slot| table.owner(slot).unwrap().get());
            let owners: Vec<u8> = owners.map(|owner| owner as u8).collect();
            let keys = (0..100).chain([1 << 31, u64::MAX]);
            let keys = keys.map(|key| Explained::new(&table, key.to_string().as_bytes()));
            let keys = serde_json::to_vec(&keys.collect::<Vec<_>>()).unwrap();
            (strategy, xxh3_64(&owners), xxh3_64(&keys))
        };
        assert_eq!(
            Strategy::ALL.map(fingerprints),
            [
                (
                    Strategy::Classic,
                    0x10a7_1a52_1eb8_3518,
                    0xd78e_240d_05e7_0a94
                ),
                (
                    Strategy::Quadratic,
                    0xb959_3c28_066d_828f,
                    0xe04e_e45f_42c0_638d
                ),
                (
                    Strategy::Modulo,
                    0x10a7_1a52_1eb8_3518,
                    0x8031_2fbf_b583_28fc
                ),
                (Strategy::Ring, 0x744b_f835_1af2_7435, 0x2288_86fd_109a_d4fd),
                (
                    Strategy::Maglev,
                    0x71d9_1b78_2679_c2fd,
                    0x6fd9_a552_22e6_a7f5
                ),
                (
                    Strategy::Rendezvous,
                    0xf5ad_dee5_5cee_cb67,
                    0x0452_efc4_ad4f_7b34
                ),
            ]
        );
    }

    #[test]
    fn member_sets_that_make_no_table_are_refused() {
        let error = |strategy, slots, names: &[&str]| {
            let spec = RingSpec::new(strategy, slots, None).unwrap();
            let refused = SlotTable::build(&spec, &members(names));
            refused.unwrap_err().to_string()
        };
        assert_eq!(
            error(Strategy::Rendezvous, None, &["S1", "S2", "S1"]),
            "duplicate replica name S1"
        );
        assert_eq!(
            error(Strategy::Maglev, Some(2), &["S1", "S2", "S3"]),
            "too many replicas: 3; this ring takes at most 2"
        );
        assert_eq!(
            error(Strategy::Classic, Some(16), &["S1", "S2"]),
            "too many virtual servers: 18 (virtual servers times the sum of all weights); this ring takes at most 16"
        );
    }
}
