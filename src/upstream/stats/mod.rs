//! Counters of the data path.
//!
//! A worker thread adds to counters on cache lines of its own, with plain loads and stores; they
//! are summed for each scrape and each `GET /status`.

mod connections;
mod count;
mod labels;
mod life;
mod replica;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::{Method, StatusCode};

use crate::api::RequestCounts;
use crate::ring::ReplicaName;
pub use connections::{ConnectionCounters, ConnectionTotals};
pub use count::{BUCKET_BOUNDS, HistogramSnapshot};
use count::{Count, Counts};
pub use labels::{ConnectionLabel, FailureReason, MethodLabel, Refusal, RestartCause, StatusClass};
pub use life::LifeCounters;
pub use replica::{CountedResponse, ReplicaStats, ResponseCounters, ResponseCounts};

/// One worker thread's counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ThreadCounters {
    thread: usize,
    requests: Count,
    retried: Counts<{ FailureReason::COUNT }>,
    retries_over_budget: Count,
    queued: Count,
    rejected: Counts<{ FailureReason::COUNT }>,
    /// Of requests that no replica answered.
    own: ResponseCounters,
}

impl ThreadCounters {
    /// The thread's number.
    pub fn thread(&self) -> usize {
        self.thread
    }

    /// A request has come in.
    pub fn request(&self) {
        self.requests.add(1);
    }

    /// A request goes to another replica.
    pub fn retry(&self, because: FailureReason) {
        self.retried.add_one(because as usize);
    }

    /// A request is not sent again, because too many were.
    pub fn over_budget(&self) {
        self.retries_over_budget.add(1);
    }

    /// A request waits for a replica.
    pub fn wait(&self) {
        self.queued.add(1);
    }

    /// A request is answered with an error of ours.
    pub fn reject(
        &self,
        because: FailureReason,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        self.rejected.add_one(because as usize);
        self.own.answered(method.into(), status.into(), took);
    }
}

/// Every thread's counters.
#[derive(Debug, Default)]
pub struct Stats {
    /// How many threads count.
    workers: usize,
    threads: Mutex<Vec<Arc<ThreadCounters>>>,
    replicas: Mutex<BTreeMap<ReplicaName, Arc<ReplicaStats>>>,
    connections: Mutex<Vec<Arc<ConnectionCounters>>>,
}

/// The sum over all threads of what is not about one replica.
#[derive(Debug, Clone, Default)]
pub struct RequestTotals {
    /// What `/status` shows of them.
    pub counts: RequestCounts,
    /// Retries by the number of the [`FailureReason`].
    pub retried: [u64; FailureReason::COUNT],
    /// Requests that Ringmaster answered itself, by the number of the [`FailureReason`].
    pub rejected: [u64; FailureReason::COUNT],
    /// The same requests, as answers.
    pub own: ResponseCounts,
}

impl Stats {
    /// Counters for as many worker threads.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            ..Self::default()
        }
    }

    /// Counters for one more thread.
    pub fn counters(&self) -> Arc<ThreadCounters> {
        let mut threads = lock(&self.threads);
        let counters = Arc::new(ThreadCounters {
            thread: threads.len(),
            ..ThreadCounters::default()
        });
        threads.push(Arc::clone(&counters));
        counters
    }

    /// The counters of a replica, over all its instances.
    pub fn replica(&self, name: &ReplicaName) -> Arc<ReplicaStats> {
        let mut replicas = lock(&self.replicas);
        let stats = replicas.entry(name.clone());
        Arc::clone(stats.or_insert_with(|| Arc::new(ReplicaStats::new(self.workers))))
    }

    /// Forgets the replicas that are no members any more, and of which nothing is counted: each
    /// that has ever been one would take memory, and series of metrics, for good.
    pub fn retain(&self, is_member: impl Fn(&ReplicaName) -> bool) {
        let is_used = |stats: &Arc<ReplicaStats>| Arc::strong_count(stats) > 1;
        lock(&self.replicas).retain(|name, stats| is_member(name) || is_used(stats));
    }

    /// Every replica's counters.
    pub fn replicas(&self) -> Vec<(ReplicaName, Arc<ReplicaStats>)> {
        let replicas = lock(&self.replicas);
        let replicas = replicas.iter();
        replicas.map(|(n, s)| (n.clone(), Arc::clone(s))).collect()
    }

    /// The sum over all threads.
    pub fn totals(&self) -> RequestTotals {
        let mut sum = RequestTotals::default();
        for counters in lock(&self.threads).iter() {
            sum.counts.requests += counters.requests.get();
            sum.counts.retries_over_budget += counters.retries_over_budget.get();
            sum.counts.queued += counters.queued.get();
            for (sum, more) in sum.retried.iter_mut().zip(counters.retried.values()) {
                *sum += more;
            }
            for (sum, more) in sum.rejected.iter_mut().zip(counters.rejected.values()) {
                *sum += more;
            }
            counters.own.add_to(&mut sum.own);
        }
        let rejected = |because: FailureReason| sum.rejected[because as usize];
        sum.counts.retried = sum.retried.iter().sum();
        sum.counts.failed = sum.rejected.iter().sum();
        sum.counts.unavailable = rejected(FailureReason::NoReplica);
        sum.counts.overloaded =
            rejected(FailureReason::AllBusy) + rejected(FailureReason::QueueFull);
        sum
    }

    /// Counters for the connections of one more thread.
    pub fn connection_counters(&self) -> Arc<ConnectionCounters> {
        let counters = Arc::<ConnectionCounters>::default();
        lock(&self.connections).push(Arc::clone(&counters));
        counters
    }

    /// Clients' connections on all threads.
    pub fn connections(&self) -> ConnectionTotals {
        let mut sum = ConnectionTotals::default();
        for counters in lock(&self.connections).iter() {
            sum.accepted += counters.accepted.get();
            for (sum, more) in sum.states.iter_mut().zip(counters.states()) {
                *sum += more;
            }
            let [keep_alive, header] = counters.timed_out.values();
            sum.keep_alive_timeouts += keep_alive;
            sum.header_timeouts += header;
            sum.received += counters.received.get();
            sum.sent += counters.sent.get();
            for (sum, more) in sum.refused.iter_mut().zip(counters.refused.values()) {
                *sum += more;
            }
        }
        sum
    }

    /// What `/status` shows.
    pub fn snapshot(&self) -> RequestCounts {
        self.totals().counts
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves a list of counters as good as it was.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_threads_add_up() {
        let stats = Arc::new(Stats::new(3));
        let name: ReplicaName = "Server1".parse().unwrap();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (counters, replica) = (stats.counters(), stats.replica(&name));
                std::thread::spawn(move || {
                    for _ in 0..1_000 {
                        counters.request();
                        let started = std::time::Instant::now();
                        let (get, ok) = (Method::GET, StatusCode::OK);
                        let thread = counters.thread();
                        CountedResponse::new(thread, &get, ok, started).count(&replica);
                    }
                    counters.retry(FailureReason::ConnectionRefused);
                    let (get, status) = (Method::GET, StatusCode::SERVICE_UNAVAILABLE);
                    counters.reject(FailureReason::QueueFull, &get, status, Duration::ZERO);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let expected = RequestCounts {
            requests: 3_000,
            retried: 3,
            failed: 3,
            overloaded: 3,
            ..RequestCounts::default()
        };
        assert_eq!(stats.snapshot(), expected);
        let counts = stats.replica(&name).snapshot();
        let responses: Vec<_> = counts.responses().collect();
        assert_eq!(responses, [(MethodLabel::Get, StatusClass::Success, 3_000)]);
        assert_eq!(counts.durations.buckets.iter().sum::<u64>(), 3_000);
        stats.retain(|_| false);
        assert!(stats.replicas().is_empty());
    }
}
