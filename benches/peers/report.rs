//! The figures: medians, ratios, a table, JSON and a chart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::chart;
use crate::load::Sample;
use crate::network;
use crate::pauses::Pauses;
use crate::scenario::Scenario;

const OURS: &str = "ringmaster";

#[derive(Default)]
pub struct Figures {
    samples: BTreeMap<(String, String), Vec<Sample>>,
    idle_kib: BTreeMap<String, u64>,
    /// The machine's own.
    pub pauses: Pauses,
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len() as f64
}

impl Figures {
    pub fn idle(&mut self, proxy: &str, kib: u64) {
        self.idle_kib.insert(proxy.to_owned(), kib);
    }

    pub fn add(&mut self, scenario: &Scenario, proxy: &str, sample: Sample) {
        let key = (scenario.name.to_owned(), proxy.to_owned());
        self.samples.entry(key).or_default().push(sample);
    }

    fn of(&self, scenario: &str, proxy: &str) -> &[Sample] {
        let key = (scenario.to_owned(), proxy.to_owned());
        self.samples.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Our CPU time over that of the best other proxy, and its name. The ratio is taken round by
    /// round, because the runs of a round are close in time.
    fn against_best(&self, scenario: &str, proxies: &[&str]) -> Option<(f64, String)> {
        let best = proxies
            .iter()
            .filter(|&&proxy| proxy != OURS && !self.of(scenario, proxy).is_empty())
            .min_by(|a, b| {
                let cpu = |proxy| median(self.of(scenario, proxy), |sample| sample.cpu_us);
                cpu(a).total_cmp(&cpu(b))
            })?;
        let ours = self.of(scenario, OURS);
        let theirs = self.of(scenario, best);
        let mut ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us)
            .collect();
        ratios.sort_by(f64::total_cmp);
        Some((*ratios.get(ratios.len() / 2)?, (*best).to_owned()))
    }

    pub fn table(&self, scenarios: &[Scenario], versions: &[(&'static str, String)]) -> String {
        let proxies: Vec<&str> = versions.iter().map(|(name, _)| *name).collect();
        let mut text = format!(
            "Measured {}.\n\n{}\n",
            network::name(),
            self.pauses.in_words()
        );
        for scenario in scenarios {
            let mut table = Table::new();
            table.load_style(presets::ASCII_MARKDOWN).set_header([
                "proxy",
                "CPU us/req",
                "of it user",
                "req/s",
                "p50 us",
                "p99 us",
                "MiB/CPU s",
                "RSS MiB",
                "failed",
            ]);
            for proxy in &proxies {
                let samples = self.of(scenario.name, proxy);
                if samples.is_empty() {
                    continue;
                }
                let cpu = median(samples, |sample| sample.cpu_us);
                let moved = if scenario.bytes > 0 {
                    format!("{:.0}", scenario.bytes as f64 / cpu * 1e6 / 1048576.0)
                } else {
                    String::new()
                };
                table.add_row([
                    (*proxy).to_owned(),
                    format!("{cpu:.2}"),
                    format!("{:.1}", mean(samples, |sample| sample.user_us)),
                    format!("{:.0}", median(samples, |sample| sample.per_second)),
                    format!("{:.0}", median(samples, |sample| sample.p50_us)),
                    format!("{:.0}", median(samples, |sample| sample.p99_us)),
                    moved,
                    format!(
                        "{:.1}",
                        median(samples, |sample| sample.resident_kib as f64) / 1024.0
                    ),
                    samples
                        .iter()
                        .map(|sample| sample.failed)
                        .sum::<u64>()
                        .to_string(),
                ]);
            }
            for column in table.column_iter_mut().skip(1) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let _ = writeln!(text, "\n### {}\n\n{table}", scenario.what);
            if let Some((ratio, best)) = self.against_best(scenario.name, &proxies) {
                let _ = writeln!(text, "\nCPU per request: {ratio:.2} x {best}'s.");
            }
        }
        if !self.idle_kib.is_empty() {
            let idle: Vec<String> = self
                .idle_kib
                .iter()
                .map(|(proxy, kib)| format!("{proxy} {:.1}", *kib as f64 / 1024.0))
                .collect();
            let _ = writeln!(
                text,
                "\nRSS before the first request, MiB: {}.",
                idle.join(", ")
            );
        }
        let versions: Vec<String> = versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let _ = writeln!(text, "\nVersions: {}.", versions.join(", "));
        text
    }

    fn json(&self, scenarios: &[Scenario], versions: &[(&'static str, String)]) -> Value {
        let scenarios: serde_json::Map<String, Value> = scenarios
            .iter()
            .map(|scenario| {
                let proxies: serde_json::Map<String, Value> = versions
                    .iter()
                    .map(|(proxy, _)| {
                        let samples = self.of(scenario.name, proxy);
                        let rounds: Vec<Value> = samples
                            .iter()
                            .map(|sample| {
                                json!({
                                    "requests": sample.requests, "failed": sample.failed,
                                    "per_second": sample.per_second, "cpu_us": sample.cpu_us,
                                    "user_us": sample.user_us,
                                    "p50_us": sample.p50_us, "p99_us": sample.p99_us,
                                    "resident_kib": sample.resident_kib,
                                })
                            })
                            .collect();
                        ((*proxy).to_owned(), Value::Array(rounds))
                    })
                    .collect();
                (scenario.name.to_owned(), Value::Object(proxies))
            })
            .collect();
        let versions: BTreeMap<_, _> = versions.iter().cloned().collect();
        json!({
            "network": network::name(),
            "paused": self.pauses.share(),
            "versions": versions,
            "idle_kib": self.idle_kib,
            "scenarios": scenarios,
        })
    }

    pub fn write(
        &self,
        folder: &Path,
        scenarios: &[Scenario],
        versions: &[(&'static str, String)],
    ) -> Result<(), String> {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let save = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
        };
        save(
            "results.json",
            format!("{:#}\n", self.json(scenarios, versions)),
        )?;
        save("report.md", self.table(scenarios, versions))?;
        chart::redraw(folder)
    }
}
