//! The deaths of containers, as the engine reports them.
//!
//! A connection to the engine's event stream breaks: the engine restarts, or a proxy
//! before it gets bored. So each round first lists what runs, to find what died unseen,
//! and then listens, from a moment *before* that list, to leave no gap between the two.
//! What is heard twice that way, [`Book`](super::book::Book) sorts out.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::{self, LocalBoxStream};
use futures::{FutureExt, StreamExt};
use log::{debug, info, warn};
use tokio::time::sleep;

use crate::runtime::docker::Inner;
use crate::runtime::docker::book::read_exit;
use crate::runtime::docker::container::FLEET;
use crate::runtime::docker::engine::is_missing;
use crate::runtime::{Exit, RuntimeError, RuntimeEvent};

/// The first and the longest pause before listening again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How far back to listen: well over what a list takes, and what the clock of an engine
/// on another machine may be off.
const REPLAY: Duration = Duration::from_secs(5);

type News = UnboundedSender<RuntimeEvent>;

/// Every unasked-for death from now on.
pub(super) fn watch(inner: Rc<Inner>) -> LocalBoxStream<'static, RuntimeEvent> {
    let (news, heard) = unbounded();
    // The listening rides along with the stream: polled with it, dropped with it.
    let listening = listen(inner, news).into_stream();
    stream::select(heard, listening.filter_map(|()| async { None })).boxed_local()
}

async fn listen(inner: Rc<Inner>, news: News) {
    let mut pause = FIRST_PAUSE;
    let mut lost = false;
    loop {
        let from = SystemTime::now() - REPLAY;
        match inner.find_dead(&news).await {
            Ok(()) => {
                if lost {
                    info!("docker: the engine answers again");
                }
                lost = false;
                let since = Instant::now();
                inner.hear(from, &news).await;
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => {
                if !lost {
                    warn!("docker: deaths go unnoticed for now: {error}");
                }
                lost = true;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Inner {
    /// Lists what runs and reports what does not any more.
    async fn find_dead(&self, news: &News) -> Result<(), RuntimeError> {
        // Taken before the list is: what starts meanwhile is not missing.
        let live = self.book.borrow().live();
        let listed = self.list_fleet().await?;
        let runs = |id: &String| listed.iter().any(|r| r.running && r.container == *id);
        for container in live.iter().filter(|id| !runs(id)) {
            let exit = match self.engine.inspect(container).await {
                Ok(found) => {
                    let state = found.state.unwrap_or_default();
                    read_exit(state.exit_code, state.oom_killed == Some(true))
                }
                Err(error) if is_missing(&error) => Exit::default(),
                Err(error) => return Err(self.engine.explain(error)),
            };
            self.report(news, container, exit);
        }
        Ok(())
    }

    /// Listens until the connection ends.
    async fn hear(&self, from: SystemTime, news: &News) {
        let mut events = self
            .engine
            .docker
            .events(Some(self.subscription(from)))
            .boxed();
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
    }

    fn subscription(&self, from: SystemTime) -> EventsOptions {
        let since = from.duration_since(SystemTime::UNIX_EPOCH);
        let own = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let filters = HashMap::from([
            ("type".to_owned(), own(&["container"])),
            ("event".to_owned(), own(&["die", "oom"])),
            (
                "label".to_owned(),
                vec![format!("{FLEET}={}", self.settings.fleet)],
            ),
        ]);
        EventsOptionsBuilder::default()
            .since(&since.unwrap_or_default().as_secs().to_string())
            .filters(&filters)
            .build()
    }

    fn note(&self, event: EventMessage, news: &News) {
        let actor = event.actor.unwrap_or_default();
        let Some(container) = actor.id else { return };
        match event.action.as_deref() {
            Some("oom") => self.book.borrow_mut().ran_out_of_memory(&container),
            Some("die") => {
                let attributes = actor.attributes.unwrap_or_default();
                let code = attributes.get("exitCode").and_then(|c| c.parse().ok());
                self.report(news, &container, read_exit(code, false));
            }
            _ => {}
        }
    }

    fn report(&self, news: &News, container: &str, exit: Exit) {
        if let Some(event) = self.book.borrow_mut().died(container, exit) {
            // Nobody listens any more only when the runtime ends.
            let _ = news.unbounded_send(event);
        }
    }
}
