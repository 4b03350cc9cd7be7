//! A client of the balancer's admin listener (`--admin`): its status, and changes of its ring.

use std::time::{Duration, Instant};

use awc::Client;

use super::api::read;
use super::error::AnalysisError;
use crate::api::{Envelope, RingChange, RingPatch, RingStatus, Status, Timestamp};

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
        let change = RingPatch {
            strategy: Some(strategy.to_owned()),
            slots: like.map(|ring| ring.slots),
            virtual_servers: like.and_then(|ring| ring.virtual_servers),
            balance_factor: Some(like.and_then(|ring| ring.balance_factor)),
            ..RingPatch::default()
        };
        let url = format!("{}/ring", self.url);
        let asked = self.client.patch(&url).send_json(&change).await;
        read::<Envelope<RingChange>>(&format!("PATCH {url}"), asked).await?;
        Ok(())
    }

    /// The balancer's clock at `epoch`.
    ///
    /// Right to half the round trip of the fastest of a few calls, a fraction of a
    /// millisecond on one machine.
    pub async fn clock_at(&self, epoch: Instant) -> Result<Timestamp, AnalysisError> {
        const CALLS: usize = 8;

        let mut best = (self.status().await?.now, Duration::MAX);
        for _ in 0..CALLS {
            let before = epoch.elapsed();
            let status = self.status().await?;
            let round_trip = epoch.elapsed() - before;
            if round_trip < best.1 {
                best = (status.now - (before + round_trip / 2), round_trip);
            }
        }
        Ok(best.0)
    }
}
