//! Ends instances, and at last what belongs to the fleet.
//!
//! A Swarm ends a task about three seconds after it was told to, so that its name server forgets the
//! address first; then come SIGTERM, the grace, and SIGKILL. A stop for a removal or a restart waits
//! for that. The stop of an instance that has died or hangs does not: its successor has a name and an
//! address of its own, and a node that is lost would never end it.

use std::rc::Rc;
use std::time::Duration;

use log::{debug, warn};
use tokio::time::{Instant, sleep, sleep_until};

use super::SwarmFleet;
use super::api::{ObjectKind, SwarmError};
use super::names::service_name;
use super::service::ServiceRole;
use super::service_spec::{scale_down, set_role};
use super::stack::is_removed;
use super::task::TaskInfo;
use crate::runtime::{InstanceId, RuntimeError};

/// What a Swarm may take on top of the grace.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// From the announcement of a removal, or of another instance in its place, to its execution: other balancers have listed the services by then.
const ANNOUNCEMENT: Duration = Duration::from_millis(500);

/// How often a task that ends is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

impl SwarmFleet {
    /// From here on the end of an instance is expected.
    pub(super) fn begin_stop(&self, id: &InstanceId) {
        let mut instances = self.instances.borrow_mut();
        // It hangs, or its node is lost: what starts next starts elsewhere.
        if let Some(node) = instances.suspect_node(id) {
            let mut suspects = self.suspects.borrow_mut();
            suspects.insert(node.to_owned(), Instant::now());
        }
        instances.stopping(id);
    }

    /// Tells every balancer of the fleet that the replica is removed, by the role of its service.
    ///
    /// They see it when they list the services: what is removed before that looks like an end from
    /// outside, after which they would start the replica again. So this takes its time.
    pub(super) async fn announce_removal(self: Rc<Self>, id: InstanceId) {
        let name = service_name(self.name(), &id);
        let leave = |spec: &mut _| set_role(spec, ServiceRole::Leaving);
        if let Err(error) = self.api.change_service(&name, leave).await
            && !error.is_missing()
        {
            // `stop` removes it anyway.
            debug!("swarm: cannot announce the removal of {id}: {error}");
        }
    }

    pub(super) async fn stop(self: Rc<Self>, id: InstanceId) -> Result<(), RuntimeError> {
        loop {
            // Registers before the check, so that no notification is missed.
            let over = self.launch_over.notified();
            if !self.instances.borrow().is_launching(&id) {
                break;
            }
            over.await;
        }
        drop(self.taking_place.lock().await);
        let name = service_name(self.name(), &id);
        let (is_kept, stays, has_died, announced) = {
            let instances = self.instances.borrow();
            let has_died = instances.node_answers(&id).then(|| instances.task(&id));
            let has_died = has_died.flatten().map(str::to_owned);
            (
                instances.is_kept(&id),
                instances.stays(&id),
                has_died,
                instances.announced_at(&id),
            )
        };
        if let Some(task) = has_died.filter(|_| is_kept) {
            // Nothing is left to end, so its successor need not wait; told too early, its node would
            // report the order and not the exit.
            actix::spawn(async move { self.end_dead(&id, &task, &name, stays).await });
            return Ok(());
        }
        if let Some(announced) = announced {
            sleep_until(announced + ANNOUNCEMENT).await;
        }
        self.end(&name, stays).await?;
        if !is_kept {
            self.await_end(&id).await;
        }
        Ok(())
    }

    /// Ends the service of an instance whose task has died.
    async fn end_dead(&self, id: &InstanceId, task: &str, name: &str, stays: bool) {
        self.await_exit(task).await;
        if let Err(error) = self.end(name, stays).await {
            warn!("swarm: cannot end the service of {id}, which has died: {error}");
        }
    }

    /// Ends a service's task; `stays`: the service is kept, for its log.
    async fn end(&self, name: &str, stays: bool) -> Result<(), SwarmError> {
        let ended = match stays {
            true => self.api.change_service(name, scale_down).await,
            false => self.api.remove(ObjectKind::Service, name).await,
        };
        ended.or_else(|error| error.is_missing().then_some(()).ok_or(error))
    }

    /// Waits until the tasks of an instance have ended, as far as that can be known.
    async fn await_end(&self, id: &InstanceId) {
        let deadline = Instant::now() + self.stop_grace + STOP_MARGIN;
        while Instant::now() < deadline {
            let tasks = self.tasks_of(&id.replica).await;
            let runs = |task: &TaskInfo| task.order.id == *id && !task.has_ended();
            match tasks {
                Ok(tasks) if !tasks.iter().any(runs) => return,
                Ok(tasks) if self.is_lost(tasks.iter().find(|task| runs(task))).await => {
                    return debug!("swarm: {id} ends when its node is back");
                }
                _ => {}
            }
            sleep(POLL_INTERVAL).await;
        }
        warn!("swarm: {id} has not ended in time; the Swarm has been told to end it");
    }

    /// Whether the node of a task is down: nothing ends there until it is back.
    async fn is_lost(&self, task: Option<&TaskInfo>) -> bool {
        let Some(node) = task.and_then(|task| task.node.as_deref()) else {
            return false;
        };
        let found = self.api.get(&format!("/nodes/{node}")).await;
        found.is_ok_and(|node| node["Status"]["State"] == "down")
    }

    /// Whether this balancer, which is about to end, leaves its instances as they run: to another one,
    /// or, where a stack says what there is to be, to the next one until the stack has been removed.
    pub(super) async fn hands_over(self: Rc<Self>) -> bool {
        let template = self.settings.containers.like.as_ref();
        let Some(template) = template.filter(|_| self.settings.from_stack) else {
            return self.presence.leave(&self.api).await;
        };
        self.presence.end(&self.api).await;
        match is_removed(&self.api, &template.container).await {
            Ok(removed) => !removed,
            Err(error) => {
                warn!("swarm: not known whether the stack has been removed: {error}");
                true
            }
        }
    }

    /// Removes dead services that were kept, waits for the tasks that are about to end, and removes the
    /// network if it is ours.
    pub(super) async fn close(self: Rc<Self>) {
        let removed = async {
            for service in self.api.services(self.name(), None).await? {
                self.api.remove(ObjectKind::Service, &service.name).await?;
            }
            Ok::<_, SwarmError>(())
        };
        if let Err(error) = removed.await {
            warn!("swarm: services of the fleet are left behind: {error}");
        }
        self.leave_network().await;
    }
}
