//! Services of a rollout. A service cannot be renamed, and its role can be changed while its task runs:
//! one that starts beside the one that plays its replica is `next`; when it takes the place, it becomes
//! `current`, and the other one `retired`, which is no removal.

use std::rc::Rc;

use log::{info, warn};
use tokio::time::Instant;

use super::SwarmFleet;
use super::api::SwarmError;
use super::instance_table::Leaving;
use super::names::service_name;
use super::service::ServiceRole;
use super::service_spec::set_role;
use crate::fleet::Definition;
use crate::runtime::{InstanceId, RuntimeError};

impl SwarmFleet {
    /// Makes sure that the image and the networks are there.
    pub(super) async fn prepare_rollout(
        self: Rc<Self>,
        definition: Definition,
    ) -> Result<(), RuntimeError> {
        let settings = self.settings.containers.following(&definition);
        settings.check_network(&self.settings.containers)?;
        self.check_other_networks(&settings).await?;
        self.image_facts(&settings.image).await.map(drop)
    }

    /// Has a service play its replica. What cannot be changed is logged: the fleet knows its instances by
    /// their generations, and the next start settles the roles.
    pub(super) async fn take_place(self: Rc<Self>, id: InstanceId) {
        let changed = async {
            // First: another balancer that sees the old one end looks for what plays the replica.
            let _alone = self.taking_place.lock().await;
            let name = service_name(self.name(), &id);
            let play = |spec: &mut _| set_role(spec, ServiceRole::Current);
            self.api.change_service(&name, play).await?;
            let services = self.api.services(self.name(), Some(&id.replica)).await?;
            let replaced = Leaving::Replaced(Instant::now());
            for old in services {
                // What another balancer has healed meanwhile may have a higher generation.
                if old.order.id != id && old.role == ServiceRole::Current {
                    self.instances.borrow_mut().leaves(&old.order.id, replaced);
                    let retire = |spec: &mut _| set_role(spec, ServiceRole::Retired);
                    match self.api.change_service(&old.name, retire).await {
                        // It had nothing in flight, and has been removed.
                        Err(error) if !error.is_missing() => return Err(error),
                        _ => {}
                    }
                }
            }
            Ok(())
        };
        let changed: Result<(), SwarmError> = changed.await;
        match changed {
            Ok(()) => info!(
                replica:% = id.replica, generation = id.generation;
                "{id} plays the replica from now on"
            ),
            Err(error) => warn!(
                replica:% = id.replica, generation = id.generation;
                "swarm: the service of {id} has not taken the place of the one before: {error}"
            ),
        }
    }
}
