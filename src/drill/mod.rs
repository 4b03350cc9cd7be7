//! `ringmaster ctl drill`: injects faults into replicas of a running balancer, under a light load of
//! its own, and reports how the balancer recovers.
//!
//! Like an analysis it is a client of a whole balancer and uses nothing of its insides; load and the
//! measurement of the recovery are [`crate::experiments`], faults [`crate::fault_injection`].

mod keys;
mod node;
mod report;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use awc::Client;
use fastrand::Rng;
use tokio::signal::unix::{SignalKind, signal};

pub use crate::fault_injection::Fault;
pub use report::Outcome;

use crate::api::{FleetStatus, ReplicaStatus};
use crate::experiments::client::{self, AdminApi};
use crate::experiments::load::{self, LoadGenerator, LoadRequest};
use crate::experiments::progress::Progress;
use crate::experiments::recovery::{Recovery, RecoveryWatch};
use crate::experiments::{AdminAccess, ExperimentError};
use crate::fault_injection::FaultTarget;
use keys::Sample;
use report::Drilled;

/// How long the load runs before the first fault and after each recovery.
const QUIET: Duration = Duration::from_millis(800);
/// A request without a response in this time counts as failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an engine may take to resume a paused replica.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// A hung replica blocks clients; the others must be enough for the rate.
const MAX_CLIENTS: u32 = 1_000;
/// Where the random request ids begin.
const SEED: u64 = 1;

/// Which fault to inject into which replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `http://HOST:PORT`, where clients ask.
    pub url: String,
    /// Its admin API.
    pub admin: AdminAccess,
    /// The fault, and what it is injected into.
    pub target: DrillTarget,
    /// The path that the load requests.
    pub path: String,
    /// Requests a second.
    pub rate: u32,
    /// JSON instead of a table.
    pub json: bool,
}

/// What is done to what.
#[derive(Debug, Clone, PartialEq)]
pub enum DrillTarget {
    /// The fault, and the replica; none: all of them, one after the other.
    Replica(Fault, Option<String>),
    /// A node of a Swarm is drained.
    Node(String),
}

/// Why there was no drill.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The options do not fit the balancer.
    #[error("{0}")]
    Use(String),
    /// A call to the balancer or to a replica failed.
    #[error(transparent)]
    Failed(#[from] ExperimentError),
}

/// Injects the fault into each replica in turn, after the one before has recovered.
///
/// # Errors
///
/// Options that do not fit, and a balancer that does not respond. A replica that does not
/// recover, and requests that fail, are no errors but an [`Outcome`] that is not good.
pub async fn run(options: &Options) -> Result<Outcome, DrillError> {
    // Before the first fault, so that no signal is lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(ExperimentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ExperimentError::Signals)?;
    let held = Held::default();
    let outcome = tokio::select! {
        outcome = carry_out(options, &held) => outcome,
        _ = terminate.recv() => Err(ExperimentError::Interrupted("SIGTERM").into()),
        _ = interrupt.recv() => Err(ExperimentError::Interrupted("SIGINT").into()),
    };
    let target = held.take();
    if let Some(target) = target {
        // Of two errors the first one says more. What stays paused is replaced by the balancer.
        let released = tokio::time::timeout(RELEASE_TIMEOUT, target.release()).await;
        if let (true, Ok(Err(error))) = (outcome.is_ok(), released) {
            return Err(ExperimentError::from(error).into());
        }
    }
    outcome
}

/// The target to be released in the end.
type Held = RefCell<Option<Rc<FaultTarget>>>;

async fn carry_out(options: &Options, held: &Held) -> Result<Outcome, DrillError> {
    match &options.target {
        DrillTarget::Replica(fault, name) => drill(options, *fault, name.as_deref(), held).await,
        DrillTarget::Node(node) => node::drill(options, node).await,
    }
}

async fn drill(
    options: &Options,
    fault: Fault,
    wanted: Option<&str>,
    held: &Held,
) -> Result<Outcome, DrillError> {
    let client = client::http_client(ANSWER_TIMEOUT);
    let admin = AdminApi::new(client.clone(), options.admin.clone());
    let status = admin.fleet().await?;
    let names = names(&status, wanted)?;
    for name in &names {
        // No fault is injected in a drill that could not be finished.
        find(&status, name).await?;
    }
    let url = format!("{}{}", options.url, options.path);
    let title = format!("Drill: {fault} under load");
    let progress = Progress::begin(title, names.len());

    let load = begin_load(options, &url).await;
    let mut drilled = Vec::new();
    let mut asked = Vec::new();
    for name in &names {
        progress.say(name);
        let one = one(fault, held, &admin, &load, &client, &url, name).await;
        let (one, samples) = one?;
        asked.extend(samples);
        let back = one.error.is_none();
        drilled.push(one);
        progress.step();
        if !back {
            // A balancer with one replica less should not lose another.
            break;
        }
        tokio::time::sleep(QUIET).await;
    }
    let answers = load.stop().await;
    progress.done("done");
    Ok(Outcome::of(options, fault, drilled, &answers, &asked))
}

/// The load, once it has run for a while.
async fn begin_load(options: &Options, url: &str) -> LoadGenerator {
    let clients = options.rate.min(MAX_CLIENTS) as usize;
    let rng = RefCell::new(Rng::with_seed(SEED));
    let url = url.to_owned();
    let load = LoadGenerator::start(clients, Some(options.rate), ANSWER_TIMEOUT, move |_, _| {
        LoadRequest::get(&url, load::random_id(&mut rng.borrow_mut()))
    });
    tokio::time::sleep(QUIET).await;
    load
}

/// Injects the fault into one replica and waits until it has recovered.
async fn one(
    fault: Fault,
    held: &Held,
    admin: &AdminApi,
    load: &LoadGenerator,
    client: &Client,
    url: &str,
    name: &str,
) -> Result<(Drilled, [Sample; 2]), DrillError> {
    let before = Sample::take(client, url).await;
    let status = admin.fleet().await?;
    let generation_before = replica(&status, name)?.generation;
    let target = Rc::new(find(&status, name).await?);
    held.replace(Some(Rc::clone(&target)));
    let watch = RecoveryWatch::begin(Some(admin), load).await?;
    let mut recovery = Recovery::begin(name);
    let injected = target.inject(fault).await;
    injected.map_err(ExperimentError::from)?;
    recovery.effective = Instant::now();
    let (over, back) = futures::join!(
        target.sustain(fault),
        watch.until_back(&mut recovery, fault.duration())
    );
    over.map_err(ExperimentError::from)?;
    let error = match back {
        Ok(()) => None,
        Err(late @ ExperimentError::TimedOut { .. }) => Some(late.to_string()),
        Err(other) => return Err(other.into()),
    };
    let mut after = Sample::take(client, url).await;
    if before.moved(&after, name) > Some(0) {
        // The balance factor may have moved a key for a moment: it is back by now.
        after = Sample::take(client, url).await;
    }
    let generation_after = replica(&admin.fleet().await?, name)?.generation;
    let drilled = Drilled {
        recovery,
        until: Instant::now(),
        moved: before.moved(&after, name),
        generations: [generation_before, generation_after],
        error,
    };
    Ok((drilled, [before, after]))
}

/// The instance to inject the fault into.
async fn find(status: &FleetStatus, name: &str) -> Result<FaultTarget, DrillError> {
    let found = FaultTarget::find(&replica(status, name)?, None).await;
    found.map_err(|error| DrillError::Use(error.to_string()))
}

/// The replicas to inject the fault into.
fn names(status: &FleetStatus, wanted: Option<&str>) -> Result<Vec<String>, DrillError> {
    let all = status.replicas.iter().map(|one| one.name.clone());
    match wanted {
        None => Ok(all.collect()),
        Some(name) => replica(status, name).map(|one| vec![one.name]),
    }
}

fn replica(status: &FleetStatus, name: &str) -> Result<ReplicaStatus, DrillError> {
    let mut replicas = status.replicas.iter();
    let found = replicas.find(|one| one.name == name);
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = status.replicas.iter().map(|one| &*one.name).collect();
        let names = names.join(", ");
        DrillError::Use(format!(
            "no replica is called {name:?}: allowed are {names} and all"
        ))
    })
}
