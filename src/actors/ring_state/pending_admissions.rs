//! Admissions of members whose table is still being built.
//!
//! The Supervisor sends joins and admissions together, while the ring builds the table of the
//! joins on another thread. Admissions that come meanwhile are kept until the table is there.

use tokio::sync::oneshot;

use super::messages::AdmitReplica;
use crate::actors::ring_view::RingView;
use crate::fleet::InstanceId;

/// An admission, and what completes it.
type Pending = (AdmitReplica, oneshot::Sender<()>);

/// Admissions that wait for a table.
#[derive(Default)]
pub(super) struct PendingAdmissions(Vec<Pending>);

impl PendingAdmissions {
    /// Keeps an admission. The future completes when the admission has, or was dropped.
    pub(super) fn keep(&mut self, admit: AdmitReplica) -> impl Future<Output = ()> + use<> {
        let (done, admitted) = oneshot::channel();
        self.0.push((admit, done));
        async {
            // An error means that the admission was dropped.
            let _ = admitted.await;
        }
    }

    /// Drops the admission of an instance.
    pub(super) fn forget(&mut self, id: &InstanceId) {
        self.0.retain(|(AdmitReplica(waiting, _), _)| waiting != id);
    }

    /// Takes the admissions that a new table makes possible. The others are kept if another
    /// table follows, and dropped if none does.
    pub(super) fn take_possible(&mut self, view: &RingView, more_follow: bool) -> Vec<Pending> {
        let is_possible = |(AdmitReplica(id, _), _): &mut Pending| view.has_member(&id.replica);
        let possible = self.0.extract_if(.., is_possible).collect();
        if !more_follow {
            self.0.clear();
        }
        possible
    }
}
