//! The command line, as `cargo bench` passes it on.

use std::path::PathBuf;

use clap::Parser;

/// What to measure, and how long.
#[derive(Parser)]
pub struct Options {
    /// Measured rounds, after one that is discarded.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 2)]
    pub seconds: u32,
    /// Names of scenarios; none: all.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Names of proxies; none: all.
    #[arg(long, value_delimiter = ',')]
    pub proxies: Vec<String>,
    /// The balancer to measure.
    #[arg(long, default_value = "target/peers/ringmaster")]
    pub ringmaster: PathBuf,
    /// Where `results.json` and the chart go.
    #[arg(long, default_value = "target/peers/report")]
    pub out: PathBuf,
    /// Measure nothing; draw the chart of that folder's `results.json` anew.
    #[arg(long)]
    pub redraw: Option<PathBuf>,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }

    pub fn wants_proxy(&self, proxy: &str) -> bool {
        self.proxies.is_empty() || self.proxies.iter().any(|name| name == proxy)
    }
}
