//! Which nodes may run a task by the rules of its service, and which zone a node is in. Pure.
//!
//! Constraints are read as the Swarm reads them (swarmkit, `manager/constraint`): without regard to
//! case, a label that is missing has an empty value. What is not known here is left to the Swarm.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

/// The nodes that take tasks of a service, and the zone of each: the value of its label.
pub(super) type Nodes = BTreeMap<String, String>;

/// Where tasks may run, and what they are spread over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PlacementRule {
    /// `node.role==worker`
    constraints: Vec<String>,
    /// `node.labels.zone`
    zone: Option<String>,
}

impl PlacementRule {
    /// What the placement of a task's spec says. Of several preferences the first one counts.
    pub(super) fn read(placement: &Value) -> Self {
        let constraints = placement["Constraints"].as_array().into_iter().flatten();
        let preferences = placement["Preferences"].as_array().into_iter().flatten();
        let mut zones = preferences.filter_map(|one| one["Spread"]["SpreadDescriptor"].as_str());
        Self {
            constraints: constraints
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect(),
            zone: zones.next().map(str::to_owned),
        }
    }

    /// The same, spread over the values of this label of nodes if it is one.
    pub(super) fn with_zone(self, zone: Option<&str>) -> Self {
        let zone = zone.map(str::to_owned).or(self.zone);
        Self { zone, ..self }
    }

    /// Whether nodes are told apart by zones.
    pub(super) fn has_zones(&self) -> bool {
        self.zone.is_some()
    }

    /// The nodes, of those that a manager lists, that take tasks and meet the constraints.
    pub(super) fn eligible(&self, nodes: &[Value]) -> Nodes {
        let is_eligible = |node: &&Value| {
            takes_tasks(node) && self.constraints.iter().all(|text| meets(node, text))
        };
        let takers = nodes.iter().filter(is_eligible);
        let takers = takers.filter_map(|node| {
            let zone = self.zone.as_deref().and_then(|zone| value_of(node, zone));
            Some((node["ID"].as_str()?.to_owned(), zone.unwrap_or_default()))
        });
        takers.collect()
    }
}

/// Whether a node, as a manager lists it, takes tasks of any service.
pub(super) fn takes_tasks(node: &Value) -> bool {
    node["Status"]["State"] == "ready" && node["Spec"]["Availability"] == "active"
}

/// Where other nodes reach a node, as a manager lists it: the one that leads may call its own 0.0.0.0.
pub(super) fn address_of(node: &Value) -> Option<IpAddr> {
    let managers = node["ManagerStatus"]["Addr"].as_str();
    let managers = managers.and_then(|text| Some(text.parse::<SocketAddr>().ok()?.ip()));
    let own = node["Status"]["Addr"].as_str();
    let own = own.and_then(|text| text.parse::<IpAddr>().ok());
    let mut addresses = [managers, own].into_iter().flatten();
    addresses.find(|address| !address.is_unspecified() && !address.is_loopback())
}

/// Whether a node meets a constraint.
fn meets(node: &Value, constraint: &str) -> bool {
    let (parts, is_equal) = match constraint.split_once("!=") {
        Some(parts) => (Some(parts), false),
        None => (constraint.split_once("=="), true),
    };
    let Some((key, wanted)) = parts else {
        return true;
    };
    match value_of(node, key.trim()) {
        Some(value) => value.eq_ignore_ascii_case(wanted.trim()) == is_equal,
        None => true,
    }
}

/// The value of a node's attribute; none if the attribute is not known here.
fn value_of(node: &Value, key: &str) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let after = |prefix: &str| {
        let (start, label) = (key.get(..prefix.len())?, key.get(prefix.len()..)?);
        start.eq_ignore_ascii_case(prefix).then_some(label)
    };
    if let Some(label) = after("node.labels.") {
        return Some(text(&node["Spec"]["Labels"][label]));
    }
    if let Some(label) = after("engine.labels.") {
        return Some(text(&node["Description"]["Engine"]["Labels"][label]));
    }
    match key.to_ascii_lowercase().as_str() {
        "node.id" => Some(text(&node["ID"])),
        "node.hostname" => Some(text(&node["Description"]["Hostname"])),
        "node.role" => Some(text(&node["Spec"]["Role"])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(id: &str, state: &str, availability: &str, zone: Option<&str>) -> Value {
        let labels = zone.map_or(json!({}), |zone| json!({ "zone": zone }));
        json!({
            "ID": id,
            "Status": {"State": state},
            "Spec": {"Availability": availability, "Role": "worker", "Labels": labels},
            "Description": {"Hostname": format!("host-{id}"), "Engine": {"Labels": {"disk": "ssd"}}},
        })
    }

    fn rule(constraints: &[&str], zone: Option<&str>) -> PlacementRule {
        PlacementRule::read(&json!({ "Constraints": constraints })).with_zone(zone)
    }

    #[test]
    fn only_nodes_that_take_tasks_are_eligible() {
        let listed = [
            node("a", "ready", "active", None),
            node("b", "down", "active", None),
            node("c", "ready", "drain", None),
            node("d", "unknown", "active", None),
            Value::Null,
        ];
        let eligible = rule(&[], None).eligible(&listed);
        assert_eq!(eligible, Nodes::from([("a".to_owned(), String::new())]));
    }

    #[test]
    fn the_address_of_a_node_is_the_one_that_others_reach() {
        for (node, expected) in [
            (json!({"Status": {"Addr": "10.0.0.3"}}), Some("10.0.0.3")),
            (
                json!({"Status": {"Addr": "0.0.0.0"}, "ManagerStatus": {"Addr": "10.0.0.1:2377"}}),
                Some("10.0.0.1"),
            ),
            (
                json!({"Status": {"Addr": "fd00::2"}, "ManagerStatus": {"Addr": "[fd00::2]:2377"}}),
                Some("fd00::2"),
            ),
            (json!({"Status": {"Addr": "127.0.0.1"}}), None),
            (json!({}), None),
        ] {
            let address = address_of(&node).map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected, "{node}");
        }
    }

    #[test]
    fn constraints_are_read_as_the_swarm_reads_them() {
        let one = node("a", "ready", "active", Some("East"));
        for (constraint, expected) in [
            ("node.id==a", true),
            ("node.id != a", false),
            ("node.hostname==HOST-A", true),
            ("node.role==manager", false),
            ("Node.Role != manager", true),
            ("node.labels.zone==east", true),
            ("node.labels.zone!=east", false),
            ("node.labels.other==x", false),
            ("node.labels.other!=x", true),
            ("engine.labels.disk == ssd", true),
            // The Swarm decides.
            ("node.platform.os==windows", true),
            ("node.ip==10.0.0.0/8", true),
            ("nothing", true),
        ] {
            let found = rule(&[constraint], None).eligible(std::slice::from_ref(&one));
            assert_eq!(found.contains_key("a"), expected, "{constraint}");
        }
    }

    #[test]
    fn the_zone_is_the_value_of_a_label() {
        let listed = [
            node("a", "ready", "active", Some("east")),
            node("b", "ready", "active", None),
        ];
        let of_stack = json!({"Preferences": [
            {"Spread": {"SpreadDescriptor": "node.labels.zone"}},
            {"Spread": {"SpreadDescriptor": "node.labels.rack"}},
        ]});
        let expected =
            [("a", "east"), ("b", "")].map(|(id, zone)| (id.to_owned(), zone.to_owned()));
        for rule in [
            PlacementRule::read(&of_stack),
            rule(&[], Some("node.labels.zone")),
        ] {
            assert_eq!(rule.eligible(&listed), Nodes::from(expected.clone()));
        }
        let by_engine = rule(&[], Some("engine.labels.disk")).eligible(&listed);
        assert_eq!(by_engine["b"], "ssd");
    }
}
