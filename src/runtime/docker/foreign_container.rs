//! Waits until a container that does not belong to the fleet gives up a replica's name.

use std::rc::Rc;
use std::time::SystemTime;

use futures::StreamExt;
use log::debug;

use super::DockerFleet;
use super::container_table::ContainerId;
use super::events::{events_since, send};
use crate::ring::ReplicaName;
use crate::runtime::Event;

impl DockerFleet {
    /// Waits for the removal or renaming of a container that holds a replica's name, from `since`
    /// on, and reports it. If the event stream breaks before, the next attempt to start the
    /// replica waits again.
    pub(super) async fn await_removal(
        self: Rc<Self>,
        foreigner: ContainerId,
        replica: ReplicaName,
        since: SystemTime,
    ) {
        if !self.watched_foreign.borrow_mut().insert(foreigner.clone()) {
            return;
        }
        let filters = [
            ("type", vec!["container"]),
            ("event", vec!["destroy", "rename"]),
            ("container", vec![foreigner.as_str()]),
        ];
        let options = events_since(since, filters);
        let mut events = self.engine.docker.events(Some(options)).boxed();
        let heard = events.next().await;
        self.watched_foreign.borrow_mut().remove(&foreigner);
        match heard {
            Some(Ok(_)) => {
                if let Some(event_tx) = &*self.event_tx.borrow() {
                    send(event_tx, Event::NameFreed(replica));
                }
            }
            Some(Err(error)) => debug!("docker: {}", self.engine.explain(error)),
            None => {}
        }
    }
}
