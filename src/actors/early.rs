//! Admissions of members whose table is still being built.
//!
//! The Supervisor lets members join and admits them in one breath; the ring takes the
//! first in beside the control thread. What is admitted meanwhile is kept until the table
//! is there.

use actix::fut::wrap_future;
use actix::{AsyncContext, Context};
use tokio::sync::oneshot;

use super::ring_state::{AdmitReplica, RingState};
use crate::fleet::InstanceId;

/// Admissions that wait for a table.
#[derive(Default)]
pub(super) struct EarlyAdmissions(Vec<(AdmitReplica, oneshot::Sender<()>)>);

impl EarlyAdmissions {
    /// Keeps an admission; done when every worker has taken it in, or when it has come to
    /// nothing.
    pub(super) fn keep(&mut self, admit: AdmitReplica) -> impl Future<Output = ()> + use<> {
        let (done, admitted) = oneshot::channel();
        self.0.push((admit, done));
        async {
            // An error means that it has come to nothing.
            let _ = admitted.await;
        }
    }

    /// The instance is not to be admitted after all.
    pub(super) fn forget(&mut self, id: &InstanceId) {
        self.0.retain(|(admit, _)| admit.id != *id);
    }
}

impl RingState {
    /// A new table is there: admits those who have waited for it.
    pub(super) fn admit_early(&mut self, ctx: &mut Context<Self>) {
        for (admit, done) in std::mem::take(&mut self.early.0) {
            if self.view.table.index_of(&admit.id.replica).is_some() {
                let admitted = self.admit(admit);
                ctx.spawn(wrap_future(async move {
                    admitted.await;
                    // Nobody listening any more is no reason to mind.
                    let _ = done.send(());
                }));
            } else if self.queue.is_busy() {
                self.early.0.push((admit, done));
            }
        }
    }
}
