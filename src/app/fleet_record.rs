//! From settings and the fleet record to a runtime: what the fleet is started by.

use std::net::SocketAddr;
use std::rc::Rc;

use log::{info, warn};

use crate::app::AppError;
use crate::app::stack::{StackFlags, with_stack};
use crate::config::{RuntimeSettings, Settings};
use crate::fleet::{Existing, FleetRecord};
use crate::human::duration;
use crate::ring::BuildError;
use crate::runtime::docker::{DockerRecordStore, DockerRuntime, DockerSettings};
use crate::runtime::process::ProcessRuntime;
use crate::runtime::record::{NoStore, OpeningRecord, RecordKeeper, RecordStore};
use crate::runtime::record_file::FileStore;
use crate::runtime::static_servers::StaticRuntime;
use crate::runtime::swarm::{SwarmRecordStore, SwarmRuntime};
use crate::runtime::{Runtime, RuntimeError};

/// Balancers that start at once and write the record before one another: more often than that
/// is no coincidence.
const MAX_ATTEMPTS: u32 = 10;

/// A fleet that can be started.
pub(super) struct OpenedFleet {
    /// The settings as the record makes them.
    pub(super) settings: Settings,
    pub(super) runtime: Rc<dyn Runtime>,
    /// What an earlier balancer left behind.
    pub(super) found: Vec<Existing>,
    pub(super) record: Rc<RecordKeeper>,
    /// The service of a stack file that replicas are made from.
    pub(super) stack: Option<StackFlags>,
}

/// Reads the record, prepares the runtime that it and the flags ask for, and writes the record
/// if it is new or other than before. `address` is where the balancer listens.
pub(super) async fn open(
    settings: &Settings,
    address: SocketAddr,
) -> Result<OpenedFleet, AppError> {
    let own_service = compose_service(settings).await;
    let settings = settings.named(address.port(), own_service.clone());
    let settings = of_service(settings, own_service).await?;
    let (settings, stack) = with_stack(settings).await?;
    let mut store = store_of(&settings).await?;
    let settings = with_template(settings, &*store).await?;
    let mut flags = settings.fleet_flags();
    if stack.is_some()
        && let Some(record) = store.load().await?
    {
        flags = record.flags_with_stack(flags);
    }
    for attempt in 0..MAX_ATTEMPTS {
        // One write may be the last of a balancer that has just been killed: others are asked for again.
        let mut opening = OpeningRecord::load(&*store, &flags, attempt > 1).await?;
        if let (true, RuntimeSettings::Swarm(swarm)) = (opening.has_new_image(), &settings.runtime)
            && let Some(image) = swarm.pinned_image().await?
        {
            opening.pin(image);
        }
        let following = settings.following(&opening.outcome(&flags, &[]));
        let runtime = runtime_of(&following)?;
        let found = match opening.follows() {
            true => runtime.prepare_to_follow().await?,
            false => runtime.prepare().await?,
        };
        // Before it is written: flags that cannot hold must not change anything.
        check_room(&opening.outcome(&flags, &found))?;
        match opening.settle(store, &flags, &found).await? {
            Ok(record) => {
                return Ok(OpenedFleet {
                    settings: following.following(&record.record()),
                    runtime,
                    found,
                    record: Rc::new(record),
                    stack,
                });
            }
            // Another balancer was quicker: its record is the one to go by.
            Err(again) => store = again,
        }
    }
    let contended = "other balancers keep changing the fleet record";
    Err(RuntimeError(contended.to_owned()).into())
}

/// These settings with the configuration of the container that replicas are like, if they are: of
/// one that is gone, as the fleet record has it.
async fn with_template(
    settings: Settings,
    store: &dyn RecordStore,
) -> Result<Settings, RuntimeError> {
    let RuntimeSettings::Docker(docker) = &settings.runtime else {
        return Ok(settings);
    };
    let like = docker.like.as_ref().filter(|_| docker.service.is_none());
    let Some(name) = like.map(|like| like.container.clone()) else {
        return Ok(settings);
    };
    let has_network = !settings.default_names.network;
    let found = docker.as_ref().clone().like_container(has_network).await?;
    let docker = match found {
        Some(docker) => docker,
        None => {
            let record = store.load().await?;
            let kept = record.map(|record| record.definition);
            let kept = kept.filter(|kept| kept.like.as_ref().is_some_and(|l| l.container == name));
            let missing =
                || RuntimeError(format!("--like {name}: the engine has no such container"));
            let kept = kept.ok_or_else(missing)?;
            warn!("docker: container {name} is gone; replicas are made as the fleet record has it");
            docker.following(&kept)
        }
    };
    Ok(with_docker(settings, docker))
}

/// These settings as the compose service has it that the fleet takes over, if it does. `own`: the
/// service of the balancer's own container.
async fn of_service(
    settings: Settings,
    own: Option<(String, String)>,
) -> Result<Settings, RuntimeError> {
    let RuntimeSettings::Docker(docker) = &settings.runtime else {
        return Ok(settings);
    };
    if docker.service.is_none() {
        return Ok(settings);
    }
    let has_network = !settings.default_names.network;
    let docker = docker.as_ref().clone().of_service(own, has_network).await?;
    Ok(with_docker(settings, docker))
}

/// These settings with those of containers, and the time that such containers need.
fn with_docker(mut settings: Settings, docker: DockerSettings) -> Settings {
    let limits = &mut settings.limits;
    limits.stop_grace = limits
        .stop_grace
        .max(docker.stop_timeout().unwrap_or_default());
    if let Some(time) = docker
        .recreation_time()
        .filter(|time| *time > limits.wait_timeout)
    {
        info!(
            "docker: --wait-timeout is {}, so that requests outlast a recreation by compose",
            duration(time)
        );
        limits.wait_timeout = time;
    }
    settings.runtime = RuntimeSettings::Docker(Box::new(docker));
    settings
}

/// Whether the ring has room for the replicas of a record.
fn check_room(record: &FleetRecord) -> Result<(), BuildError> {
    let members = record.members();
    let total_weight = members.iter().map(|m| u64::from(m.weight.get())).sum();
    record.ring.spec.check_limits(members.len(), total_weight)
}

/// Project and service of compose, if this is a container of one and that makes a difference.
async fn compose_service(settings: &Settings) -> Option<(String, String)> {
    match settings.runtime {
        RuntimeSettings::Docker(_) if settings.default_names.fleet => {
            crate::runtime::docker::compose_service().await
        }
        _ => None,
    }
}

async fn store_of(settings: &Settings) -> Result<Box<dyn RecordStore>, RuntimeError> {
    Ok(match (&settings.runtime, &settings.state) {
        // Compose's containers say themselves what is wanted.
        (RuntimeSettings::Docker(docker), _) if docker.service.is_some() => Box::new(NoStore),
        (RuntimeSettings::Docker(docker), _) => Box::new(DockerRecordStore::new(&docker.fleet)?),
        (RuntimeSettings::Swarm(swarm), _) => {
            Box::new(SwarmRecordStore::new(&swarm.containers.fleet)?)
        }
        (RuntimeSettings::Process(_), Some(path)) => Box::new(FileStore::open(path.clone()).await?),
        _ => Box::new(NoStore),
    })
}

fn runtime_of(settings: &Settings) -> Result<Rc<dyn Runtime>, RuntimeError> {
    Ok(match settings.runtime.clone() {
        RuntimeSettings::Process(template) => Rc::new(ProcessRuntime::guarded(template)),
        RuntimeSettings::Docker(settings) => Rc::new(DockerRuntime::new(*settings)?),
        RuntimeSettings::Swarm(swarm) => {
            Rc::new(SwarmRuntime::new(*swarm, settings.limits.stop_grace)?)
        }
        RuntimeSettings::Static(upstreams) => {
            let heartbeat = &settings.health.heartbeat;
            let timeout = heartbeat.interval.saturating_add(heartbeat.timeout);
            Rc::new(StaticRuntime::new(upstreams, timeout))
        }
    })
}
