//! What holds for every slot table, over random member sets, weights and keys.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringmaster::ring::{
    self, Key, Member, MemberIndex, Moved, Ownership, ReplicaName, RingSpec, SlotTable, Weight,
};

/// One to twelve members, of names without l (none is localhost); weights from 1 to `heaviest`.
fn members(heaviest: u32) -> impl Strategy<Value = Vec<Member>> {
    proptest::collection::btree_map(
        "[a-km-zA-KM-Z]{1,8}([-.]?[0-9]{1,3})?",
        1..=heaviest,
        1..=12,
    )
    .prop_map(|set: BTreeMap<String, u32>| {
        let member = |(name, weight): (String, u32)| Member {
            name: name.parse().unwrap(),
            weight: Weight::new(weight).unwrap(),
        };
        set.into_iter().map(member).collect()
    })
}

/// Every strategy on some table sizes that all of them take.
fn specs() -> impl Strategy<Value = RingSpec> {
    (
        proptest::sample::select(&ring::Strategy::ALL[..]),
        proptest::sample::select(&[1_021u32, 4_093][..]),
        1..=9u32,
    )
        .prop_map(|(strategy, slots, k)| {
            let k = RingSpec::new(strategy, None, None)
                .unwrap()
                .virtual_servers()
                .map(|_| k);
            RingSpec::new(strategy, Some(slots), k).unwrap()
        })
}

fn build(spec: &RingSpec, members: &[Member]) -> SlotTable {
    SlotTable::build(spec, members).unwrap()
}

fn owners(table: &SlotTable) -> Vec<Option<MemberIndex>> {
    table.slots().map(|slot| table.owner(slot)).collect()
}

fn owner_names(table: &SlotTable) -> Vec<&ReplicaName> {
    let name = |slot| &table.member(table.owner(slot).unwrap()).name;
    table.slots().map(name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_slot_has_an_owner_and_every_key_a_slot(
        spec in specs(), members in members(9), keys in proptest::collection::vec(any::<u64>(), 50),
    ) {
        let table = build(&spec, &members);
        prop_assert!(owners(&table).iter().all(Option::is_some));
        prop_assert!(table.members().is_sorted_by(|a, b| a.name < b.name));
        for key in keys {
            prop_assert!(table.slot_of(Key(key)).get() < spec.slots());
        }
        for member in &members {
            let index = table.index_of(&member.name).unwrap();
            prop_assert_eq!(table.member(index), member);
        }
    }

    #[test]
    fn table_depends_on_the_member_set_alone(
        spec in specs(),
        (members, shuffled) in members(9).prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle())),
    ) {
        prop_assert_eq!(owners(&build(&spec, &members)), owners(&build(&spec, &shuffled)));
    }

    #[test]
    fn failover_begins_with_the_owner_and_names_everybody_once(
        spec in specs(), members in members(9), key in any::<u64>(),
    ) {
        let table = build(&spec, &members);
        let mut order: Vec<MemberIndex> = table.failover(Key(key)).collect();
        prop_assert_eq!(Some(order[0]), table.owner(table.slot_of(Key(key))));
        order.sort_unstable();
        prop_assert!(order.into_iter().eq(table.indices()));
    }

    /// Keys on the same slot share an order.
    #[test]
    fn failover_order_is_one_for_each_slot(spec in specs(), members in members(9), key in any::<u64>()) {
        let table = build(&spec, &members);
        let twin = (0..20_000)
            .map(Key)
            .find(|twin| table.slot_of(*twin) == table.slot_of(Key(key)));
        if let Some(twin) = twin {
            prop_assert!(table.failover(twin).eq(table.failover(Key(key))));
        }
    }

    /// On a ring of strong hashes a leaver moves its own slots and not one besides.
    #[test]
    fn ring_removal_moves_only_the_keys_of_the_member(
        k in 1..=40u32, members in members(9), leaver in any::<prop::sample::Index>(),
    ) {
        let spec = RingSpec::new(ring::Strategy::Ring, Some(4_096), Some(k)).unwrap();
        let before = build(&spec, &members);
        let mut left = members;
        let gone = left.remove(leaver.index(left.len())).name;
        if left.is_empty() {
            return Ok(());
        }
        let after = build(&spec, &left);
        for (old, new) in owner_names(&before).into_iter().zip(owner_names(&after)) {
            prop_assert!(old == new || *old == gone);
        }
    }

    /// Nobody has more than one per cent above its fair share, or what small shares need; so a
    /// removal moves the leaver's slots and a few of the others'.
    #[test]
    fn rendezvous_keeps_capacities_and_moves_little(
        members in members(4), leaver in any::<prop::sample::Index>(),
    ) {
        let spec = RingSpec::new(ring::Strategy::Rendezvous, Some(8_192), None).unwrap();
        let before = build(&spec, &members);
        let ownership = Ownership::by_slots(&before);
        for m in before.indices() {
            let fair = 8_192.0 * ownership.fair_share(m);
            let slack = (20.0 * before.members().len() as f64 / 8_192.0).clamp(0.01, 0.045);
            let most = (fair + 1.5).max(fair * (1.0 + slack) + 1.0);
            prop_assert!(ownership.owned(m) as f64 <= most);
        }
        let mut left = members;
        left.remove(leaver.index(left.len()));
        if left.is_empty() {
            return Ok(());
        }
        let moved = Moved::by_slots(&before, &build(&spec, &left)).unwrap();
        prop_assert!(moved.share() <= moved.unavoidable + 0.03, "{:?}", moved);
    }

    /// The paper's promise, with Envoy's weights: shares are right but for a few slots.
    #[test]
    fn maglev_shares_are_exact(members in members(4)) {
        let spec = RingSpec::new(ring::Strategy::Maglev, Some(4_093), None).unwrap();
        let ownership = Ownership::by_slots(&build(&spec, &members));
        for m in build(&spec, &members).indices() {
            let fair = 4_093.0 * ownership.fair_share(m);
            prop_assert!((ownership.owned(m) as f64 - fair).abs() <= 4.0, "{} of {fair}", ownership.owned(m));
        }
    }

    #[test]
    fn removal_and_return_restore_the_table(
        spec in specs(), members in members(9), leaver in any::<prop::sample::Index>(),
    ) {
        let before = build(&spec, &members);
        let mut set = members;
        let gone = set.remove(leaver.index(set.len()));
        build(&spec, &set);
        set.push(gone);
        let after = build(&spec, &set);
        prop_assert_eq!(Moved::by_slots(&before, &after).unwrap().moved, 0);
    }

    /// Garbage of any size is refused or works; nothing panics.
    #[test]
    fn spec_is_refused_or_builds(
        strategy in proptest::sample::select(&ring::Strategy::ALL[..]),
        slots in proptest::option::of(0..2_000u32),
        virtual_servers in proptest::option::of(0..30u32),
        members in members(100),
        key in any::<u64>(),
    ) {
        if let Ok(spec) = RingSpec::new(strategy, slots.or(Some(997)), virtual_servers)
            && let Ok(table) = SlotTable::build(&spec, &members)
        {
            prop_assert_eq!(table.failover(Key(key)).count(), members.len());
        }
    }
}
