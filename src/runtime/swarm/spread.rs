//! On which nodes an instance must not start. Pure.
//!
//! A Swarm ranks nodes by all of their tasks: six replicas land on two of three nodes where other
//! services fill the third. So a node that has its share of the fleet already is excluded, and so is
//! one that has just lost an instance without a word, until the Swarm knows that it is lost.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

/// The nodes that take tasks, as a manager lists them.
pub(super) fn eligible(nodes: &[Value]) -> BTreeSet<String> {
    let takes_tasks = |node: &&Value| {
        node["Status"]["State"] == "ready" && node["Spec"]["Availability"] == "active"
    };
    let ids = nodes
        .iter()
        .filter(takes_tasks)
        .map(|node| node["ID"].as_str());
    ids.flatten().map(str::to_owned).collect()
}

/// The nodes that one more instance must not start on. `placed`: the nodes of those that run or
/// start, one for each. None if that would leave no node.
pub(super) fn excluded<'n>(
    nodes: &BTreeSet<String>,
    placed: impl Iterator<Item = &'n str>,
    suspects: &HashSet<String>,
) -> Vec<String> {
    let good = nodes.iter().filter(|node| !suspects.contains(*node));
    let mut counts: HashMap<&str, usize> = good.map(|node| (node.as_str(), 0)).collect();
    let mut total: usize = 1;
    for node in placed {
        if let Some(count) = counts.get_mut(node) {
            *count += 1;
            total += 1;
        }
    }
    if counts.is_empty() {
        return Vec::new();
    }
    let share = total.div_ceil(counts.len());
    let full = counts.iter().filter(|(_, count)| **count >= share);
    let full: BTreeSet<_> = full.map(|(node, _)| (*node).to_owned()).collect();
    let suspects = suspects.iter().filter(|node| nodes.contains(*node));
    full.into_iter()
        .chain(suspects.cloned().collect::<BTreeSet<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn of(names: &[&str], placed: &[&str], suspects: &[&str]) -> Vec<String> {
        let suspects = suspects.iter().map(|&name| name.to_owned()).collect();
        excluded(&nodes(names), placed.iter().copied(), &suspects)
    }

    #[test]
    fn no_node_gets_more_than_its_share() {
        const NODES: [&str; 3] = ["a", "b", "c"];
        assert_eq!(of(&NODES, &[], &[]), [""; 0]);
        assert_eq!(of(&NODES, &["a"], &[]), ["a"]);
        assert_eq!(of(&NODES, &["a", "b"], &[]), ["a", "b"]);
        assert_eq!(of(&NODES, &["a", "b", "c"], &[]), [""; 0]);
        assert_eq!(of(&NODES, &["a", "a", "b"], &[]), ["a"]);
        // Nodes that are gone hold nothing.
        assert_eq!(of(&NODES, &["x", "x", "a"], &[]), ["a"]);
        assert_eq!(of(&["a"], &["a", "a"], &[]), [""; 0]);
        assert_eq!(of(&[], &["a"], &[]), [""; 0]);
    }

    #[test]
    fn a_node_in_doubt_is_excluded_and_does_not_count() {
        assert_eq!(of(&["a", "b", "c"], &["a", "b", "c", "c"], &["c"]), ["c"]);
        assert_eq!(of(&["a", "b", "c"], &["a", "b", "a"], &["c"]), ["a", "c"]);
        assert_eq!(of(&["a"], &["a"], &["a"]), [""; 0]);
        assert_eq!(of(&["a", "b"], &[], &["gone"]), [""; 0]);
    }

    #[test]
    fn a_fleet_that_starts_is_spread_evenly() {
        let names = nodes(&["a", "b", "c"]);
        let mut placed: Vec<String> = Vec::new();
        for _ in 0..7 {
            let taken = excluded(&names, placed.iter().map(String::as_str), &HashSet::new());
            // The worst that a Swarm can choose.
            let chosen = names.iter().find(|node| !taken.contains(node)).unwrap();
            placed.push(chosen.clone());
        }
        for node in &names {
            assert!(placed.iter().filter(|on| *on == node).count() <= 3);
        }
    }

    #[test]
    fn only_nodes_that_take_tasks_are_eligible() {
        let node = |id: &str, state: &str, availability: &str| json!({"ID": id, "Status": {"State": state}, "Spec": {"Availability": availability}});
        let listed = [
            node("a", "ready", "active"),
            node("b", "down", "active"),
            node("c", "ready", "drain"),
            node("d", "unknown", "active"),
            Value::Null,
        ];
        assert_eq!(eligible(&listed), nodes(&["a"]));
    }
}
