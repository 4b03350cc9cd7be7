//! Creates the service of an instance on a node that has room for it.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use log::debug;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::SwarmFleet;
use super::api::{ObjectKind, SwarmError};
use super::launch::{OpenLaunch, POLL_INTERVAL, newest};
use super::placement_rule::{Nodes, PlacementRule};
use super::service::ServiceRole;
use super::service_spec::{ServicePlan, spec};
use super::spread::{NodeSpread, excluded, surplus};
use super::task::{TaskInfo, TaskState};
use crate::api::{FleetSpread, NodeShare, ReplicaMove};
use crate::fleet::Definition;
use crate::ring::ReplicaName;
use crate::runtime::{LaunchOrder, RuntimeError};

/// A task without a node for longer than this has constraints that no node meets.
const SPREAD_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a task may have no node without those of the spread.
const PENDING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node is avoided on which an instance has ceased to answer: longer than a Swarm takes
/// to find out that it is lost.
const SUSPICION: Duration = Duration::from_secs(30);

/// How a task that was created got on.
enum Placement {
    /// It has a node, or has ended.
    Placed,
    /// It has none: why, in the Swarm's words.
    Pending(String),
}

impl SwarmFleet {
    /// Creates the service, spread over the nodes, and waits until its task has one. Returns its id; none
    /// if the name is taken.
    pub(super) async fn create_and_place(
        &self,
        plan: &ServicePlan,
        order: &LaunchOrder,
        launch: &OpenLaunch,
    ) -> Result<Option<String>, RuntimeError> {
        let _alone = self.placing.lock().await;
        launch.check_not_cancelled()?;
        let mut nodes = self.excluded_nodes(plan, &order.id.replica).await;
        debug!("swarm: {} is not placed on {nodes:?}", order.id);
        loop {
            let described = spec(plan, &nodes);
            let created = self.api.create_service(&described, &plan.auth);
            let service = match created.await {
                Err(error) if error.is_taken() => return Ok(None),
                created => created?,
            };
            let timeout = match nodes.is_empty() {
                true => PENDING_TIMEOUT,
                false => SPREAD_TIMEOUT,
            };
            match self
                .await_node(&service, &order.id.replica, launch, timeout)
                .await
            {
                Ok(Placement::Placed) => return Ok(Some(service)),
                Ok(Placement::Pending(_)) if !nodes.is_empty() => {
                    debug!("swarm: no other node takes {}: it is not spread", order.id);
                    self.api.remove(ObjectKind::Service, &plan.name).await?;
                    nodes.clear();
                }
                Ok(Placement::Pending(reason)) => {
                    self.discard(&plan.name).await;
                    return Err(RuntimeError(reason));
                }
                Err(error) => {
                    self.discard(&plan.name).await;
                    return Err(error);
                }
            }
        }
    }

    async fn await_node(
        &self,
        service: &str,
        replica: &ReplicaName,
        launch: &OpenLaunch,
        timeout: Duration,
    ) -> Result<Placement, RuntimeError> {
        let begun = Instant::now();
        loop {
            launch.check_not_cancelled()?;
            let tasks = self.tasks_of(replica).await?;
            let task = newest(&tasks, service);
            if task.is_some_and(|task| task.state != TaskState::Pending) {
                return Ok(Placement::Placed);
            }
            if begun.elapsed() > timeout {
                let reason = task.and_then(|task| task.error.clone());
                let reason = reason.unwrap_or_else(|| "no node takes it".to_owned());
                return Ok(Placement::Pending(reason));
            }
            sleep(POLL_INTERVAL / 2).await;
        }
    }

    /// The nodes that have their share of the fleet, and those in doubt. None if the nodes are not
    /// known: a replica on the wrong node is better than none.
    async fn excluded_nodes(&self, plan: &ServicePlan, replica: &ReplicaName) -> Vec<String> {
        let placement = plan.parts.task.get("Placement").unwrap_or(&Value::Null);
        let rule = PlacementRule::read(placement).with_zone(self.settings.zone.as_deref());
        // Instances of a canary take no replica's place, but are spread themselves.
        let with_extra = plan.role == ServiceRole::Extra;
        let Ok((nodes, tasks)) = self.nodes_and_tasks(&rule, with_extra).await else {
            return Vec::new();
        };
        let suspects = self.suspect_nodes();
        // What the instance is to replace goes.
        let others = placed(&tasks)
            .into_iter()
            .filter(|(order, _)| order.id.replica != *replica);
        excluded(&nodes, others.map(|(_, node)| node), &suspects)
    }

    /// The nodes on which an instance has ceased to answer lately.
    fn suspect_nodes(&self) -> HashSet<String> {
        let mut suspects = self.suspects.borrow_mut();
        suspects.retain(|_, since| since.elapsed() < SUSPICION);
        suspects.keys().cloned().collect()
    }

    /// The nodes that take tasks by a rule, and the tasks of instances that are not given up here;
    /// `with_extra`: those that play no replica, too.
    async fn nodes_and_tasks(
        &self,
        rule: &PlacementRule,
        with_extra: bool,
    ) -> Result<(Nodes, Vec<TaskInfo>), SwarmError> {
        let (nodes, tasks) = futures::join!(
            self.api.get("/nodes"),
            self.api.tasks(self.name(), self.network())
        );
        let (nodes, mut tasks) = (nodes?, tasks?);
        let nodes = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
        self.note_nodes(nodes);
        let instances = self.instances.borrow();
        let counts = |task: &TaskInfo| with_extra || !task.is_extra;
        tasks.retain(|task| counts(task) && !instances.is_given_up(&task.order.id));
        Ok((rule.eligible(nodes), tasks))
    }

    /// How replicas of a definition are spread, and which of them are above their shares.
    pub(super) async fn spread(
        self: Rc<Self>,
        definition: Arc<Definition>,
    ) -> Result<FleetSpread, RuntimeError> {
        let like = self.settings.containers.following(&definition).like;
        let placement = like.map_or(Value::Null, |like| like.body["Placement"].clone());
        let zone = self.settings.zone.as_deref();
        let rule = PlacementRule::read(&placement).with_zone(zone);
        let (mut nodes, tasks) = self.nodes_and_tasks(&rule, false).await?;
        let suspects = self.suspect_nodes();
        nodes.retain(|node, _| !suspects.contains(node));
        let placed = placed(&tasks);
        let on: Vec<_> = placed.iter().map(|(_, node)| *node).collect();
        let names = self.node_names.borrow();
        let name_of = |id: &str| names.get(id).map_or(id, String::as_str).to_owned();
        let spread = NodeSpread::of(nodes.iter(), on.iter().copied(), 0);
        let mut shares: Vec<_> = spread
            .nodes
            .iter()
            .map(|(id, node)| NodeShare {
                node: name_of(id),
                zone: rule.has_zones().then(|| node.zone.to_owned()),
                replicas: node.load.count,
                share: node.load.share,
            })
            .collect();
        shares.sort_by(|a, b| (&a.zone, &a.node).cmp(&(&b.zone, &b.node)));
        let moves = surplus(&nodes, &on).into_iter();
        let moves = moves.filter_map(|place| placed.get(place));
        Ok(FleetSpread {
            nodes: shares,
            moves: moves
                .map(|(order, node)| ReplicaMove {
                    replica: order.id.replica.to_string(),
                    from: name_of(node),
                    to: None,
                })
                .collect(),
        })
    }
}

/// Where the replicas among tasks are: of each that instance which is to play it, in the order of joining.
fn placed(tasks: &[TaskInfo]) -> Vec<(&LaunchOrder, &str)> {
    let there = tasks
        .iter()
        .filter(|task| task.is_wanted && !task.has_ended());
    let mut placed: Vec<_> = there
        .filter_map(|task| Some((&task.order, task.node.as_deref()?)))
        .collect();
    // A successor starts beside the one that it replaces.
    placed.sort_by_key(|(order, _)| (&order.id.replica, Reverse(order.id.generation)));
    placed.dedup_by_key(|(order, _)| &order.id.replica);
    placed.sort_by_key(|(order, _)| order.ordinal);
    placed
}
