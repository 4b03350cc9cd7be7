//! Ejection of instances that fail requests: RingState's part of it, and what Supervisor keeps.
//!
//! Requests count failures on the instance itself and report it here when there are too
//! many in a row; [`Ejections`] decides, and a flag on the instance, which all worker
//! threads see at once, carries it out. The ring and its epochs have no part in it, but that
//! who is off the ring is not ejected any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler, Message, Recipient, StreamHandler};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use log::{info, warn};

use super::history::Undated;
use super::ring_state::RingState;
use super::ring_view::RingView;
use super::supervisor::Supervisor;
use crate::fleet::{Ejection, EjectionDecision, EjectionPolicy, Ejections, InstanceId};
use crate::human::duration;
use crate::repeats::LineLimit;
use crate::upstream::OutlierDesk;

/// Lines about instances that fail and are not ejected: as many as there are failures otherwise.
pub static SPARED_REPLICAS: LineLimit = LineLimit::new();

/// An instance is passed over from now on, or has its requests again.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct EjectionChanged {
    /// Which.
    pub id: InstanceId,
    /// What it is passed over for, and for how long; none: its time is up.
    pub ejected: Option<(u32, Duration)>,
}

/// Who wants to hear of every ejection and of its end. Set once that one exists.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TellEjections(pub Recipient<EjectionChanged>);

/// Who is ejected, and where reports come in.
pub(super) struct OutlierWatch {
    failures: u32,
    ejections: Ejections,
    listener: Option<Recipient<EjectionChanged>>,
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
            failures: policy.failures,
            ejections: Ejections::new(policy),
            listener: None,
            desk,
            reports: Some(reports),
        }
    }

    /// What a new instance reports to.
    pub(super) fn desk(&self) -> Arc<OutlierDesk> {
        Arc::clone(&self.desk)
    }

    /// The ring has become `view`: ejections of those who have left it are over.
    pub(super) fn follow(&mut self, before: &RingView, view: &RingView) {
        let freed = self.ejections.forget_all_but(|id| {
            let now = view.instance_of(&id.replica);
            now.is_some_and(|instance| instance.id() == id)
        });
        for id in freed {
            if let Some(instance) = before.instance_of(&id.replica) {
                // It may come back as the same instance.
                instance.readmit();
            }
        }
    }

    fn tell(&self, id: InstanceId, ejected: Option<Duration>) {
        if let Some(listener) = &self.listener {
            let ejected = ejected.map(|lasts| (self.failures, lasts));
            listener.do_send(EjectionChanged { id, ejected });
        }
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
        // Failures of an unready one are what it says that they would be.
        let Some(instance) = self.view.instance_of(&id.replica) else {
            return;
        };
        let ready = self.view.ready.iter().flatten();
        let ready: Vec<InstanceId> = ready.map(|instance| instance.id().clone()).collect();
        match self.outliers.ejections.decide(&id, &ready) {
            EjectionDecision::Ejected(Ejection { number, lasts }) => {
                let time = duration(lasts);
                warn!("{id} is ejected for {time}: it fails one request after the other");
                instance.eject();
                self.view.weigh();
                self.outliers.tell(id.clone(), Some(lasts));
                ctx.run_later(lasts, move |ring, _| {
                    if ring.outliers.ejections.end(number) {
                        info!("{id} is no longer ejected");
                        instance.readmit();
                        ring.view.weigh();
                        ring.outliers.tell(id, None);
                    }
                });
            }
            EjectionDecision::MaxEjected => {
                if SPARED_REPLICAS.admits(Instant::now()) {
                    warn!(
                        "{id} fails one request after the other, but half of the ready are ejected"
                    );
                }
                instance.spare();
            }
            EjectionDecision::Stale => {}
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The default would stop the actor. The desk that it owns keeps the stream open.
    }
}

impl Handler<TellEjections> for RingState {
    type Result = ();

    fn handle(&mut self, TellEjections(listener): TellEjections, _: &mut Context<Self>) {
        self.outliers.listener = Some(listener);
    }
}

impl Handler<EjectionChanged> for Supervisor {
    type Result = ();

    fn handle(&mut self, flipped: EjectionChanged, _: &mut Context<Self>) {
        let EjectionChanged { id, ejected } = flipped;
        self.note(match ejected {
            Some((failures, lasts)) => {
                let reason = format!(
                    "{failures} failed requests in a row; for {}",
                    duration(lasts)
                );
                Undated::of(&id, "ejected").because(reason)
            }
            None => Undated::of(&id, "readmitted"),
        });
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Addr};
    use futures::StreamExt;

    use super::super::lifeline::Lifeline;
    use super::super::ring_state::{AdmitReplica, EvictReplica, JoinRing, LookAtRing};
    use super::*;
    use crate::ring::{Member, RingSpec};
    use crate::upstream::{Capacity, Instance};

    const FIVE_SECONDS: Duration = Duration::from_secs(5);

    struct Listener(UnboundedSender<EjectionChanged>);

    impl Actor for Listener {
        type Context = Context<Self>;
    }

    impl Handler<EjectionChanged> for Listener {
        type Result = ();
        fn handle(&mut self, flipped: EjectionChanged, _: &mut Self::Context) {
            self.0.unbounded_send(flipped).unwrap();
        }
    }

    /// S1 to S4 are on the ring, two failures in a row are too many, and nobody waits for the
    /// clock.
    struct Scene {
        ring: Addr<RingState>,
        told: UnboundedReceiver<EjectionChanged>,
        _lifeline: super::super::lifeline::LifelineWatch,
    }

    impl Scene {
        async fn set() -> Self {
            tokio::time::pause();
            let policy = EjectionPolicy {
                failures: 2,
                on: crate::fleet::OutlierOn::Errors,
                duration: FIVE_SECONDS,
            };
            let (line, lifeline) = Lifeline::new();
            let capacity = Capacity::new(None);
            let ring = RingState::new(
                RingSpec::default(),
                None,
                policy,
                Duration::ZERO,
                crate::ring::PanicThreshold::default(),
                capacity,
                line.of("ring state"),
            );
            let ring = ring.unwrap().start();
            let (tell, told) = unbounded();
            let listener = Listener(tell).start();
            ring.do_send(TellEjections(listener.recipient()));
            let members = [1, 2, 3, 4].map(|n| Member::new(id(n).replica));
            ring.send(JoinRing(members.into())).await.unwrap().unwrap();
            let scene = Self {
                ring,
                told,
                _lifeline: lifeline,
            };
            for number in 1..=4 {
                scene.admit(number).await;
            }
            scene
        }

        async fn admit(&self, number: u8) {
            let endpoint = ([127, 0, 0, 1], 9).into();
            let id = id(number);
            self.ring.send(AdmitReplica { id, endpoint }).await.unwrap();
        }

        async fn instance(&self, number: u8) -> Arc<Instance> {
            let view = self.ring.send(LookAtRing).await.unwrap();
            view.instance_of(&id(number).replica).unwrap()
        }

        async fn fail_twice(&self, number: u8) {
            let instance = self.instance(number).await;
            instance.note_failure();
            instance.note_failure();
        }

        async fn told(&mut self) -> EjectionChanged {
            self.told.next().await.unwrap()
        }
    }

    fn id(number: u8) -> InstanceId {
        InstanceId {
            replica: format!("S{number}").parse().unwrap(),
            generation: 1,
        }
    }

    fn ejected(number: u8) -> EjectionChanged {
        EjectionChanged {
            id: id(number),
            ejected: Some((2, FIVE_SECONDS)),
        }
    }

    fn readmitted(number: u8) -> EjectionChanged {
        EjectionChanged {
            id: id(number),
            ejected: None,
        }
    }

    #[actix_web::test]
    async fn an_ejection_and_its_end_are_told() {
        let mut scene = Scene::set().await;
        scene.fail_twice(1).await;
        assert_eq!(scene.told().await, ejected(1));
        assert!(scene.instance(1).await.is_ejected());
        assert_eq!(scene.told().await, readmitted(1));
        assert!(!scene.instance(1).await.is_ejected());
    }

    #[actix_web::test]
    async fn the_end_of_an_ejection_is_no_news_of_who_has_left_the_ring() {
        let mut scene = Scene::set().await;
        scene.fail_twice(1).await;
        assert_eq!(scene.told().await, ejected(1));
        scene.ring.send(EvictReplica(id(1))).await.unwrap();
        scene.fail_twice(2).await;
        assert_eq!(scene.told().await, ejected(2));
        // The first one's time is up before that.
        assert_eq!(scene.told().await, readmitted(2));
    }

    #[actix_web::test]
    async fn who_is_back_on_the_ring_begins_anew() {
        let mut scene = Scene::set().await;
        let instance = scene.instance(1).await;
        // It has something in flight, and so it comes back as what it was.
        let slot = {
            let view = scene.ring.send(LookAtRing).await.unwrap();
            view.table.slot_of(crate::ring::Key(1))
        };
        let _held = crate::upstream::Grant::claim(&instance, slot, 1, false).unwrap();
        scene.fail_twice(1).await;
        assert_eq!(scene.told().await, ejected(1));
        scene.ring.send(EvictReplica(id(1))).await.unwrap();
        tokio::time::advance(Duration::from_secs(3)).await;
        scene.admit(1).await;
        assert!(Arc::ptr_eq(&instance, &scene.instance(1).await));
        assert!(!instance.is_ejected());
        let again = tokio::time::Instant::now();
        scene.fail_twice(1).await;
        assert_eq!(scene.told().await, ejected(1));
        assert_eq!(scene.told().await, readmitted(1));
        // By its own clock, not by that of the ejection before.
        assert!(again.elapsed() >= FIVE_SECONDS);
    }
}
