//! How each fault is injected.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use crate::faults::Fault;
use crate::fixture::{Fixture, Instance, Owner};
use crate::support::{eventually, signal};

/// How long a replica is slow, or its network bad.
const BAD_TIME: Duration = Duration::from_secs(5);
/// Of a CPU, in thousandths.
const SLOW: i64 = 20;
const FAST: i64 = 1_000;

/// What was injected.
#[derive(Default)]
pub struct Injected {
    /// Into which replicas.
    pub targets: Vec<String>,
    /// Whether they may be others afterwards.
    pub replaced: bool,
    /// When the balancer could not be reached.
    pub gap: Option<(Instant, Instant)>,
    /// How long it took until all was well, where the balancer cannot tell.
    pub healed: Option<Duration>,
    /// Which instance answered which key while it lasted, if it did.
    pub meanwhile: Option<Vec<Owner>>,
    pub broken: Vec<String>,
}

/// Injects it, and waits until all is well again.
pub async fn inject(
    fault: Fault,
    fixture: &mut Fixture,
    target: &str,
    names: &[String],
) -> Injected {
    let instance = fixture.instance(target).await;
    let one = Injected {
        targets: vec![target.to_owned()],
        replaced: true,
        ..Injected::default()
    };
    match fault {
        Fault::Restart => restart(fixture, None).await,
        Fault::RestartAndKill => restart(fixture, Some(&instance)).await,
        Fault::Kill => {
            fixture.kill(&instance).await;
            fixture.replaced(&[instance]).await;
            one
        }
        Fault::OutOfMemory => {
            fixture.exhaust_memory(&instance).await;
            fixture.replaced(&[instance]).await;
            one
        }
        Fault::Hang => {
            // Its end resumes it.
            fixture.pause(&instance).await;
            fixture.replaced(&[instance]).await;
            one
        }
        Fault::Pause => {
            let paused = fixture.pause(&instance).await;
            fixture.evicted(target).await;
            let meanwhile = Some(fixture.owners().await);
            paused.resume().await.expect("it can be resumed");
            fixture.all_ready().await;
            // What comes back is the same.
            Injected {
                replaced: false,
                meanwhile,
                ..one
            }
        }
        Fault::Slow => {
            assert!(fixture.engine().limit_cpu(target, SLOW).await, "it runs");
            tokio::time::sleep(BAD_TIME).await;
            let meanwhile = Some(fixture.owners().await);
            // It may have been replaced, and its successor is none the worse for it.
            fixture.engine().limit_cpu(target, FAST).await;
            fixture.all_ready().await;
            Injected { meanwhile, ..one }
        }
        Fault::Remove => {
            let body = json!({"n": 1, "hostnames": [target]});
            fixture.balancer.rm(body).await.names();
            Injected::default()
        }
        Fault::Add => {
            fixture.balancer.add(json!({"n": 1})).await.names();
            fixture.all_ready().await;
            Injected::default()
        }
        Fault::CrashLoop => {
            let refused = fixture.accounting.refused() + 2;
            fixture.accounting.refuse_next(target, 2);
            fixture.kill(&instance).await;
            eventually("two of its instances ended at once", || async {
                fixture.accounting.refused() == refused
            })
            .await;
            fixture.replaced(&[instance]).await;
            one
        }
        Fault::TakenAway => {
            fixture.engine().remove(target).await;
            fixture.replaced(&[instance]).await;
            one
        }
        Fault::Disconnect => {
            fixture.engine().disconnect(target).await;
            fixture.replaced(&[instance]).await;
            one
        }
        Fault::MissingImage => {
            fixture.engine().hide_image().await;
            fixture.kill(&instance).await;
            fixture.last_error(target, "no such image").await;
            fixture.has_died(target, 3).await;
            let meanwhile = Some(fixture.owners().await);
            fixture.engine().show_image().await;
            fixture.replaced(&[instance]).await;
            Injected { meanwhile, ..one }
        }
        Fault::EngineRestart => restart_engine(fixture, instance).await,
        Fault::Network(network) => {
            let namespace = fixture.engine().namespace(target).await;
            network.inject(&namespace).await;
            tokio::time::sleep(BAD_TIME).await;
            let meanwhile = Some(fixture.owners().await);
            network.clear(&namespace).await;
            fixture.all_ready().await;
            Injected { meanwhile, ..one }
        }
        Fault::AllAtOnce => {
            let instances = names.iter().map(|name| fixture.instance(name));
            let instances = join_all(instances).await;
            join_all(instances.iter().map(|instance| fixture.kill(instance))).await;
            fixture.replaced(&instances).await;
            Injected {
                targets: names.to_vec(),
                ..one
            }
        }
    }
}

/// Kills the balancer, perhaps a replica meanwhile, and starts it again.
async fn restart(fixture: &mut Fixture, killed: Option<&Instance>) -> Injected {
    let before = fixture.engine().running().await;
    let (gone, back) = fixture.restart_balancer(killed).await;
    match killed {
        Some(instance) => fixture.replaced(std::slice::from_ref(instance)).await,
        None => fixture.all_ready().await,
    }
    let healed = gone.elapsed();
    let after = fixture.engine().running().await;
    Injected {
        targets: Vec::from_iter(killed.map(|instance| instance.name.clone())),
        replaced: true,
        gap: Some((gone, back)),
        healed: Some(healed),
        meanwhile: None,
        broken: unless_started(usize::from(killed.is_some()), &before, &after),
    }
}

/// Ends dockerd, kills a replica, and begins dockerd again.
async fn restart_engine(fixture: &mut Fixture, target: Instance) -> Injected {
    let before = fixture.engine().running().await;
    let process = fixture.engine().process(&target.name).await;
    fixture.engine_mut().end_engine().await;
    fixture.engine_has_error(true).await;
    signal(process, "KILL");
    fixture.evicted(&target.name).await;
    tokio::time::sleep(BAD_TIME).await;
    let meanwhile = Some(fixture.owners().await);
    fixture.engine_mut().begin_engine().await;
    fixture.replaced(std::slice::from_ref(&target)).await;
    fixture.engine_has_error(false).await;
    let after = fixture.engine().running().await;
    Injected {
        targets: vec![target.name],
        replaced: true,
        meanwhile,
        broken: unless_started(1, &before, &after),
        ..Injected::default()
    }
}

/// Reports an error unless exactly `expected` containers were replaced and the others still run.
fn unless_started(expected: usize, before: &[String], after: &[String]) -> Vec<String> {
    let others = after.iter().filter(|id| !before.contains(id)).count();
    if after.len() == before.len() && others == expected {
        return Vec::new();
    }
    vec![format!(
        "{others} containers were started, not {expected}: {} ran before and {} run now",
        before.len(),
        after.len(),
    )]
}
