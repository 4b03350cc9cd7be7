//! Post-mortems: what is known of an instance that died.
//!
//! The fleet says which death to record, before the prober, the runtime and the ring forget the
//! instance; what each of them knows is asked for, and put together in the [`DeathLog`]. Nothing
//! waits for a post-mortem but the stop of an instance that is about to be killed, and that not
//! for long.
//!
//! [`DeathLog`]: crate::actors::death_log::DeathLog

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use actix::{AsyncContext, Context, Handler, Message, MessageResult};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, OptionFuture};
use log::warn;

use super::Supervisor;
use crate::actors::ring_state::Evicted;
use crate::api::{Death, Heartbeat};
use crate::fleet::{DeathCause, InstanceId};
use crate::runtime::{ExitReport, Runtime};
use crate::upstream::stats::RestartCause;

/// How long the runtime may take to report what it knows of an instance's end.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Message)]
#[rtype(result = "Vec<Death>")]
pub struct GetDeaths;

/// What has been found out about an instance's end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) enum DeathDetail {
    /// Requests that it had when it was evicted.
    Requests(InstanceId, Evicted),
    /// Its last heartbeats.
    Probes(InstanceId, Vec<Heartbeat>),
    /// What its runtime knows.
    ExitReport(InstanceId, ExitReport),
    /// No more is to be expected.
    Complete(InstanceId),
}

impl Supervisor {
    /// Counts a death of a replica.
    pub(super) fn count_death(&self, id: &InstanceId, cause: &DeathCause) {
        let counted_as = restart_cause(cause);
        let stats = self.stats.replica(&id.replica);
        stats.life().died(counted_as, Instant::now());
    }

    /// Opens the record of a death, and asks for details. The future reports them, and is to be
    /// spawned when the ring has the eviction.
    pub(super) fn record_death(
        &mut self,
        id: InstanceId,
        cause: DeathCause,
        ctx: &mut Context<Self>,
    ) -> LocalBoxFuture<'static, ()> {
        // One whose end has not been reported is about to be stopped, which asks the runtime.
        let has_ended = cause.exit().is_some();
        self.death_log.record(&id, cause, SystemTime::now());
        let own = ctx.address();
        let prober = self.prober.as_ref();
        let probes = prober.map(|prober| prober.probes(id.clone()));
        let report = has_ended.then(|| exit_report(&self.runtime, id.clone()));
        async move {
            if let Some(Ok(probes)) = OptionFuture::from(probes).await {
                own.do_send(DeathDetail::Probes(id.clone(), probes));
            }
            if let Some(report) = report {
                own.do_send(DeathDetail::ExitReport(id.clone(), report.await));
                own.do_send(DeathDetail::Complete(id));
            }
        }
        .boxed_local()
    }
}

/// As what a death is counted.
fn restart_cause(cause: &DeathCause) -> RestartCause {
    match cause {
        DeathCause::Ended(exit) if exit.out_of_memory => RestartCause::OutOfMemory,
        DeathCause::Ended(exit) if exit.signal.is_some() => RestartCause::Killed,
        DeathCause::Ended(_) => RestartCause::Exited,
        DeathCause::RefusesConnections => RestartCause::RefusesConnections,
        DeathCause::Unresponsive => RestartCause::Unresponsive,
        DeathCause::Unready(_) => RestartCause::Unready,
        DeathCause::NotReadyInTime(_) => RestartCause::NotReadyInTime,
        DeathCause::Moved(_) => RestartCause::Moved,
    }
}

/// What a runtime knows of an instance's end, if it says so in time.
pub(super) fn exit_report(
    runtime: &Rc<dyn Runtime>,
    id: InstanceId,
) -> impl Future<Output = ExitReport> + 'static {
    let report = runtime.exit_report(id);
    async move {
        let report = tokio::time::timeout(RUNTIME_TIMEOUT, report).await;
        report.unwrap_or_default()
    }
}

impl Handler<DeathDetail> for Supervisor {
    type Result = ();

    fn handle(&mut self, detail: DeathDetail, _: &mut Context<Self>) {
        match detail {
            DeathDetail::Requests(id, evicted) => self.death_log.set_requests(&id, evicted),
            DeathDetail::Probes(id, probes) => self.death_log.set_probes(&id, probes),
            DeathDetail::ExitReport(id, report) => self.death_log.set_exit_report(&id, report),
            DeathDetail::Complete(id) => {
                self.exit_waiters.remove(&id);
                if let Some(report) = self.death_log.report(&id) {
                    warn!(replica:% = id.replica, generation = id.generation; "post-mortem: {report}");
                }
            }
        }
    }
}

impl Handler<GetDeaths> for Supervisor {
    type Result = MessageResult<GetDeaths>;

    fn handle(&mut self, _: GetDeaths, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.death_log.deaths())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Exit;

    #[test]
    fn death_is_counted_by_its_cause_whatever_it_is_called() {
        let moved = DeathCause::Moved("it has left network zoo".to_owned());
        assert_eq!(restart_cause(&moved), RestartCause::Moved);
        let late = DeathCause::NotReadyInTime("no good heartbeat within 5 s".to_owned());
        assert_eq!(restart_cause(&late), RestartCause::NotReadyInTime);
        let killed = DeathCause::Ended(Exit::signal(9));
        assert_eq!(restart_cause(&killed), RestartCause::Killed);
    }
}
