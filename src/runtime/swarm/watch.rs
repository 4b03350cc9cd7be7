//! Follows the fleet's services: deaths on any node, and what other balancers do.
//!
//! Tasks are listed as the `poll_schedule` says. Events of services, nodes and config objects, and whatever
//! makes an instance suspect, have them listed at once.

use std::rc::Rc;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::{self, LocalBoxStream};
use futures::{FutureExt, StreamExt};
use log::{debug, info, warn};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::SwarmFleet;
use super::api::{ObjectKind, SwarmError};
use super::names::record_name;
use super::presence::RENEW_INTERVAL;
use super::record_store::version_of;
use super::service::ServiceRole;
use super::task::TaskInfo;
use crate::runtime::{Event, InstanceEvent, InstanceId, RuntimeEvent};

/// The pause before the events are subscribed to again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Failures in a row that are an error: a kept connection may have been closed meanwhile.
const MAX_FAILURES: u32 = 2;

pub(super) type ReportTx = UnboundedSender<RuntimeEvent>;

fn send(tx: &ReportTx, event: impl Into<RuntimeEvent>) {
    // Fails only when the runtime ends.
    let _ = tx.unbounded_send(event.into());
}

/// The events from now on: see [`crate::runtime::Runtime::events`].
pub(super) fn events(fleet: Rc<SwarmFleet>) -> LocalBoxStream<'static, RuntimeEvent> {
    let (tx, reports) = unbounded();
    fleet.event_tx.replace(Some(tx.clone()));
    // These are parts of the stream: polled with it, dropped with it.
    let following = async move {
        let polling = poll(&fleet, &tx);
        let subscribing = subscribe(&fleet, &tx);
        futures::join!(polling, subscribing, renew(&fleet));
    };
    let following = following.into_stream().filter_map(|()| async { None });
    stream::select(reports, following).boxed_local()
}

/// Lists the tasks again and again.
async fn poll(fleet: &Rc<SwarmFleet>, tx: &ReportTx) {
    let mut failures = 0;
    loop {
        fleet.schedule.tasks_are_due().await;
        let asked = Instant::now();
        let tasks = match fleet.api.tasks(fleet.name(), fleet.network()).await {
            Ok(tasks) => tasks,
            Err(error) => {
                failures += 1;
                if failures >= MAX_FAILURES {
                    fleet.managers_fail(&error);
                }
                continue;
            }
        };
        failures = 0;
        fleet.managers_answer(tx);
        fleet.schedule.tasks_listed(tasks.len(), asked.elapsed());
        let observed = fleet.instances.borrow_mut().observe(&tasks);
        for event in observed.events {
            send(tx, event);
        }
        if fleet.schedule.take_services_due() || !observed.unknown.is_empty() {
            let listed = fleet.list_services(&tasks, &observed.unknown, tx).await;
            if let Err(error) = listed {
                debug!("swarm: cannot list services: {error}");
                fleet.schedule.services_changed();
            }
        }
    }
}

/// Subscribes to the events of services, nodes and config objects.
async fn subscribe(fleet: &Rc<SwarmFleet>, tx: &ReportTx) {
    loop {
        // What happened before the subscription is in the lists.
        fleet.check_record(tx).await;
        let ended = fleet
            .api
            .follow_events(|event| fleet.take_in(&event, tx))
            .await;
        if let Err(error) = ended {
            debug!("swarm: the events broke off: {error}");
        }
        sleep(RECONNECT_PAUSE).await;
        fleet.schedule.services_changed();
        fleet.schedule.look_now();
    }
}

/// Renews the presence of this balancer.
async fn renew(fleet: &Rc<SwarmFleet>) {
    loop {
        sleep(RENEW_INTERVAL).await;
        if fleet.is_leaving.get() {
            continue;
        }
        if let Err(error) = fleet.presence.renew(&fleet.api).await {
            debug!("swarm: cannot renew this balancer's presence: {error}");
        }
    }
}

impl SwarmFleet {
    /// Warns once, not at each attempt.
    fn managers_fail(&self, error: &SwarmError) {
        let mut last_error = self.last_error.borrow_mut();
        if last_error.is_none() {
            warn!("swarm: ends of tasks may go unnoticed, heartbeats decide: {error}");
        }
        *last_error = Some(error.to_string());
    }

    fn managers_answer(&self, tx: &ReportTx) {
        if self.last_error.take().is_some() {
            info!("swarm: the manager answers again");
            send(tx, Event::Recovered);
        }
    }

    fn take_in(self: &Rc<Self>, event: &Value, tx: &ReportTx) {
        let name = event["Actor"]["Attributes"]["name"]
            .as_str()
            .unwrap_or_default();
        match event["Type"].as_str() {
            Some("config") if name == record_name(self.name()) => {
                if event["Action"] == "remove" {
                    send(tx, RuntimeEvent::RecordRemoved(self.record_version.get()));
                    return;
                }
                let (fleet, tx) = (Rc::clone(self), tx.clone());
                actix::spawn(async move { fleet.check_record(&tx).await });
            }
            Some("service") if name.starts_with(self.name()) => {
                self.schedule.services_changed();
                self.schedule.look_now();
            }
            Some("node") => {
                // The managers know of its loss, and that it is back.
                if event["Actor"]["Attributes"]["state.new"] == "ready" {
                    let id = event["Actor"]["ID"].as_str().unwrap_or_default();
                    self.suspects.borrow_mut().remove(id);
                }
                self.schedule.look_now();
            }
            _ => {}
        }
    }

    /// Reports the version of the record if it has changed.
    async fn check_record(&self, tx: &ReportTx) {
        let found = self
            .api
            .find(ObjectKind::Config, &record_name(self.name()))
            .await;
        let Some(version) = found.ok().and_then(|found| version_of(&found.spec)) else {
            return;
        };
        if self.record_version.replace(version) != version {
            send(tx, RuntimeEvent::RecordRemoved(version));
        }
    }

    /// Lists the services, and reports what other balancers have done: those instances that run and
    /// are not known here, and the removals.
    async fn list_services(
        &self,
        tasks: &[TaskInfo],
        unknown: &[InstanceId],
        tx: &ReportTx,
    ) -> Result<(), SwarmError> {
        let services = self.api.services(self.name(), None).await?;
        let is_there = |id: &InstanceId| services.iter().any(|service| service.order.id == *id);
        self.successors.borrow_mut().retain(is_there);
        for service in services {
            let id = &service.order.id;
            if service.role == ServiceRole::Leaving {
                if self.instances.borrow_mut().is_removed_elsewhere(id) {
                    let removed = InstanceEvent::RemovedElsewhere;
                    send(tx, Event::Instance(id.clone(), removed));
                }
                continue;
            }
            if service.role == ServiceRole::Next && self.successors.borrow_mut().insert(id.clone())
            {
                send(tx, Event::SuccessorStarted(id.clone()));
            }
            if service.role != ServiceRole::Current || !unknown.contains(id) {
                continue;
            }
            let task = tasks
                .iter()
                .find(|task| task.order.id == *id && task.is_live());
            let mut instances = self.instances.borrow_mut();
            if let Some(task) = task
                && let Some(endpoint) = task.endpoint
                // A launch may have begun meanwhile.
                && !instances.knows(id)
            {
                instances.runs(task);
                let (order, definition) = (service.order.clone(), service.definition.clone());
                // One that has started beside another one, and has taken its place since, is ready.
                send(
                    tx,
                    match self.successors.borrow_mut().remove(id) {
                        true => Event::Succeeded(order, endpoint, definition),
                        false => Event::Discovered(order, endpoint, definition),
                    },
                );
            }
        }
        Ok(())
    }
}
