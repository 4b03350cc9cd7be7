//! What a campaign found: as a table, as JSON and as a chart.

use std::path::Path;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use plotters::prelude::*;
use plotters::style::register_font;
use serde::Serialize;

use crate::engine_baseline::Respawn;

/// One fault.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub fault: &'static str,
    pub target: String,
    pub requests: usize,
    /// GET and PUT without a good answer.
    pub failed: usize,
    pub posts_failed: usize,
    pub streams_aborted: usize,
    pub retried: u64,
    /// When the engine knew of its end, since the fault began.
    pub died_ms: Option<f64>,
    /// When it was evicted, since the fault began.
    pub evicted_ms: Option<f64>,
    pub ready_ms: Option<f64>,
    pub longest_gap_ms: f64,
    /// Keys of replicas without a fault that went elsewhere, of the sample.
    pub moved: Option<usize>,
    /// Promises that were not kept.
    pub broken: Vec<String>,
}

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    pub clients: usize,
    pub campaigns: Vec<Campaign>,
}

/// What was found where replicas run in one way.
#[derive(Debug, Serialize)]
pub struct Campaign {
    pub runtime: &'static str,
    pub rows: Vec<Row>,
    /// On an engine: how fast a killed replica is back, and could be.
    pub respawn: Option<Respawn>,
    pub posts: usize,
    /// POSTs that were executed more than once.
    pub doubled: usize,
    pub files_before: usize,
    pub files_after: usize,
    pub resident_kib_before: u64,
    pub resident_kib_after: u64,
    /// Promises about the whole that were not kept.
    pub broken: Vec<String>,
    /// What the balancer said.
    #[serde(skip)]
    pub log: String,
}

impl Campaign {
    fn promises_broken(&self) -> impl Iterator<Item = String> {
        let of_rows = self.rows.iter().flat_map(|row| {
            let told = |what: &String| format!("{} of {}: {what}", row.fault, row.target);
            row.broken.iter().map(told)
        });
        let all = of_rows.chain(self.broken.iter().cloned());
        all.map(|what| format!("{}: {what}", self.runtime))
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header([
            &format!("fault ({})", self.runtime),
            "requests",
            "failed",
            "POST failed",
            "streams aborted",
            "retried",
            "evicted",
            "ready",
            "longest gap",
            "keys moved",
        ]);
        let ms = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
        for row in &self.rows {
            table.add_row([
                row.fault.to_owned(),
                row.requests.to_string(),
                row.failed.to_string(),
                row.posts_failed.to_string(),
                row.streams_aborted.to_string(),
                row.retried.to_string(),
                ms(row.evicted_ms),
                ms(row.ready_ms),
                ms(Some(row.longest_gap_ms)),
                row.moved.map_or("-".to_owned(), |moved| moved.to_string()),
            ]);
        }
        let respawn = self.respawn.as_ref().map_or(String::new(), |respawn| {
            format!(
                "\nkilled to good again, median of {}: {:.0} ms, and {:.0} ms by the engine's bare \
                 API ({:.2} times)",
                respawn.ours_ms.len(),
                respawn.ours(),
                respawn.baseline(),
                respawn.ratio(),
            )
        });
        format!(
            "{table}\n{} POSTs, {} executed twice; sockets {} before and {} after; memory {} and \
             {} KiB{respawn}\n",
            self.posts,
            self.doubled,
            self.files_before,
            self.files_after,
            self.resident_kib_before,
            self.resident_kib_after,
        )
    }
}

impl Report {
    pub fn promises_broken(&self) -> Vec<String> {
        let campaigns = self.campaigns.iter();
        campaigns.flat_map(Campaign::promises_broken).collect()
    }

    pub fn table(&self) -> String {
        let tables: Vec<_> = self.campaigns.iter().map(Campaign::table).collect();
        let of = format!("{} clients, seed {}", self.clients, self.seed);
        format!("{}{of}", tables.join("\n"))
    }

    /// `results.json`, `chart.svg` and the balancers' logs into a folder.
    pub fn write(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        std::fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(folder.join("results.json"), json)?;
        for Campaign { runtime, log, .. } in &self.campaigns {
            std::fs::write(folder.join(format!("{runtime}.log")), log)?;
        }
        self.chart(&folder.join("chart.svg"))
    }

    fn chart(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let font = register_font("sans-serif", FontStyle::Normal, notosans::REGULAR_TTF);
        font.map_err(|_| "not a font")?;
        let bars: Vec<(String, &Row)> = self
            .campaigns
            .iter()
            .flat_map(|campaign| campaign.rows.iter().map(|row| (campaign.runtime, row)))
            .map(|(runtime, row)| (format!("{runtime}: {}", row.fault), row))
            .collect();
        let gaps = bars.iter().map(|(_, row)| row.longest_gap_ms);
        let most = gaps.fold(1.0, f64::max);
        let area = SVGBackend::new(path, (900, 60 + 30 * bars.len() as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption("Longest time without any good answer", ("sans-serif", 18))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(170)
            .build_cartesian_2d(0.0..most * 1.1, (0..bars.len()).into_segmented())?;
        let name = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(place) => bars
                .get(*place)
                .map_or(String::new(), |(name, _)| name.clone()),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&|ms| format!("{ms:.0}"))
            .x_desc("milliseconds")
            .y_labels(bars.len())
            .y_label_formatter(&name)
            .draw()?;
        let bars = bars.iter().enumerate().map(|(place, (_, row))| {
            let color = if row.broken.is_empty() { BLUE } else { RED };
            let corners = [
                (0.0, SegmentValue::Exact(place)),
                (row.longest_gap_ms, SegmentValue::Exact(place + 1)),
            ];
            let mut bar = Rectangle::new(corners, color.mix(0.7).filled());
            bar.set_margin(4, 4, 0, 0);
            bar
        });
        chart.draw_series(bars)?;
        area.present()?;
        Ok(())
    }
}
