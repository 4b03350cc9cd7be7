//! A thin client of the balancer's admin address (`--admin`): what it says of itself, and
//! changes of its ring.

use std::time::{Duration, Instant};

use awc::Client;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::read;
use super::error::AnalysisError;

/// `GET /status`, as far as an analysis wants to know.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// The balancer's clock: milliseconds since it started.
    pub now_ms: f64,
    /// How its ring is built.
    pub ring: RingStatus,
    /// Connections that clients may have open at once.
    pub max_connections: usize,
    /// Requests that a replica may have in flight; `null`: no limit.
    #[serde(default)]
    pub max_in_flight: Option<u32>,
    /// What it counted since it started.
    pub counters: Counters,
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// What happened to them lately.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// How the ring is built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingStatus {
    /// The strategy's name on the command line.
    pub strategy: String,
    /// Number of slots.
    pub slots: u32,
    /// Virtual servers a replica; `null` if the strategy has none.
    pub virtual_servers: Option<u32>,
    /// How far above its share a replica may be loaded; `null`: keys always stay home.
    #[serde(default)]
    pub balance_factor: Option<f64>,
}

/// What the balancer counted since it started.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Counters {
    /// Requests that were sent to a second replica.
    pub retried: u64,
}

/// One replica.
#[derive(Debug, Clone, Deserialize)]
pub struct ReplicaStatus {
    /// Its name.
    pub name: String,
    /// Its share of the ring relative to the others.
    #[serde(default = "one")]
    pub weight: u32,
    /// `ready`, or what it is instead.
    pub state: String,
    /// Counts the instances that have played it.
    #[serde(default)]
    pub generation: u64,
    /// Its instance's process, if that is a child of the balancer's.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The name of its instance's container, if it is one.
    #[serde(default)]
    pub container: Option<String>,
    /// Requests that it is working on.
    #[serde(default)]
    pub in_flight: u64,
}

fn one() -> u32 {
    1
}

/// Something that happened to a replica.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// When, on the balancer's clock.
    pub at_ms: f64,
    /// To whom.
    pub replica: String,
    /// What: `launched`, `admitted`, `ejected`, `readmitted`, `evicted`, `joined`, `left` or
    /// `stopped`.
    pub event: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The admin address of a balancer.
#[derive(Clone)]
pub struct Admin {
    client: Client,
    url: String,
}

impl Admin {
    /// At `http://HOST:PORT`.
    pub fn new(client: Client, url: &str) -> Self {
        Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    /// What the balancer says of itself.
    pub async fn status(&self) -> Result<Status, AnalysisError> {
        let url = format!("{}/status", self.url);
        read(&format!("GET {url}"), self.client.get(&url).send().await).await
    }

    /// Rebuilds the ring by a strategy, with slots and virtual servers as given or else the
    /// strategy's own. Without a bound of the load, or as given: the bound would hide how
    /// uneven a strategy is.
    pub async fn rebuild(
        &self,
        strategy: &str,
        like: Option<&RingStatus>,
    ) -> Result<(), AnalysisError> {
        let bound = like.and_then(|ring| ring.balance_factor);
        let mut change = json!({"strategy": strategy, "balance_factor": bound});
        if let Some(ring) = like {
            change["slots"] = ring.slots.into();
            if let Some(virtual_servers) = ring.virtual_servers {
                change["virtual_servers"] = virtual_servers.into();
            }
        }
        let url = format!("{}/ring", self.url);
        let asked = self.client.patch(&url).send_json(&change).await;
        read::<IgnoredAny>(&format!("PATCH {url}"), asked).await?;
        Ok(())
    }

    /// What to add to a time on the balancer's clock to have milliseconds since `epoch`.
    ///
    /// Right to half the round trip of the fastest of a few calls, a fraction of a
    /// millisecond on one machine.
    pub async fn clock_offset_ms(&self, epoch: Instant) -> Result<f64, AnalysisError> {
        const CALLS: usize = 8;

        let mut best = (Duration::MAX, 0.0);
        for _ in 0..CALLS {
            let before = epoch.elapsed();
            let status = self.status().await?;
            let round_trip = epoch.elapsed() - before;
            if round_trip < best.0 {
                let here = (before + round_trip / 2).as_secs_f64() * 1e3;
                best = (round_trip, here - status.now_ms);
            }
        }
        Ok(best.1)
    }
}
