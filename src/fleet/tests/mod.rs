//! The fleet's tests: [`stories`] that people wrote, and a [`simulation`] that looks for
//! those nobody thought of. Both speak the language of [`script`], so that what the
//! simulation finds becomes a story by copy and paste.

mod chance;
mod rules;
mod script;
mod simulation;
mod stories;
mod told;
mod world;

pub(super) use script::POLICY;

use super::{DeferredStep, Desired, Event, Fleet, InstanceEvent, InstanceId, Step, Time};
use crate::ring::Weight;
use crate::ring::testing::servers;

#[test]
fn weight_that_was_changed_goes_with_the_next_instance() {
    let servers = servers(2);
    let (mut fleet, _) = Fleet::new(POLICY, Desired::of(&servers), Vec::new(), Time::ZERO);
    let three = Weight::new(3).unwrap();
    fleet.note_weight(&servers[1].name, three);
    fleet.note_weight(&"unknown".parse().unwrap(), three);
    let weights = fleet.statuses().into_iter().map(|status| status.weight);
    assert!(weights.eq([Weight::default(), three]));
    let id = InstanceId::new(servers[1].name.clone(), 1);
    let failed = InstanceEvent::LaunchFailed("no such image".to_owned());
    let steps = fleet.apply(Event::Instance(id, failed), Time::ZERO);
    let mut launches = steps.iter().filter_map(|step| match step {
        Step::Deferred(DeferredStep::Launch(order, ..)) => Some(order),
        _ => None,
    });
    let launched = launches.next().unwrap();
    assert_eq!((launched.weight, launched.id.generation), (three, 2));
    assert_eq!(fleet.wakes_at(), None);
}
