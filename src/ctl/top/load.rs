//! The load: rates, errors and latencies from two looks at `/metrics`.

use std::collections::BTreeMap;
use std::time::Instant;

/// What `/metrics` has counted of every replica at one moment.
#[derive(Debug, Clone)]
pub struct LoadSample {
    pub at: Instant,
    replicas: BTreeMap<String, Counters>,
}

/// What was counted of one replica. What no replica answered has an empty name.
#[derive(Debug, Clone, Default)]
struct Counters {
    requests: f64,
    errors: f64,
    restarts: f64,
    /// Upper bounds of durations in seconds, and how many were not longer.
    buckets: Vec<(f64, f64)>,
}

/// What happened between two samples.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopLoad {
    /// Requests a second.
    pub rate: f64,
    /// Answers of 500 and more a second.
    pub errors: f64,
    /// Milliseconds that half of the requests, and all but one of a hundred, did not take longer
    /// than.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

impl LoadSample {
    /// Reads Prometheus' text format, of which it takes the lines about one fleet.
    pub fn parse(text: &str, fleet: &str, at: Instant) -> Self {
        let mut replicas: BTreeMap<String, Counters> = BTreeMap::new();
        let lines = text.lines().filter_map(MetricLine::parse);
        for line in lines.filter(|line| line.label("fleet") == Some(fleet)) {
            let Some(replica) = line.label("replica") else {
                continue;
            };
            replicas.entry(replica.to_owned()).or_default().add(&line);
        }
        Self { at, replicas }
    }

    /// Instances of a replica that died since the balancer's start.
    pub fn restarts(&self, replica: &str) -> f64 {
        let counters = self.replicas.get(replica);
        counters.map_or(0.0, |counters| counters.restarts)
    }

    /// What one replica did since an earlier sample, or all of them.
    pub fn since(&self, earlier: &Self, replica: Option<&str>) -> TopLoad {
        let seconds = (self.at - earlier.at).as_secs_f64();
        let (now, before) = (self.total(replica), earlier.total(replica));
        if seconds <= 0.0 || now.requests < before.requests {
            return TopLoad::default();
        }
        let pairs = now.buckets.iter().enumerate();
        let grown: Vec<(f64, f64)> = pairs
            .map(|(place, (bound, count))| {
                let before = before.buckets.get(place).map_or(0.0, |(_, count)| *count);
                (*bound, count - before)
            })
            .collect();
        TopLoad {
            rate: (now.requests - before.requests) / seconds,
            errors: (now.errors - before.errors) / seconds,
            p50: quantile(&grown, 0.5),
            p99: quantile(&grown, 0.99),
        }
    }

    /// Whether the balancer has begun anew between the two.
    pub fn is_of_another_start(&self, earlier: &Self) -> bool {
        self.total(None).requests < earlier.total(None).requests
    }

    fn total(&self, replica: Option<&str>) -> Counters {
        let chosen =
            (self.replicas.iter()).filter(|(name, _)| replica.is_none_or(|one| one == *name));
        let mut total = Counters::default();
        for (_, counters) in chosen {
            total.requests += counters.requests;
            total.errors += counters.errors;
            // All have the same bounds.
            match total.buckets.is_empty() {
                true => total.buckets.clone_from(&counters.buckets),
                false => (total.buckets.iter_mut().zip(&counters.buckets))
                    .for_each(|(sum, (_, count))| sum.1 += count),
            }
        }
        total
    }
}

impl Counters {
    /// Adds what a line has counted.
    fn add(&mut self, line: &MetricLine<'_>) {
        match line.name {
            "ringmaster_requests_total" => {
                self.requests += line.value;
                if line.label("code").is_some_and(|code| code.starts_with('5')) {
                    self.errors += line.value;
                }
            }
            "ringmaster_replica_restarts_total" => self.restarts += line.value,
            "ringmaster_request_duration_seconds_bucket" => {
                let bound = line.label("le").and_then(|bound| match bound {
                    "+Inf" => Some(f64::INFINITY),
                    bound => bound.parse().ok(),
                });
                self.buckets.extend(bound.map(|bound| (bound, line.value)));
            }
            _ => {}
        }
    }
}

/// The milliseconds that this part of what the buckets hold did not take longer than, interpolated
/// within its bucket as Prometheus' `histogram_quantile` does; none of nothing.
fn quantile(buckets: &[(f64, f64)], part: f64) -> Option<f64> {
    let wanted = part * buckets.last()?.1;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count > 0.0 && *count >= wanted {
            let inside = (wanted - below) / (count - below);
            let upper = if bound.is_finite() { *bound } else { lower };
            return Some((lower + (upper - lower) * inside) * 1e3);
        }
        (lower, below) = (*bound, *count);
    }
    None
}

/// A line `name{label="value",...} number`.
struct MetricLine<'t> {
    name: &'t str,
    labels: &'t str,
    value: f64,
}

impl<'t> MetricLine<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let (name, rest) = text.split_once('{')?;
        let (labels, value) = rest.rsplit_once('}')?;
        let value = value.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            name,
            labels,
            value,
        })
    }

    /// A label's value. Names, codes and bounds need no escapes.
    fn label(&self, name: &str) -> Option<&'t str> {
        let mut rest = self.labels;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            if label.trim_start_matches(',') == name {
                return Some(value);
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BEFORE: &str = "\
# TYPE ringmaster_requests counter
ringmaster_requests_total{fleet=\"default\",replica=\"S1\",code=\"200\",method=\"GET\"} 100
ringmaster_requests_total{fleet=\"other\",replica=\"S1\",code=\"200\",method=\"GET\"} 7
ringmaster_request_duration_seconds_bucket{fleet=\"default\",replica=\"S1\",le=\"0.001\"} 100
ringmaster_request_duration_seconds_bucket{fleet=\"default\",replica=\"S1\",le=\"0.01\"} 100
ringmaster_request_duration_seconds_bucket{fleet=\"default\",replica=\"S1\",le=\"+Inf\"} 100
";
    const AFTER: &str = "\
ringmaster_requests_total{fleet=\"default\",replica=\"S1\",code=\"200\",method=\"GET\"} 180
ringmaster_requests_total{fleet=\"default\",replica=\"S1\",code=\"502\",method=\"GET\"} 20
ringmaster_requests_total{fleet=\"default\",replica=\"S2\",code=\"200\",method=\"PUT\"} 10
ringmaster_replica_restarts_total{fleet=\"default\",replica=\"S1\",cause=\"exit\"} 2
ringmaster_replica_restarts_total{fleet=\"default\",replica=\"S1\",cause=\"hang\"} 1
ringmaster_request_duration_seconds_bucket{fleet=\"default\",replica=\"S1\",le=\"0.001\"} 100
ringmaster_request_duration_seconds_bucket{fleet=\"default\",replica=\"S1\",le=\"0.01\"} 200
ringmaster_request_duration_seconds_bucket{fleet=\"default\",replica=\"S1\",le=\"+Inf\"} 200
";

    #[test]
    fn load_is_what_grew_between_two_samples() {
        let begin = Instant::now();
        let before = LoadSample::parse(BEFORE, "default", begin);
        let after = LoadSample::parse(AFTER, "default", begin + Duration::from_secs(10));
        let load = after.since(&before, Some("S1"));
        assert_eq!((load.rate, load.errors), (10.0, 2.0));
        // All of them took between 1 and 10 ms.
        assert_eq!(load.p50.map(f64::round), Some(6.0));
        assert_eq!(load.p99.map(f64::round), Some(10.0));
        assert_eq!(after.since(&before, None).rate, 11.0);
        assert_eq!(after.since(&before, Some("S2")).p50, None);
        assert_eq!((after.restarts("S1"), after.restarts("S2")), (3.0, 0.0));
        assert!(before.is_of_another_start(&after) && !after.is_of_another_start(&before));
    }

    #[test]
    fn lines_that_are_no_samples_are_passed_over() {
        let text = "# HELP x{y\nx 1\nx{ 1\nx{a=\"b} 1\nx{a=\"b\"} z\n\n";
        assert!(
            LoadSample::parse(text, "b", Instant::now())
                .replicas
                .is_empty()
        );
    }
}
