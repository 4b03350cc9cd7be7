//! Slot tables are built beside the control thread, one after the other.
//!
//! A table of a thousand replicas takes a quarter of a second to build. Meanwhile deaths
//! have to be noticed and the dead evicted, so RingState only queues what is to change:
//! each table is built on a thread for such work from what the one before it has left,
//! and taken in when it is there. Who is ready is not the table's business; what happened
//! to that in the meantime holds.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::sync::Arc;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{AsyncContext, Context};
use tokio::sync::oneshot;
use tokio::task::JoinError;

use super::reshape::{Plan, ReshapeError, ReshapeRing, Reshaped};
use super::ring_state::RingState;
use crate::ring::{BuildError, Member, ReplicaName, RingSpec, SlotTable};

/// What is to be done to the table.
pub(super) enum Edit {
    /// These come.
    Join(Vec<Member>),
    /// These go.
    Leave(Vec<ReplicaName>),
    /// The same members by another recipe.
    Reshape(ReshapeRing),
}

/// The end of it. What a [`Edit::Reshape`] has done is told; the others know.
pub(super) type Done = Result<Option<Reshaped>, ReshapeError>;

/// What has been asked for and is not done yet, first come, first served.
#[derive(Default)]
pub(super) struct TableQueue {
    waiting: VecDeque<(Edit, oneshot::Sender<Done>)>,
    building: bool,
}

impl TableQueue {
    /// Whether a table is being built or waits to be.
    pub(super) fn is_busy(&self) -> bool {
        self.building || !self.waiting.is_empty()
    }
}

/// A new table, and what else its epoch brings.
pub(super) enum Built {
    Members(SlotTable, RingSpec),
    Reshaped(SlotTable, Reshaped, bool),
}

impl RingState {
    /// Queues a change. Done when every worker has taken it in.
    pub(super) fn change_table(
        &mut self,
        edit: Edit,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Done> + use<> {
        let (done, answer) = oneshot::channel();
        self.queue.waiting.push_back((edit, done));
        self.build_next(ctx);
        async {
            match answer.await {
                Ok(done) => done,
                // The actor has ended, and soon the process will have.
                Err(_) => pending().await,
            }
        }
    }

    fn build_next(&mut self, ctx: &mut Context<Self>) {
        while !self.queue.building {
            let Some((edit, done)) = self.queue.waiting.pop_front() else {
                return;
            };
            let before = Arc::clone(&self.view.table);
            let members = before.members().to_vec();
            let job = match edit {
                Edit::Join(newcomers) => {
                    let members = members.into_iter().chain(newcomers).collect();
                    members_job(self.spec, members)
                }
                Edit::Leave(leavers) => {
                    let stays = |member: &Member| !leavers.contains(&member.name);
                    members_job(self.spec, members.into_iter().filter(stays).collect())
                }
                Edit::Reshape(change) => {
                    let dry_run = change.dry_run;
                    match Plan::new(change, self.spec, self.view.balance_factor, members) {
                        Ok(plan) => reshape_job(plan, before, dry_run),
                        Err(error) => {
                            // Nobody listening any more is no reason to mind.
                            let _ = done.send(Err(error));
                            continue;
                        }
                    }
                }
            };
            self.queue.building = true;
            let built = wrap_future(tokio::task::spawn_blocking(job));
            ctx.spawn(built.map(|built, ring: &mut Self, ctx| ring.take_in(built, done, ctx)));
        }
    }

    /// The next epoch, if the members fit; then the next change.
    fn take_in(
        &mut self,
        built: Result<Result<Built, BuildError>, JoinError>,
        done: oneshot::Sender<Done>,
        ctx: &mut Context<Self>,
    ) {
        let built = match built {
            Ok(built) => built,
            // A mistake of ours ends the process, as in every control actor.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The process is about to end.
            Err(_) => return,
        };
        self.queue.building = false;
        match built {
            Err(error) => {
                let _ = done.send(Err(error.into()));
            }
            Ok(Built::Reshaped(_, reshaped, true)) => {
                let _ = done.send(Ok(Some(reshaped)));
            }
            Ok(Built::Reshaped(table, reshaped, false)) => {
                reshaped.log();
                self.spec = reshaped.spec;
                let mut next = self.view.with_table(table);
                next.balance_factor = reshaped.balance_factor;
                self.publish_and_tell(next, Ok(Some(reshaped)), done, ctx);
            }
            Ok(Built::Members(table, spec)) => {
                self.spec = spec;
                let next = self.view.with_table(table);
                self.publish_and_tell(next, Ok(None), done, ctx);
            }
        }
        self.build_next(ctx);
        self.admit_early(ctx);
    }

    fn publish_and_tell(
        &mut self,
        next: super::ring_view::RingView,
        what: Done,
        done: oneshot::Sender<Done>,
        ctx: &mut Context<Self>,
    ) {
        let published = self.publish(next);
        ctx.spawn(wrap_future(async {
            published.await;
            let _ = done.send(what);
        }));
    }
}

type Job = Box<dyn FnOnce() -> Result<Built, BuildError> + Send>;

fn members_job(spec: RingSpec, members: Vec<Member>) -> Job {
    Box::new(move || Ok(Built::Members(SlotTable::build(&spec, &members)?, spec)))
}

fn reshape_job(plan: Plan, before: Arc<SlotTable>, dry_run: bool) -> Job {
    Box::new(move || {
        let (table, reshaped) = plan.build(&before)?;
        Ok(Built::Reshaped(table, reshaped, dry_run))
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use actix::{Actor, Addr};

    use super::*;
    use crate::actors::lifeline::Lifeline;
    use crate::actors::ring_state::{AdmitReplica, EvictReplica, JoinRing, LeaveRing, LookAtRing};
    use crate::fleet::{EjectionPolicy, InstanceId};

    const NO_EJECTIONS: EjectionPolicy = EjectionPolicy {
        failures: 0,
        on: crate::fleet::OutlierOn::Errors,
        duration: std::time::Duration::ZERO,
    };

    fn ring() -> Addr<RingState> {
        let (line, _) = Lifeline::new();
        RingState::new(
            RingSpec::default(),
            None,
            NO_EJECTIONS,
            std::time::Duration::ZERO,
            crate::ring::PanicThreshold::default(),
            crate::upstream::Capacity::new(None),
            line.of("the ring"),
        )
        .unwrap()
        .start()
    }

    fn members(numbers: std::ops::Range<u32>) -> Vec<Member> {
        let named = |number| format!("S{number}").parse().unwrap();
        numbers.map(|number| Member::new(named(number))).collect()
    }

    fn instance(member: &Member) -> InstanceId {
        InstanceId {
            replica: member.name.clone(),
            generation: 1,
        }
    }

    #[actix_web::test]
    async fn a_death_is_taken_in_while_a_large_table_is_built() {
        let ring = ring();
        let first = members(0..3);
        ring.send(JoinRing(first.clone())).await.unwrap().unwrap();
        let endpoint = SocketAddr::from(([127, 0, 0, 1], 9));
        for member in &first {
            let id = instance(member);
            ring.send(AdmitReplica { id, endpoint }).await.unwrap();
        }
        let large = ring.send(JoinRing(members(3..600)));
        let large = actix::spawn(large);
        tokio::task::yield_now().await;
        // The dead one is off the ring although the new table is not there yet.
        ring.send(EvictReplica(instance(&first[1]))).await.unwrap();
        let now = ring.send(LookAtRing).await.unwrap();
        assert_eq!(now.table.members().len(), 3);
        assert!(now.instance_of(&first[1].name).is_none());
        // And it stays off when it is.
        large.await.unwrap().unwrap().unwrap();
        let then = ring.send(LookAtRing).await.unwrap();
        assert_eq!(then.table.members().len(), 600);
        assert!(then.instance_of(&first[1].name).is_none());
        assert!(then.instance_of(&first[2].name).is_some());
    }

    #[actix_web::test]
    async fn changes_take_effect_in_the_order_in_which_they_were_asked_for() {
        let ring = ring();
        let join = ring.send(JoinRing(members(0..400)));
        let leave = ring.send(LeaveRing(
            members(0..390).into_iter().map(|m| m.name).collect(),
        ));
        let again = ring.send(JoinRing(members(0..1)));
        let (join, leave, again) = futures::join!(join, leave, again);
        join.unwrap().unwrap();
        leave.unwrap();
        again.unwrap().unwrap();
        let table = &ring.send(LookAtRing).await.unwrap().table;
        assert_eq!(table.members().len(), 11);
    }
}
