//! `ringmaster drill`: harms replicas of a running balancer on purpose, under a light load of
//! its own, and tells how the balancer took it.
//!
//! Like an analysis it is a client of a whole balancer and uses nothing of its insides. How a
//! replica is harmed (`analysis::harm`), and how its way off the ring and back is watched
//! (`analysis::observed`), is A-3's, too.

mod keys;
mod report;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use awc::Client;
use tokio::signal::unix::{SignalKind, signal};

pub use crate::analysis::harm::Fault;
pub use report::Outcome;

use crate::analysis::AnalysisError;
use crate::analysis::admin::Admin;
use crate::analysis::api;
use crate::analysis::harm::Victim;
use crate::analysis::load::SteadyLoad;
use crate::analysis::observed::{Observed, Watch};
use crate::analysis::progress::Progress;
use crate::api::{ReplicaStatus, Status};
use keys::Sample;
use report::Drilled;

/// The load runs so long before the first harm and after each.
const QUIET: Duration = Duration::from_millis(800);
/// No answer is worth waiting longer for; it counts as failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// So long an engine may take to let a paused replica go on.
const LETTING_GO: Duration = Duration::from_secs(5);
/// A hung replica holds clients fast; the others must be enough for the rate.
const MOST_CLIENTS: u32 = 1_000;
/// Where the random request ids begin.
const SEED: u64 = 1;

/// What to do to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `http://HOST:PORT`, where clients ask.
    pub url: String,
    /// `http://HOST:PORT` of its `--admin` address.
    pub admin_url: String,
    /// What is done.
    pub fault: Fault,
    /// To whom; none: to all of them, one after the other.
    pub replica: Option<String>,
    /// What the load asks for.
    pub path: String,
    /// Requests a second meanwhile.
    pub rate: u32,
    /// JSON instead of a table.
    pub json: bool,
}

/// Why a drill did not come about.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// It was asked for something that cannot be.
    #[error("{0}")]
    Use(String),
    /// The balancer cannot be asked, or a replica not be harmed.
    #[error(transparent)]
    Failed(#[from] AnalysisError),
}

/// Harms the replicas in turn, each after the one before is back.
///
/// # Errors
///
/// What was asked for wrongly, and a balancer that does not answer. A replica that does not
/// come back, and requests that fail, are no errors but an [`Outcome`] that is not good.
pub async fn run(options: &Options) -> Result<Outcome, DrillError> {
    // Before anything is harmed, so that no signal is lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(AnalysisError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AnalysisError::Signals)?;
    let held = Held::default();
    let outcome = tokio::select! {
        outcome = drill(options, &held) => outcome,
        _ = terminate.recv() => Err(AnalysisError::Interrupted("SIGTERM").into()),
        _ = interrupt.recv() => Err(AnalysisError::Interrupted("SIGINT").into()),
    };
    let victim = held.take();
    if let Some(victim) = victim {
        // Of two errors the first one says more. What stays paused is replaced by the balancer.
        let released = tokio::time::timeout(LETTING_GO, victim.release()).await;
        if let (true, Ok(Err(error))) = (outcome.is_ok(), released) {
            return Err(error.into());
        }
    }
    outcome
}

/// Who is being harmed.
type Held = RefCell<Option<Rc<Victim>>>;

async fn drill(options: &Options, held: &Held) -> Result<Outcome, DrillError> {
    let client = api::client(ANSWER_TIMEOUT);
    let admin = Admin::new(client.clone(), &options.admin_url);
    let status = admin.status().await?;
    let names = names(&status, options.replica.as_deref())?;
    for name in &names {
        // Nobody is harmed in a drill that would not come to its end.
        find(&status, name).await?;
    }
    let url = format!("{}{}", options.url, options.path);
    let title = format!("Drill: {} under load", options.fault);
    let progress = Progress::begin(title, names.len());

    let clients = options.rate.min(MOST_CLIENTS) as usize;
    let load = SteadyLoad::start(&client, &url, SEED, clients, options.rate);
    tokio::time::sleep(QUIET).await;
    let mut drilled = Vec::new();
    let mut asked = Vec::new();
    for name in &names {
        progress.say(name);
        let one = one(options, held, &admin, &load, &client, &url, name).await;
        let (one, samples) = one?;
        asked.extend(samples);
        let back = one.trouble.is_none();
        drilled.push(one);
        progress.step();
        if !back {
            // Who has one replica less should not lose another.
            break;
        }
        tokio::time::sleep(QUIET).await;
    }
    let answers = load.stop().await;
    progress.done("done");
    Ok(Outcome::of(options, drilled, &answers, &asked))
}

/// Harms one replica and waits until it is back.
async fn one(
    options: &Options,
    held: &Held,
    admin: &Admin,
    load: &SteadyLoad,
    client: &Client,
    url: &str,
    name: &str,
) -> Result<(Drilled, [Sample; 2]), DrillError> {
    let before = Sample::take(client, url).await;
    let status = admin.status().await?;
    let before_it = replica(&status, name)?.generation;
    let victim = Rc::new(find(&status, name).await?);
    held.replace(Some(Rc::clone(&victim)));
    let watch = Watch::begin(Some(admin), load).await?;
    let mut observed = Observed::new(name);
    victim.begin(options.fault).await?;
    observed.landed = Instant::now();
    let (over, back) = futures::join!(
        victim.hold(options.fault),
        watch.until_back(&mut observed, options.fault.harm())
    );
    over?;
    let trouble = match back {
        Ok(()) => None,
        Err(late @ AnalysisError::TooSlow { .. }) => Some(late.to_string()),
        Err(other) => return Err(other.into()),
    };
    let mut after = Sample::take(client, url).await;
    if before.moved(&after, name) > Some(0) {
        // A bound of the load may have sent a key elsewhere for a moment: it is home by now.
        after = Sample::take(client, url).await;
    }
    let after_it = replica(&admin.status().await?, name)?.generation;
    let drilled = Drilled {
        observed,
        until: Instant::now(),
        moved: before.moved(&after, name),
        generations: [before_it, after_it],
        trouble,
    };
    Ok((drilled, [before, after]))
}

/// The instance to harm.
async fn find(status: &Status, name: &str) -> Result<Victim, DrillError> {
    let found = Victim::find(&replica(status, name)?).await;
    found.map_err(|error| DrillError::Use(error.to_string()))
}

/// Whom to harm.
fn names(status: &Status, wanted: Option<&str>) -> Result<Vec<String>, DrillError> {
    let all = status.replicas.iter().map(|one| one.name.clone());
    match wanted {
        None => Ok(all.collect()),
        Some(name) => replica(status, name).map(|one| vec![one.name]),
    }
}

fn replica(status: &Status, name: &str) -> Result<ReplicaStatus, DrillError> {
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
