//! A node that takes no tasks for a while, for a drill: what runs on it is moved, of whatever service.
//!
//! It is active again in any case: when the drill says so, when this balancer ends, or, if it is killed,
//! when another one starts. For that the node has a label with the name of the balancer's presence.

use std::rc::Rc;
use std::time::Duration;

use log::{debug, error, info, warn};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::SwarmFleet;
use super::api::{ObjectKind, SwarmError};
use super::labels::DRAINED_BY;
use super::own_container::OwnContainer;
use super::placement_rule::takes_tasks;
use super::presence::RENEW_INTERVAL;
use crate::runtime::RuntimeError;

/// How long the managers may take to have a node active again: a leader may just be lost.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(60);
const RESTORE_PAUSE: Duration = Duration::from_secs(1);

/// The node of this name or id among those that a manager lists, if it may be drained; else why not.
fn choose<'n>(nodes: &'n [Value], name: &str) -> Result<&'n str, String> {
    let id = |node: &'n Value| node["ID"].as_str().unwrap_or_default();
    let called = |node: &'n Value| {
        let hostname = node["Description"]["Hostname"].as_str();
        hostname.unwrap_or_default()
    };
    let mut found = nodes
        .iter()
        .filter(|node| id(node) == name || called(node) == name);
    let node = match (found.next(), found.next()) {
        (Some(node), None) => node,
        (Some(_), Some(_)) => {
            return Err(format!("several nodes are called {name}: say its id"));
        }
        (None, _) => {
            let names: Vec<_> = nodes.iter().map(called).collect();
            let names = names.join(", ");
            return Err(format!("the Swarm has no node {name}: it has {names}"));
        }
    };
    if !takes_tasks(node) {
        let state = node["Status"]["State"].as_str().unwrap_or("unknown");
        let availability = node["Spec"]["Availability"].as_str().unwrap_or("unknown");
        return Err(format!(
            "node {name} takes no tasks as it is: its state is {state}, its availability {availability}"
        ));
    }
    match nodes
        .iter()
        .any(|other| id(other) != id(node) && takes_tasks(other))
    {
        true => Ok(id(node)),
        false => Err(format!("node {name} is the only one that takes tasks")),
    }
}

/// Has a node take no tasks; whether that changes it.
fn drain(spec: &mut Value, by: &str) -> bool {
    if spec["Availability"] != "active" {
        return false;
    }
    spec["Availability"] = "drain".into();
    spec["Labels"][DRAINED_BY] = by.into();
    true
}

/// Undoes that; whether it changes anything. What an operator has set meanwhile stays.
fn restore(spec: &mut Value, by: &str) -> bool {
    if spec["Labels"][DRAINED_BY] != by {
        return false;
    }
    if let Some(labels) = spec["Labels"].as_object_mut() {
        labels.remove(DRAINED_BY);
    }
    if spec["Availability"] == "drain" {
        spec["Availability"] = "active".into();
    }
    true
}

/// The nodes that other balancers have drained for a drill, each with the balancer. Pure.
fn drained_by_others<'n>(nodes: &'n [Value], own: &str) -> Vec<(&'n str, &'n str)> {
    let drained = nodes.iter().filter_map(|node| {
        let by = node["Spec"]["Labels"][DRAINED_BY].as_str()?;
        Some((node["ID"].as_str()?, by))
    });
    drained.filter(|(_, by)| *by != own).collect()
}

impl SwarmFleet {
    /// Drains a node, one at a time.
    pub(super) async fn drain_node(self: Rc<Self>, name: String) -> Result<(), RuntimeError> {
        let listed = self.api.get("/nodes").await?;
        let nodes = listed.as_array().map(Vec::as_slice).unwrap_or_default();
        let id = choose(nodes, &name).map_err(RuntimeError)?;
        let info = self.api.get("/info").await?;
        let engine = info["Swarm"]["NodeID"].as_str().unwrap_or_default();
        let own = OwnContainer::find(&self.api).await?;
        if own.is_some_and(|own| own.is_task_on(id, engine)) {
            return Err(RuntimeError(format!(
                "this balancer is a task on node {name}, and would be ended with it: ask one on another \
                 node"
            )));
        }
        if self.drained_node.borrow().is_some() {
            return Err(RuntimeError("another node is drained already".to_owned()));
        }
        // Before the call: a call that fails may have been carried out.
        self.drained_node.replace(Some(id.to_owned()));
        let by = self.presence.name();
        let drained = self
            .api
            .change(ObjectKind::Node, id, |spec| drain(spec, by))
            .await;
        if let Err(error) = drained {
            self.restore_node().await?;
            return Err(error.into());
        }
        info!("swarm: node {name} is drained");
        Ok(())
    }

    /// Has the node that was drained take tasks again.
    pub(super) async fn restore_node(&self) -> Result<(), RuntimeError> {
        let begun = Instant::now();
        loop {
            let Some(id) = self.drained_node.borrow().clone() else {
                return Ok(());
            };
            let by = self.presence.name();
            let restored = self
                .api
                .change(ObjectKind::Node, &id, |spec| restore(spec, by))
                .await;
            match restored {
                Err(error) if !error.is_missing() => {
                    if begun.elapsed() > RESTORE_TIMEOUT {
                        error!(
                            "swarm: node {id} is still drained ({error}): docker node update \
                             --availability active {id}"
                        );
                        return Err(error.into());
                    }
                    sleep(RESTORE_PAUSE).await;
                }
                _ => {
                    info!("swarm: node {id} takes tasks again");
                    self.drained_node.take();
                    return Ok(());
                }
            }
        }
    }

    /// Restores the nodes that other balancers have drained, of whatever fleet, once those live no more.
    pub(super) async fn restore_abandoned_nodes(self: Rc<Self>, mut listed: Value) {
        loop {
            let nodes = listed.as_array().map(Vec::as_slice).unwrap_or_default();
            let drained = drained_by_others(nodes, self.presence.name());
            if drained.is_empty() || self.is_leaving.get() {
                return;
            }
            for (id, by) in drained {
                if let Err(error) = self.restore_if_abandoned(id, by).await {
                    debug!("swarm: cannot restore node {id}: {error}");
                }
            }
            sleep(RENEW_INTERVAL).await;
            if let Ok(now) = self.api.get("/nodes").await {
                listed = now;
            }
        }
    }

    async fn restore_if_abandoned(&self, id: &str, by: &str) -> Result<(), SwarmError> {
        if self.presence.lives(&self.api, by).await? {
            return Ok(());
        }
        warn!("swarm: node {id} was drained by a drill that broke off: it takes tasks again");
        let restored = |spec: &mut Value| restore(spec, by);
        self.api.change(ObjectKind::Node, id, restored).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(id: &str, name: &str, availability: &str) -> Value {
        json!({
            "ID": id,
            "Status": {"State": "ready"},
            "Spec": {"Availability": availability, "Role": "manager", "Labels": {"zone": "a"}},
            "Description": {"Hostname": name},
        })
    }

    #[test]
    fn a_node_is_chosen_by_name_or_id_if_another_takes_tasks() {
        let nodes = [
            node("i1", "one", "active"),
            node("i2", "two", "active"),
            node("i3", "three", "drain"),
            node("i4", "two", "active"),
        ];
        for (name, expected) in [
            ("one", Ok("i1")),
            ("i2", Ok("i2")),
            ("two", Err("several nodes are called two")),
            ("three", Err("its state is ready, its availability drain")),
            ("nine", Err("no node nine: it has one, two, three, two")),
        ] {
            match (choose(&nodes, name), expected) {
                (Ok(id), Ok(wanted)) => assert_eq!(id, wanted),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        let error = choose(&nodes[..1], "one").unwrap_err();
        assert!(error.contains("the only one"), "{error}");
        assert!(choose(&[nodes[0].clone(), nodes[2].clone()], "one").is_err());
    }

    #[test]
    fn a_node_is_restored_as_it_was() {
        let mut spec = node("i1", "one", "active")["Spec"].clone();
        let before = spec.clone();
        assert!(drain(&mut spec, "zoo-balancer-1"));
        assert!(!drain(&mut spec, "zoo-balancer-1"));
        assert_eq!(spec["Availability"], "drain");
        let listed = [json!({"ID": "i1", "Spec": spec})];
        assert_eq!(
            drained_by_others(&listed, "own"),
            [("i1", "zoo-balancer-1")]
        );
        assert_eq!(drained_by_others(&listed, "zoo-balancer-1"), []);
        assert!(!restore(&mut spec, "zoo-balancer-2"));
        assert!(restore(&mut spec, "zoo-balancer-1"));
        assert_eq!(spec, before);
        assert!(!restore(&mut spec, "zoo-balancer-1"));
        // An operator wants it otherwise by now.
        let mut spec = json!({"Availability": "active", "Labels": null});
        assert!(drain(&mut spec, "b"));
        spec["Availability"] = json!("pause");
        assert!(restore(&mut spec, "b"));
        assert_eq!(spec, json!({"Availability": "pause", "Labels": {}}));
    }
}
