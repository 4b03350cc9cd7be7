//! Ending one container.

use std::rc::Rc;
use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder};
use log::debug;

use crate::runtime::docker::Inner;
use crate::runtime::docker::container::{FLEET, GENERATION, REPLICA, Record};
use crate::runtime::docker::engine::{is_conflict, is_missing};
use crate::runtime::docker::names::{Role, leaving_name};
use crate::runtime::{InstanceId, RuntimeError};

/// What the engine may take on top of the grace to answer a stop.
const STOP_MARGIN: Duration = Duration::from_secs(60);

impl Inner {
    /// Lets every balancer of the fleet know, by the engine's word on the new name, that the
    /// replica is removed.
    pub(super) async fn disown(self: Rc<Self>, id: InstanceId) {
        let lock = self.lock(&id.replica);
        let _held = lock.lock().await;
        match self.list_instance(&id).await {
            Ok(listed) => {
                for record in listed {
                    self.mark_leaving(&record).await;
                }
            }
            // It is tried again before the container ends.
            Err(error) => debug!("docker: cannot disown {id}: {error}"),
        }
    }

    async fn mark_leaving(&self, record: &Record) {
        if self.role(record) == Role::Leaving {
            return;
        }
        let id = &record.order.id;
        let name = leaving_name(&self.settings.fleet, id);
        if let Err(error) = self.rename(&record.container, &name).await {
            debug!("docker: cannot disown {id}: {error}");
        }
    }

    /// The containers of one instance.
    pub(super) async fn list_instance(&self, id: &InstanceId) -> Result<Vec<Record>, RuntimeError> {
        let generation = id.generation.to_string();
        // By its labels and not by its name: that may be a successor's by now.
        let labels = [
            (FLEET, self.settings.fleet.as_str()),
            (REPLICA, id.replica.as_str()),
            (GENERATION, generation.as_str()),
        ];
        self.list(&labels).await
    }

    pub(super) async fn stop(
        self: Rc<Self>,
        id: InstanceId,
        grace: Duration,
    ) -> Result<(), RuntimeError> {
        loop {
            // Listens before it looks, so that no ring is missed in between.
            let over = self.launch_over.notified();
            if !self.book.borrow().is_launching(&id) {
                break;
            }
            over.await;
        }
        let lock = self.lock(&id.replica);
        let _held = lock.lock().await;
        let listed = self.list_instance(&id).await?;
        let (disowned, kept) = {
            let book = self.book.borrow();
            (book.is_disowned(&id), book.is_kept(&id))
        };
        for record in listed {
            self.book.borrow_mut().forget(&record.container);
            if disowned {
                self.mark_leaving(&record).await;
            }
            if record.running {
                self.end(&record.container, grace).await?;
            }
            if kept {
                self.put_aside(&record.container, &id).await?;
            } else {
                self.engine.remove(&record.container).await?;
            }
            self.book.borrow_mut().removed(&record.container);
        }
        if disowned {
            self.clear_dead(&id.replica).await;
        }
        self.book.borrow_mut().stopped(&id);
        Ok(())
    }

    /// SIGTERM (or what the image asks for), grace, SIGKILL.
    pub(super) async fn end(&self, container: &str, grace: Duration) -> Result<(), RuntimeError> {
        let docker = &self.engine.docker;
        let ended = if grace.is_zero() {
            let options = KillContainerOptionsBuilder::default()
                .signal("SIGKILL")
                .build();
            docker.kill_container(container, Some(options)).await
        } else {
            // The engine counts in whole seconds.
            let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
            let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
            let options = StopContainerOptionsBuilder::default().t(seconds).build();
            let patient = docker
                .clone()
                .with_timeout(grace.saturating_add(STOP_MARGIN));
            patient.stop_container(container, Some(options)).await
        };
        match ended {
            // It has ended by itself meanwhile.
            Err(error) if is_missing(&error) || is_conflict(&error) => Ok(()),
            ended => ended.map_err(|e| self.engine.explain(e)),
        }
    }
}
