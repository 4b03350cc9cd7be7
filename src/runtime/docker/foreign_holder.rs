//! Waits until a container that is not of this fleet gives up a replica's name.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use log::debug;

use crate::ring::ReplicaName;
use crate::runtime::RuntimeEvent;
use crate::runtime::docker::Inner;
use crate::runtime::docker::book::ContainerId;
use crate::runtime::docker::events::seconds;

impl Inner {
    /// Listens, from `since` on, for the removal or renaming of a container that holds a
    /// replica's name, and tells of it. If the engine's stream breaks before, the next attempt to
    /// start the replica listens again.
    pub(super) async fn await_removal(
        self: Rc<Self>,
        foreigner: ContainerId,
        replica: ReplicaName,
        since: SystemTime,
    ) {
        if !self
            .watched_foreigners
            .borrow_mut()
            .insert(foreigner.clone())
        {
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
        self.watched_foreigners.borrow_mut().remove(&foreigner);
        match heard {
            Some(Ok(_)) => {
                if let Some(news) = &*self.news.borrow() {
                    // Nobody listens any more only when the runtime ends.
                    let _ = news.unbounded_send(RuntimeEvent::NameFreed { replica });
                }
            }
            Some(Err(error)) => debug!("docker: {}", self.engine.explain(error)),
            None => {}
        }
    }
}
