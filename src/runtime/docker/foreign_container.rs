//! Waits until a container that does not belong to the fleet gives up a replica's name.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use log::debug;

use super::DockerFleet;
use super::container_table::ContainerId;
use super::events::seconds;
use crate::ring::ReplicaName;
use crate::runtime::RuntimeEvent;

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
        let own = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let filters: HashMap<String, Vec<String>> = HashMap::from([
            ("type".to_owned(), own(&["container"])),
            ("event".to_owned(), own(&["destroy", "rename"])),
            ("container".to_owned(), own(&[&foreigner])),
        ]);
        let options = EventsOptionsBuilder::default()
            .since(&seconds(since))
            .filters(&filters)
            .build();
        let mut events = self.engine.docker.events(Some(options)).boxed();
        let heard = events.next().await;
        self.watched_foreign.borrow_mut().remove(&foreigner);
        match heard {
            Some(Ok(_)) => {
                if let Some(event_tx) = &*self.event_tx.borrow() {
                    // Fails only when the runtime ends.
                    let _ = event_tx.unbounded_send(RuntimeEvent::NameFreed { replica });
                }
            }
            Some(Err(error)) => debug!("docker: {}", self.engine.explain(error)),
            None => {}
        }
    }
}
