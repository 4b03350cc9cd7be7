//! What came out: the contents of `results.json`.
//!
//! Times are in the unit that a field's name ends with. A field that could not be measured
//! is `null`, and `skipped` or the field's own text says why.

use std::collections::BTreeMap;

use serde::Serialize;

use super::machine::Machine;
use super::stats::{Latency, Spread};

/// Everything of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// The version of this format; raised when a field changes its meaning.
    pub format: u32,
    /// What it ran on, and the command that ran it.
    pub machine: Machine,
    /// What was measured.
    pub setting: Setting,
    /// one measurement at N = 3.
    pub a1: Option<Distribution>,
    /// one measurement for each N.
    pub a2: Option<Vec<Distribution>>,
    /// replicas killed under load.
    pub a3: Option<FailureRun>,
    /// A-4: A-1 and A-2 for each strategy.
    pub a4: Option<Vec<StrategyRun>>,
    /// Many requests open at once.
    pub scale: Option<ScaleRun>,
    /// What was not run, or not wholly, and why.
    pub skipped: Vec<Skipped>,
}

impl Results {
    /// Examples of what went wrong in.
    pub fn failures(&self) -> Vec<String> {
        let strategies = self.a4.iter().flatten().flat_map(|run| &run.by_replicas);
        let distributions = self
            .a1
            .iter()
            .chain(self.a2.iter().flatten())
            .chain(strategies);
        let of_kills = self.a3.iter().flat_map(|run| &run.failures);
        let failures = distributions.flat_map(|one| &one.failures).chain(of_kills);
        failures.cloned().collect()
    }
}

/// What was measured, and how much.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// The balancer, in words.
    pub balancer: String,
    /// Its strategy, slots and virtual servers at the start; unknown without its admin address.
    pub ring: Option<crate::api::RingStatus>,
    /// Requests in each measurement of.
    pub requests: usize,
    /// What they asked for.
    pub path: String,
    /// So many of them at once.
    pub concurrency: usize,
    /// The seed of the request ids.
    pub seed: u64,
}

/// An experiment, or a part of one, that was not run.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    /// `A-3`, for instance.
    pub experiment: String,
    /// Why, in a sentence.
    pub reason: String,
}

/// Where a number of requests went.
#[derive(Debug, Clone, Serialize)]
pub struct Distribution {
    /// N.
    pub replicas: usize,
    /// How the ring was built; `null` if unknown.
    pub strategy: Option<String>,
    /// False: not measured, but computed from the strategy for the same request ids.
    pub measured: bool,
    /// Requests sent: the sum of `counts` and `failed`.
    pub requests: u64,
    /// Requests without a good answer.
    pub failed: u64,
    /// The reasons of the first few of them.
    pub failures: Vec<String>,
    /// Good answers by replica, idle replicas included.
    pub counts: BTreeMap<String, u64>,
    /// How even that is.
    pub spread: Spread,
    /// How many requests were answered by the very replica that the strategy, computed
    /// offline, says they belong to; `null` if the strategy is unknown.
    pub as_computed: Option<u64>,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// How long answers took.
    pub latency: Option<Latency>,
}

/// A-4 for one strategy.
#[derive(Debug, Clone, Serialize)]
pub struct StrategyRun {
    /// Its name on the command line.
    pub strategy: String,
    /// Number of slots.
    pub slots: u32,
    /// Virtual servers a replica, if it has any.
    pub virtual_servers: Option<u32>,
    /// One measurement for each N of A-2; that at N = 3 is A-1.
    pub by_replicas: Vec<Distribution>,
}

/// replicas killed under load.
#[derive(Debug, Clone, Serialize)]
pub struct FailureRun {
    /// Requests per second that the client meant to send.
    pub offered_per_second: u32,
    /// What it came to: no client sends a request before its last one is answered.
    pub answered_per_second: f64,
    /// Each kill, in turn.
    pub kills: Vec<Kill>,
    /// All requests of the experiment.
    pub requests: u64,
    /// Those without a good answer.
    pub failed: u64,
    /// The reasons of the first few of them.
    pub failures: Vec<String>,
    /// Requests that the balancer sent once more, to another replica; `null` without its
    /// admin address.
    pub retried: Option<u64>,
}

/// One replica killed.
#[derive(Debug, Clone, Serialize)]
pub struct Kill {
    /// Whose instance.
    pub replica: String,
    /// How.
    pub method: String,
    /// From the kill until it was off the ring, by the balancer's own history.
    pub evicted_ms: Option<f64>,
    /// From the kill until its successor was on the ring, by the balancer's own history.
    pub ready_ms: Option<f64>,
    /// Seen by clients: the longest time without an answer of this replica, from its last
    /// before the kill to the first request sent after the kill that it answers.
    pub silent_ms: f64,
    /// What the balancer says it died of.
    pub reason: Option<String>,
    /// Requests during the timeline.
    pub requests: u64,
    /// Of them, those without a good answer.
    pub failed: u64,
    /// Requests that the balancer sent once more since the kill before; `null` without its
    /// admin address.
    pub retried: Option<u64>,
    /// Who answered how much, before and after.
    pub timeline: Timeline,
}

/// Answers over time, in bins of equal length.
#[derive(Debug, Clone, Serialize)]
pub struct Timeline {
    /// Where the first bin begins; the kill is at 0.
    pub from_ms: i64,
    /// The length of a bin.
    pub bin_ms: i64,
    /// Good answers in each bin, by replica.
    pub answers: BTreeMap<String, Vec<u32>>,
    /// Requests in each bin that ended without a good answer.
    pub failed: Vec<u32>,
}

/// Many requests open at once.
#[derive(Debug, Clone, Serialize)]
pub struct ScaleRun {
    /// What was asked for.
    pub wanted: usize,
    /// What was tried.
    pub tried: usize,
    /// Why less was tried than wanted, or not all was open at once.
    pub limited_by: Option<String>,
    /// How many were open at the same moment, as the client counts: sent, not yet answered.
    pub open_at_once: usize,
    /// The same as the balancer counts (the sum of `in_flight`).
    pub in_flight_at_once: Option<u64>,
    /// Good answers.
    pub answered: u64,
    /// Requests without one.
    pub failed: u64,
    /// The reasons of the first few of them.
    pub failures: Vec<String>,
    /// How long a replica held each request.
    pub held_ms: u64,
    /// From the first request to the moment at which all were sent.
    pub opening_seconds: f64,
    /// The balancer's memory; `null` if its process is not known.
    pub memory: Option<Memory>,
}

/// The memory of the balancer's process, without its replicas.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// Resident before the experiment (VmRSS).
    pub before_kib: u64,
    /// Resident while all requests were open.
    pub open_kib: u64,
    /// The most that was ever resident (VmHWM).
    pub peak_kib: u64,
    /// Resident after the last answer.
    pub after_kib: u64,
}
