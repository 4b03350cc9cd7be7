//! Changes of the slot table, one after the other.
//!
//! A table of a thousand replicas takes a quarter of a second to build. Meanwhile deaths
//! have to be noticed and dead replicas evicted, so RingState only queues what is to change. A
//! change becomes a [`Rebuild`] when the one before it is done: a job for a blocking thread, from
//! the members of the present table. Which members are ready is not the table's business, and
//! may change meanwhile.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::messages::{ReconfigureError, ReconfigureRing, Reconfigured};
use super::reconfigure::Plan;
use crate::actors::ring_view::RingView;
use crate::fleet::RingSettings;
use crate::ring::{BuildError, CanaryShare, Member, ReplicaName, RingSpec, SlotTable};

/// A change of the table.
pub(super) enum Edit {
    /// Members come.
    Join(Vec<Member>),
    /// Members go.
    Leave(Vec<ReplicaName>),
    /// The same members by another recipe.
    Reconfigure(ReconfigureRing),
    /// A canary has a ring of its own.
    OpenCanary(CanaryShare, Vec<Member>),
    /// It has none any more.
    CloseCanary,
}

/// How a change ended; with what has been done if it was a [`Edit::Reconfigure`].
pub(super) type EditOutcome = Result<Option<Reconfigured>, ReconfigureError>;

/// A new table, and what else its epoch brings.
pub(super) enum Built {
    /// Members have come or gone.
    Members(SlotTable, RingSpec),
    /// The recipe has changed.
    Reconfigured(SlotTable, Reconfigured),
    /// The recipe would have changed.
    DryRun(Reconfigured),
    /// There is a canary, or none any more.
    Canary(Option<(CanaryShare, SlotTable)>),
}

/// Builds a table; takes as long as the table is large.
pub(super) type Job = Box<dyn FnOnce() -> Result<Built, BuildError> + Send>;

/// A change whose turn it is.
pub(super) struct Rebuild {
    /// To be run on a blocking thread.
    pub job: Job,
    /// Completes the change.
    pub done: oneshot::Sender<EditOutcome>,
}

/// Changes that are queued, and whether one is being made.
#[derive(Default)]
pub(super) struct RebuildQueue {
    waiting: VecDeque<(Edit, oneshot::Sender<EditOutcome>)>,
    is_building: bool,
}

impl RebuildQueue {
    /// Whether a table is being built or waits to be.
    pub(super) fn is_busy(&self) -> bool {
        self.is_building || !self.waiting.is_empty()
    }

    /// Queues a change. The future completes with it.
    pub(super) fn push(&mut self, edit: Edit) -> impl Future<Output = EditOutcome> + use<> {
        let (done, outcome) = oneshot::channel();
        self.waiting.push_back((edit, done));
        async {
            match outcome.await {
                Ok(outcome) => outcome,
                // The actor has ended, and soon the process will have.
                Err(_) => pending().await,
            }
        }
    }

    /// The next change, if none is being made; [`RebuildQueue::finish`] follows. Changes that
    /// the ring `view` makes impossible are completed with an error.
    pub(super) fn start(&mut self, ring: RingSettings, view: &RingView) -> Option<Rebuild> {
        while !self.is_building {
            let (edit, done) = self.waiting.pop_front()?;
            match job(edit, ring, view) {
                Ok(job) => {
                    self.is_building = true;
                    return Some(Rebuild { job, done });
                }
                // The caller may have stopped waiting.
                Err(error) => drop(done.send(Err(error))),
            }
        }
        None
    }

    /// The change that was started is over.
    pub(super) fn finish(&mut self) {
        self.is_building = false;
    }
}

fn job(edit: Edit, ring: RingSettings, view: &RingView) -> Result<Job, ReconfigureError> {
    let before = Arc::clone(&view.table);
    let members = before.members().to_vec();
    Ok(match edit {
        Edit::Join(joining) => members_job(ring.spec, members.into_iter().chain(joining).collect()),
        Edit::Leave(leavers) => {
            let stays = |member: &Member| !leavers.contains(&member.name);
            members_job(ring.spec, members.into_iter().filter(stays).collect())
        }
        Edit::OpenCanary(share, members) => Box::new(move || {
            let table = SlotTable::build(&ring.spec, &members)?;
            Ok(Built::Canary(Some((share, table))))
        }),
        Edit::CloseCanary => Box::new(|| Ok(Built::Canary(None))),
        Edit::Reconfigure(change) => {
            let dry_run = change.dry_run;
            let plan = Plan::new(change, ring, members)?;
            Box::new(move || {
                let (table, reconfigured) = plan.build(&before)?;
                Ok(match dry_run {
                    true => Built::DryRun(reconfigured),
                    false => Built::Reconfigured(table, reconfigured),
                })
            })
        }
    })
}

fn members_job(spec: RingSpec, members: Vec<Member>) -> Job {
    Box::new(move || Ok(Built::Members(SlotTable::build(&spec, &members)?, spec)))
}
