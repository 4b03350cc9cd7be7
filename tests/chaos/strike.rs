//! A fault, done to a balancer under load, and what was seen of it.

use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::common::eventually;
use crate::faults::Fault;
use crate::load::{Kind, Load, Outcome};
use crate::report::Row;
use crate::scene::{Instance, Scene, moved};

/// The load goes on for so many requests before a fault and after it.
const QUIET: usize = 300;
/// Shorter than any mercy, longer than it takes to notice.
const PAUSE: Duration = Duration::from_secs(4);
/// How long a replica is slow, or its network bad.
const BAD_TIME: Duration = Duration::from_secs(5);
/// Of a CPU, in thousandths.
const SLOW: i64 = 50;
const FAST: i64 = 1_000;

/// What was done.
#[derive(Default)]
struct Harm {
    /// To whom.
    victims: Vec<String>,
    /// Whether they may be others afterwards.
    replaced: bool,
    /// When nobody could be reached.
    gap: Option<(Instant, Instant)>,
    /// How long it took until all was well, where the balancer cannot tell.
    healed: Option<Duration>,
    broken: Vec<String>,
}

/// Does it, waits until all is well again, and says what was seen.
pub async fn strike(
    fault: Fault,
    scene: &mut Scene,
    load: &Load,
    rng: &mut Rng,
    timed: bool,
) -> Row {
    let names = scene.balancer.replicas().await;
    let victim = names[rng.usize(..names.len())].clone();
    let to_die: &[String] = match fault {
        Fault::AllAtOnce => &names,
        _ => std::slice::from_ref(&victim),
    };
    for name in to_die {
        scene.renew(name).await;
    }
    load.go_on_for(QUIET).await;
    let calm = load.take();
    let owners = scene.owners().await;
    let before = scene.status().await;
    let begun = Instant::now();
    let harm = harm(fault, scene, &victim, &names).await;
    load.go_on_for(QUIET).await;
    let after = scene.status().await;
    let mut outcomes = load.take();
    if let Some((killed, back)) = harm.gap {
        outcomes.retain(|outcome| outcome.ended < killed || outcome.begun > back);
    }
    let kept = scene.owners().await;
    let replaced: &[String] = match harm.replaced {
        true => &harm.victims,
        false => &[],
    };
    let times = harm.victims.iter().map(|name| times(name, &before, &after));
    let times: Vec<_> = times.collect();
    let counter = |status: &Value| status["counters"]["retried"].as_u64().unwrap_or_default();
    let by_balancer = times.iter().filter_map(|times| times.1).reduce(f64::max);
    let healed = harm.healed.map(|healed| healed.as_secs_f64() * 1e3);
    let mut row = Row {
        fault: fault.name(),
        victim,
        requests: outcomes.len(),
        failed: count(&outcomes, Kind::never_fails),
        posts_failed: count(&outcomes, |kind| kind == Kind::Post),
        streams_cut: count(&outcomes, |kind| kind == Kind::Stream),
        retried: counter(&after).saturating_sub(counter(&before)),
        detected_ms: times.iter().filter_map(|times| times.0).reduce(f64::max),
        healed_ms: healed.or(by_balancer),
        longest_gap_ms: longest_gap(&outcomes, begun),
        moved: (!fault.changes_the_ring()).then(|| moved(&owners, &kept, replaced)),
        broken: harm.broken,
    };
    judge(fault, &mut row, [&calm, &outcomes], timed);
    row
}

async fn harm(fault: Fault, scene: &mut Scene, victim: &str, names: &[String]) -> Harm {
    let instance = scene.instance(victim).await;
    let one = Harm {
        victims: vec![victim.to_owned()],
        replaced: true,
        ..Harm::default()
    };
    match fault {
        Fault::Restart => restart(scene, None).await,
        Fault::RestartAndKill => restart(scene, Some(&instance)).await,
        Fault::Kill => {
            scene.kill(&instance).await;
            scene.replaced(&[instance]).await;
            one
        }
        Fault::OutOfMemory => {
            scene.let_devour(&instance).await;
            scene.replaced(&[instance]).await;
            one
        }
        Fault::Hang => {
            scene.freeze(&instance).await;
            scene.replaced(&[instance]).await;
            one
        }
        Fault::Pause => {
            scene.freeze(&instance).await;
            tokio::time::sleep(PAUSE).await;
            scene.thaw(&instance).await;
            scene.all_ready().await;
            // What comes back is the same.
            Harm {
                replaced: false,
                ..one
            }
        }
        Fault::Slow => {
            assert!(scene.engine().limit_cpu(victim, SLOW).await, "it runs");
            tokio::time::sleep(BAD_TIME).await;
            // It may have been replaced, and its successor is none the worse for it.
            scene.engine().limit_cpu(victim, FAST).await;
            scene.all_ready().await;
            one
        }
        Fault::Remove => {
            let body = json!({"n": 1, "hostnames": [victim]});
            scene.balancer.rm(body).await.names();
            Harm::default()
        }
        Fault::Add => {
            scene.balancer.add(json!({"n": 1})).await.names();
            scene.all_ready().await;
            Harm::default()
        }
        Fault::CrashLoop => {
            let doomed = scene.ledger.refused() + 2;
            scene.ledger.doom(victim, 2);
            scene.kill(&instance).await;
            eventually("two of its instances ended at once", || async {
                scene.ledger.refused() == doomed
            })
            .await;
            scene.replaced(&[instance]).await;
            one
        }
        Fault::TakenAway => {
            scene.engine().remove(victim).await;
            scene.replaced(&[instance]).await;
            one
        }
        Fault::Disconnect => {
            scene.engine().disconnect(victim).await;
            scene.replaced(&[instance]).await;
            one
        }
        Fault::Network(network) => {
            let namespace = scene.engine().namespace(victim).await;
            network.strike(&namespace).await;
            tokio::time::sleep(BAD_TIME).await;
            network.relent(&namespace).await;
            scene.all_ready().await;
            one
        }
        Fault::AllAtOnce => {
            let instances = names.iter().map(|name| scene.instance(name));
            let instances = join_all(instances).await;
            join_all(instances.iter().map(|instance| scene.kill(instance))).await;
            scene.replaced(&instances).await;
            Harm {
                victims: names.to_vec(),
                ..one
            }
        }
    }
}

/// Kills the balancer, perhaps a replica meanwhile, and starts it again.
async fn restart(scene: &mut Scene, killed: Option<&Instance>) -> Harm {
    let before = scene.engine().running().await;
    let (gone, back) = scene.restart_balancer(killed).await;
    match killed {
        Some(instance) => scene.replaced(std::slice::from_ref(instance)).await,
        None => scene.all_ready().await,
    }
    let healed = gone.elapsed();
    let after = scene.engine().running().await;
    let others = after.iter().filter(|id| !before.contains(id)).count();
    let expected = usize::from(killed.is_some());
    let mut broken = Vec::new();
    if after.len() != before.len() || others != expected {
        broken.push(format!(
            "{others} containers were started, not {expected}: {} ran before and {} run now",
            before.len(),
            after.len(),
        ));
    }
    Harm {
        victims: Vec::from_iter(killed.map(|instance| instance.name.clone())),
        replaced: true,
        gap: Some((gone, back)),
        healed: Some(healed),
        broken,
    }
}

fn judge(fault: Fault, row: &mut Row, [calm, outcomes]: [&[Outcome]; 2], timed: bool) {
    let failed_in = |outcomes: &[Outcome]| {
        let failures = outcomes.iter().filter(|outcome| outcome.kind.never_fails());
        failures
            .filter_map(|outcome| outcome.failure.clone())
            .next()
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
        match row.detected_ms {
            Some(ms) if ms <= limit => {}
            seen => row
                .broken
                .push(format!("noticed after {seen:?} ms, not {limit}")),
        }
    }
}

fn count(outcomes: &[Outcome], of: impl Fn(Kind) -> bool) -> usize {
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some());
    failed.filter(|outcome| of(outcome.kind)).count()
}

/// When a replica went off the ring and came back, in milliseconds since `before`.
fn times(name: &str, before: &Value, after: &Value) -> (Option<f64>, Option<f64>) {
    let since = before["now_ms"].as_f64().unwrap_or_default();
    let first = |event: &str, last: bool| {
        let events = after["events"].as_array()?;
        let mut found = events.iter().filter(|one| {
            one["replica"] == name && one["event"] == event && one["at_ms"].as_f64() > Some(since)
        });
        let found = if last {
            found.next_back()
        } else {
            found.next()
        };
        Some(found?["at_ms"].as_f64()? - since)
    };
    (first("evicted", false), first("admitted", true))
}

/// When a replica came back, in milliseconds since `before`.
pub fn admitted_after(name: &str, before: &Value, after: &Value) -> Option<f64> {
    times(name, before, after).1
}

/// The longest time in which no request was answered.
fn longest_gap(outcomes: &[Outcome], begun: Instant) -> f64 {
    let good = outcomes.iter().filter(|outcome| outcome.failure.is_none());
    let mut times: Vec<Instant> = good.map(|outcome| outcome.ended).collect();
    times.push(begun);
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default().as_secs_f64() * 1e3
}
