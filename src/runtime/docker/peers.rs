//! What other balancers of the fleet do, as far as the engine's events and lists show it.

use std::rc::Rc;

use super::DockerFleet;
use super::container::ContainerInfo;
use super::container_table::ContainerId;
use super::events::{EventTx, send};
use super::names::ContainerRole;
use crate::runtime::{Event, InstanceEvent, InstanceId};

impl DockerFleet {
    pub(super) fn is_being_removed(&self, id: &InstanceId) -> bool {
        self.containers.borrow().is_being_removed(id)
    }

    /// Adopts a container that another balancer, or a person, has started.
    pub(super) async fn adopt_started(
        self: Rc<Self>,
        container: ContainerId,
        id: InstanceId,
        tx: EventTx,
    ) {
        let listed = self.list_instance(&id).await.unwrap_or_default();
        let info = listed.into_iter().find(|r| r.container == container);
        if let Some(info) = info.filter(|info| self.role(info) == ContainerRole::Current) {
            self.report_running(info, &tx);
            self.remove_predecessors(id).await;
        }
    }

    /// Reports a running container that has a replica's name. The fleet may know it already.
    pub(super) fn report_running(&self, info: ContainerInfo, tx: &EventTx) {
        let mut containers = self.containers.borrow_mut();
        let Some(endpoint) = info.endpoint else {
            return;
        };
        if containers.is_given_up(&info.container) {
            return;
        }
        if !containers.knows(&info.container) {
            containers.adopted(&info.container, &info.order.id);
        }
        send(tx, Event::Discovered(info.order, endpoint));
    }

    /// Reports that another balancer removes the replica. The end of its container is expected.
    pub(super) fn report_removal(&self, container: &str, id: InstanceId, tx: &EventTx) {
        if !self.is_being_removed(&id) {
            self.containers.borrow_mut().forget(container);
            send(tx, Event::Instance(id, InstanceEvent::RemovedElsewhere));
        }
    }
}
