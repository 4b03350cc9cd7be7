//! Follows the fleet's services: deaths on any node, and what other balancers do.
//!
//! There are no events of tasks, so they are listed again and again: four times a second, once a second
//! where there are many. Events of services, nodes and config objects, and whatever makes an instance
//! suspect, have them listed at once.

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

/// How often tasks are listed, and how often where there are many.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
const SLOW_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often where an instance is suspect, and for how long: the end of a task shows in the list 0.2 s after
/// the kernel has closed its connections.
const CLOSE_INTERVAL: Duration = Duration::from_millis(25);
const CLOSE_LOOK: Duration = Duration::from_secs(1);

/// From how many tasks on there are many: a list of them takes 3 ms and has 156 KB.
const MANY_TASKS: usize = 100;

/// How often services are listed although nothing says that they have changed.
const SERVICES_INTERVAL: Duration = Duration::from_secs(5);

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
    let mut services_listed = Instant::now();
    let mut interval = POLL_INTERVAL;
    loop {
        let looks_closely = fleet.looks_closely_until.get();
        let pause = match looks_closely.is_some_and(|until| until > Instant::now()) {
            true => CLOSE_INTERVAL,
            false => interval,
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = fleet.look.notified() => {}
        }
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
        interval = match tasks.len() {
            0..MANY_TASKS => POLL_INTERVAL,
            _ => SLOW_POLL_INTERVAL,
        };
        let observed = fleet.instances.borrow_mut().observe(&tasks);
        for event in observed.events {
            send(tx, event);
        }
        let is_due = services_listed.elapsed() > SERVICES_INTERVAL;
        if fleet.services_changed.take() || is_due || !observed.unknown.is_empty() {
            match fleet.list_services(&tasks, &observed.unknown, tx).await {
                Ok(()) => services_listed = Instant::now(),
                Err(error) => {
                    debug!("swarm: cannot list services: {error}");
                    fleet.services_changed.set(true);
                }
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
        fleet.services_changed.set(true);
        fleet.look.notify_one();
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
    /// Lists the tasks at once, and often for a while.
    pub(super) fn look_closely(&self) {
        let until = Instant::now() + CLOSE_LOOK;
        self.looks_closely_until.set(Some(until));
        self.look.notify_one();
    }

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
                self.services_changed.set(true);
                self.look.notify_one();
            }
            Some("node") => self.look.notify_one(),
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
        for service in services {
            let id = &service.order.id;
            if service.role == ServiceRole::Leaving {
                if self.instances.borrow_mut().is_removed_elsewhere(id) {
                    let removed = InstanceEvent::RemovedElsewhere;
                    send(tx, Event::Instance(id.clone(), removed));
                }
                continue;
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
                send(tx, Event::Discovered(service.order.clone(), endpoint));
            }
        }
        Ok(())
    }
}
