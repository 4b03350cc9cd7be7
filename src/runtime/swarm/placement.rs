//! Creates the service of an instance on a node that has room for it.

use std::time::Duration;

use log::debug;
use tokio::time::{Instant, sleep};

use super::SwarmFleet;
use super::api::ObjectKind;
use super::instance_table::placed;
use super::launch::{OpenLaunch, POLL_INTERVAL, newest};
use super::service_spec::{ServicePlan, spec};
use super::spread::{eligible, excluded};
use super::task::TaskState;
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
        let mut nodes = self.excluded_nodes().await;
        loop {
            let service = match self.api.create_service(&spec(plan, &nodes)).await {
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
            sleep(POLL_INTERVAL / 4).await;
        }
    }

    /// The nodes that have their share of the fleet, and those in doubt. None if the nodes are not
    /// known: a replica on the wrong node is better than none.
    async fn excluded_nodes(&self) -> Vec<String> {
        let (nodes, tasks) = futures::join!(
            self.api.get("/nodes"),
            self.api.tasks(self.name(), self.network())
        );
        let (Ok(nodes), Ok(mut tasks)) = (nodes, tasks) else {
            return Vec::new();
        };
        let nodes = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
        self.note_node_names(nodes);
        let nodes = eligible(nodes);
        {
            let instances = self.instances.borrow();
            tasks.retain(|task| !instances.is_given_up(&task.order.id));
        }
        let mut suspects = self.suspects.borrow_mut();
        suspects.retain(|_, since| since.elapsed() < SUSPICION);
        let suspects = suspects.keys().cloned().collect();
        excluded(&nodes, placed(&tasks), &suspects)
    }
}
