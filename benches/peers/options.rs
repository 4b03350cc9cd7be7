//! The command line, as `cargo bench` passes it on.

use std::path::PathBuf;

/// What to measure, and how long.
pub struct Options {
    /// Measured rounds, after one that is discarded.
    pub rounds: usize,
    /// How long each measurement takes.
    pub seconds: u32,
    /// Names of scenarios; none: all.
    pub only: Vec<String>,
    /// Names of proxies; none: all.
    pub proxies: Vec<String>,
    /// The balancer to measure.
    pub ringmaster: PathBuf,
    /// Where `results.json` and the chart go.
    pub out: PathBuf,
    /// Measure nothing; draw the chart of that folder's `results.json` anew.
    pub redraw: Option<PathBuf>,
}

const USAGE: &str = "options: --rounds N (5), --seconds N (2), --only SCENARIO,... , \
                     --proxies NAME,... , --ringmaster PATH (target/peers/ringmaster), \
                     --out FOLDER (target/peers/report), --redraw FOLDER";

impl Options {
    pub fn from_args() -> Result<Self, String> {
        let mut options = Self {
            rounds: 5,
            seconds: 2,
            only: Vec::new(),
            proxies: Vec::new(),
            ringmaster: "target/peers/ringmaster".into(),
            out: "target/peers/report".into(),
            redraw: None,
        };
        // `cargo bench` adds --bench.
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} lacks a value; {USAGE}"));
            let number = |text: String| {
                text.parse()
                    .map_err(|_| format!("{text} is no number; {USAGE}"))
            };
            let list = |text: String| text.split(',').map(str::to_owned).collect();
            match name.as_str() {
                "--rounds" => options.rounds = number(value()?)? as usize,
                "--seconds" => options.seconds = number(value()?)?,
                "--only" => options.only = list(value()?),
                "--proxies" => options.proxies = list(value()?),
                "--ringmaster" => options.ringmaster = value()?.into(),
                "--out" => options.out = value()?.into(),
                "--redraw" => options.redraw = Some(value()?.into()),
                _ => return Err(format!("{name} is not known; {USAGE}")),
            }
        }
        Ok(options)
    }

    pub fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }

    pub fn wants_proxy(&self, proxy: &str) -> bool {
        self.proxies.is_empty() || self.proxies.iter().any(|name| name == proxy)
    }
}
