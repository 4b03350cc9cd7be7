//! `--on-event`: each event of `GET /api/v1/events` goes to webhooks and commands.
//!
//! A target has a task of its own, which follows the history as a client of the event stream does:
//! what happens never waits for it. While a target fails, its events wait in the history, which is
//! bounded, and each is tried for [`MAX_AGE`].

mod command;
mod signature;
mod webhook;

use std::path::Path;
use std::time::Duration;

use log::{info, warn};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use crate::actors::supervisor::SupervisorHandle;
use crate::api::{ReplicaEvent, Timestamp};
use crate::config::{EventOptions, EventTarget};
use signature::Signer;
use webhook::Webhook;

/// How long an event is tried to be delivered, from when it happened on.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The pause after a failure; it doubles with each further one, up to `MAX_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long a target may take for one event.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why an event was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DeliveryError {
    /// It may be another time.
    Temporary(String),
    /// The target does not want it.
    Refused(String),
}

/// The targets of all events.
pub struct Hooks(Vec<Hook>);

impl Hooks {
    /// Makes ready what the options ask for.
    ///
    /// # Errors
    ///
    /// The secret cannot be used: the file, and what is wrong with it.
    pub fn prepare(options: &EventOptions) -> Result<Self, (String, String)> {
        let signer = options.on_event_secret_file.as_deref();
        let signer = signer.map(read_secret).transpose()?;
        let hooks = options.on_event.iter().map(|target| Hook {
            name: target.to_string(),
            delivery: match target {
                EventTarget::Webhook(url) => Delivery::Webhook(Webhook::new(url, signer.clone())),
                EventTarget::Command(words) => Delivery::Command(words.clone()),
            },
            trouble: None,
        });
        Ok(Self(hooks.collect()))
    }

    /// Tells every target of what happens, until the supervisor ends.
    pub fn start(self, supervisor: &SupervisorHandle) {
        for hook in self.0 {
            actix::spawn(hook.follow(supervisor.clone()));
        }
    }
}

fn read_secret(path: &Path) -> Result<Signer, (String, String)> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let signer = text.and_then(|text| Signer::from_secret(text.trim()));
    signer.map_err(|wrong| (path.display().to_string(), wrong))
}

/// How a target is told.
enum Delivery {
    Webhook(Webhook),
    Command(Vec<String>),
}

/// One target.
struct Hook {
    name: String,
    delivery: Delivery,
    /// It fails; how many events were given up since.
    trouble: Option<u64>,
}

impl Hook {
    async fn follow(mut self, supervisor: SupervisorHandle) {
        let mut last = 0;
        // A feed that overflows ends; the next one begins with what the history still has.
        while let Ok(mut feed) = supervisor.follow_events(Some(last)).await {
            for event in std::mem::take(&mut feed.past) {
                self.tell(&event, &mut last).await;
            }
            loop {
                match feed.coming.recv().await {
                    Ok(event) => self.tell(&event, &mut last).await,
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }

    async fn tell(&mut self, event: &ReplicaEvent, last: &mut u64) {
        let missed = event.id.saturating_sub(*last + 1);
        if missed > 0 {
            warn!(
                "--on-event {}: {missed} events came too fast for it and are lost",
                self.name
            );
        }
        *last = event.id;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.deliver(event).await {
                Ok(()) => return self.note_success(),
                Err(error) => error,
            };
            let is_over = match &error {
                DeliveryError::Refused(_) => true,
                DeliveryError::Temporary(_) => age(event) + pause > MAX_AGE,
            };
            self.note_failure(event, &error, is_over);
            if is_over {
                return;
            }
            sleep(pause).await;
            pause = MAX_PAUSE.min(pause * 2);
        }
    }

    async fn deliver(&self, event: &ReplicaEvent) -> Result<(), DeliveryError> {
        // Its parts are always JSON.
        let body = serde_json::to_vec(event).unwrap_or_default();
        let delivered = async {
            match &self.delivery {
                Delivery::Webhook(webhook) => webhook.send(event, body).await,
                Delivery::Command(words) => command::run(words, event, body).await,
            }
        };
        let delivered = tokio::time::timeout(TIMEOUT, delivered).await;
        delivered.unwrap_or_else(|_| {
            let wrong = format!("nothing within {} s", TIMEOUT.as_secs());
            Err(DeliveryError::Temporary(wrong))
        })
    }

    fn note_success(&mut self) {
        match self.trouble.take() {
            None => {}
            Some(0) => info!("--on-event {}: it takes events again", self.name),
            Some(lost) => info!(
                "--on-event {}: it takes events again; {lost} were given up",
                self.name
            ),
        }
    }

    /// The log has the first failure, and each refusal.
    fn note_failure(&mut self, event: &ReplicaEvent, error: &DeliveryError, is_over: bool) {
        let (name, id) = (&self.name, event.id);
        match error {
            DeliveryError::Refused(wrong) => {
                warn!("--on-event {name}: event {id} is refused: {wrong}");
            }
            DeliveryError::Temporary(wrong) if self.trouble.is_none() => {
                warn!(
                    "--on-event {name}: event {id} is not delivered: {wrong}; tried again for {} minutes",
                    MAX_AGE.as_secs() / 60
                );
                self.trouble = Some(u64::from(is_over));
            }
            DeliveryError::Temporary(_) => {
                self.trouble = self.trouble.map(|lost| lost + u64::from(is_over));
            }
        }
    }
}

/// How long ago an event happened.
fn age(event: &ReplicaEvent) -> Duration {
    let millis = Timestamp::now().millis_since(event.at);
    Duration::from_secs_f64(millis.max(0.0) / 1e3)
}
