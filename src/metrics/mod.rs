//! What `GET /metrics` shows: Prometheus's text format, or OpenMetrics for those that ask for it.
//!
//! Nothing is counted here. Worker threads and actors count in [`crate::upstream::stats`], and a
//! scrape collects that and the present state of ring and fleet. Names and units are
//! Prometheus's conventions; every label has few values, known beforehand, but `replica`, whose
//! values are the members of the ring.

mod balancer;
mod families;
mod operations;
mod process;
mod replicas;
mod requests;
mod ring;
mod rollouts;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::actors::ring_view::RingView;
use crate::actors::supervisor::FleetReport;
use crate::api::DEFAULT_FLEET;
use crate::upstream::Stats;
use families::Families;
use ring::RingFigures;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Prometheus's text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl TextFormat {
    /// What a client asks for by its Accept header.
    pub fn accepted_by(accept: &str) -> Self {
        let is_named = accept.contains("application/openmetrics-text");
        match is_named {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// The Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a scrape shows.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// What is counted.
    pub stats: Arc<Stats>,
    /// How the replicas are.
    pub fleet: FleetReport,
    /// The ring.
    pub view: Arc<RingView>,
}

/// Writes scrapes. It keeps what is costly to compute from one to the next.
#[derive(Debug, Default)]
pub struct MetricsExporter(Mutex<RingFigures>);

impl MetricsExporter {
    /// All metrics, in this format.
    pub fn export(&self, scrape: Scrape, format: TextFormat) -> String {
        let figures = {
            let mut figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            figures.update(&scrape.view.table);
            figures.clone()
        };
        let scrape = Arc::new(scrape);
        let mut registry = Registry::default();
        let process = |families: &mut Families<'_>| process::collect(families);
        registry.register_collector(collector(process));
        let ours = registry.sub_registry_with_prefix("ringmaster");
        let whole = Arc::clone(&scrape);
        ours.register_collector(collector(move |families| {
            balancer::collect(&whole, families)
        }));
        let fleet = ours.sub_registry_with_label(("fleet".into(), DEFAULT_FLEET.into()));
        fleet.register_collector(collector(move |families| {
            requests::collect(&scrape, families)?;
            replicas::collect(&scrape, families)?;
            rollouts::collect(&scrape, families)?;
            operations::collect(&scrape, families)?;
            ring::collect(&scrape, &figures, families)
        }));
        let mut out = String::new();
        // Writing to memory does not fail.
        let _ = match format {
            TextFormat::Prometheus => prometheus_text::encode(&mut out, &registry),
            TextFormat::OpenMetrics => text::encode(&mut out, &registry),
        };
        out
    }
}

/// A collector that calls a function.
struct Collect<F>(F);

fn collector<F>(collect: F) -> Box<Collect<F>>
where
    F: Fn(&mut Families<'_>) -> fmt::Result,
{
    Box::new(Collect(collect))
}

impl<F> fmt::Debug for Collect<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collect")
    }
}

impl<F> Collector for Collect<F>
where
    F: Fn(&mut Families<'_>) -> fmt::Result + Send + Sync + 'static,
{
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)(&mut Families::new(encoder))
    }
}
