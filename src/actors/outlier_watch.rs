//! Ejection of instances that fail requests: RingState's part of it.
//!
//! Requests count failures on the instance itself and report it here when there are too
//! many in a row; [`Ejections`] decides, and a flag on the instance, which all worker
//! threads see at once, carries it out. The ring and its epochs have no part in it.

use std::sync::Arc;

use actix::{AsyncContext, Context, StreamHandler};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use log::{info, warn};

use super::ring_state::RingState;
use crate::fleet::{EjectionPolicy, Ejections, InstanceId, Sentence};
use crate::upstream::OutlierDesk;

/// Who is ejected, and where reports come in.
pub(super) struct OutlierWatch {
    ejections: Ejections,
    desk: Arc<OutlierDesk>,
    /// None once it is being listened to.
    reports: Option<UnboundedReceiver<TooManyFailures>>,
}

/// An instance has failed too often in a row.
struct TooManyFailures(InstanceId);

impl OutlierWatch {
    pub(super) fn new(policy: EjectionPolicy) -> Self {
        let (report, reports): (UnboundedSender<TooManyFailures>, _) = unbounded();
        let desk = OutlierDesk::new(policy.failures, move |id| {
            // An error means that the balancer is ending.
            let _ = report.unbounded_send(TooManyFailures(id.clone()));
        });
        Self {
            ejections: Ejections::new(policy),
            desk,
            reports: Some(reports),
        }
    }

    /// What a new instance reports to.
    pub(super) fn desk(&self) -> Arc<OutlierDesk> {
        Arc::clone(&self.desk)
    }
}

impl RingState {
    pub(super) fn watch_outliers(&mut self, ctx: &mut Context<Self>) {
        if let Some(reports) = self.outliers.reports.take() {
            ctx.add_stream(reports);
        }
    }
}

impl StreamHandler<TooManyFailures> for RingState {
    fn handle(&mut self, TooManyFailures(id): TooManyFailures, ctx: &mut Context<Self>) {
        let Some(instance) = self.view.instance_of(&id.replica) else {
            return;
        };
        let ready = self.view.ready.iter().flatten();
        let ready: Vec<InstanceId> = ready.map(|instance| instance.id().clone()).collect();
        match self.outliers.ejections.judge(&id, &ready) {
            Sentence::Ejected(time) => {
                instance.eject();
                warn!("{id} is ejected for {time:?}: it fails one request after the other");
                ctx.run_later(time, move |ring, _| {
                    ring.outliers.ejections.readmit(&id);
                    instance.readmit();
                    info!("{id} is no longer ejected");
                });
            }
            Sentence::Spared => {
                warn!("{id} fails one request after the other, but half of the ready are ejected");
                instance.spare();
            }
            Sentence::OldNews => {}
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The default would stop the actor. The desk that it owns keeps the stream open.
    }
}
