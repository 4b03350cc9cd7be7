//! The faults, each done to a balancer under load, and what was seen of it.

use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::common::{Ringmaster, eventually, get, signal};
use crate::load::{Kind, Load, Outcome};
use crate::report::Row;

/// The load goes on for so many requests before a fault and after it.
const QUIET: usize = 300;
/// Shorter than any mercy, longer than it takes to notice.
const PAUSE: Duration = Duration::from_secs(4);
/// Who dies five times within five minutes is started once a minute.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(90);
/// Keys whose replica must stay the same.
const SAMPLE: u64 = 60;

pub const ALL: [Fault; 7] = [
    Fault::Kill,
    Fault::Hang,
    Fault::Pause,
    Fault::Remove,
    Fault::Add,
    Fault::CrashLoop,
    Fault::AllAtOnce,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to one replica.
    Kill,
    /// SIGSTOP, until it is replaced.
    Hang,
    /// SIGSTOP for a while.
    Pause,
    /// `DELETE /rm`.
    Remove,
    /// `POST /add`.
    Add,
    /// SIGKILL to one replica whenever it is back, three times.
    CrashLoop,
    /// SIGKILL to every replica.
    AllAtOnce,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hang => "hang",
            Self::Pause => "pause",
            Self::Remove => "remove",
            Self::Add => "add",
            Self::CrashLoop => "crash-loop",
            Self::AllAtOnce => "all-at-once",
        }
    }

    /// How soon it must be noticed.
    fn detected_within(self) -> Option<f64> {
        match self {
            Self::Kill | Self::CrashLoop | Self::AllAtOnce => Some(100.0),
            Self::Hang | Self::Pause => Some(3_000.0),
            Self::Remove | Self::Add => None,
        }
    }

    /// Does it, waits until all is well again, and says what was seen.
    pub async fn strike(self, scene: &Scene, load: &Load, rng: &mut Rng, timed: bool) -> Row {
        go_on_for(load, QUIET).await;
        load.take();
        let names = scene.balancer.replicas().await;
        let victim = names[rng.usize(..names.len())].clone();
        let owners = scene.owners().await;
        let before = scene.status().await;
        let begun = Instant::now();
        let victims = self.harm(scene, &victim, &names).await;
        let mut gone: Vec<u32> = victims.iter().map(|(_, pid)| *pid).collect();
        if self == Self::Pause {
            // What comes back is the same.
            gone.clear();
        }
        go_on_for(load, QUIET).await;
        let after = scene.status().await;
        let outcomes = load.take();
        let kept = scene.owners().await;
        let moved = match self {
            Self::Remove | Self::Add => None,
            _ => Some(moved(&owners, &kept, &gone)),
        };
        let times = victims.iter().map(|(name, _)| times(name, &before, &after));
        let times: Vec<_> = times.collect();
        let counter = |status: &Value| status["counters"]["retried"].as_u64().unwrap_or_default();
        let mut row = Row {
            fault: self.name(),
            victim,
            requests: outcomes.len(),
            failed: count(&outcomes, Kind::never_fails),
            posts_failed: count(&outcomes, |kind| kind == Kind::Post),
            streams_cut: count(&outcomes, |kind| kind == Kind::Stream),
            retried: counter(&after) - counter(&before),
            detected_ms: times.iter().filter_map(|times| times.0).reduce(f64::max),
            healed_ms: times.iter().filter_map(|times| times.1).reduce(f64::max),
            longest_gap_ms: longest_gap(&outcomes, begun),
            moved,
            broken: Vec::new(),
        };
        self.judge(&mut row, &outcomes, timed);
        row
    }

    async fn harm(self, scene: &Scene, victim: &str, names: &[String]) -> Vec<(String, u32)> {
        let balancer = &scene.balancer;
        let one = |name: &str| (name.to_owned(), balancer.child(name));
        match self {
            Self::Kill => {
                let harmed = vec![one(victim)];
                signal(harmed[0].1, "KILL");
                scene.replaced(&harmed).await;
                harmed
            }
            Self::Hang => {
                let harmed = vec![one(victim)];
                signal(harmed[0].1, "STOP");
                scene.replaced(&harmed).await;
                harmed
            }
            Self::Pause => {
                let harmed = vec![one(victim)];
                signal(harmed[0].1, "STOP");
                tokio::time::sleep(PAUSE).await;
                signal(harmed[0].1, "CONT");
                scene.all_ready().await;
                harmed
            }
            Self::Remove => {
                balancer
                    .rm(json!({"n": 1, "hostnames": [victim]}))
                    .await
                    .names();
                Vec::new()
            }
            Self::Add => {
                balancer.add(json!({"n": 1})).await.names();
                scene.all_ready().await;
                Vec::new()
            }
            Self::CrashLoop => {
                let mut harmed = Vec::new();
                for _ in 0..3 {
                    let last = one(victim);
                    signal(last.1, "KILL");
                    scene.replaced(std::slice::from_ref(&last)).await;
                    harmed.push(last);
                }
                harmed
            }
            Self::AllAtOnce => {
                let harmed: Vec<_> = names.iter().map(|name| one(name)).collect();
                harmed.iter().for_each(|(_, pid)| signal(*pid, "KILL"));
                scene.replaced(&harmed).await;
                harmed
            }
        }
    }

    fn judge(self, row: &mut Row, outcomes: &[Outcome], timed: bool) {
        // A request is sent twice at the most: who loses both replicas is told.
        let of_one = self != Self::AllAtOnce;
        if row.failed > 0 && of_one {
            let failures = outcomes.iter().filter(|outcome| outcome.kind.never_fails());
            let first = failures
                .filter_map(|outcome| outcome.failure.as_ref())
                .next();
            row.broken.push(format!("{} failed: {first:?}", row.failed));
        }
        if let Some(moved) = row.moved.filter(|moved| *moved > 0) {
            row.broken.push(format!("{moved} keys of others moved"));
        }
        if let (Some(limit), true) = (self.detected_within(), timed) {
            match row.detected_ms {
                Some(ms) if ms <= limit => {}
                seen => row
                    .broken
                    .push(format!("noticed after {seen:?} ms, not {limit}")),
            }
        }
    }
}

/// A balancer under test.
pub struct Scene {
    pub balancer: Ringmaster,
    pub admin: String,
}

impl Scene {
    pub async fn status(&self) -> Value {
        get(&format!("{}/status", self.admin)).await.body
    }

    /// Which process answers which key.
    async fn owners(&self) -> Vec<u32> {
        let client = crate::common::client();
        let owner = |id: u64| {
            let request = client.get(self.balancer.url("/owner"));
            let request = request.insert_header(("X-Request-ID", (200_000 + id).to_string()));
            async move {
                let mut response = request.send().await.expect("the balancer answers");
                let body = response.body().await.expect("a whole body");
                String::from_utf8_lossy(&body).parse().unwrap_or_default()
            }
        };
        join_all((0..SAMPLE).map(owner)).await
    }

    async fn all_ready(&self) {
        eventually("every replica is ready", || async {
            let status = self.status().await;
            let replicas = status["replicas"].as_array().expect("replicas");
            replicas.iter().all(|replica| replica["state"] == "ready")
        })
        .await;
    }

    /// Every one of these processes has a successor on the ring.
    async fn replaced(&self, harmed: &[(String, u32)]) {
        let begun = Instant::now();
        loop {
            let children = self.balancer.children();
            let succeeded = harmed.iter().all(|(name, pid)| {
                children
                    .iter()
                    .any(|(child, now)| child == name && now != pid)
            });
            if succeeded {
                break;
            }
            assert!(begun.elapsed() < LONGEST_BACK_OFF, "no successors");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.all_ready().await;
    }
}

async fn go_on_for(load: &Load, requests: usize) {
    let goal = load.ended() + requests;
    eventually("the load goes on", || async { load.ended() >= goal }).await;
}

fn count(outcomes: &[Outcome], of: impl Fn(Kind) -> bool) -> usize {
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some());
    failed.filter(|outcome| of(outcome.kind)).count()
}

/// Keys that belonged to somebody unharmed and are answered by somebody else.
fn moved(before: &[u32], after: &[u32], gone: &[u32]) -> usize {
    let pairs = before.iter().zip(after);
    pairs
        .filter(|(was, is)| was != is && !gone.contains(was))
        .count()
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

/// The longest time in which no request was answered.
fn longest_gap(outcomes: &[Outcome], begun: Instant) -> f64 {
    let good = outcomes.iter().filter(|outcome| outcome.failure.is_none());
    let mut times: Vec<Instant> = good.map(|outcome| outcome.ended).collect();
    times.push(begun);
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default().as_secs_f64() * 1e3
}
