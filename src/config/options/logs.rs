//! What is logged, and how.

use clap::{Args, ValueEnum};

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people: `[2026-01-31T12:00:00Z INFO ] ...`.
    #[default]
    Human,
    /// A JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogOptions {
    /// How a line of the log on stderr is written
    ///
    /// json: an object a line, with time, level, target, message and, where a line is about one
    /// replica, replica and generation. RINGMASTER_LOG says which levels of which targets are
    /// written, such as warn,ringmaster=info.
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub log_format: LogFormat,
}
