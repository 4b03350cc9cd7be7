//! Members for tests.

use super::{Member, RingSpec, SlotTable, Strategy, Weight};

/// A member of this name and weight.
pub(crate) fn member(name: &str, weight: u32) -> Member {
    Member {
        name: name.parse().unwrap(),
        weight: Weight::new(weight).unwrap(),
    }
}

/// `Server1`, `Server2` and so on, of these weights.
pub(crate) fn weighted(weights: &[u32]) -> Vec<Member> {
    let numbered = (1..).zip(weights);
    let members = numbered.map(|(n, &weight)| member(&format!("Server{n}"), weight));
    members.collect()
}

/// `Server1` to `Server<n>`.
pub(crate) fn servers(n: usize) -> Vec<Member> {
    weighted(&vec![1; n])
}

/// A table of these members; with `slots` where the strategy's own number is not wanted.
pub(crate) fn table(strategy: Strategy, slots: Option<u32>, members: &[Member]) -> SlotTable {
    let spec = RingSpec::new(strategy, slots, None).unwrap();
    SlotTable::build(&spec, members).unwrap()
}
