//! Ejection of instances that fail requests.
//!
//! Requests count failures on the instance itself and report it here when there are too
//! many in a row; [`Ejections`] decides, and a flag on the instance, which all worker
//! threads see at once, makes them pass it over. The ring and its epochs have no part in it,
//! but that an instance that is off the ring is not ejected any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use log::{info, warn};

use crate::actors::ring_view::RingView;
use crate::fleet::{Ejection, EjectionDecision, EjectionPolicy, Ejections, InstanceId};
use crate::human::duration;
use crate::repeats::LineLimit;
use crate::upstream::{FailureReporter, Instance};

/// Limits lines about instances that fail and are not ejected: there may be one a failure.
pub static SUPPRESSED_EJECTIONS: LineLimit = LineLimit::new();

/// An instance has failed too often in a row.
pub(super) struct TooManyFailures(InstanceId);

/// An ejection that has begun.
pub(super) struct Ejected {
    instance: Arc<Instance>,
    number: u64,
    pub(super) duration: Duration,
}

impl Ejected {
    pub(super) fn id(&self) -> &InstanceId {
        self.instance.id()
    }
}

/// Which instances are ejected, and where reports come in.
pub(super) struct Outliers {
    ejections: Ejections,
    reporter: Arc<FailureReporter>,
    /// None once they have been taken.
    reports: Option<UnboundedReceiver<TooManyFailures>>,
}

impl Outliers {
    pub(super) fn new(policy: EjectionPolicy) -> Self {
        let (report, reports): (UnboundedSender<TooManyFailures>, _) = unbounded();
        let reporter = FailureReporter::new(policy.failures, move |id| {
            // An error means that the balancer is ending.
            let _ = report.unbounded_send(TooManyFailures(id.clone()));
        });
        Self {
            ejections: Ejections::new(policy),
            reporter,
            reports: Some(reports),
        }
    }

    /// What a new instance reports to.
    pub(super) fn reporter(&self) -> Arc<FailureReporter> {
        Arc::clone(&self.reporter)
    }

    /// The reports, once.
    pub(super) fn take_reports(&mut self) -> Option<UnboundedReceiver<TooManyFailures>> {
        self.reports.take()
    }

    /// The ring has changed: ends the ejections of instances that have left it.
    pub(super) fn ring_changed(&mut self, before: &RingView, after: &RingView) {
        let freed = self.ejections.forget_all_but(|id| {
            let present = after.instance_of(&id.replica);
            present.is_some_and(|instance| instance.id() == id)
        });
        for id in freed {
            if let Some(instance) = before.instance_of(&id.replica) {
                // It may come back as the same instance.
                instance.readmit();
            }
        }
    }

    /// Ejects an instance that has failed too often, if that is allowed.
    pub(super) fn eject(
        &mut self,
        TooManyFailures(id): &TooManyFailures,
        view: &RingView,
    ) -> Option<Ejected> {
        // An unready instance has said that requests to it would fail.
        let instance = view.instance_of(&id.replica)?;
        // Those of a canary have the others to fall back on, and not the other way round.
        let canary = view.canary.iter().filter(|_| view.is_canary(&id.replica));
        let canary = canary.flat_map(|canary| &canary.view.ready);
        let ready = view.ready.iter().chain(canary).flatten();
        let ready: Vec<InstanceId> = ready.map(|instance| instance.id().clone()).collect();
        match self.ejections.decide(id, &ready) {
            EjectionDecision::Ejected(Ejection { number, lasts }) => {
                let time = duration(lasts);
                warn!(replica:% = id.replica, generation = id.generation; "{id} is ejected for {time}: it fails one request after the other");
                instance.eject();
                view.recompute_weight();
                Some(Ejected {
                    instance,
                    number,
                    duration: lasts,
                })
            }
            EjectionDecision::MaxEjected => {
                if SUPPRESSED_EJECTIONS.admits(Instant::now()) {
                    warn!(
                        replica:% = id.replica, generation = id.generation;
                        "{id} fails one request after the other and is not ejected: half of the \
                         ready replicas are"
                    );
                }
                instance.reset_failures();
                None
            }
            EjectionDecision::Stale => None,
        }
    }

    /// The time of an ejection is over. Whether it was in force until now.
    pub(super) fn readmit(&mut self, ejected: &Ejected, view: &RingView) -> bool {
        let was_in_force = self.ejections.end(ejected.number);
        if was_in_force {
            let id = ejected.id();
            info!(replica:% = id.replica, generation = id.generation; "{id} is readmitted");
            ejected.instance.readmit();
            view.recompute_weight();
        }
        was_in_force
    }
}
