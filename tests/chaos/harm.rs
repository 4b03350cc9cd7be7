//! How each fault is done.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use crate::faults::Fault;
use crate::scene::{Instance, Owner, Scene};
use crate::support::{eventually, signal};

/// How long a replica is slow, or its network bad.
const BAD_TIME: Duration = Duration::from_secs(5);
/// Of a CPU, in thousandths.
const SLOW: i64 = 20;
const FAST: i64 = 1_000;

/// What was done.
#[derive(Default)]
pub struct Harm {
    /// To whom.
    pub victims: Vec<String>,
    /// Whether they may be others afterwards.
    pub replaced: bool,
    /// When nobody could be reached.
    pub gap: Option<(Instant, Instant)>,
    /// How long it took until all was well, where the balancer cannot tell.
    pub healed: Option<Duration>,
    /// Who answered which key while it lasted, if it did.
    pub meanwhile: Option<Vec<Owner>>,
    pub broken: Vec<String>,
}

/// Does it, and waits until all is well again.
pub async fn do_harm(fault: Fault, scene: &mut Scene, victim: &str, names: &[String]) -> Harm {
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
            // Its end resumes it.
            scene.pause(&instance).await;
            scene.replaced(&[instance]).await;
            one
        }
        Fault::Pause => {
            let target = scene.pause(&instance).await;
            scene.evicted(victim).await;
            let meanwhile = Some(scene.owners().await);
            target.resume().await.expect("it can be resumed");
            scene.all_ready().await;
            // What comes back is the same.
            Harm {
                replaced: false,
                meanwhile,
                ..one
            }
        }
        Fault::Slow => {
            assert!(scene.engine().limit_cpu(victim, SLOW).await, "it runs");
            tokio::time::sleep(BAD_TIME).await;
            let meanwhile = Some(scene.owners().await);
            // It may have been replaced, and its successor is none the worse for it.
            scene.engine().limit_cpu(victim, FAST).await;
            scene.all_ready().await;
            Harm { meanwhile, ..one }
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
        Fault::MissingImage => {
            scene.engine().hide_image().await;
            scene.kill(&instance).await;
            scene.last_error(victim, "no such image").await;
            scene.has_died(victim, 3).await;
            let meanwhile = Some(scene.owners().await);
            scene.engine().show_image().await;
            scene.replaced(&[instance]).await;
            Harm { meanwhile, ..one }
        }
        Fault::EngineRestart => restart_engine(scene, instance).await,
        Fault::Network(network) => {
            let namespace = scene.engine().namespace(victim).await;
            network.strike(&namespace).await;
            tokio::time::sleep(BAD_TIME).await;
            let meanwhile = Some(scene.owners().await);
            network.relent(&namespace).await;
            scene.all_ready().await;
            Harm { meanwhile, ..one }
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
    Harm {
        victims: Vec::from_iter(killed.map(|instance| instance.name.clone())),
        replaced: true,
        gap: Some((gone, back)),
        healed: Some(healed),
        meanwhile: None,
        broken: unless_started(usize::from(killed.is_some()), &before, &after),
    }
}

/// Ends dockerd, kills a replica, and begins dockerd again.
async fn restart_engine(scene: &mut Scene, victim: Instance) -> Harm {
    let before = scene.engine().running().await;
    let process = scene.engine().process(&victim.name).await;
    scene.engine_mut().end_engine().await;
    scene.engine_has_error(true).await;
    signal(process, "KILL");
    scene.evicted(&victim.name).await;
    tokio::time::sleep(BAD_TIME).await;
    let meanwhile = Some(scene.owners().await);
    scene.engine_mut().begin_engine().await;
    scene.replaced(std::slice::from_ref(&victim)).await;
    scene.engine_has_error(false).await;
    let after = scene.engine().running().await;
    Harm {
        victims: vec![victim.name],
        replaced: true,
        meanwhile,
        broken: unless_started(1, &before, &after),
        ..Harm::default()
    }
}

/// What is wrong unless so many containers are others, and all the rest are the same.
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
