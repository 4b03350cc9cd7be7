//! What the canary of a rollout has answered since keys go to it, beside what the replicas have
//! meanwhile.

use std::collections::BTreeMap;

use log::info;

use super::Supervisor;
use crate::api::{CanaryInstance, RolloutCanary, ServedRequests};
use crate::fleet::CanaryReport;
use crate::ring::ReplicaName;
use crate::upstream::stats::{HistogramSnapshot, ResponseCounts};

/// Where the comparison begins.
pub(super) struct CanaryBaseline {
    members: Vec<ReplicaName>,
    /// What every replica had answered before.
    before: BTreeMap<ReplicaName, ResponseCounts>,
}

#[derive(Default)]
struct Served {
    requests: u64,
    failed: u64,
    latency: HistogramSnapshot,
}

impl Served {
    fn add(&mut self, now: &ResponseCounts, before: &ResponseCounts) {
        let ((requests, failed), (requests_before, failed_before)) =
            (now.totals(), before.totals());
        self.requests += requests.saturating_sub(requests_before);
        self.failed += failed.saturating_sub(failed_before);
        let latency = now.upstream_durations.since(&before.upstream_durations);
        self.latency.add(&latency);
    }

    fn report(&self) -> ServedRequests {
        let milliseconds = |part| self.latency.quantile(part).map(|seconds| seconds * 1e3);
        ServedRequests {
            requests: self.requests,
            failed: self.failed,
            error_rate: self.failed as f64 / self.requests.max(1) as f64,
            latency_p50_ms: milliseconds(0.5),
            latency_p99_ms: milliseconds(0.99),
        }
    }
}

impl Supervisor {
    /// The rollout of an earlier balancer has a canary still.
    pub(super) fn log_canary_that_goes_on(&self) {
        let report = self.fleet.rollout_report();
        if let Some((rollout, canary)) = report.and_then(|r| Some((r.id, r.canary?))) {
            let share = canary.share;
            info!(
                rollout;
                "rollout {rollout} goes on with its canary of {share}, which is started anew; replicas \
                 serve its keys until it is ready"
            );
        }
    }

    /// Keys go to a canary of these members from now on.
    pub(super) fn canary_opened(&mut self, members: &[ReplicaName]) {
        let replicas = self.stats.replicas().into_iter();
        self.canary_baseline = Some(CanaryBaseline {
            members: members.to_vec(),
            before: replicas
                .map(|(name, stats)| (name, stats.snapshot()))
                .collect(),
        });
    }

    /// No key goes to it any more.
    pub(super) fn canary_closed(&mut self) {
        self.canary_baseline = None;
    }

    /// The canary as operators see it.
    pub(super) fn canary(&self, report: &CanaryReport) -> RolloutCanary {
        let (mut canary, mut stable) = (Served::default(), Served::default());
        if let Some(CanaryBaseline { members, before }) = &self.canary_baseline {
            let none = ResponseCounts::default();
            for (name, stats) in self.stats.replicas() {
                let served = match members.contains(&name) {
                    true => &mut canary,
                    false => &mut stable,
                };
                served.add(&stats.snapshot(), before.get(&name).unwrap_or(&none));
            }
        }
        let instances = report.members.iter().map(|member| CanaryInstance {
            name: member.name.to_string(),
            ready: member.is_ready,
            last_error: member.last_error.clone(),
        });
        RolloutCanary {
            share: report.share.to_string(),
            instances: instances.collect(),
            served: canary.report(),
            served_by_replicas: stable.report(),
        }
    }
}
