//! What is logged, and how.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::super::read;
use super::super::rule::{choice, text};
use super::Off;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people: `[2026-01-31T12:00:00Z INFO ] ...`.
    #[default]
    Human,
    /// A JSON object a line.
    Json,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Stdout.
    Stdout,
    /// A file, to which lines are appended.
    File(PathBuf),
}

impl AccessLogTarget {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "stdout" => Ok(Self::Stdout),
            path => read::file(path).map(Self::File),
        }
    }
}

/// How a line of the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum AccessLogFormat {
    /// The combined format of Apache's httpd and nginx.
    #[default]
    Combined,
    /// A JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Logs and tracing")]
pub struct LogOptions {
    /// How a line of the log on stderr is written
    ///
    /// json: an object a line, with time, level, target, message and, where a line is about one
    /// replica, replica and generation. RINGMASTER_LOG says which levels of which targets are
    /// written, such as warn,ringmaster=info.
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub log_format: LogFormat,
    /// Where a line for each request goes
    ///
    /// off: nowhere. A file is opened anew at SIGUSR1, for logrotate. Lines that cannot be written
    /// fast enough are dropped, and the log says how many: requests never wait for them.
    #[arg(
        long, value_name = "TARGET", default_value = "off",
        value_parser = text("stdout, a file's path", AccessLogTarget::read).or("off")
    )]
    pub access_log: Off<AccessLogTarget>,
    /// How a line of the access log is written
    ///
    /// combined: as Apache's httpd and nginx do. json: an object a line, with the replica, every
    /// attempt, times, bytes, and why the request ended.
    #[arg(long, value_name = "FORMAT", default_value = "combined")]
    pub access_log_format: AccessLogFormat,
    /// Whether responses have a Server-Timing header
    ///
    /// It says in milliseconds how long connecting to the replica took (connect, if it did), the
    /// replica to the first byte of its response (first_byte), and both with the wait for a
    /// replica (total). Browsers show it.
    #[arg(
        long, value_name = "WHEN", default_value = "off", action = ArgAction::Set,
        value_parser = choice([("on", true), ("off", false)])
    )]
    pub server_timing: bool,
    /// The header in which responses name their replica; off: they do not
    #[arg(
        long, value_name = "NAME", default_value = "off",
        value_parser = text("a header's name, such as X-Served-By", read::replica_header).or("off")
    )]
    pub replica_header: Off<String>,
}
