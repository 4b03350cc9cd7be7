//! An instance whose place another one takes, and requests that a worker thread still sends it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use crate::actors::lifeline::Lifeline;
use crate::actors::ring_state::{
    AdmitReplica, DrainInstance, GetRing, JoinRing, PublishRing, RegisterWorker, RingState,
};
use crate::fleet::{EjectionPolicy, InstanceId, OutlierOn};
use crate::ring::{Key, Member, PanicThreshold, RingSpec};
use crate::upstream::{ConcurrencyLimit, InFlightPermit};

/// A worker thread that has each epoch once there is a permit for it.
struct Worker(Rc<Semaphore>);

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<PublishRing> for Worker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PublishRing, _: &mut Self::Context) -> Self::Result {
        let permits = Rc::clone(&self.0);
        Box::pin(async move { permits.acquire().await.unwrap().forget() })
    }
}

#[actix_web::test]
async fn request_of_a_worker_with_an_older_epoch_is_waited_for() {
    let (line, _lifeline) = Lifeline::new();
    let none = EjectionPolicy {
        failures: 0,
        on: OutlierOn::Errors,
        duration: Duration::ZERO,
    };
    let limit = ConcurrencyLimit::new(None);
    let threshold = PanicThreshold::default();
    let (spec, line) = (RingSpec::default(), line.of("the ring"));
    let ring = RingState::new(spec, None, none, Duration::ZERO, threshold, limit, line);
    let ring = ring.unwrap().start();
    let permits = Rc::new(Semaphore::new(3));
    let worker = Worker(Rc::clone(&permits)).start();
    ring.do_send(RegisterWorker(worker.recipient()));

    let member = Member::new("S1".parse().unwrap());
    let [old, new] = [1, 2].map(|generation| InstanceId::new(member.name.clone(), generation));
    let endpoint = |port| SocketAddr::from(([127, 0, 0, 1], port));
    ring.send(JoinRing(vec![member.clone()]))
        .await
        .unwrap()
        .unwrap();
    ring.send(AdmitReplica(old.clone(), endpoint(9)))
        .await
        .unwrap();
    let view = ring.send(GetRing).await.unwrap();
    let before = view.instance_of(&member.name).unwrap();
    assert_eq!(permits.available_permits(), 0);

    let swapped = actix::spawn(ring.send(AdmitReplica(new.clone(), endpoint(10))));
    while *ring
        .send(GetRing)
        .await
        .unwrap()
        .instance_of(&member.name)
        .unwrap()
        .id()
        != new
    {
        yield_now().await;
    }
    // The worker does not know that yet.
    let slot = view.table.slot_of(Key(1));
    let request = InFlightPermit::try_acquire(&before, slot, false).unwrap();
    permits.add_permits(1);
    swapped.await.unwrap().unwrap();
    let drained = actix::spawn(ring.send(DrainInstance(old.clone(), Duration::from_secs(30))));
    for _ in 0..10 {
        yield_now().await;
    }
    assert!(!drained.is_finished());
    drop(request);
    assert_eq!(drained.await.unwrap().unwrap(), 0);
    // RingState forgets it when every worker has an epoch without it.
    permits.add_permits(1);
    ring.send(AdmitReplica(new, endpoint(10))).await.unwrap();
    let forgotten = std::sync::Arc::downgrade(&before);
    drop((before, view));
    assert_eq!(forgotten.strong_count(), 0);
}
