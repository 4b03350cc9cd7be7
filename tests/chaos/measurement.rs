//! Injects one fault under load, and measures what the balancer and its clients see of it.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use ringmaster::api::{ReplicaEvent, ReplicaEventKind};
use ringmaster::experiments::load::{Completion, LoadGenerator, RequestKind};
use ringmaster::experiments::recovery::{events_of, longest_gap};

use crate::fault_injection::inject;
use crate::faults::Fault;
use crate::fixture::{Fixture, History, moved, moved_of_others};
use crate::load::{go_on_for, never_fails, settle};
use crate::report::Row;

/// How many requests the load makes before a fault and after it.
const QUIET: u64 = 300;

/// Injects a fault, waits until all is well again, and returns what was measured.
pub async fn measure_fault(
    fault: Fault,
    fixture: &mut Fixture,
    load: &LoadGenerator,
    rng: &mut Rng,
    timed: bool,
) -> Row {
    let names = fixture.balancer.replicas().await;
    let target = names[rng.usize(..names.len())].clone();
    let to_die: &[String] = match fault {
        Fault::AllAtOnce => &names,
        _ => std::slice::from_ref(&target),
    };
    for name in to_die {
        fixture.renew(name).await;
    }
    go_on_for(load, QUIET).await;
    let calm = load.take();
    let owners = fixture.owners_at_home().await;
    let before = fixture.history().await;
    let (begun, date) = (Instant::now(), SystemTime::now());
    let injected = inject(fault, fixture, &target, &names).await;
    settle(load).await;
    go_on_for(load, QUIET).await;
    let after = fixture.history().await;
    let mut outcomes = load.take();
    if let Some((killed, back)) = injected.gap {
        outcomes.retain(|outcome| outcome.ended < killed || outcome.begun > back);
    }
    let kept = fixture.owners_at_home().await;
    let replaced: &[String] = match injected.replaced {
        true => &injected.targets,
        false => &[],
    };
    let mut moved_keys = moved(&owners, &kept, replaced);
    if let Some(meanwhile) = &injected.meanwhile {
        moved_keys += moved_of_others(&owners, meanwhile, &target);
    }
    let times = injected
        .targets
        .iter()
        .map(|name| times(name, &before, &after));
    let times: Vec<_> = times.collect();
    let by_balancer = times.iter().filter_map(|times| times.1).reduce(f64::max);
    let healed = injected.healed.map(|healed| healed.as_secs_f64() * 1e3);
    let good = outcomes.iter().filter(|outcome| !outcome.failed);
    let good = good.map(|outcome| outcome.ended);
    let mut row = Row {
        fault: fault.name(),
        target,
        requests: outcomes.len(),
        failed: count(&outcomes, never_fails),
        posts_failed: count(&outcomes, |kind| kind == RequestKind::Post),
        streams_aborted: count(&outcomes, |kind| kind == RequestKind::EventStream),
        retried: after
            .counters
            .retried
            .saturating_sub(before.counters.retried),
        died_ms: match &fixture.containers {
            Some(containers) => {
                let deaths = containers.deaths_since(date).await.into_iter();
                let after = deaths.map(|(name, at)| (name, at.duration_since(date)));
                first_deaths(after.filter_map(|(name, after)| Some((name, after.ok()?))))
            }
            None => None,
        },
        evicted_ms: times.iter().filter_map(|times| times.0).reduce(f64::max),
        ready_ms: healed.or(by_balancer),
        longest_gap_ms: longest_gap(good.chain([begun]), begun).as_secs_f64() * 1e3,
        moved: (!fault.changes_the_ring()).then_some(moved_keys),
        broken: injected.broken,
    };
    judge(fault, &mut row, [&calm, &outcomes], timed);
    row
}

fn judge(fault: Fault, row: &mut Row, [calm, outcomes]: [&[Completion]; 2], timed: bool) {
    let failed_in = |outcomes: &[Completion]| {
        let mut of_those = outcomes.iter().filter(|outcome| never_fails(outcome.kind));
        of_those.find_map(|outcome| {
            let failure = outcome.failure()?;
            let after = outcome.ended - outcome.begun;
            Some(format!("{:?} after {after:?}: {failure}", outcome.kind))
        })
    };
    if let Some(first) = failed_in(calm) {
        row.broken.push(format!("something failed before: {first}"));
    }
    if let Some(first) = failed_in(outcomes).filter(|_| fault.spares_requests()) {
        row.broken.push(format!("{} failed: {first}", row.failed));
    }
    if let Some(moved) = row.moved.filter(|moved| *moved > 0) {
        row.broken.push(format!("{moved} keys moved"));
    }
    if let (Some(limit), true) = (fault.noticed_within(), timed) {
        let limit = limit.as_secs_f64() * 1e3;
        // An end can be noticed once the engine knows of it.
        let died = row.died_ms.filter(|_| fault.is_an_end()).unwrap_or(0.0);
        match row.evicted_ms.map(|ms| ms - died) {
            Some(ms) if ms <= limit => {}
            seen => row
                .broken
                .push(format!("noticed after {seen:?} ms, not {limit}")),
        }
    }
}

fn count(outcomes: &[Completion], of: impl Fn(RequestKind) -> bool) -> usize {
    let failed = outcomes.iter().filter(|outcome| outcome.failed);
    failed.filter(|outcome| of(outcome.kind)).count()
}

/// When a replica went off the ring and came back, in milliseconds since `before`.
fn times(name: &str, before: &History, after: &History) -> (Option<f64>, Option<f64>) {
    let since = |event: &ReplicaEvent| event.at.millis_since(before.now);
    let of =
        |kind| events_of(&after.events, name, before.now).filter(move |event| event.event == kind);
    let evicted = of(ReplicaEventKind::Evicted).next();
    let ready = of(ReplicaEventKind::Ready).next_back();
    (evicted.map(since), ready.map(since))
}

/// When the last of several replicas died for the first time, in milliseconds.
fn first_deaths(deaths: impl Iterator<Item = (String, Duration)>) -> Option<f64> {
    let mut first = HashMap::new();
    for (name, after) in deaths {
        first.entry(name).or_insert(after);
    }
    let last = first.into_values().max()?;
    Some(last.as_secs_f64() * 1e3)
}

/// When a replica came back, in milliseconds since `before`.
pub fn admitted_after(name: &str, before: &History, after: &History) -> Option<f64> {
    times(name, before, after).1
}
