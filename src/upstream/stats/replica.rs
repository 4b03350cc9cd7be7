//! What is counted of one replica, over all its instances.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::{Method, StatusCode};

use super::count::{Counts, DurationHistogram, HistogramSnapshot};
use super::labels::{FailureReason, MethodLabel, StatusClass};
use super::life::LifeCounters;

const RESPONSES: usize = MethodLabel::COUNT * StatusClass::COUNT;

/// Answered requests by method and status, and how long they took.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ResponseCounters {
    responses: Counts<RESPONSES>,
    durations: DurationHistogram,
    upstream_durations: DurationHistogram,
    failures: Counts<{ FailureReason::COUNT }>,
}

impl ResponseCounters {
    /// A request has been answered to its end.
    pub fn answered(&self, method: MethodLabel, status: StatusClass, took: Duration) {
        self.responses
            .add_one(method as usize * StatusClass::COUNT + status as usize);
        self.durations.record(took);
    }

    /// The head of a replica's response has come.
    pub fn head(&self, took: Duration) {
        self.upstream_durations.record(took);
    }

    /// An attempt has failed.
    pub fn failed(&self, failure: FailureReason) {
        self.failures.add_one(failure as usize);
    }

    pub(super) fn add_to(&self, sum: &mut ResponseCounts) {
        add(&mut sum.responses, self.responses.values());
        add(&mut sum.failures, self.failures.values());
        sum.durations.add(&self.durations.snapshot());
        let upstream = self.upstream_durations.snapshot();
        sum.upstream_durations.add(&upstream);
    }
}

fn add<const N: usize>(sums: &mut [u64; N], more: [u64; N]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

/// The values of [`ResponseCounters`], added up over threads.
#[derive(Debug, Clone)]
pub struct ResponseCounts {
    responses: [u64; RESPONSES],
    /// Attempts that failed, by the number of the [`FailureReason`].
    pub failures: [u64; FailureReason::COUNT],
    /// How long requests took, to the response's last byte.
    pub durations: HistogramSnapshot,
    /// How long attempts took, to the end of the response's head.
    pub upstream_durations: HistogramSnapshot,
}

impl Default for ResponseCounts {
    fn default() -> Self {
        Self {
            responses: [0; RESPONSES],
            failures: [0; FailureReason::COUNT],
            durations: HistogramSnapshot::default(),
            upstream_durations: HistogramSnapshot::default(),
        }
    }
}

impl ResponseCounts {
    /// Requests, and those of them that failed: answered with a status from 500 on, or not at all.
    pub fn totals(&self) -> (u64, u64) {
        let unanswered: u64 = self.failures.iter().sum();
        let errors = self
            .responses()
            .filter(|(_, s, _)| *s == StatusClass::ServerError);
        let errors: u64 = errors.map(|(_, _, count)| count).sum();
        let answered: u64 = self.responses.iter().sum();
        (answered + unanswered, errors + unanswered)
    }

    /// Answered requests by method and status, without those of which there were none.
    pub fn responses(&self) -> impl Iterator<Item = (MethodLabel, StatusClass, u64)> {
        let methods = MethodLabel::ALL.iter();
        let kinds = methods.flat_map(|m| StatusClass::ALL.iter().map(|s| (*m, *s)));
        let counted = kinds.zip(self.responses);
        counted.filter_map(|((m, s), n)| (n > 0).then_some((m, s, n)))
    }
}

/// What is counted of one replica: of requests by each worker thread for itself, of what is rare
/// in one place.
#[derive(Debug, Default)]
pub struct ReplicaStats {
    threads: Box<[ResponseCounters]>,
    connects: AtomicU64,
    life: LifeCounters,
}

impl ReplicaStats {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| ResponseCounters::default()).collect(),
            ..Self::default()
        }
    }

    /// Has a worker thread count something.
    pub fn on(&self, thread: usize, count: impl FnOnce(&ResponseCounters)) {
        if let Some(counters) = self.threads.get(thread) {
            count(counters);
        }
    }

    /// A connection is being opened.
    pub fn connect(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that were opened, or not, up to now.
    pub fn connects(&self) -> u64 {
        self.connects.load(Ordering::Relaxed)
    }

    /// What happens to it.
    pub fn life(&self) -> &LifeCounters {
        &self.life
    }

    /// The sum over all threads.
    pub fn snapshot(&self) -> ResponseCounts {
        let mut sum = ResponseCounts::default();
        for counters in &self.threads {
            counters.add_to(&mut sum);
        }
        sum
    }
}

/// A response on its way to the client: counted when its last byte has gone, or it has broken
/// off.
#[derive(Debug)]
pub struct CountedResponse {
    /// The worker thread.
    pub thread: usize,
    /// The request's method.
    pub method: MethodLabel,
    /// The response's status.
    pub status: StatusClass,
    /// When the request came.
    pub started: Instant,
    /// When the last byte has gone, if that is known before.
    pub ended: Option<Instant>,
}

impl CountedResponse {
    /// A response to a request that came at `started`.
    pub fn new(thread: usize, method: &Method, status: StatusCode, started: Instant) -> Self {
        Self {
            thread,
            method: method.into(),
            status: status.into(),
            started,
            ended: None,
        }
    }

    /// Counts it.
    pub fn count(self, stats: &ReplicaStats) {
        stats.on(self.thread, |counters| {
            let ended = self.ended.unwrap_or_else(Instant::now);
            counters.answered(self.method, self.status, ended - self.started);
        });
    }
}
