//! Tables are built one after the other, beside the control thread.

use std::net::SocketAddr;

use actix::{Actor, Addr};

use crate::actors::lifeline::Lifeline;
use crate::actors::ring_state::{
    AdmitReplica, EvictReplica, GetRing, JoinRing, LeaveRing, ReconfigureRing, RingState,
};
use crate::fleet::{EjectionPolicy, InstanceId};
use crate::ring::{Member, RingSpec, SpecChange, Strategy};

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

#[actix_web::test]
async fn change_of_a_part_keeps_what_an_earlier_change_has_made_of_the_others() {
    let ring = ring();
    ring.send(JoinRing(members(0..3))).await.unwrap().unwrap();
    let change = |spec| {
        ring.send(ReconfigureRing {
            spec,
            balance_factor: None,
            weights: Vec::new(),
            dry_run: false,
        })
    };
    // Both are asked for on the same ring, and the second waits for the first.
    let strategy = change(SpecChange {
        strategy: Some(Strategy::Maglev),
        ..SpecChange::default()
    });
    let slots = change(SpecChange {
        slots: Some(1_021),
        ..SpecChange::default()
    });
    let none_prime = change(SpecChange {
        slots: Some(1_000),
        ..SpecChange::default()
    });
    let (strategy, slots, none_prime) = futures::join!(strategy, slots, none_prime);
    strategy.unwrap().unwrap();
    let spec = slots.unwrap().unwrap().ring.spec;
    assert_eq!((spec.strategy(), spec.slots()), (Strategy::Maglev, 1_021));
    let refused = none_prime.unwrap().unwrap_err().to_string();
    assert!(refused.contains("prime"), "{refused}");
    assert_eq!(*ring.send(GetRing).await.unwrap().table.spec(), spec);
}
