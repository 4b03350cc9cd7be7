//! What happens to the fleet's containers, as the engine tells: deaths, and what other
//! balancers of the fleet do.
//!
//! A connection to the engine's event stream breaks: the engine restarts, or a proxy
//! before it gets bored. So each round first lists what runs, to find what died unseen,
//! and then listens, from a moment *before* that list, to leave no gap between the two.
//! What is heard twice that way, [`Book`](super::book::Book) sorts out.

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

use crate::runtime::docker::Inner;
use crate::runtime::docker::book::{ContainerId, read_exit};
use crate::runtime::docker::container::{FLEET, Record, read_instance};
use crate::runtime::docker::engine::is_missing;
use crate::runtime::docker::names::{Role, leaving_name};
use crate::runtime::docker::question::QUESTION;
use crate::runtime::docker::record_store::RECORD;
use crate::runtime::{Exit, InstanceId, RuntimeError, RuntimeEvent};

/// The first and the longest pause before listening again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How far back to listen: well over what a list takes, and what the clock of an engine
/// on another machine may be off.
const REPLAY: Duration = Duration::from_secs(5);

/// How often the engine is asked whether it still answers, and how often of these times
/// instead what runs.
const PING_EVERY: Duration = Duration::from_secs(5);
const PINGS_A_LIST: u32 = 12;

/// What an engine may take to tell what is past.
const CATCHING_UP: Duration = Duration::from_secs(2);

pub(super) type News = UnboundedSender<RuntimeEvent>;

/// Every unasked-for death from now on.
pub(super) fn watch(inner: Rc<Inner>) -> LocalBoxStream<'static, RuntimeEvent> {
    let (news, heard) = unbounded();
    inner.news.replace(Some(news.clone()));
    // The listening rides along with the stream: polled with it, dropped with it.
    let listening = listen(inner, news).into_stream();
    stream::select(heard, listening.filter_map(|()| async { None })).boxed_local()
}

async fn listen(inner: Rc<Inner>, news: News) {
    let mut pause = FIRST_PAUSE;
    // Up to then nothing was missed.
    let heard = Cell::new(SystemTime::now());
    let mut failed_before = false;
    loop {
        let from = heard.get() - REPLAY;
        let begun = (SystemTime::now(), Instant::now());
        let listened = async {
            inner.look_around(from, &news).await?;
            inner.over_trouble(&news);
            heard.set(begun.0);
            inner.hear(from, &heard, &news).await
        };
        match listened.await {
            Err(error) if failed_before => inner.in_trouble(&error),
            // A connection that was kept may have ended meanwhile: the next one is new.
            Err(_) => failed_before = true,
            Ok(()) => failed_before = false,
        }
        if begun.1.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Inner {
    /// Said once, not at each attempt.
    fn in_trouble(&self, error: &RuntimeError) {
        let mut trouble = self.trouble.borrow_mut();
        if trouble.is_none() {
            warn!("docker: deaths go unnoticed for now: {error}");
        }
        *trouble = Some(error.to_string());
    }

    fn over_trouble(&self, news: &News) {
        if self.trouble.take().is_some() {
            info!("docker: the engine answers again");
            // Nobody listens any more only when the runtime ends.
            let _ = news.unbounded_send(RuntimeEvent::Recovered);
        }
    }

    /// Hears what was missed, as far as the engine remembers: how a container ended that is
    /// gone by now, and whether that was meant.
    async fn catch_up(
        self: &Rc<Self>,
        from: SystemTime,
        to: SystemTime,
        news: &News,
    ) -> Result<(), RuntimeError> {
        let past = EventsOptions {
            until: Some(seconds(to)),
            ..self.subscription(from)
        };
        let mut events = self.engine.docker.events(Some(past)).boxed();
        let hearing = async {
            while let Some(event) = events.next().await {
                self.note(event.map_err(|e| self.engine.explain(e))?, news);
            }
            Ok(())
        };
        // An engine whose clock is behind would go on until that time.
        let heard = tokio::time::timeout(CATCHING_UP, hearing).await;
        heard.unwrap_or(Ok(()))
    }

    /// Lists what there is, and reports what is not as it is known.
    async fn look_around(
        self: &Rc<Self>,
        from: SystemTime,
        news: &News,
    ) -> Result<(), RuntimeError> {
        // Taken before the list is: what starts meanwhile is not missing.
        let live = self.book.borrow().live();
        let listed = self.list_fleet().await?;
        let is_listed = |id: &str| listed.iter().any(|r| r.container == id);
        self.book.borrow_mut().retain_given_up(is_listed);
        let is_there = |id: &InstanceId| listed.iter().any(|r| r.running && r.order.id == *id);
        self.unhealthy.borrow_mut().retain(is_there);
        let runs = |id: &str| listed.iter().any(|r| r.running && r.container == id);
        let missing: Vec<_> = live.into_iter().filter(|id| !runs(id)).collect();
        // Before anything newer is heard.
        for record in listed {
            match self.role(&record) {
                Role::Holder => {
                    let health =
                        (record.running).then(|| (record.order.id.clone(), !record.unhealthy));
                    // First of all it has to be known.
                    self.report_address(&record, news);
                    self.appeared(record, news);
                    if let Some((id, healthy)) = health {
                        self.report_health(id, healthy, news);
                    }
                }
                Role::Leaving => self.disowned(&record.container, record.order.id, news),
                Role::Dead | Role::Stranger => {}
            }
        }
        if !missing.is_empty() {
            self.catch_up(from, SystemTime::now(), news).await?;
        }
        // Of what that told nothing is left in the book.
        for container in missing {
            let exit = match self.engine.inspect(&container).await {
                Ok(found) => {
                    let state = found.state.unwrap_or_default();
                    read_exit(state.exit_code, state.oom_killed == Some(true))
                }
                Err(error) if is_missing(&error) => Exit::default(),
                Err(error) => return Err(self.engine.explain(error)),
            };
            self.report(news, &container, exit);
        }
        Ok(())
    }

    /// Listens until the connection ends. An error if the engine does not answer any more:
    /// one that hangs keeps its connections open.
    async fn hear(
        self: &Rc<Self>,
        from: SystemTime,
        heard: &Cell<SystemTime>,
        news: &News,
    ) -> Result<(), RuntimeError> {
        let docker = &self.engine.docker;
        let containers = docker.events(Some(self.subscription(from)));
        let network = docker.events(Some(self.network_subscription(from)));
        let mut events = stream::select(containers, network).boxed();
        let hearing = async {
            loop {
                match events.next().await {
                    Some(Ok(event)) => self.note(event, news),
                    Some(Err(error)) => {
                        let error = self.engine.explain(error);
                        debug!("docker: the event stream broke: {error}");
                        return;
                    }
                    None => {
                        debug!("docker: the event stream ended");
                        return;
                    }
                }
            }
        };
        let watching = async {
            let mut round = 0u32;
            loop {
                sleep(PING_EVERY).await;
                round = round.wrapping_add(1);
                let now = SystemTime::now();
                // What no event tells of, a list does.
                let answered = match round % PINGS_A_LIST {
                    0 => self.look_around(heard.get() - REPLAY, news).await,
                    _ => self.engine.ping().await,
                };
                if let Err(error) = answered {
                    return error;
                }
                heard.set(now);
            }
        };
        tokio::select! {
            () = hearing => Ok(()),
            error = watching => Err(error),
        }
    }

    fn subscription(&self, from: SystemTime) -> EventsOptions {
        let own = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let filters = HashMap::from([
            ("type".to_owned(), own(&["container"])),
            (
                "event".to_owned(),
                own(&[
                    "create",
                    "start",
                    "rename",
                    "die",
                    "oom",
                    "destroy",
                    "health_status",
                ]),
            ),
            (
                "label".to_owned(),
                vec![format!("{FLEET}={}", self.settings.fleet)],
            ),
        ]);
        EventsOptionsBuilder::default()
            .since(&seconds(from))
            .filters(&filters)
            .build()
    }

    /// Containers that leave our network. Such events carry no labels, so
    /// [`Self::subscription`] misses them.
    fn network_subscription(&self, from: SystemTime) -> EventsOptions {
        let filters = HashMap::from([
            ("type", vec!["network"]),
            ("event", vec!["disconnect"]),
            ("network", vec![self.settings.network.as_str()]),
        ]);
        EventsOptionsBuilder::default()
            .since(&seconds(from))
            .filters(&filters)
            .build()
    }

    fn note(self: &Rc<Self>, event: EventMessage, news: &News) {
        let actor = event.actor.unwrap_or_default();
        if event.typ == Some(EventMessageTypeEnum::NETWORK) {
            let container = actor.attributes.unwrap_or_default().remove("container");
            if let Some(container) = container.filter(|id| self.book.borrow().is_live(id)) {
                spawn(Rc::clone(self).check_address(container, news.clone()));
            }
            return;
        }
        let Some(container) = actor.id else { return };
        // They tell its labels and its name.
        let attributes = actor.attributes.unwrap_or_default();
        let name = attributes.get("name").map(String::as_str);
        let id = read_instance(&attributes);
        let leaves = |id: &InstanceId| name == Some(&leaving_name(&self.settings.fleet, id));
        match (event.action.as_deref(), id) {
            (Some("create"), _) if attributes.contains_key(QUESTION) && !self.ending.get() => {
                let own = Rc::clone(self);
                spawn(async move { own.answer(&container).await });
            }
            (Some("destroy"), _) => {
                let version = attributes.get(RECORD).and_then(|v| v.parse().ok());
                if let Some(version) = version {
                    let _ = news.unbounded_send(RuntimeEvent::RecordRemoved { version });
                }
            }
            (Some("health_status: unhealthy"), Some(id)) => self.report_health(id, false, news),
            (Some("health_status: healthy"), Some(id)) => self.report_health(id, true, news),
            (Some("oom"), _) => self.book.borrow_mut().ran_out_of_memory(&container),
            (Some("rename"), Some(id)) if leaves(&id) => self.disowned(&container, id, news),
            // Its new name has gone unheard.
            (Some("die"), Some(id))
                if leaves(&id) && self.book.borrow().knows(&container) && !self.disowns(&id) =>
            {
                self.disowned(&container, id, news);
            }
            (Some("die"), _) => {
                let code = attributes.get("exitCode").and_then(|c| c.parse().ok());
                self.report(news, &container, read_exit(code, false));
            }
            (Some("start"), Some(id)) if !self.book.borrow().knows(&container) => {
                spawn(Rc::clone(self).greet(container, id, news.clone()));
            }
            _ => {}
        }
    }

    /// Finds out whether a container has lost its address or is about to be reported dead.
    async fn check_address(self: Rc<Self>, container: ContainerId, news: News) {
        let filter = [("id".to_owned(), vec![container])];
        // A list that fails is made good by the next one.
        for record in self
            .engine
            .list_by(&self.settings.network, filter)
            .await
            .unwrap_or_default()
        {
            self.report_address(&record, &news);
        }
    }

    /// Reports where a running replica listens now: another program may answer at an address that
    /// its container has lost.
    fn report_address(&self, record: &Record, news: &News) {
        if !record.running || !self.book.borrow().is_live(&record.container) {
            return;
        }
        let network = &self.settings.network;
        let reason = match record.endpoint {
            Some(_) => format!("its address in network {network} has changed"),
            None => format!("it is not in network {network} any more"),
        };
        let _ = news.unbounded_send(RuntimeEvent::Relocated {
            replica: record.order.id.replica.clone(),
            endpoint: record.endpoint,
            reason,
        });
    }

    /// Tells what the image's own HEALTHCHECK says, if that is news.
    fn report_health(&self, id: InstanceId, healthy: bool, news: &News) {
        let mut unhealthy = self.unhealthy.borrow_mut();
        let is_news = match healthy {
            true => unhealthy.remove(&id),
            false => unhealthy.insert(id.clone()),
        };
        if !is_news {
            return;
        }
        let _ = news.unbounded_send(RuntimeEvent::HealthcheckChanged { id, healthy });
    }

    fn report(&self, news: &News, container: &str, exit: Exit) {
        if let Some(event) = self.book.borrow_mut().died(container, exit) {
            let _ = news.unbounded_send(event);
        }
    }
}

/// How the engine takes a time.
pub(super) fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}
