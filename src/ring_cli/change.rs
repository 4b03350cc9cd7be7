//! A change of a member set: replicas that join, leave or change weight.

use crate::ring::{Member, Weight};

/// A change of a member set. Names that leave or change weight are texts, because members may
/// have names that are not valid for new ones (those of servers known by their address).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberChange {
    /// The members that join.
    pub join: Vec<Member>,
    /// The names of members that leave.
    pub leave: Vec<String>,
    /// The names of members that get another weight, and the weight.
    pub weight: Vec<(String, Weight)>,
}

/// A part of a change that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The part of the change: `join`, `leave` or `weight`.
    pub part: &'static str,
    /// The name it is about.
    pub name: String,
    /// The reason.
    pub wrong: String,
}

impl MemberChange {
    /// True if nothing changes.
    pub fn is_empty(&self) -> bool {
        self.join.is_empty() && self.leave.is_empty() && self.weight.is_empty()
    }

    /// The members afterwards.
    ///
    /// # Errors
    ///
    /// Every part that cannot be made.
    pub fn apply(&self, before: &[Member]) -> Result<Vec<Member>, Vec<Mistake>> {
        let mut after = before.to_vec();
        let mut mistakes = Vec::new();
        let mut mistake = |part, name: &str, wrong: String| {
            mistakes.push(Mistake {
                part,
                name: name.to_owned(),
                wrong,
            });
        };

        for (name, weight) in &self.weight {
            match after.iter_mut().find(|m| m.name.as_str() == name) {
                Some(member) => member.weight = *weight,
                None => mistake("weight", name, unknown_name(before)),
            }
        }
        for name in &self.leave {
            match after.iter().position(|m| m.name.as_str() == name) {
                Some(place) => drop(after.remove(place)),
                None if before.iter().any(|m| m.name.as_str() == name) => {
                    mistake("leave", name, "leaves twice".to_owned());
                }
                None => mistake("leave", name, unknown_name(before)),
            }
        }
        for member in &self.join {
            // Also if it leaves: the two together would be a new weight, or nothing.
            let there = |members: &[Member]| members.iter().any(|m| m.name == member.name);
            let after_alike = after
                .iter()
                .find(|m| m.name.is_same_in_dns(&member.name) && m.name != member.name);
            if let Some(other) = after_alike {
                let wrong = format!("DNS cannot tell it from {}", other.name);
                mistake("join", member.name.as_str(), wrong);
            } else if there(before) {
                let wrong = "is there already; --weight changes its weight";
                mistake("join", member.name.as_str(), wrong.to_owned());
            } else if there(&after) {
                mistake("join", member.name.as_str(), "joins twice".to_owned());
            } else {
                after.push(member.clone());
            }
        }
        if mistakes.is_empty() {
            Ok(after)
        } else {
            Err(mistakes)
        }
    }
}

fn unknown_name(members: &[Member]) -> String {
    const MAX_NAMES: usize = 8;
    let mut names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
    names.sort_unstable();
    let more = if names.len() > MAX_NAMES { ", ..." } else { "" };
    names.truncate(MAX_NAMES);
    format!(
        "no replica has that name; there are {}{more}",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring_cli::{member, members};

    fn applied(change: &MemberChange) -> Result<Vec<String>, Vec<String>> {
        let show = |m: &Member| format!("{}={}", m.name, m.weight.get());
        let after = change.apply(&members("A,B=2,C").unwrap());
        let after = after.map(|members| members.iter().map(show).collect());
        after.map_err(|mistakes| {
            let show = |m: Mistake| format!("{} {}: {}", m.part, m.name, m.wrong);
            mistakes.into_iter().map(show).collect()
        })
    }

    #[test]
    fn members_join_leave_and_change_weight_at_once() {
        let change = MemberChange {
            join: vec![member("D=3").unwrap()],
            leave: vec!["A".to_owned()],
            weight: vec![("C".to_owned(), Weight::new(5).unwrap())],
        };
        assert_eq!(applied(&change).unwrap(), ["B=2", "C=5", "D=3"]);
        assert!(MemberChange::default().is_empty() && !change.is_empty());
    }

    #[test]
    fn every_mistake_of_a_change_is_reported() {
        let change = MemberChange {
            join: ["A", "D", "D", "c"]
                .map(|name| member(name).unwrap())
                .into(),
            leave: ["X", "A", "A"].map(str::to_owned).into(),
            weight: vec![("Y".to_owned(), Weight::default())],
        };
        assert_eq!(
            applied(&change).unwrap_err(),
            [
                "weight Y: no replica has that name; there are A, B, C",
                "leave X: no replica has that name; there are A, B, C",
                "leave A: leaves twice",
                "join A: is there already; --weight changes its weight",
                "join D: joins twice",
                "join c: DNS cannot tell it from C",
            ]
        );
    }
}
