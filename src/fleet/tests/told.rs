//! What the fleet is told and asked beside events and changes on request.

use std::sync::Arc;

use super::script::{Line, POLICY, Player, definition_of};
use crate::api::ReplicaState;
use crate::fleet::{
    Change, ChangeError, ChangeId, DeferredStep, Desired, Fleet, ImmediateStep, InstanceId,
    LeftSpares, RecordChange, RolloutError, SparePool, SpareStep, Step, Time,
};
use crate::ring::testing::servers;
use crate::ring::{BuildError, RingSpec, Strategy};

fn play(player: &mut Player, line: &str) -> Vec<Step> {
    player.play(&Line::parse(line).unwrap())
}

/// A fleet to which all this has happened.
fn after(lines: &[&str]) -> Player {
    let mut player = Player::new();
    for line in lines {
        play(&mut player, line);
    }
    player
}

#[test]
fn newcomers_that_the_ring_has_no_room_for_are_refused() {
    let (mut fleet, _) = Fleet::new(POLICY, Desired::of(&servers(2)), Vec::new(), Time::ZERO);
    let add = Change::Scale { n: 3 };
    fleet.note_ring(RingSpec::new(Strategy::Maglev, Some(2), None).unwrap());
    let steps = fleet.request(ChangeId(1), add.clone(), 7, Time::ZERO);
    let (members, allowed) = (3, 2);
    let full = ChangeError::NoRoom(BuildError::TooManyMembers { members, allowed });
    assert_eq!(steps, [DeferredStep::Reply(ChangeId(1), Err(full)).into()]);
    fleet.note_ring(RingSpec::new(Strategy::Maglev, Some(3), None).unwrap());
    let steps = fleet.request(ChangeId(2), add, 7, Time::ZERO);
    let launches = |step: &Step| matches!(step, Step::Deferred(DeferredStep::Launch(..)));
    assert!(steps.iter().all(launches) && steps.len() == 1, "{steps:?}");
}

#[test]
fn newcomers_are_launched_with_the_weight_that_was_asked_for() {
    let (mut fleet, _) = Fleet::new(POLICY, Desired::of(&servers(1)), Vec::new(), Time::ZERO);
    let add = Change::Add {
        n: 2,
        hostnames: vec!["light".to_owned(), "heavy".to_owned()],
        weights: [("heavy".to_owned(), 3)].into(),
    };
    let steps = fleet.request(ChangeId(1), add, 7, Time::ZERO);
    let launched = steps.iter().filter_map(|step| match step {
        Step::Deferred(DeferredStep::Launch(order, ..)) => {
            Some((order.id.replica.as_str(), order.weight.get()))
        }
        _ => None,
    });
    assert!(launched.eq([("light", 1), ("heavy", 3)]), "{steps:?}");
}

#[test]
fn replica_that_the_record_says_is_drained_gets_no_requests_when_it_is_ready() {
    let mut player = after(&[
        "start Server1 Server2",
        "launched Server1/1",
        "launched Server2/1",
    ]);
    let fleet = player.fleet.as_mut().unwrap();
    fleet.note_drained(&[servers(2)[1].name.clone()]);
    let drained = fleet.statuses().into_iter().map(|status| status.drained);
    assert!(drained.eq([false, true]));
    let set_aside = |step: &Step| {
        let Step::Immediate(step) = step else {
            return None;
        };
        match step {
            ImmediateStep::Admit(..) => Some(false),
            ImmediateStep::MarkDrained(..) => Some(true),
            _ => None,
        }
    };
    for (line, expected) in [("healthy Server1/1", false), ("healthy Server2/1", true)] {
        let steps = play(&mut player, line);
        assert_eq!(steps.iter().find_map(set_aside), Some(expected), "{line}");
    }
}

#[test]
fn launch_has_failed_until_the_next_one_succeeds() {
    let mut player = after(&["start Server1"]);
    let name = servers(1)[0].name.clone();
    for (line, expected) in [
        ("after 0s", false),
        ("launch failed Server1/1: no such image", true),
        ("launched Server1/2", false),
    ] {
        play(&mut player, line);
        let fleet = player.fleet.as_ref().unwrap();
        assert_eq!(fleet.last_launch_failed(&name), expected, "{line}");
    }
}

#[test]
fn status_says_where_a_replica_is_in_its_life() {
    let mut player = Player::new();
    for (line, expected) in [
        ("policy hang-timeout=10s", None),
        ("start Server2 Server1", Some(ReplicaState::Starting)),
        ("launched Server2/1", Some(ReplicaState::Starting)),
        ("healthy Server2/1", Some(ReplicaState::Starting)),
        ("launched Server1/1", Some(ReplicaState::Starting)),
        ("healthy Server1/1", Some(ReplicaState::Ready)),
        ("drain #1 Server1", Some(ReplicaState::Drained)),
        ("drained Server1/1", Some(ReplicaState::Drained)),
        ("unready Server1/1: status 503", Some(ReplicaState::Unready)),
        ("activate #2 Server1", Some(ReplicaState::Unready)),
        ("healthy Server1/1", Some(ReplicaState::Ready)),
        ("unresponsive Server1/1", Some(ReplicaState::Hung)),
        ("healthy Server1/1", Some(ReplicaState::Ready)),
        ("restart #3 Server1", Some(ReplicaState::Restarting)),
        ("drained Server1/1", Some(ReplicaState::Restarting)),
        ("stopped Server1/1", Some(ReplicaState::Starting)),
        ("launch failed Server1/2: no", Some(ReplicaState::Starting)),
        (
            "launch failed Server1/3: no",
            Some(ReplicaState::BackingOff),
        ),
        ("after 2s", Some(ReplicaState::Starting)),
        ("remove #4 1 Server1", Some(ReplicaState::Stopping)),
        ("launched Server1/4", None),
        ("remove #5 1 Server2", None),
    ] {
        play(&mut player, line);
        let Some(fleet) = &player.fleet else { continue };
        let statuses = fleet.statuses();
        let status = statuses
            .iter()
            .find(|status| status.id.replica.as_str() == "Server1");
        assert_eq!(status.map(|status| status.state), expected, "{line}");
    }
}

#[test]
fn report_of_a_rollout_counts_what_is_done_and_names_what_is_in_hand() {
    let mut player = after(&["start Server1 Server2"]);
    for line in ["launched", "healthy"] {
        play(&mut player, &format!("{line} Server1/1"));
        play(&mut player, &format!("{line} Server2/1"));
    }
    let report = |player: &Player| {
        let report = player.fleet.as_ref().unwrap().rollout_report()?;
        let in_hand: Vec<_> = report.in_hand.iter().map(ToString::to_string).collect();
        Some(format!(
            "{} of {}: {}",
            report.done,
            report.total,
            in_hand.join(" ")
        ))
    };
    assert_eq!(report(&player), None);
    for (line, expected) in [
        ("rollout start v2", "0 of 2: Server1"),
        ("launched Server1/2", "0 of 2: Server1"),
        // It plays the replica, and is watched.
        ("healthy Server1/2", "0 of 2: Server1"),
        ("after 5s", "0 of 2: Server1"),
        ("counted Server1/2 20 0", "1 of 2: Server2"),
    ] {
        play(&mut player, line);
        assert_eq!(report(&player).as_deref(), Some(expected), "{line}");
    }
}

#[test]
fn rollout_of_another_balancer_is_reported_and_that_one_is_to_be_asked_about_it() {
    let mut player = after(&["start Server1 Server2", "elsewhere v2 onward Server1"]);
    let now = player.now;
    let fleet = player.fleet.as_mut().unwrap();
    let report = fleet.rollout_report().unwrap();
    assert_eq!((report.id, report.done, report.total), (1, 1, 2));
    assert_eq!(*report.to, definition_of("v2"));
    let theirs = RolloutError::Elsewhere(1, "other".to_owned());
    assert_eq!(fleet.pause_rollout(1, now), Err(theirs));
    assert_eq!(
        fleet.pause_rollout(2, now),
        Err(RolloutError::NotUnderWay(2))
    );
}

#[test]
fn report_of_a_canary_says_which_of_it_are_ready_and_what_ails_the_others() {
    let mut player = after(&["start Server1", "launched Server1/1", "healthy Server1/1"]);
    let report = |player: &Player| {
        let report = player.fleet.as_ref().unwrap().rollout_report()?.canary?;
        let [member] = report.members.try_into().ok()?;
        let share = report.share.to_string();
        Some((
            share,
            member.name.to_string(),
            member.is_ready,
            member.last_error,
        ))
    };
    assert!(report(&player).is_none());
    for (line, is_ready, error) in [
        ("rollout start v2 canary 10%", false, None),
        ("launched canary-1/1", false, None),
        ("healthy canary-1/1", true, None),
        ("unready canary-1/1: status 503", false, Some("status 503")),
        ("healthy canary-1/1", true, None),
    ] {
        play(&mut player, line);
        let (share, name) = ("10%".to_owned(), "canary-1".to_owned());
        let expected = (share, name, is_ready, error.map(str::to_owned));
        assert_eq!(report(&player), Some(expected), "{line}");
    }
}

#[test]
fn definition_by_the_owner_of_the_instances_holds_for_what_is_started_next() {
    let mut player = after(&["start Server1", "launched Server1/1", "healthy Server1/1"]);
    let now = player.now;
    let v2 = definition_of("v2");
    let fleet = player.fleet.as_mut().unwrap();
    let change = RecordChange::Definition(Box::new(v2.clone()));
    let steps = fleet.take_definition(v2.clone(), now);
    assert_eq!(steps, [ImmediateStep::Record(change).into()]);
    assert_eq!(fleet.take_definition(v2.clone(), now), []);
    let steps = play(&mut player, "exited Server1/1 code 1");
    let launched = steps.iter().find_map(|step| match step {
        Step::Deferred(DeferredStep::Launch(_, definition, _)) => Some(definition),
        _ => None,
    });
    assert_eq!(launched.map(|definition| &**definition), Some(&v2));
    // A rollout brings another one, and is not interfered with.
    for line in [
        "launched Server1/2",
        "healthy Server1/2",
        "rollout start v3",
    ] {
        play(&mut player, line);
    }
    let fleet = player.fleet.as_mut().unwrap();
    assert_eq!(fleet.take_definition(definition_of("v4"), now), []);
    assert_eq!(**fleet.definition(), v2);
}

#[test]
fn spares_of_a_service_are_replaced_once_by_its_first_rollout() {
    let mut player = after(&["start Server1", "launched Server1/1", "healthy Server1/1"]);
    let mut pool = SparePool::new(1, POLICY.start_timeout, POLICY.stop_grace);
    let known = Arc::clone(player.fleet.as_ref().unwrap().definition());
    pool.adopt(LeftSpares::default(), &known, player.now);
    let fill = |pool: &mut SparePool, player: &Player| {
        let definition = player.fleet.as_ref().unwrap().definition();
        let steps = pool.fill(definition, |_| false, 0, player.now);
        let launched = steps.into_iter().filter_map(|step| match step {
            SpareStep::Launch(order, definition) => Some((order.id.generation, definition)),
            _ => None,
        });
        launched.collect::<Vec<_>>()
    };
    assert_eq!(fill(&mut pool, &player), [(1, Arc::clone(&known))]);
    // Only now it is asked what compose has made the containers from.
    let (now, fleet) = (player.now, player.fleet.as_mut().unwrap());
    fleet.take_definition(definition_of("as compose has it"), now);
    pool.take_definition(&known, fleet.definition());
    assert_eq!(fill(&mut pool, &player), []);
    for line in [
        "rollout start v2",
        "launched Server1/2",
        "healthy Server1/2",
        "drained Server1/1",
        "stopped Server1/1",
        "after 5s",
    ] {
        play(&mut player, line);
        assert_eq!(fill(&mut pool, &player), [], "{line}");
    }
    play(&mut player, "counted Server1/2 0 0");
    let v2 = Arc::new(definition_of("v2"));
    assert_eq!(fill(&mut pool, &player), [(2, v2)]);
}

#[test]
fn start_waits_for_the_stop_of_the_instance_before() {
    let mut player = after(&["start Server1", "launched Server1/1", "healthy Server1/1"]);
    let id = InstanceId::new(servers(1)[0].name.clone(), 1);
    for (line, waits) in [
        ("restart #1 Server1", false),
        ("drained Server1/1", true),
        ("stopped Server1/1", false),
    ] {
        play(&mut player, line);
        let fleet = player.fleet.as_ref().unwrap();
        assert_eq!(fleet.has_waiting_successor(&id), waits, "{line}");
    }
}

#[test]
fn stand_in_is_being_relieved_until_its_relief_plays_the_replica() {
    let mut player = after(&["start Server1", "launched Server1/1", "healthy Server1/1"]);
    for (line, relieves) in [
        ("after 0s", false),
        ("stands in Server1/1", true),
        ("launched Server1/2", true),
        ("healthy Server1/2", false),
    ] {
        play(&mut player, line);
        let fleet = player.fleet.as_ref().unwrap();
        assert_eq!(fleet.is_relieving(), relieves, "{line}");
    }
}
