//! `ringmaster ring explain`: which replica serves a key, and why.

use super::text;
use crate::api::{Explained, KeyHash, Why};

impl Explained {
    /// The report for people.
    pub fn text(&self) -> String {
        let how = if self.hashed {
            format!("not a number, so its XXH3 hash: {}", self.number)
        } else {
            format!("taken as the number {}", self.number)
        };
        let slots = self.ring.slots;
        let (hash, slot) = match &self.hash {
            KeyHash::Formula { formula, i, h } => {
                let reduced = if i.to_string() == self.number {
                    String::new()
                } else {
                    format!(", the number mod {slots}")
                };
                (
                    format!("{formula} = {h} for i = {i}{reduced}"),
                    format!("{h} mod {slots} = {}", self.slot),
                )
            }
            KeyHash::Mix { mixed } => (
                format!("SplitMix64's mix of the number = {mixed}"),
                format!("{mixed} * {slots} / 2^64 = {}", self.slot),
            ),
        };
        let mut rows = vec![
            ("Ring", self.ring.text()),
            ("Key", format!("{}, {how}", text::shown(&self.key))),
            ("Hash", hash),
            ("Slot", slot),
        ];
        let owner = self.owner.as_deref().unwrap_or("none");
        rows.push(("Owner", owner.to_owned()));
        let mut grid = String::new();
        if let Some(why) = &self.why {
            rows.push(("Why", why.sentence(&self.ring, owner)));
            grid = why.grid(owner).map_or(grid, |grid| format!("\n{grid}"));
        }
        let order = match self.why {
            None => "",
            Some(Why::Scores { .. }) => " (the owner, then by score)",
            Some(Why::Preferences { .. }) => {
                " (in the order of a walk over the slots, in this slot's own stride)"
            }
            Some(Why::VirtualServer { .. } | Why::Point { .. }) => {
                " (in the order of the slots clockwise)"
            }
        };
        rows.push(("Failover", text::names(&self.failover) + order));
        format!("{}{grid}", text::paragraphs(rows))
    }
}
