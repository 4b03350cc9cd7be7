//! Families of metrics, written sample by sample.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::upstream::stats::{BUCKET_BOUNDS, HistogramSnapshot};

/// A metric's name, the unit that is appended to it, and what it is.
pub struct Description<'d>(pub &'d str, pub Option<Unit>, pub &'d str);

impl<'d> Description<'d> {
    /// One without a unit.
    pub fn plain(name: &'d str, help: &'d str) -> Self {
        Self(name, None, help)
    }

    /// One in seconds.
    pub fn seconds(name: &'d str, help: &'d str) -> Self {
        Self(name, Some(Unit::Seconds), help)
    }

    /// One in bytes.
    pub fn bytes(name: &'d str, help: &'d str) -> Self {
        Self(name, Some(Unit::Bytes), help)
    }
}

/// The labels of one sample.
pub type Labels<'l, const N: usize> = [(&'static str, &'l str); N];

/// Writes families.
pub struct Families<'e>(DescriptorEncoder<'e>);

impl<'e> Families<'e> {
    /// Those that are written by this.
    pub fn new(encoder: DescriptorEncoder<'e>) -> Self {
        Self(encoder)
    }

    /// Counters; `_total` is appended to the name.
    pub fn counters<'l, const N: usize, V: EncodeCounterValue>(
        &mut self,
        what: Description<'_>,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        self.each(what, MetricType::Counter, samples, |encoder, value| {
            encoder.encode_counter::<NoLabelSet, V, u64>(&value, None)
        })
    }

    /// Gauges.
    pub fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        what: Description<'_>,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        self.each(what, MetricType::Gauge, samples, |encoder, value| {
            encoder.encode_gauge(&value)
        })
    }

    /// Histograms of durations.
    pub fn histograms<'l, const N: usize>(
        &mut self,
        what: Description<'_>,
        samples: impl IntoIterator<Item = (Labels<'l, N>, HistogramSnapshot)>,
    ) -> fmt::Result {
        let bounds = || BUCKET_BOUNDS.into_iter().chain([f64::INFINITY]);
        self.each(
            what,
            MetricType::Histogram,
            samples,
            |encoder, histogram| {
                let buckets: Vec<(f64, u64)> = bounds().zip(histogram.buckets).collect();
                let count = histogram.buckets.iter().sum();
                let sum = histogram.nanos as f64 / 1e9;
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            },
        )
    }

    /// One counter.
    pub fn counter(
        &mut self,
        what: Description<'_>,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        self.counters(what, [([], value)])
    }

    /// One gauge.
    pub fn gauge(&mut self, what: Description<'_>, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(what, [([], value)])
    }

    /// What does not change.
    pub fn info(&mut self, what: Description<'_>, labels: &impl EncodeLabelSet) -> fmt::Result {
        let Description(name, unit, help) = what;
        let kind = MetricType::Info;
        let mut encoder = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        encoder.encode_info(labels)
    }

    fn each<'l, const N: usize, V>(
        &mut self,
        what: Description<'_>,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
        encode: impl Fn(&mut MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let Description(name, unit, help) = what;
        let mut encoder = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in samples {
            encode(&mut encoder.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}
