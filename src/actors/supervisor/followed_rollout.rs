//! A rollout that another balancer carries out: this one follows it, asks whether that one is there, and
//! takes the rollout over if it is gone.

use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};
use log::{debug, info, warn};

use super::Supervisor;
use super::rollouts::said;
use crate::api::Timestamp;
use crate::fleet::{ExecutorWatch, FleetRecord, RolloutChange, RolloutOrder, Stage};
use crate::runtime::balancer_name;

/// How often the balancer that carries a rollout out is asked whether it is there.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The same while the rollout is paused, which may last.
const PAUSED_CHECK_INTERVAL: Duration = Duration::from_secs(20);

/// How long a balancer that ends takes to leave its rollout to the others.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A balancer that carries a rollout out, and the next look whether it is there.
pub(super) struct WatchedExecutor {
    watch: ExecutorWatch,
    pending: SpawnHandle,
}

impl Supervisor {
    /// Takes in what the record says of rollouts.
    pub(super) fn follow_rollout(&mut self, record: &FleetRecord, ctx: &mut Context<Self>) {
        let steps = self.fleet.follow_rollout(record.desired(), self.now());
        self.execute(steps, ctx);
        self.watch_executor(ctx);
    }

    /// Has an eye on the balancer that carries a rollout out elsewhere.
    pub(super) fn watch_executor(&mut self, ctx: &mut Context<Self>) {
        let followed = self.fleet.followed_rollout();
        let executor = followed.map(|rollout| rollout.executor.clone());
        let watched = self.watched_executor.as_ref();
        if watched.map(|watched| &watched.watch.executor) == executor.as_ref() {
            return;
        }
        if let Some(rollout) = followed {
            let (id, executor) = (rollout.id, rollout.executor.as_deref());
            let executor = executor.unwrap_or("that has left it");
            info!(rollout = id; "rollout {id} is carried out by balancer {executor}: this one follows");
        }
        if let Some(WatchedExecutor { pending, .. }) = self.watched_executor.take() {
            ctx.cancel_future(pending);
        }
        if let Some(executor) = executor {
            self.check_executor_later(ExecutorWatch::new(executor), ctx);
        }
    }

    fn check_executor_later(&mut self, watch: ExecutorWatch, ctx: &mut Context<Self>) {
        let stage = self.fleet.followed_rollout().map(|rollout| rollout.stage);
        let pause = match stage {
            // Not all balancers at the same moment.
            _ if watch.is_gone() => CHECK_INTERVAL.mul_f64(fastrand::f64() / 4.0),
            Some(Stage::Paused(_)) => PAUSED_CHECK_INTERVAL,
            _ => CHECK_INTERVAL,
        };
        let pending = ctx.run_later(pause, Self::check_executor);
        self.watched_executor = Some(WatchedExecutor { watch, pending });
    }

    fn check_executor(&mut self, ctx: &mut Context<Self>) {
        let Some(WatchedExecutor { watch, .. }) = &self.watched_executor else {
            return;
        };
        let Some(executor) = watch.executor.clone().filter(|_| !watch.is_gone()) else {
            return self.take_rollout_over(ctx);
        };
        let asked = self.runtime.is_present(executor.clone()).into_actor(self);
        let pending = ctx.spawn(asked.map(move |answer, supervisor: &mut Self, ctx| {
            let Some(WatchedExecutor { mut watch, .. }) = supervisor.watched_executor.take() else {
                return;
            };
            match answer {
                Ok(answered) => watch.asked(answered),
                Err(error) => debug!("balancer {executor} cannot be asked: {error}"),
            }
            supervisor.check_executor_later(watch, ctx);
        }));
        if let Some(watched) = &mut self.watched_executor {
            watched.pending = pending;
        }
    }

    /// The balancer that carries the rollout out is gone: this one goes on with it, unless another one is
    /// quicker.
    fn take_rollout_over(&mut self, ctx: &mut Context<Self>) {
        let Some(rollout) = self.fleet.followed_rollout().filter(|_| !self.is_ending) else {
            return;
        };
        let (id, from) = (rollout.id, rollout.executor.clone());
        if self.rollout_order == RolloutOrder::StopFirst {
            warn!(rollout = id; "rollout {id} is not taken over: with --rollout-order stop-first a balancer has \
                   to be alone");
            return;
        }
        let to = Some(balancer_name().to_owned());
        let change = said(RolloutChange::HandedOver { id, from, to }, Timestamp::now());
        let record = Rc::clone(&self.record);
        let claimed = async move { record.claim(&[change]).await }.into_actor(self);
        ctx.spawn(claimed.map(|claimed, supervisor: &mut Self, ctx| {
            let watched = supervisor.watched_executor.take();
            match (claimed, watched) {
                (Ok(record), _) => {
                    let rollout = record.rollout.as_ref();
                    match rollout.is_some_and(|r| r.is_carried_out_by(balancer_name())) {
                        true => supervisor.settle_rollout(ctx),
                        false => supervisor.follow_rollout(&record, ctx),
                    }
                }
                (Err(error), Some(WatchedExecutor { watch, .. })) => {
                    debug!("a rollout cannot be taken over: {error}; it is tried again");
                    supervisor.check_executor_later(watch, ctx);
                }
                (Err(_), None) => {}
            }
        }));
    }

    /// Goes on with the rollout that the record says is this balancer's, from what runs.
    fn settle_rollout(&mut self, ctx: &mut Context<Self>) {
        let settled = self.runtime.settle_rollout().into_actor(self);
        ctx.spawn(settled.map(|settled, supervisor: &mut Self, ctx| {
            let found = match settled {
                Ok(found) => found,
                Err(error) => {
                    warn!("what runs of a rollout is not known: {error}; it is asked again");
                    ctx.run_later(CHECK_INTERVAL, Self::settle_rollout);
                    return;
                }
            };
            let recorded = supervisor.record.record().desired();
            let now = supervisor.now();
            let steps = supervisor.fleet.take_over_rollout(recorded, found, now);
            supervisor.execute(steps, ctx);
        }));
    }

    /// Leaves a rollout of this balancer's to the others; the balancer ends.
    pub(super) fn leave_rollout(&self) -> impl Future<Output = ()> + use<> {
        let record = Rc::clone(&self.record);
        async move {
            let own = balancer_name();
            let rollout = record.wanted().rollout;
            let Some(rollout) = rollout.filter(|rollout| rollout.is_carried_out_by(own)) else {
                return;
            };
            let left = RolloutChange::HandedOver {
                id: rollout.id,
                from: rollout.executor,
                to: None,
            };
            let left = [said(left, Timestamp::now())];
            let written = tokio::time::timeout(LEAVE_TIMEOUT, record.claim(&left)).await;
            if !matches!(written, Ok(Ok(_))) {
                debug!(
                    "rollout {} is left to the others without a word",
                    rollout.id
                );
            }
        }
    }
}
