//! How good a table is: how much of it each member owns, and what moves between two tables.

use super::key::Key;
use super::slot::MemberIndex;
use super::table::SlotTable;

/// How many slots or keys each member of a table has.
///
/// Slots are exact for strategies that spread keys evenly over the slots. The formulas of
/// `classic`, `quadratic` and `modulo` do not, so for them the share of the keys is the one that
/// replicas feel: [`Ownership::by_keys`].
#[derive(Debug, Clone, PartialEq)]
pub struct Ownership {
    counts: Box<[u64]>,
    /// Each member's part of the weights.
    fair: Box<[f64]>,
    total: u64,
}

impl Ownership {
    /// Counts slots.
    pub fn by_slots(table: &SlotTable) -> Self {
        Self::count(table, table.slots().filter_map(|slot| table.owner(slot)))
    }

    /// Counts the keys of a sample.
    pub fn by_keys(table: &SlotTable, keys: impl IntoIterator<Item = Key>) -> Self {
        let owner = |key| table.owner(table.slot_of(key));
        Self::count(table, keys.into_iter().filter_map(owner))
    }

    fn count(table: &SlotTable, owners: impl Iterator<Item = MemberIndex>) -> Self {
        let mut counts = vec![0u64; table.members().len()];
        for owner in owners {
            counts[owner.get()] += 1;
        }
        Self {
            total: counts.iter().sum(),
            counts: counts.into(),
            fair: fair_shares(table),
        }
    }

    /// How many slots or keys a member has.
    pub fn owned(&self, member: MemberIndex) -> u64 {
        self.counts[member.get()]
    }

    /// A member's share, from 0 to 1.
    pub fn share(&self, member: MemberIndex) -> f64 {
        self.counts[member.get()] as f64 / self.total.max(1) as f64
    }

    /// The share that a member should have by its weight, from 0 to 1.
    pub fn fair_share(&self, member: MemberIndex) -> f64 {
        self.fair[member.get()]
    }

    /// The largest ratio of a member's share to its fair share: 1 is perfect, and 1.25 means
    /// that some replica gets a quarter more than it should.
    /// 1 for a table without members.
    pub fn peak_to_mean(&self) -> f64 {
        self.ratios().reduce(f64::max).unwrap_or(1.0)
    }

    /// The smallest ratio of a member's share to its fair share.
    pub fn least_to_mean(&self) -> f64 {
        self.ratios().reduce(f64::min).unwrap_or(1.0)
    }

    fn ratios(&self) -> impl Iterator<Item = f64> {
        let total = self.total.max(1) as f64;
        let ratio = move |(&count, fair): (&u64, &f64)| count as f64 / total / fair;
        self.counts.iter().zip(&self.fair).map(ratio)
    }
}

/// What changes its owner between two tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// How many slots or keys have another owner.
    pub moved: u64,
    /// How many slots or keys there are.
    pub total: u64,
    /// The share that has to move under any strategy: the sum by which fair shares grow, those
    /// of new members included. That is 1 / N if one of N equal members leaves.
    pub unavoidable: f64,
}

impl Moved {
    /// Counts slots; `None` if the tables have different slots, so that only
    /// [`Moved::by_keys`] can compare them.
    pub fn by_slots(before: &SlotTable, after: &SlotTable) -> Option<Self> {
        let (old, new) = (before.spec(), after.spec());
        let alike = old.slots() == new.slots() && old.strategy().hashes_like(new.strategy());
        alike.then(|| {
            let owners = before.slots().map(|s| (before.owner(s), after.owner(s)));
            Self::count(before, after, owners)
        })
    }

    /// Counts the keys of a sample.
    pub fn by_keys(
        before: &SlotTable,
        after: &SlotTable,
        keys: impl IntoIterator<Item = Key>,
    ) -> Self {
        let owner = |table: &SlotTable, key| table.owner(table.slot_of(key));
        let owners = |key| (owner(before, key), owner(after, key));
        Self::count(before, after, keys.into_iter().map(owners))
    }

    fn count(
        before: &SlotTable,
        after: &SlotTable,
        owners: impl Iterator<Item = (Option<MemberIndex>, Option<MemberIndex>)>,
    ) -> Self {
        let same_name: Vec<Option<MemberIndex>> = before
            .members()
            .iter()
            .map(|member| after.index_of(&member.name))
            .collect();
        let (mut moved, mut total) = (0, 0);
        for (old, new) in owners {
            total += 1;
            let stays = match old {
                Some(old) => new.is_some() && same_name[old.get()] == new,
                None => new.is_none(),
            };
            moved += u64::from(!stays);
        }
        Self {
            moved,
            total,
            unavoidable: unavoidable(before, after),
        }
    }

    /// The share that moved, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.moved as f64 / self.total.max(1) as f64
    }

    /// How many times the unavoidable share moved: 1 is perfect. `None` if nothing had to
    /// move.
    pub fn factor(&self) -> Option<f64> {
        (self.unavoidable > 0.0).then(|| self.share() / self.unavoidable)
    }
}

/// Each member's part of the sum of all weights.
fn fair_shares(table: &SlotTable) -> Box<[f64]> {
    let weights = || table.members().iter().map(|m| f64::from(m.weight.get()));
    let total: f64 = weights().sum();
    weights().map(|weight| weight / total).collect()
}

fn unavoidable(before: &SlotTable, after: &SlotTable) -> f64 {
    if before.members().is_empty() || after.members().is_empty() {
        // Everything gets or loses its owner, unless neither table has members.
        return f64::from(u8::from(before.members().len() != after.members().len()));
    }
    let old = fair_shares(before);
    let old_share = |name| before.index_of(name).map_or(0.0, |m| old[m.get()]);
    after
        .members()
        .iter()
        .zip(fair_shares(after))
        .map(|(member, new)| (new - old_share(&member.name)).max(0.0))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::testing::{self, member};
    use crate::ring::{Member, Strategy};

    fn table(strategy: Strategy, slots: u32, members: &[(&str, u32)]) -> SlotTable {
        let members = members.iter().map(|&(name, weight)| member(name, weight));
        let members: Vec<Member> = members.collect();
        testing::table(strategy, Some(slots), &members)
    }

    #[test]
    fn ownership_is_measured_against_weight() {
        let table = table(Strategy::Maglev, 251, &[("a", 1), ("b", 4)]);
        let ownership = Ownership::by_slots(&table);
        let [a, b] = [0, 1].map(|i| table.indices().nth(i).unwrap());
        assert_eq!(ownership.owned(a) + ownership.owned(b), 251);
        assert_eq!([a, b].map(|m| ownership.fair_share(m)), [0.2, 0.8]);
        assert_eq!(ownership.share(a), ownership.owned(a) as f64 / 251.0);
        assert!(ownership.peak_to_mean() < 1.02 && ownership.least_to_mean() > 0.98);
    }

    #[test]
    fn keys_are_counted_where_they_go() {
        let table = table(Strategy::Maglev, 251, &[("a", 1), ("b", 1)]);
        let one = Ownership::by_keys(&table, [Key(5)]);
        assert_eq!((one.peak_to_mean(), one.least_to_mean()), (2.0, 0.0));
    }

    #[test]
    fn unavoidable_is_what_fair_shares_grow_by() {
        let three = table(Strategy::Maglev, 251, &[("a", 1), ("b", 1), ("c", 2)]);
        let without = table(Strategy::Maglev, 251, &[("a", 1), ("b", 1)]);
        let leave = Moved::by_slots(&three, &without).unwrap();
        let join = Moved::by_slots(&without, &three).unwrap();
        assert_eq!((leave.unavoidable, join.unavoidable), (0.5, 0.5));
        assert_eq!((leave.moved, leave.total), (join.moved, 251));
        assert_eq!(leave.share(), leave.moved as f64 / 251.0);
        assert!(
            leave
                .factor()
                .is_some_and(|factor| (0.98..1.5).contains(&factor))
        );

        let heavier = table(Strategy::Maglev, 251, &[("a", 5), ("b", 1), ("c", 2)]);
        let change = Moved::by_slots(&three, &heavier).unwrap();
        assert!((change.unavoidable - (0.625 - 0.25)).abs() < 1e-12);

        let same = Moved::by_slots(&three, &three).unwrap();
        assert_eq!((same.moved, same.factor()), (0, None));
    }

    #[test]
    fn tables_of_different_slots_are_compared_by_keys() {
        let small = table(Strategy::Rendezvous, 64, &[("a", 1), ("b", 1)]);
        let large = table(Strategy::Rendezvous, 128, &[("a", 1), ("b", 1)]);
        let classic = table(Strategy::Classic, 64, &[("a", 1), ("b", 1)]);
        assert_eq!(Moved::by_slots(&small, &large), None);
        assert_eq!(Moved::by_slots(&small, &classic), None);
        // Their slots are the same: keys are hashed alike.
        let ring = table(Strategy::Ring, 64, &[("a", 1), ("b", 1)]);
        assert!(Moved::by_slots(&small, &ring).is_some());
        assert_eq!(Moved::by_keys(&small, &large, (0..10).map(Key)).total, 10);
    }

    #[test]
    fn an_empty_table_loses_everything_and_gets_everything() {
        let none = table(Strategy::Rendezvous, 64, &[]);
        let one = table(Strategy::Rendezvous, 64, &[("a", 1)]);
        for (before, after, factor) in [
            (&none, &one, Some(1.0)),
            (&one, &none, Some(1.0)),
            (&none, &none, None),
        ] {
            assert_eq!(Moved::by_slots(before, after).unwrap().factor(), factor);
        }
        assert_eq!(Ownership::by_slots(&none).peak_to_mean(), 1.0);
    }
}
