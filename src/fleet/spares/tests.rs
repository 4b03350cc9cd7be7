//! Tests of the spares, and what they are worth where a start takes long.

use super::*;
use crate::fleet::tests::POLICY;
use crate::fleet::{DeferredStep, Desired, Event, Exit, Fleet, ImmediateStep, Policy, Step};
use crate::ring::testing::member;

const START: Duration = Duration::from_secs(20);

fn at(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn endpoint() -> SocketAddr {
    ([127, 0, 0, 1], 9).into()
}

fn pool(wanted: usize) -> (SparePool, Arc<Definition>) {
    let mut pool = SparePool::new(wanted, Duration::from_secs(60), Duration::from_secs(5));
    assert_eq!(pool.fill(&Arc::default(), |_| false, 0, at(0)), []);
    assert_eq!(
        pool.adopt(LeftSpares::default(), &Arc::default(), at(0)),
        []
    );
    (pool, Arc::default())
}

fn id(number: u64) -> InstanceId {
    InstanceId::new(format!("spare-{number}").parse().unwrap(), number)
}

fn taken(pool: &mut SparePool, definition: &Arc<Definition>) -> Option<InstanceId> {
    pool.take(definition, |_| true).map(|spare| spare.id)
}

fn launched(steps: &[SpareStep]) -> Vec<InstanceId> {
    let ids = steps.iter().filter_map(|step| match step {
        SpareStep::Launch(order, _) => Some(order.id.clone()),
        _ => None,
    });
    ids.collect()
}

#[test]
fn spare_that_is_taken_is_followed_by_another() {
    let (mut pool, definition) = pool(2);
    let other: ReplicaName = "spare-2".parse().unwrap();
    let fill = |pool: &mut SparePool, now| pool.fill(&definition, |name| *name == other, 0, now);
    assert_eq!(launched(&fill(&mut pool, at(0))), [id(1), id(3)]);
    assert_eq!(taken(&mut pool, &definition), None);
    pool.apply(&id(3), &InstanceEvent::Launched(endpoint()), at(1));
    assert_eq!(taken(&mut pool, &definition), None);
    pool.apply(&id(3), &InstanceEvent::BecameHealthy, at(20));
    assert_eq!((pool.report().ready, pool.report().starting), (1, 1));
    assert!(pool.take(&definition, |id| id.generation > 3).is_none());
    let spare = pool.take(&definition, |_| true).unwrap();
    assert_eq!((&spare.id, spare.endpoint), (&id(3), endpoint()));
    assert!(spare.is_healthy && !pool.has(&id(3)));
    // One that does not play a replica after all is asked for a heartbeat again.
    let watch = SpareStep::Watch(id(3), endpoint());
    assert_eq!(pool.give_back(spare, at(20)), watch);
    assert_eq!(taken(&mut pool, &definition), None);
    pool.apply(&id(3), &InstanceEvent::BecameHealthy, at(21));
    assert_eq!(taken(&mut pool, &definition), Some(id(3)));
    assert_eq!(launched(&fill(&mut pool, at(21))), [id(4)]);
    // One of another definition goes, and none is taken for another.
    let other = Arc::new(Definition {
        image: Some("x".to_owned()),
        ..Definition::default()
    });
    pool.apply(&id(1), &InstanceEvent::Launched(endpoint()), at(22));
    pool.apply(&id(1), &InstanceEvent::BecameHealthy, at(23));
    assert_eq!(taken(&mut pool, &other), None);
    let steps = pool.fill(&other, |_| false, 0, at(24));
    let stopped = |step: &&SpareStep| matches!(step, SpareStep::Stop(..));
    assert_eq!(steps.iter().filter(stopped).count(), 2);
    assert_eq!(launched(&steps), [id(5), id(6)]);
}

#[test]
fn spare_that_fails_is_replaced_ever_more_rarely() {
    let (mut pool, definition) = pool(1);
    let mut now = at(0);
    for (number, pause) in (1..=8).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert_eq!(
            launched(&pool.fill(&definition, |_| false, 0, now)),
            [id(number)]
        );
        let steps = pool.apply(&id(number), &InstanceEvent::Exited(Exit::code(1)), now);
        assert_eq!(steps[2], SpareStep::Stop(id(number), Duration::ZERO));
        let again = now + Duration::from_secs(pause);
        assert_eq!(pool.wakes_at(), Some(again));
        let early = again - Duration::from_millis(1);
        assert_eq!(pool.fill(&definition, |_| false, 0, early), []);
        now = again;
    }
    // One that is late, and one that hangs after it was ready.
    pool.fill(&definition, |_| false, 0, now);
    pool.apply(&id(9), &InstanceEvent::Launched(endpoint()), now);
    pool.apply(&id(9), &InstanceEvent::BecameHealthy, now);
    pool.apply(&id(9), &InstanceEvent::BecameUnresponsive, now);
    assert_eq!(taken(&mut pool, &definition), None);
    let late = now + Duration::from_secs(60);
    assert_eq!(pool.wakes_at(), Some(late));
    assert_eq!(pool.tick(late - Duration::from_millis(1)), []);
    assert_eq!(pool.tick(late).len(), 3);
    assert!(!pool.has(&id(9)));
}

#[test]
fn spares_of_an_earlier_balancer_are_adopted_as_far_as_they_are_wanted_and_run_the_same() {
    let (mut pool, definition) = pool(2);
    assert!(!pool.is_adopting());
    let existing = |number, hash: String| Existing {
        order: LaunchOrder {
            id: id(number),
            weight: Weight::default(),
            ordinal: 0,
        },
        endpoint: Some(endpoint()),
        definition: Some(hash),
    };
    let other = Definition {
        image: Some("x".to_owned()),
        ..Definition::default()
    };
    let left = LeftSpares {
        running: vec![
            existing(4, definition.hash()),
            existing(5, other.hash()),
            existing(6, definition.hash()),
            existing(7, definition.hash()),
        ],
        last_number: 9,
    };
    let stop = |number| SpareStep::Stop(id(number), Duration::from_secs(5));
    let watch = |number| SpareStep::Watch(id(number), endpoint());
    let steps = pool.adopt(left, &definition, at(0));
    assert_eq!(steps, [watch(4), stop(5), watch(6), stop(7)]);
    assert_eq!(pool.fill(&definition, |_| false, 100, at(0)), []);
    pool.apply(&id(4), &InstanceEvent::BecameHealthy, at(1));
    assert_eq!(taken(&mut pool, &definition), Some(id(4)));
    // This one has not answered yet.
    let spare = pool.take(&definition, |_| true).unwrap();
    assert_eq!((&spare.id, spare.is_healthy), (&id(6), false));
    let next = launched(&pool.fill(&definition, |_| false, 100, at(1)));
    let next: Vec<_> = next.iter().map(ToString::to_string).collect();
    let expected = ["spare-10 (generation 110)", "spare-11 (generation 111)"];
    assert_eq!(next, expected);
}

#[test]
fn spare_that_fails_before_it_is_ready_goes_and_one_that_moves_is_asked_at_its_new_address() {
    let started = || {
        let (mut pool, definition) = pool(1);
        let steps = pool.fill(&definition, |_| false, 0, at(0));
        let id = launched(&steps).remove(0);
        (pool, id)
    };
    let stop = |id: &InstanceId, seconds| SpareStep::Stop(id.clone(), Duration::from_secs(seconds));
    let (mut pool, id) = started();
    let failed = InstanceEvent::LaunchFailed("no image".to_owned());
    let steps = pool.apply(&id, &failed, at(0));
    let warning = "spare-1: cannot start: no image; another one is started in 1 s".to_owned();
    assert_eq!(steps[0], SpareStep::Warn(warning));
    assert_eq!(steps[2], stop(&id, 0));
    // Until then nothing changes, and then it may be started.
    pool.tick(at(0));
    assert_eq!(pool.wakes_at(), Some(at(1)));
    pool.tick(at(1));
    assert_eq!(pool.wakes_at(), None);

    let (mut pool, id) = started();
    let steps = pool.apply(&id, &InstanceEvent::Destroyed, at(0));
    assert_eq!(steps[1], stop(&id, 5));
    assert_eq!((pool.has(&id), pool.wakes_at()), (false, None));

    let (mut pool, id) = started();
    let moved = InstanceEvent::Moved(Some(endpoint()), "restarted".to_owned());
    let steps = pool.apply(&id, &moved, at(0));
    assert_eq!(steps[1], SpareStep::Watch(id.clone(), endpoint()));
    assert_eq!(
        pool.stop_all(),
        [SpareStep::Unwatch(id.clone()), stop(&id, 5)]
    );
    assert_eq!(pool.report().starting, 0);

    let (mut pool, id) = started();
    pool.apply(&id, &InstanceEvent::Launched(endpoint()), at(0));
    pool.apply(&id, &InstanceEvent::BecameHealthy, at(0));
    let left = InstanceEvent::Moved(None, "it left its network".to_owned());
    let steps = pool.apply(&id, &left, at(0));
    assert_eq!(steps[2], stop(&id, 0));
    assert!(!pool.has(&id));
}

#[test]
fn spare_that_its_healthcheck_calls_unhealthy_plays_no_replica() {
    let (mut pool, definition) = pool(1);
    let id = launched(&pool.fill(&definition, |_| false, 0, at(0))).remove(0);
    let healthcheck = InstanceEvent::HealthcheckChanged;
    for (event, ready) in [
        (InstanceEvent::Launched(endpoint()), 0),
        (healthcheck(false), 0),
        (InstanceEvent::BecameHealthy, 0),
        (healthcheck(true), 1),
        (InstanceEvent::BecameUnresponsive, 0),
        (healthcheck(true), 0),
        (InstanceEvent::BecameHealthy, 1),
        // Good news changes nothing for one that is ready.
        (InstanceEvent::BecameHealthy, 1),
        (healthcheck(true), 1),
        (healthcheck(false), 0),
    ] {
        pool.apply(&id, &event, at(1));
        assert_eq!(pool.report().ready, ready, "{event:?}");
    }
    assert_eq!(taken(&mut pool, &definition), None);
    let why =
        "spare-1: the image's HEALTHCHECK says unhealthy for 60 s; another one is started in 1 s";
    assert_eq!(pool.tick(at(61))[0], SpareStep::Warn(why.to_owned()));
}

#[test]
fn spare_that_is_late_is_given_up_for_the_first_thing_that_it_lacks() {
    let healthcheck = InstanceEvent::HealthcheckChanged;
    let silent = "has had no good heartbeat for 60 s";
    for (events, why) in [
        (vec![], silent),
        (vec![healthcheck(false)], silent),
        (vec![healthcheck(true)], silent),
        (
            vec![
                InstanceEvent::BecameHealthy,
                InstanceEvent::BecameUnresponsive,
            ],
            silent,
        ),
        (
            vec![healthcheck(false), InstanceEvent::BecameHealthy],
            "the image's HEALTHCHECK says unhealthy for 60 s",
        ),
    ] {
        let (mut pool, definition) = pool(1);
        pool.fill(&definition, |_| false, 0, at(0));
        // One that is being started is not late: its start fails if it does.
        assert_eq!(pool.tick(at(100)), []);
        pool.apply(&id(1), &InstanceEvent::Launched(endpoint()), at(100));
        for event in &events {
            pool.apply(&id(1), event, at(100));
        }
        assert_eq!(pool.tick(at(159)), [], "{events:?}");
        let warning = format!("spare-1: {why}; another one is started in 1 s");
        assert_eq!(
            pool.tick(at(160))[0],
            SpareStep::Warn(warning),
            "{events:?}"
        );
    }
}

#[test]
fn adopted_spare_that_never_answers_is_given_up() {
    let (mut pool, definition) = pool(1);
    let left = LeftSpares {
        running: vec![Existing {
            order: LaunchOrder {
                id: id(1),
                weight: Weight::default(),
                ordinal: 0,
            },
            endpoint: Some(endpoint()),
            definition: Some(definition.hash()),
        }],
        last_number: 1,
    };
    pool.adopt(left, &definition, at(0));
    assert_eq!(pool.wakes_at(), Some(at(60)));
    assert_eq!(pool.tick(at(59)), []);
    assert_eq!(pool.tick(at(60)).len(), 3);
    assert!(!pool.has(&id(1)));
}

#[test]
fn pool_of_none_adopts_nothing_and_names_of_spares_have_numbers() {
    let unused = SparePool::new(0, Duration::from_secs(60), Duration::from_secs(5));
    assert!(!unused.is_used() && !unused.is_adopting());
    let used = SparePool::new(1, Duration::from_secs(60), Duration::from_secs(5));
    assert!(used.is_used() && used.is_adopting());
    for (name, number) in [
        ("spare-12", Some(12)),
        ("spare-", None),
        ("spare-x", None),
        ("Server1", None),
    ] {
        assert_eq!(spare_number(&name.parse().unwrap()), number, "{name}");
    }
}

/// What will be reported, and when.
type Coming = Vec<(Time, Event)>;

/// An instance is started: it runs at once, and answers heartbeats later.
fn start(id: &InstanceId, now: Time, takes: Duration, coming: &mut Coming) {
    let launched = InstanceEvent::Launched(endpoint());
    coming.push((now, Event::Instance(id.clone(), launched)));
    let healthy = InstanceEvent::BecameHealthy;
    coming.push((now + takes, Event::Instance(id.clone(), healthy)));
}

/// The seconds that a replica is off the ring after a death, with servers that take 20 s to start.
fn outage(spares: usize) -> u64 {
    const DEATH: u64 = 200;
    let policy = Policy {
        start_timeout: Duration::from_secs(60),
        ..POLICY
    };
    let desired = Desired::of(&[member("Server1", 1)]);
    let (mut fleet, mut steps) = Fleet::new(policy, desired, Vec::new(), at(0));
    let (mut pool, _) = pool(spares);
    let mut coming = Coming::new();
    for second in 0..300 {
        let now = at(second);
        if second == DEATH {
            let id = InstanceId::new("Server1".parse().unwrap(), 1);
            let exited = InstanceEvent::Exited(Exit::code(1));
            coming.push((now, Event::Instance(id, exited)));
        }
        loop {
            for step in std::mem::take(&mut steps) {
                match step {
                    Step::Deferred(DeferredStep::Launch(order, definition, _)) => {
                        let is_warm = taken(&mut pool, &definition).is_some();
                        let takes = if is_warm { Duration::ZERO } else { START };
                        start(&order.id, now, takes, &mut coming);
                    }
                    Step::Immediate(ImmediateStep::Admit(..)) if second >= DEATH => {
                        return second - DEATH;
                    }
                    _ => {}
                }
            }
            for id in launched(&pool.fill(fleet.definition(), |_| false, 0, now)) {
                start(&id, now, START, &mut coming);
            }
            let Some(next) = coming.iter().position(|(due, _)| *due <= now) else {
                break;
            };
            let (_, event) = coming.remove(next);
            match event {
                Event::Instance(id, what) if pool.has(&id) => {
                    assert_eq!(
                        pool.apply(&id, &what, now).is_empty(),
                        what == InstanceEvent::BecameHealthy
                    );
                }
                event => steps = fleet.apply(event, now),
            }
        }
    }
    panic!("it did not come back");
}

#[test]
fn capacity_is_back_at_once_where_a_start_takes_twenty_seconds() {
    assert_eq!(outage(0), 20);
    assert_eq!(outage(1), 0);
}
