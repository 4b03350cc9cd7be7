//! A sample of keys: who answers each, before a fault and after it.

use std::collections::BTreeMap;

use awc::Client;

use crate::analysis::load::{self, Answer, Names};

/// Keys in a sample.
const KEYS: usize = 200;
/// Not the load's own ids.
const SEED: u64 = 2;
/// Few enough that no bound of the load moves a key.
const AT_ONCE: usize = 4;

/// Who answered which key.
pub(super) struct Sample(pub(super) Vec<Answer>);

impl Sample {
    /// Asks once for each key, the same ones each time.
    pub(super) async fn take(client: &Client, url: &str) -> Self {
        let keys = load::ids(SEED, KEYS);
        Self(load::burst(client, url, &keys, AT_ONCE, || {}).await)
    }

    /// How many keys of the others, whom nothing was done to, have gone to somebody else. None
    /// if answers do not tell who gave them.
    pub(super) fn moved(&self, after: &Self, harmed: &str) -> Option<usize> {
        let (before, after) = (self.by_key()?, after.by_key()?);
        let harmed = Names::called(harmed);
        let others = before.iter().filter(|(_, from)| **from != harmed);
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
        let answer = |(id, from): (u32, Result<&str, &str>)| Answer {
            id,
            begun: Instant::now(),
            ended: Instant::now(),
            lost: false,
            from: from.map(str::to_owned).map_err(str::to_owned),
        };
        Sample((0..).zip(from).map(answer).collect())
    }

    #[test]
    fn only_keys_of_unharmed_replicas_count_as_moved() {
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
