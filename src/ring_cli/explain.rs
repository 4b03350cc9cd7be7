//! `ringmaster ring explain`: which replica serves a key, and why.

use serde::Serialize;

use super::reason::Why;
use super::{Ring, text};
use crate::ring::{Hashing, Key, MemberIndex, SlotTable, Strategy};

/// The way from a key to its replica.
///
/// Numbers of 64 bits are texts in JSON, since many readers would round them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The ring.
    pub ring: Ring,
    /// The key as given, with bytes that are not UTF-8 replaced.
    pub key: String,
    /// Its number, in decimal.
    pub number: String,
    /// True if the number is the key's XXH3 hash, false if the key is that number itself.
    pub hashed: bool,
    /// How the number gives the slot.
    pub hash: Hash,
    /// The slot.
    pub slot: u32,
    /// The replica that owns the slot; null if the ring has no replicas.
    pub owner: Option<String>,
    /// All replicas in the order in which they serve the key, the owner first.
    pub failover: Vec<String>,
    /// Why that replica is the owner.
    pub why: Option<Why>,
}

/// How a number gives a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Hash {
    /// The slot is `h` mod M.
    Formula {
        /// The formula, as text.
        formula: &'static str,
        /// The number, or its remainder mod M if it is 2^31 or more.
        i: u64,
        /// H(i).
        h: String,
    },
    /// The slot is `mixed` * M / 2^64, rounded down.
    Mix {
        /// The number's bits, mixed, as `0x` and sixteen digits.
        mixed: String,
    },
}

impl Explained {
    /// Follows a key, as a request would bring it.
    pub fn new(table: &SlotTable, text: &[u8]) -> Self {
        let key = Key::from_bytes(text);
        let is_number = str::from_utf8(text).is_ok_and(|text| {
            text.bytes().all(|b| b.is_ascii_digit()) && text.parse() == Ok(key.0)
        });
        let explanation = table.explain(key);
        let name = |index: MemberIndex| table.member(index).name.to_string();
        let hash = match explanation.as_ref().map(|e| e.hashing) {
            Some(Hashing::Formula { i, h }) => Hash::Formula {
                formula: formula(table.spec().strategy()),
                i,
                h: h.to_string(),
            },
            Some(Hashing::Mixed { mixed }) => Hash::Mix {
                mixed: format!("{mixed:#018x}"),
            },
            None => Hash::Mix {
                mixed: String::new(),
            },
        };
        Self {
            ring: Ring::new(table),
            key: String::from_utf8_lossy(text).into_owned(),
            number: key.0.to_string(),
            hashed: !is_number,
            hash,
            slot: table.slot_of(key).get(),
            owner: explanation.as_ref().map(|e| name(e.owner)),
            failover: table.failover(key).map(name).collect(),
            why: explanation.map(|e| Why::new(table, &e)),
        }
    }
}

fn formula(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Modulo => "H(i) = i",
        Strategy::Quadratic => "H(i) = i^2 + 2i + 17",
        _ => "H(i) = i + 2i + 1",
    }
}

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
            Hash::Formula { formula, i, h } => {
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
            Hash::Mix { mixed } => (
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
