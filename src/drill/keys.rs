//! A sample of keys: which replica responds to each, before a fault and after it.

use std::collections::BTreeMap;

use awc::Client;

use crate::experiments::load::{self, Completion, Names};

/// Keys in a sample.
const KEYS: usize = 200;
/// Other ids than the load's.
const SEED: u64 = 2;
/// Low enough that the balance factor moves no key.
const CONCURRENCY: usize = 4;

/// Which replica responded to which key.
pub(super) struct Sample(pub(super) Vec<Completion>);

impl Sample {
    /// Asks once for each key, the same ones each time.
    pub(super) async fn take(client: &Client, url: &str) -> Self {
        let keys = load::ids(SEED, KEYS);
        Self(load::burst(client, url, &keys, CONCURRENCY, || {}).await)
    }

    /// How many keys of the other replicas moved to another one. None if responses do not name
    /// their replica.
    pub(super) fn moved(&self, after: &Self, target: &str) -> Option<usize> {
        let (before, after) = (self.by_key()?, after.by_key()?);
        let target = Names::called(target);
        let others = before.iter().filter(|(_, from)| **from != target);
        let moved = others.filter(|(key, from)| after.get(*key) != Some(*from));
        Some(moved.count())
    }

    fn by_key(&self) -> Option<BTreeMap<u32, &str>> {
        let each = self.0.iter().map(|answer| {
            let from = answer.from.as_deref().ok()?;
            Some((answer.id, from))
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn sample(from: [Result<&str, &str>; 3]) -> Sample {
        let answer = |(id, from)| Completion {
            id,
            ..Completion::test(Instant::now(), Instant::now(), from)
        };
        Sample((0..).zip(from).map(answer).collect())
    }

    #[test]
    fn only_keys_of_other_replicas_count_as_moved() {
        let before = sample([Ok("1"), Ok("2"), Ok("3")]);
        for (after, moved) in [
            ([Ok("1"), Ok("2"), Ok("3")], Some(0)),
            ([Ok("3"), Ok("2"), Ok("3")], Some(0)),
            ([Ok("1"), Ok("3"), Ok("1")], Some(2)),
            ([Ok("1"), Err("not the demo server's"), Ok("3")], None),
        ] {
            assert_eq!(before.moved(&sample(after), "Server1"), moved, "{after:?}");
        }
    }
}
