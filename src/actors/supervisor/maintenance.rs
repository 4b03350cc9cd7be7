//! Maintenance: every request is answered with a page, while heartbeats, healing and rollouts go on. It
//! is in the fleet record: other balancers follow it, and a start goes on with it.

use std::rc::Rc;
use std::sync::Arc;

use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture};
use log::{error, info, warn};

use super::recording::recorded;
use super::{ExpectedVersions, Supervisor};
use crate::actors::admission::Admission;
use crate::actors::history::HistoryEvent;
use crate::api::{ReplicaEventKind as Kind, Timestamp};
use crate::fleet::{ChangeError, MAX_PAGE, Maintenance, RecordChange};

/// Begins a maintenance, or has another page shown in the present one; or ends it. Answered when every
/// worker thread knows and the record has it.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChangeError>")]
pub struct SetMaintenance {
    /// None ends it.
    pub maintenance: Option<NewMaintenancePage>,
    /// Refuse it unless the configuration has one of these versions.
    pub expected: Option<ExpectedVersions>,
}

/// What is to be shown.
#[derive(Debug)]
pub struct NewMaintenancePage {
    /// None: what `--maintenance-page` has.
    pub page: Option<String>,
    pub retry_after_seconds: u32,
}

impl Supervisor {
    /// Has this page shown where a maintenance has none of its own.
    pub fn showing(mut self, page: Arc<str>) -> Self {
        self.maintenance_page = page;
        self
    }

    /// What requests meet now: a maintenance comes before a pause.
    pub(super) fn admission(&self) -> Admission {
        match (&self.maintenance, &self.pause) {
            (Some(maintenance), _) => Admission::Refused(Arc::clone(maintenance)),
            (None, Some(pause)) => Admission::Held(pause.until()),
            (None, None) => Admission::Open,
        }
    }

    /// Takes in what the record says of a maintenance. Done when every worker knows.
    pub(super) fn follow_maintenance(
        &mut self,
        wanted: Option<&Maintenance>,
    ) -> ResponseActFuture<Self, ()> {
        let present = self.maintenance.as_deref();
        let is_other = present != wanted;
        match (present, wanted) {
            (None, Some(_)) => {
                warn!(
                    "maintenance: every request is answered with 503; 'ringmaster ctl maintenance off' ends that"
                );
                self.record_event(HistoryEvent::of_fleet(Kind::MaintenanceOn));
            }
            (Some(_), None) => {
                info!("the maintenance is over: requests go to the replicas");
                self.record_event(HistoryEvent::of_fleet(Kind::MaintenanceOff));
            }
            (Some(_), Some(_)) if is_other => {
                info!("maintenance: another page is shown from now on")
            }
            _ => {}
        }
        if !is_other {
            return Box::pin(actix::fut::ready(()));
        }
        self.version.raise();
        self.maintenance = wanted.cloned().map(Arc::new);
        let set = self.ring.set_admission(self.admission());
        let set = async move {
            if let Err(error) = set.await {
                error!("cannot reach the ring: {error}");
            }
        };
        Box::pin(set.into_actor(self))
    }
}

impl Handler<SetMaintenance> for Supervisor {
    type Result = ResponseActFuture<Self, Result<(), ChangeError>>;

    fn handle(&mut self, set: SetMaintenance, ctx: &mut Context<Self>) -> Self::Result {
        if let Err(outdated) = self.version.check(set.expected.as_ref()) {
            return Box::pin(actix::fut::ready(Err(outdated)));
        }
        let since = self.maintenance.as_ref().map(|present| present.since);
        let wanted = set.maintenance.map(|new| Maintenance {
            since: since.unwrap_or_else(Timestamp::now),
            page: new
                .page
                .unwrap_or_else(|| self.maintenance_page.to_string()),
            retry_after_seconds: new.retry_after_seconds,
        });
        if let Some(size) = wanted
            .as_ref()
            .map(|wanted| wanted.page.len())
            .filter(|size| *size > MAX_PAGE)
        {
            return Box::pin(actix::fut::ready(Err(ChangeError::PageTooLarge(size))));
        }
        self.write_record(vec![RecordChange::Maintenance(wanted.clone())], ctx);
        let followed = self.follow_maintenance(wanted.as_ref());
        let record = Rc::clone(&self.record);
        Box::pin(followed.then(|(), supervisor, _| recorded(record).into_actor(supervisor)))
    }
}
