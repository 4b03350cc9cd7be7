//! `top`: load, replicas and events in the terminal, as they change.
//!
//! Two tasks ask the balancer (for the state and the metrics each second, for events by a stream), a
//! thread reads keys, and the loop here draws what they bring.

mod keys;
mod load;
mod model;
mod view;

use std::io::{self, IsTerminal as _};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::sleep;

use super::client::{ApiReply, CtlClient};
use super::error::CtlError;
use super::event_stream::EventFeedClient;
use crate::api::{ReplicaEvent, Status};
use keys::TopKey;
use load::LoadSample;
use model::TopModel;

/// Between two looks at the balancer.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Between two pictures, if nothing happens: times go on, and the terminal may have another size.
const DRAW_INTERVAL: Duration = Duration::from_millis(250);

/// What the tasks may be ahead of the picture.
const QUEUE_CAPACITY: usize = 256;

/// Something to draw.
enum Update {
    State(Box<Status>, LoadSample),
    Event(Box<ReplicaEvent>),
    /// The balancer does not answer.
    Failure(String),
    Key(TopKey),
}

/// Shows the balancer until a key or a signal ends it; the terminal is then as it was.
pub async fn run(client: CtlClient) -> Result<(), CtlError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let wrong = "top needs a terminal; for programs there is: ringmaster ctl status --json";
        return Err(CtlError::Terminal(wrong.to_owned()));
    }
    let client = Rc::new(client);
    // What is wrong with the first calls is said before the screen is taken.
    let feed = EventFeedClient::connect(&client).await?;
    let (status, load) = look(&client).await?;
    let mut model = TopModel::new(client.url(), client.fleet());
    model.take_state(status, load);

    let mut end = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .map(signal)
    .into_iter()
    .collect::<io::Result<Vec<Signal>>>()?;
    let (updates, mut received) = channel(QUEUE_CAPACITY);
    actix::spawn(poll(Rc::clone(&client), updates.clone()));
    actix::spawn(follow(Rc::clone(&client), feed, updates.clone()));
    let mut terminal = ratatui::try_init()?;
    let _restored = Restored;
    let reader = keys::read_into(updates)?;
    loop {
        terminal.draw(|frame| view::draw(frame, &model))?;
        let [terminate, interrupt, hang_up] = end.as_mut_slice() else {
            return Ok(());
        };
        tokio::select! {
            update = received.recv() => match update {
                Some(Update::Key(TopKey::Quit)) | None => return Ok(()),
                Some(update) => take(&mut model, update),
            },
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            () = sleep(DRAW_INTERVAL) => {}
        }
        if reader.is_finished() {
            // The terminal is gone.
            return Ok(());
        }
    }
}

fn take(model: &mut TopModel, update: Update) {
    match update {
        Update::State(status, load) => model.take_state(*status, load),
        Update::Event(event) => model.take_event(*event),
        Update::Failure(why) => model.take_failure(why),
        Update::Key(key) => model.scroll(key),
    }
}

/// Gives the terminal back, however the program leaves; after a panic the hook of ratatui has done
/// it already.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn look(client: &CtlClient) -> Result<(Status, LoadSample), CtlError> {
    let status: ApiReply<Status> = client.get("/status").await?;
    let metrics = client.text("/metrics").await?;
    let load = LoadSample::parse(&metrics, client.fleet(), Instant::now());
    Ok((status.value, load))
}

async fn poll(client: Rc<CtlClient>, updates: Sender<Update>) {
    loop {
        sleep(POLL_INTERVAL).await;
        let update = match look(&client).await {
            Ok((status, load)) => Update::State(Box::new(status), load),
            Err(error) => Update::Failure(error.to_string()),
        };
        if updates.send(update).await.is_err() {
            return;
        }
    }
}

async fn follow(client: Rc<CtlClient>, mut feed: EventFeedClient, updates: Sender<Update>) {
    loop {
        match feed.next(&client).await {
            Ok(event) => {
                let update = Update::Event(Box::new(event.value));
                if updates.send(update).await.is_err() {
                    return;
                }
            }
            // The other task says what is wrong.
            Err(_) => feed.reconnect(&client).await,
        }
    }
}
