//! What the handlers of the admin listener ask, and whom.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::drill_run::Drills;
use super::error::ApiError;
use super::guard::AdminGuard;
use super::idempotency::IdempotentCalls;
use super::sessions::Sessions;
use super::tokens::AdminTokens;
use crate::actors::heartbeat_prober::ProberHandle;
use crate::actors::request_queue::QueueLimit;
use crate::actors::ring_state::RingHandle;
use crate::actors::ring_view::RingView;
use crate::actors::shared_key_source::SharedKeySource;
use crate::actors::supervisor::{ConfigVersion, ExpectedVersions, FleetReport, SupervisorHandle};
use crate::api::Timestamp;
use crate::metrics::MetricsExporter;
use crate::upstream::Stats;

/// The actors behind the admin listener's calls, and its settings.
#[derive(Clone)]
pub struct AdminHandles {
    /// From whom calls are taken.
    pub guard: AdminGuard,
    /// The tokens that they need; if there are none, callers have to be local.
    pub tokens: AdminTokens,
    /// The dashboard's logins.
    pub sessions: Arc<Sessions>,
    /// The fleet.
    pub supervisor: SupervisorHandle,
    /// Heartbeats.
    pub prober: ProberHandle,
    /// The ring.
    pub ring: RingHandle,
    /// The requests that wait.
    pub queue: Arc<QueueLimit>,
    /// What the worker threads count.
    pub tally: Arc<Stats>,
    /// Shows that, and more, as metrics.
    pub metrics: Arc<MetricsExporter>,
    /// The last drills.
    pub drills: Arc<Drills>,
    /// The last calls that had an idempotency key.
    pub idempotent_calls: Arc<IdempotentCalls>,
    /// When the balancer started.
    pub started_at: Timestamp,
    /// What decides a request's replica.
    pub key_source: Arc<SharedKeySource>,
    /// The cookie that keeps a session on its replica.
    pub sticky_cookie: Option<String>,
    /// Connections that clients may have open at once.
    pub max_connections: usize,
    /// Requests that a replica may have in flight, if there is a limit.
    pub max_in_flight: Option<NonZeroU32>,
    /// How long a client may pause within a body.
    pub body_timeout: Duration,
}

impl AdminHandles {
    /// The version of the configuration. To be read before what is shown with it: a change that comes
    /// between is then not taken for seen.
    pub async fn version(&self) -> Result<ConfigVersion, ApiError> {
        Ok(self.supervisor.compare_version(None, false).await??)
    }

    /// Accepts a change that is made step by step, if the configuration has an expected version.
    pub async fn accept(&self, expected: Option<ExpectedVersions>) -> Result<(), ApiError> {
        self.supervisor.compare_version(expected, true).await??;
        Ok(())
    }

    /// The fleet and its ring, as they are now.
    pub async fn look(&self) -> Result<(FleetReport, Arc<RingView>), ApiError> {
        let (fleet, view) = tokio::join!(self.supervisor.fleet(), self.ring.get());
        Ok((fleet?, view?))
    }
}
