//! Follows the fleet's containers by the engine's events: deaths, and what other balancers do.
//!
//! The connection to the event stream can break: the engine restarts, or a proxy in front of it
//! closes idle connections. So each round first lists the containers (`resync`), to find deaths
//! that were missed, and then streams events from a moment *before* that list, which leaves no
//! gap. Of events that come twice, [`ContainerTable`](super::container_table::ContainerTable) reports the first.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use actix::spawn;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::{self, LocalBoxStream};
use futures::{FutureExt, StreamExt};
use log::{debug, info, warn};
use tokio::time::sleep;

use super::DockerFleet;
use super::container::ContainerInfo;
use super::container_table::{ContainerId, read_exit, read_state};
use super::engine::is_missing;
use super::labels::{FLEET, SPARE};
use super::names::{
    ContainerRole, container_name, instance, leaving_name, next_name, retired_name,
};
use super::peer_check::{BALANCER_CHECK, PEER_CHECK};
use super::record_store::RECORD;
use crate::runtime::{
    Event, Exit, InstanceEvent, InstanceId, RuntimeError, RuntimeEvent, balancer_name,
};

/// The first and the longest pause before the next round.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How far back events are replayed: well over the time for a list and the clock skew of an engine
/// on another machine.
const REPLAY_WINDOW: Duration = Duration::from_secs(5);

/// How often the engine is pinged, and after how many pings the containers are listed instead.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PINGS_PER_RESYNC: u32 = 12;

/// The time for replaying past events.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) type EventTx = UnboundedSender<RuntimeEvent>;

pub(super) fn send(tx: &EventTx, event: impl Into<RuntimeEvent>) {
    // Fails only when the runtime ends.
    let _ = tx.unbounded_send(event.into());
}

/// The events from now on: see [`crate::runtime::Runtime::events`].
pub(super) fn watch(inner: Rc<DockerFleet>) -> LocalBoxStream<'static, RuntimeEvent> {
    let (tx, reports) = unbounded();
    inner.event_tx.replace(Some(tx.clone()));
    // The follower is part of the stream: polled with it, dropped with it.
    let following = follow(inner, tx).into_stream();
    stream::select(reports, following.filter_map(|()| async { None })).boxed_local()
}

async fn follow(inner: Rc<DockerFleet>, tx: EventTx) {
    let mut pause = MIN_BACKOFF;
    // Nothing was missed up to this time.
    let synced = Cell::new(SystemTime::now());
    let mut failed_before = false;
    loop {
        let from = synced.get() - REPLAY_WINDOW;
        let started = (SystemTime::now(), Instant::now());
        let round = async {
            inner.resync(from, &tx).await?;
            inner.engine_up(&tx);
            synced.set(started.0);
            inner.stream(from, &synced, &tx).await
        };
        match round.await {
            Err(error) if failed_before => inner.engine_down(&error),
            // A kept connection may have been closed meanwhile: the next one is new.
            Err(_) => failed_before = true,
            Ok(()) => failed_before = false,
        }
        if started.1.elapsed() > MAX_BACKOFF {
            pause = MIN_BACKOFF;
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_BACKOFF);
    }
}

impl DockerFleet {
    /// Warns once, not at each attempt.
    fn engine_down(&self, error: &RuntimeError) {
        let mut last_error = self.last_error.borrow_mut();
        if last_error.is_none() {
            warn!("docker: event stream lost; container exits may go unnoticed: {error}");
        }
        *last_error = Some(error.to_string());
    }

    fn engine_up(&self, tx: &EventTx) {
        if self.last_error.take().is_some() {
            info!("docker: the engine answers again");
            send(tx, Event::Recovered);
        }
    }

    /// Replays the events that were missed, as far as the engine remembers them: how a container
    /// that is gone by now ended, and whether its replica was removed.
    async fn replay(
        self: &Rc<Self>,
        from: SystemTime,
        to: SystemTime,
        tx: &EventTx,
    ) -> Result<(), RuntimeError> {
        let until = Some(seconds(to));
        let past = self.subscriptions(from).into_iter().map(|past| {
            let until = until.clone();
            let past = EventsOptions { until, ..past };
            self.engine.docker.events(Some(past)).boxed()
        });
        let mut events = stream::select_all(past);
        let replaying = async {
            while let Some(event) = events.next().await {
                self.handle_event(event.map_err(|e| self.engine.explain(e))?, tx);
            }
            Ok(())
        };
        // An engine whose clock is behind would stream until that time.
        let replayed = tokio::time::timeout(REPLAY_TIMEOUT, replaying).await;
        replayed.unwrap_or(Ok(()))
    }

    /// Lists the containers, and reports what differs from the table.
    async fn resync(self: &Rc<Self>, from: SystemTime, tx: &EventTx) -> Result<(), RuntimeError> {
        // Taken before the list: a container that starts meanwhile is not missing.
        let live = self.containers.borrow().live();
        let listed = self.list_fleet().await?;
        let is_listed = |id: &str| listed.iter().any(|r| r.container == id);
        self.containers.borrow_mut().retain_given_up(is_listed);
        let is_there = |id: &InstanceId| listed.iter().any(|r| r.running && r.order.id == *id);
        self.unhealthy.borrow_mut().retain(is_there);
        let runs = |id: &str| listed.iter().any(|r| r.running && r.container == id);
        let missing: Vec<_> = live.into_iter().filter(|id| !runs(id)).collect();
        // Before any newer event.
        for info in listed {
            match self.role(&info) {
                ContainerRole::Current => {
                    let health = (info.running).then(|| (info.order.id.clone(), !info.unhealthy));
                    // The instance has to be known first.
                    self.report_address(&info, tx);
                    self.report_running(info, tx);
                    if let Some((id, healthy)) = health {
                        self.report_health(id, healthy, tx);
                    }
                }
                ContainerRole::StandIn if info.running => {
                    let stands_in = InstanceEvent::StandsIn;
                    let stands_in = Event::Instance(info.order.id.clone(), stands_in);
                    self.report_address(&info, tx);
                    self.report_running(info, tx);
                    send(tx, stands_in);
                }
                ContainerRole::Leaving => self.report_removal(&info.container, info.order.id, tx),
                ContainerRole::Next | ContainerRole::Extra | ContainerRole::Spare => {
                    if info.running {
                        self.report_health(info.order.id, !info.unhealthy, tx);
                    }
                }
                ContainerRole::Dead
                | ContainerRole::Retired
                | ContainerRole::StandIn
                | ContainerRole::Unmanaged => {}
            }
        }
        if !missing.is_empty() {
            self.replay(from, SystemTime::now(), tx).await?;
        }
        // The table no longer has the deaths that the replay reported.
        for container in missing {
            let exit = match self.engine.inspect(&container).await {
                Ok(found) => read_state(found.state.unwrap_or_default()),
                Err(error) if is_missing(&error) => Exit::default(),
                Err(error) => return Err(self.engine.explain(error)),
            };
            self.report(tx, &container, exit);
        }
        Ok(())
    }

    /// Handles events until the connection ends. An error if the engine stops answering: one that
    /// hangs keeps its connections open.
    async fn stream(
        self: &Rc<Self>,
        from: SystemTime,
        synced: &Cell<SystemTime>,
        tx: &EventTx,
    ) -> Result<(), RuntimeError> {
        let docker = &self.engine.docker;
        let mut subscriptions = self.subscriptions(from);
        subscriptions.push(self.network_subscription(from));
        let events = subscriptions.into_iter();
        let mut events = stream::select_all(events.map(|of| docker.events(Some(of)).boxed()));
        let handling = async {
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => self.handle_event(event, tx),
                    Err(error) => {
                        let error = self.engine.explain(error);
                        return debug!("docker: the event stream broke: {error}");
                    }
                }
            }
            debug!("docker: the event stream ended");
        };
        let watching = async {
            let mut round = 0u32;
            loop {
                sleep(PING_INTERVAL).await;
                round = round.wrapping_add(1);
                let now = SystemTime::now();
                // A list also shows what events do not.
                let answered = match round % PINGS_PER_RESYNC {
                    0 => self.resync(synced.get() - REPLAY_WINDOW, tx).await,
                    _ => self.engine.ping().await,
                };
                if let Err(error) = answered {
                    return error;
                }
                synced.set(now);
            }
        };
        tokio::select! {
            () = handling => Ok(()),
            error = watching => Err(error),
        }
    }

    /// Those of compose's containers, and of our own: spares of a service have none of compose's labels.
    fn subscriptions(&self, from: SystemTime) -> Vec<EventsOptions> {
        let of_service = self.settings.service.iter().map(|s| s.labels().to_vec());
        let own = vec![(FLEET, self.settings.fleet.as_str())];
        let actions = "create start rename kill die oom destroy health_status";
        let subscription = |labels: Vec<(&str, &str)>| {
            let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
            let labels: Vec<_> = labels.collect();
            let filters = [
                ("type", vec!["container"]),
                ("event", actions.split(' ').collect()),
                ("label", labels.iter().map(String::as_str).collect()),
            ];
            events_since(from, filters)
        };
        of_service.chain([own]).map(subscription).collect()
    }

    /// Events of containers that leave our network. They carry no labels, so
    /// [`Self::subscriptions`] does not select them.
    fn network_subscription(&self, from: SystemTime) -> EventsOptions {
        let filters = [
            ("type", vec!["network"]),
            ("event", vec!["disconnect"]),
            ("network", vec![self.settings.network.as_str()]),
        ];
        events_since(from, filters)
    }

    fn handle_event(self: &Rc<Self>, event: EventMessage, tx: &EventTx) {
        let actor = event.actor.unwrap_or_default();
        if event.typ == Some(EventMessageTypeEnum::NETWORK) {
            let container = actor.attributes.unwrap_or_default().remove("container");
            if let Some(container) = container.filter(|id| self.containers.borrow().is_live(id)) {
                spawn(Rc::clone(self).check_address(container, tx.clone()));
            }
            return;
        }
        let Some(container) = actor.id else { return };
        // The attributes hold its labels and its name.
        let attributes = actor.attributes.unwrap_or_default();
        let name = attributes.get("name").map(String::as_str);
        let id = match self.settings.service {
            // Compose's own have no generation in their labels.
            Some(_) => self.containers.borrow().instance_of(&container),
            None => instance(self.prefix(), name.unwrap_or_default(), &attributes),
        };
        if attributes.contains_key(SPARE) {
            self.has_spares.set(true);
        }
        let leaves = |id: &InstanceId| name == Some(&leaving_name(self.prefix(), id));
        let is_next = |id: &InstanceId| name == Some(&next_name(self.prefix(), id));
        let is_unknown = || !self.containers.borrow().knows(&container);
        let plays = |id: &InstanceId| {
            name == Some(&container_name(self.prefix(), &id.replica)) && is_unknown()
        };
        let asked = attributes.get(BALANCER_CHECK).map(String::as_str);
        match (event.action.as_deref(), id) {
            (Some("create"), _) if asked == Some(balancer_name()) => {
                let own = Rc::clone(self);
                spawn(async move { own.acknowledge(&container).await });
            }
            (Some("create"), _)
                if attributes.contains_key(PEER_CHECK) && self.is_asked_by(name) =>
            {
                let own = Rc::clone(self);
                spawn(async move { own.acknowledge(&container).await });
            }
            (Some("destroy"), _) => {
                let version = attributes.get(RECORD).and_then(|v| v.parse().ok());
                if let Some(version) = version {
                    send(tx, RuntimeEvent::RecordRemoved(version));
                }
            }
            (Some("kill"), _)
                if self.settings.service.is_some() && !attributes.contains_key(SPARE) =>
            {
                let signal = attributes.get("signal").map(String::as_str);
                self.note_kill(&container, signal.unwrap_or_default());
            }
            (Some("health_status: unhealthy"), Some(id)) => self.report_health(id, false, tx),
            (Some("health_status: healthy"), Some(id)) => self.report_health(id, true, tx),
            (Some("oom"), _) => self.containers.borrow_mut().ran_out_of_memory(&container),
            (Some("rename"), Some(id)) if leaves(&id) => self.report_removal(&container, id, tx),
            (Some("create"), Some(id)) if is_next(&id) => send(tx, Event::SuccessorStarted(id)),
            (Some("start"), Some(id)) if is_next(&id) && is_unknown() => {
                spawn(Rc::clone(self).note_successor(container, id));
            }
            (Some("die"), Some(id)) if is_next(&id) && is_unknown() => {
                self.successors.borrow_mut().remove(&id);
            }
            (Some("rename"), Some(id)) if name == Some(&retired_name(self.prefix(), &id)) => {
                self.follow_successor(&id.replica, tx);
            }
            (Some("rename"), Some(id)) if plays(&id) => {
                spawn(Rc::clone(self).adopt_successor(container, id, tx.clone()));
            }
            // The `rename` event was missed.
            (Some("die"), Some(id))
                if leaves(&id)
                    && self.containers.borrow().knows(&container)
                    && !self.is_being_removed(&id) =>
            {
                self.report_removal(&container, id, tx);
            }
            (Some("die"), _) => {
                let code = attributes.get("exitCode").and_then(|c| c.parse().ok());
                self.report(tx, &container, read_exit(code, false));
            }
            (Some("start"), None) if self.settings.service.is_some() => {
                spawn(Rc::clone(self).adopt_from_service(container, tx.clone()));
            }
            (Some("start"), Some(id)) if !self.containers.borrow().knows(&container) => {
                spawn(Rc::clone(self).adopt_started(container, id, tx.clone()));
            }
            _ => {}
        }
    }

    /// Finds out whether a container has lost its address. (It may be about to be reported dead.)
    async fn check_address(self: Rc<Self>, container: ContainerId, tx: EventTx) {
        let listed = self.engine.list(self.view(), "id", vec![container]).await;
        // If the list fails, the next resync finds out.
        for info in listed.unwrap_or_default() {
            self.report_address(&info, &tx);
        }
    }

    /// Reports the address of a running replica: another program may answer at an address that its
    /// container has lost.
    fn report_address(&self, info: &ContainerInfo, tx: &EventTx) {
        if !info.running || !self.containers.borrow().is_live(&info.container) {
            return;
        }
        let network = &self.settings.network;
        let reason = match info.endpoint {
            Some(_) => format!("its address in network {network} has changed"),
            None => format!("it is not in network {network} any more"),
        };
        let moved = InstanceEvent::Moved(info.endpoint, reason);
        send(tx, Event::Instance(info.order.id.clone(), moved));
    }

    /// Reports the health by the image's own HEALTHCHECK, if it has changed.
    fn report_health(&self, id: InstanceId, healthy: bool, tx: &EventTx) {
        let mut unhealthy = self.unhealthy.borrow_mut();
        let is_new = match healthy {
            true => unhealthy.remove(&id),
            false => unhealthy.insert(id.clone()),
        };
        if is_new {
            let changed = InstanceEvent::HealthcheckChanged(healthy);
            send(tx, Event::Instance(id, changed));
        }
    }

    fn report(&self, tx: &EventTx, container: &str, exit: Exit) {
        let died = self.containers.borrow_mut().died(container, exit);
        match died {
            // That says nothing of its definition.
            Some(Event::Instance(id, _)) if self.is_taken_away(container) => {
                send(tx, Event::Instance(id, InstanceEvent::RemovedElsewhere));
            }
            Some(event) => send(tx, event),
            None => {}
        }
    }
}

/// The events that these filters select, from a time on.
pub(super) fn events_since(from: SystemTime, filters: [(&str, Vec<&str>); 3]) -> EventsOptions {
    EventsOptionsBuilder::default()
        .since(&seconds(from))
        .filters(&HashMap::from(filters))
        .build()
}

/// A time as the engine's API takes it.
fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}
