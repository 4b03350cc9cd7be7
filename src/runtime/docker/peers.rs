//! What other balancers of the fleet do, as far as the engine's events and lists show it.

use std::rc::Rc;

use super::DockerFleet;
use super::container::ContainerInfo;
use super::container_table::ContainerId;
use super::events::{EventTx, send};
use super::names::ContainerRole;
use crate::ring::ReplicaName;
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
        let info = self.look_up(&container, &id).await;
        if let Some(info) = info.filter(|info| self.role(info) == ContainerRole::Current) {
            self.report_running(info, &tx);
            self.remove_predecessors(id).await;
        }
    }

    /// Another balancer has started a container beside the one that plays its replica: looks at it, so that
    /// it can be followed at once when it takes the place.
    pub(super) async fn note_successor(self: Rc<Self>, container: ContainerId, id: InstanceId) {
        let info = self.look_up(&container, &id).await;
        if let Some(info) = info.filter(|info| info.running) {
            self.successors.borrow_mut().insert(id, info);
        }
    }

    /// A container of this replica makes room for the one beside it, which is ready. If that is this
    /// balancer's own, one of another balancer that is older has come too late.
    pub(super) fn follow_successor(&self, replica: &ReplicaName, tx: &EventTx) {
        let newest = self.containers.borrow().newest_of(replica);
        let mut successors = self.successors.borrow_mut();
        let of_it = successors.extract_if(|id, _| id.replica == *replica);
        // Only the last one can be it: another one is not started before that has gone.
        let last = of_it.max_by_key(|(id, _)| id.generation);
        if let Some((_, info)) = last.filter(|(id, _)| Some(id.generation) > newest) {
            self.report_succeeded(info, tx);
        }
    }

    /// Another balancer has given a container its replica's name: it has taken the place of another one.
    pub(super) async fn adopt_successor(
        self: Rc<Self>,
        container: ContainerId,
        id: InstanceId,
        tx: EventTx,
    ) {
        let info = self.look_up(&container, &id).await;
        let info = info.filter(|info| info.running);
        if let Some(info) = info.filter(|info| self.role(info) == ContainerRole::Current) {
            self.report_succeeded(info, &tx);
        }
    }

    /// This container, if it is the instance's.
    async fn look_up(&self, container: &str, id: &InstanceId) -> Option<ContainerInfo> {
        let listed = self.list_instance(id).await.unwrap_or_default();
        let mut listed = listed.into_iter();
        listed.find(|info| info.container == container)
    }

    fn report_succeeded(&self, info: ContainerInfo, tx: &EventTx) {
        let mut containers = self.containers.borrow_mut();
        if let Some(endpoint) = info.endpoint
            && !containers.knows(&info.container)
        {
            containers.adopted(&info.container, &info.order.id);
            let succeeded = Event::Succeeded(info.order, endpoint, info.definition);
            send(tx, succeeded);
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
        let discovered = Event::Discovered(info.order, endpoint, info.definition);
        send(tx, discovered);
    }

    /// Reports that another balancer removes the replica. The end of its container is expected.
    pub(super) fn report_removal(&self, container: &str, id: InstanceId, tx: &EventTx) {
        if !self.is_being_removed(&id) {
            self.containers.borrow_mut().forget(container);
            send(tx, Event::Instance(id, InstanceEvent::RemovedElsewhere));
        }
    }
}
