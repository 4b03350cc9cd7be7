//! Why a key belongs to its owner, as the reports and the API say it.

use super::{
    Explanation, Hashing, Key, MemberIndex, MemberScore, Ownership, Preference, Reason, SlotTable,
    Strategy,
};
use crate::api::{Explained, KeyHash, PreferenceRow, RingSummary, ScoreRow, Why};

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
            Some(Hashing::Formula { i, h }) => KeyHash::Formula {
                formula: formula(table.spec().strategy()).to_owned(),
                i,
                h: h.to_string(),
            },
            Some(Hashing::Mixed { mixed }) => KeyHash::Mix {
                mixed: format!("{mixed:#018x}"),
            },
            None => KeyHash::Mix {
                mixed: String::new(),
            },
        };
        Self {
            ring: RingSummary::new(table),
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

impl RingSummary {
    /// The numbers of a ring.
    pub fn new(table: &SlotTable) -> Self {
        let (spec, members) = (table.spec(), table.members());
        Self {
            strategy: spec.strategy().name().to_owned(),
            slots: spec.slots(),
            virtual_servers: spec.virtual_servers(),
            replicas: members.len(),
            total_weight: members.iter().map(|m| u64::from(m.weight.get())).sum(),
        }
    }
}

impl Why {
    fn new(table: &SlotTable, explanation: &Explanation) -> Self {
        let member = |index| {
            let member = table.member(index);
            (member.name.to_string(), member.weight.get())
        };
        match &explanation.reason {
            Reason::VirtualServer {
                nearest,
                number,
                distance,
            } => Self::VirtualServer {
                formula: match table.spec().strategy() {
                    Strategy::Quadratic => "Phi(i, j) = i^2 + j^2 + 2j + 25",
                    _ => "Phi(i, j) = i + j + 2j + 25",
                }
                .to_owned(),
                i: *number,
                j: nearest.j,
                wanted: nearest.wanted.get(),
                stands_on: nearest.slot.get(),
                distance: *distance,
            },
            Reason::Point { place, point, j } => {
                let slot = 2f64.powi(64) / f64::from(table.spec().slots());
                Self::Point {
                    place: format!("{place:#018x}"),
                    point: format!("{point:#018x}"),
                    j: *j,
                    distance: point.wrapping_sub(*place) as f64 / slot,
                }
            }
            Reason::Preferences(preferences) => {
                let row = |preference: &Preference| {
                    let (replica, weight) = member(preference.member);
                    PreferenceRow {
                        replica,
                        weight,
                        offset: preference.offset,
                        skip: preference.skip,
                        nth: preference.nth,
                    }
                };
                Self::Preferences {
                    preferences: preferences.iter().map(row).collect(),
                }
            }
            Reason::Scores(scores) => {
                let ownership = Ownership::by_slots(table);
                let row = |score: &MemberScore| {
                    let (replica, weight) = member(score.member);
                    ScoreRow {
                        replica,
                        weight,
                        score: score.score,
                        owns: ownership.owned(score.member),
                        capacity: score.capacity,
                    }
                };
                Self::Scores {
                    bumped: scores
                        .first()
                        .is_some_and(|lowest| lowest.member != explanation.owner),
                    scores: scores.iter().map(row).collect(),
                }
            }
        }
    }
}
