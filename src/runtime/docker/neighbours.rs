//! What other balancers of the fleet do, as the engine's events and lists show.

use std::rc::Rc;

use crate::runtime::docker::Inner;
use crate::runtime::docker::book::ContainerId;
use crate::runtime::docker::container::Record;
use crate::runtime::docker::events::News;
use crate::runtime::docker::names::Role;
use crate::runtime::{InstanceId, RuntimeEvent};

impl Inner {
    pub(super) fn disowns(&self, id: &InstanceId) -> bool {
        self.book.borrow().is_disowned(id)
    }

    /// Looks at a container that somebody else has started.
    pub(super) async fn greet(self: Rc<Self>, container: ContainerId, id: InstanceId, news: News) {
        let listed = self.list_instance(&id).await.unwrap_or_default();
        let record = listed.into_iter().find(|r| r.container == container);
        if let Some(record) = record.filter(|record| self.role(record) == Role::Holder) {
            self.appeared(record, &news);
            self.clear_others(id).await;
        }
    }

    /// A container has a replica's name. That it runs may be news: who hears of it knows.
    pub(super) fn appeared(&self, record: Record, news: &News) {
        let mut book = self.book.borrow_mut();
        let Some(endpoint) = record.endpoint else {
            return;
        };
        if book.is_given_up(&record.container) {
            return;
        }
        if !book.knows(&record.container) {
            book.adopted(&record.container, &record.order.id);
        }
        let order = record.order;
        let _ = news.unbounded_send(RuntimeEvent::Appeared { order, endpoint });
    }

    /// Another balancer removes the replica; how its container ends is no news.
    pub(super) fn disowned(&self, container: &str, id: InstanceId, news: &News) {
        if !self.disowns(&id) {
            self.book.borrow_mut().forget(container);
            let _ = news.unbounded_send(RuntimeEvent::Disowned { id });
        }
    }
}
