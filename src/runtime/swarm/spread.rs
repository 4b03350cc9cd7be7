//! How many replicas a node and a zone may have, and which have more. Pure.
//!
//! A Swarm ranks nodes by all of their tasks: six replicas land on two of three nodes where other
//! services fill the third. So a node that has its share of the fleet already is excluded, and so is
//! one that has just lost an instance without a word, until the Swarm knows that it is lost.
//!
//! A zone's share are all replicas divided by the zones, rounded up; a node's is that of its zone
//! divided by the zone's nodes, rounded up. So some node always has less than its share.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::placement_rule::Nodes;

/// How many there are, and how many there may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReplicaCount {
    pub(super) count: usize,
    pub(super) share: usize,
}

impl ReplicaCount {
    fn is_full(self) -> bool {
        self.count >= self.share
    }

    fn is_too_much(self) -> bool {
        self.count > self.share
    }
}

/// A node, its zone and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeLoad<'n> {
    pub(super) zone: &'n str,
    pub(super) load: ReplicaCount,
}

/// What is where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NodeSpread<'n> {
    pub(super) nodes: BTreeMap<&'n str, NodeLoad<'n>>,
    zones: BTreeMap<&'n str, ReplicaCount>,
}

impl<'n> NodeSpread<'n> {
    /// That of replicas on these nodes, one for each, and of `more` that are to come. Replicas on other
    /// nodes do not count.
    pub(super) fn of<'p>(
        nodes: impl Iterator<Item = (&'n String, &'n String)>,
        placed: impl Iterator<Item = &'p str>,
        more: usize,
    ) -> Self {
        let mut zones: BTreeMap<&str, ReplicaCount> = BTreeMap::new();
        let mut nodes: BTreeMap<&str, NodeLoad<'_>> = nodes
            .map(|(id, zone)| {
                let (zone, load) = (zone.as_str(), ReplicaCount::default());
                // For the time being a zone's share are its nodes.
                zones.entry(zone).or_default().share += 1;
                (id.as_str(), NodeLoad { zone, load })
            })
            .collect();
        let mut total = more;
        for node in placed {
            if let Some(node) = nodes.get_mut(node) {
                node.load.count += 1;
                zones.entry(node.zone).or_default().count += 1;
                total += 1;
            }
        }
        let share_of_zone = total.div_ceil(zones.len().max(1));
        for node in nodes.values_mut() {
            node.load.share = share_of_zone.div_ceil(zones[node.zone].share.max(1));
        }
        for zone in zones.values_mut() {
            zone.share = share_of_zone;
        }
        Self { nodes, zones }
    }

    fn zone_of(&self, node: &NodeLoad<'_>) -> ReplicaCount {
        self.zones.get(node.zone).copied().unwrap_or_default()
    }

    /// The nodes that have their share, or whose zones have.
    fn full(&self) -> BTreeSet<String> {
        let full = self
            .nodes
            .iter()
            .filter(|(_, node)| node.load.is_full() || self.zone_of(node).is_full());
        full.map(|(id, _)| (*id).to_owned()).collect()
    }

    /// Takes one from a node.
    fn take(&mut self, node: &str) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.load.count -= 1;
            if let Some(zone) = self.zones.get_mut(node.zone) {
                zone.count -= 1;
            }
        }
    }
}

/// The nodes that one more instance must not start on. `placed`: the nodes of those that run or
/// start, one for each. None if that would leave no node.
pub(super) fn excluded<'p>(
    nodes: &Nodes,
    placed: impl Iterator<Item = &'p str>,
    suspects: &HashSet<String>,
) -> Vec<String> {
    let good = nodes.iter().filter(|(node, _)| !suspects.contains(*node));
    let spread = NodeSpread::of(good, placed, 1);
    if spread.nodes.is_empty() {
        return Vec::new();
    }
    let suspects = suspects.iter().filter(|node| nodes.contains_key(*node));
    spread
        .full()
        .into_iter()
        .chain(suspects.cloned().collect::<BTreeSet<_>>())
        .collect()
}

/// Which replicas are above the share of their nodes and zones, by their places in `placed`, the last
/// ones first.
pub(super) fn surplus(nodes: &Nodes, placed: &[&str]) -> Vec<usize> {
    let mut spread = NodeSpread::of(nodes.iter(), placed.iter().copied(), 0);
    let mut moved = Vec::new();
    // A node's surplus may be all that its zone has too much.
    for by_zone in [false, true] {
        for (place, node) in placed.iter().enumerate().rev() {
            let Some(load) = spread.nodes.get(node) else {
                continue;
            };
            let is_too_much = match by_zone {
                true => spread.zone_of(load).is_too_much(),
                false => load.load.is_too_much(),
            };
            if is_too_much && !moved.contains(&place) {
                spread.take(node);
                moved.push(place);
            }
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(names: &[&str]) -> Nodes {
        // a1 is in the zone a.
        let zone = |name: &str| match name.len() {
            2 => name[..1].to_owned(),
            _ => String::new(),
        };
        names
            .iter()
            .map(|name| ((*name).to_owned(), zone(name)))
            .collect()
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
    fn no_zone_gets_more_than_its_share() {
        const NODES: [&str; 3] = ["a1", "b1", "b2"];
        assert_eq!(of(&NODES, &["b1"], &[]), ["b1", "b2"]);
        assert_eq!(of(&NODES, &["b1", "a1"], &[]), ["b1"]);
        assert_eq!(of(&NODES, &["a1", "b1", "b2"], &[]), ["b1", "b2"]);
        // Half of six is on the one node of a zone.
        assert_eq!(
            of(&NODES, &["a1", "a1", "b1", "b2", "b2"], &[]),
            ["b1", "b2"]
        );
    }

    #[test]
    fn a_node_in_doubt_is_excluded_and_does_not_count() {
        assert_eq!(of(&["a", "b", "c"], &["a", "b", "c", "c"], &["c"]), ["c"]);
        assert_eq!(of(&["a", "b", "c"], &["a", "b", "a"], &["c"]), ["a", "c"]);
        assert_eq!(of(&["a"], &["a"], &["a"]), [""; 0]);
        assert_eq!(of(&["a", "b"], &[], &["gone"]), [""; 0]);
    }

    #[test]
    fn replicas_above_the_share_are_to_go_the_last_ones_first() {
        let all = nodes(&["a", "b", "c"]);
        for (placed, expected) in [
            (&["a", "b", "c", "a", "b", "c"][..], &[][..]),
            (&["a", "b", "a", "b", "a", "b"], &[5, 4]),
            (&["a", "a", "a", "a"], &[3, 2]),
            // No node has more than the half, rounded up.
            (&["a", "b", "a", "b"], &[]),
            // What is elsewhere is healed, not moved.
            (&["x", "x", "x", "a", "b"], &[]),
        ] {
            assert_eq!(surplus(&all, placed), expected, "{placed:?}");
        }
        let zones = nodes(&["a1", "b1", "b2"]);
        assert_eq!(surplus(&zones, &["b1", "b2", "b1", "b2"]), [3, 2]);
        assert_eq!(surplus(&zones, &["a1", "b2", "a1", "b2"]), [3]);
        // The node's two are the zone's two.
        let more = nodes(&["a1", "b1", "b2"]);
        let placed = ["b1", "b1", "b1", "b1", "b2", "a1"];
        assert_eq!(surplus(&more, &placed), [3, 2]);
        assert_eq!(surplus(&nodes(&[]), &["a"]), [0; 0]);
    }

    proptest! {
        /// Whatever node the Swarm chooses of those that are left.
        #[test]
        fn every_start_and_every_move_has_a_node_and_ends_within_the_shares(
            zones in prop::collection::vec(1..4_usize, 1..4),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
            lumped in any::<bool>(),
        ) {
            let named = zones.iter().enumerate().flat_map(|(zone, size)| {
                (0..*size).map(move |node| (format!("{zone}-{node}"), zone.to_string()))
            });
            let all: Nodes = named.collect();
            let mut placed: Vec<String> = Vec::new();
            let choose = |placed: &[String], choice: &prop::sample::Index| {
                let taken = excluded(&all, placed.iter().map(String::as_str), &HashSet::new());
                let left: Vec<_> = all.keys().filter(|node| !taken.contains(node)).collect();
                prop_assert!(!left.is_empty());
                Ok(left[choice.index(left.len())].clone())
            };
            for choice in &choices {
                let node = match lumped {
                    true => all.keys().nth(choice.index(2) % all.len()).cloned().unwrap_or_default(),
                    false => choose(&placed, choice)?,
                };
                placed.push(node);
            }
            let over = |placed: &[String]| {
                surplus(&all, &placed.iter().map(String::as_str).collect::<Vec<_>>())
            };
            for (place, choice) in over(&placed).into_iter().zip(choices.iter().cycle()) {
                placed.remove(place);
                let node = choose(&placed, choice)?;
                placed.insert(place, node);
            }
            prop_assert_eq!(over(&placed), Vec::<usize>::new());
        }
    }
}
