//! Tables are built one after the other, beside the control thread.

use std::net::SocketAddr;

use actix::{Actor, Addr};

use crate::actors::lifeline::Lifeline;
use crate::actors::ring_state::{
    AdmitReplica, EvictReplica, GetRing, JoinRing, LeaveRing, RingState,
};
use crate::fleet::{EjectionPolicy, InstanceId};
use crate::ring::{Member, RingSpec};

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
        crate::upstream::ConcurrencyLimit::new(None),
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
    InstanceId::new(member.name.clone(), 1)
}

#[actix_web::test]
async fn a_death_is_taken_in_while_a_large_table_is_built() {
    let ring = ring();
    let first = members(0..3);
    ring.send(JoinRing(first.clone())).await.unwrap().unwrap();
    let endpoint = SocketAddr::from(([127, 0, 0, 1], 9));
    for member in &first {
        let id = instance(member);
        ring.send(AdmitReplica(id, endpoint)).await.unwrap();
    }
    let large = ring.send(JoinRing(members(3..600)));
    let large = actix::spawn(large);
    tokio::task::yield_now().await;
    // The dead one is off the ring although the new table is not there yet.
    ring.send(EvictReplica(instance(&first[1]))).await.unwrap();
    let now = ring.send(GetRing).await.unwrap();
    assert_eq!(now.table.members().len(), 3);
    assert!(now.instance_of(&first[1].name).is_none());
    // And it stays off when it is.
    large.await.unwrap().unwrap().unwrap();
    let then = ring.send(GetRing).await.unwrap();
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
    let table = &ring.send(GetRing).await.unwrap().table;
    assert_eq!(table.members().len(), 11);
}
