//! Ejections, their ends and those that hear of them.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

use crate::actors::lifeline::{Lifeline, LifelineWatch};
use crate::actors::ring_state::{
    AdmitReplica, EjectionChanged, EvictReplica, GetRing, JoinRing, RingState, SubscribeEjections,
};
use crate::fleet::{EjectionPolicy, InstanceId};
use crate::ring::{Member, RingSpec};
use crate::upstream::{ConcurrencyLimit, Instance};

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

/// S1 to S4 are on the ring, two failures in a row are too many, and the clock is paused.
struct Scene {
    ring: Addr<RingState>,
    told: UnboundedReceiver<EjectionChanged>,
    _lifeline: LifelineWatch,
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
        let capacity = ConcurrencyLimit::new(None);
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
        ring.do_send(SubscribeEjections(listener.recipient()));
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
        self.ring.send(AdmitReplica(id, endpoint)).await.unwrap();
    }

    async fn instance(&self, number: u8) -> Arc<Instance> {
        let view = self.ring.send(GetRing).await.unwrap();
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
    InstanceId::new(format!("S{number}").parse().unwrap(), 1)
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
        let view = scene.ring.send(GetRing).await.unwrap();
        view.table.slot_of(crate::ring::Key(1))
    };
    let _held = crate::upstream::InFlightPermit::try_acquire(&instance, slot, false).unwrap();
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
