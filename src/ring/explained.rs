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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ring::testing::{table, weighted};

    fn explained(strategy: Strategy, slots: u32, key: &str) -> Value {
        let table = table(strategy, Some(slots), &weighted(&[1, 3]));
        serde_json::to_value(Explained::new(&table, key.as_bytes())).unwrap()
    }

    #[test]
    fn formula_is_named_with_its_numbers() {
        for (strategy, hash, place) in [
            (
                Strategy::Classic,
                ("H(i) = i + 2i + 1", "22"),
                "Phi(i, j) = i + j + 2j + 25",
            ),
            (
                Strategy::Quadratic,
                ("H(i) = i^2 + 2i + 17", "80"),
                "Phi(i, j) = i^2 + j^2 + 2j + 25",
            ),
            (
                Strategy::Modulo,
                ("H(i) = i", "7"),
                "Phi(i, j) = i + j + 2j + 25",
            ),
        ] {
            let found = explained(strategy, 512, "7");
            let (formula, h) = hash;
            let hash = json!({"by": "formula", "formula": formula, "i": 7, "h": h});
            assert_eq!(
                (&found["hash"], &found["why"]["formula"]),
                (&hash, &json!(place))
            );
            assert_eq!(
                (&found["number"], &found["hashed"]),
                (&json!("7"), &json!(false))
            );
        }
        // The remainder of a number of more than 31 bits, which gives the same slot.
        for (key, i) in [(1u64 << 31, 0u64), ((1 << 31) - 1, (1 << 31) - 1)] {
            let found = explained(Strategy::Modulo, 512, &key.to_string());
            assert_eq!(found["hash"]["i"], json!(i), "{key}");
        }
    }

    #[test]
    fn explanation_has_the_ring_the_order_and_the_numbers_that_decide() {
        for (strategy, slots) in [
            (Strategy::Ring, 512),
            (Strategy::Maglev, 251),
            (Strategy::Rendezvous, 512),
        ] {
            let found = explained(strategy, slots, "alice");
            let ring = &found["ring"];
            assert_eq!(
                (&ring["replicas"], &ring["total_weight"]),
                (&json!(2), &json!(4))
            );
            assert_eq!(found["hashed"], json!(true));
            assert_eq!(found["hash"]["by"], json!("mix"));
            assert_eq!(found["failover"][0], found["owner"]);
            let why = &found["why"];
            match strategy {
                Strategy::Ring => {
                    // 640 points on 512 slots.
                    let distance = why["distance"].as_f64().unwrap();
                    assert!((0.0..10.0).contains(&distance), "{distance}");
                }
                Strategy::Maglev => {
                    assert_eq!(why["preferences"].as_array().unwrap().len(), 2);
                }
                _ => {
                    let scores = why["scores"].as_array().unwrap();
                    let owns = scores.iter().filter_map(|score| score["owns"].as_u64());
                    assert_eq!(owns.sum::<u64>(), u64::from(slots));
                    let lowest_wins = scores[0]["replica"] == found["owner"];
                    assert_eq!(why["bumped"], json!(!lowest_wins));
                }
            }
        }
    }

    #[test]
    fn number_with_zeros_in_front_is_a_number_and_text_is_hashed() {
        for (key, hashed) in [("007", false), ("", true), ("7a", true), ("９", true)] {
            let found = explained(Strategy::Rendezvous, 64, key);
            assert_eq!(found["hashed"], json!(hashed), "{key:?}");
        }
    }
}
