//! The log, on stderr.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::time::SystemTime;

use env_logger::{Target, WriteStyle};
use log::error;
use ringmaster::config::LogFormat;
use ringmaster::log_format;
use ringmaster::log_writer::{self, LogWriter};

/// `RINGMASTER_LOG` or `RUST_LOG`; without them, or with empty ones,
/// the flips and nothing of the libraries'. None of it blocks, whether stderr is read or not.
pub fn log_to_stderr(format: LogFormat) -> Option<LogWriter> {
    let variable = ["RINGMASTER_LOG", "RUST_LOG"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|filter| !filter.is_empty()))
        .unwrap_or("RUST_LOG");
    // actix calls it an error of the server's when a client does not speak HTTP.
    let usual = "warn,actix_http=off,ringmaster=info,replica=info";
    let env = env_logger::Env::new().filter_or(variable, usual);
    let mut builder = env_logger::Builder::from_env(env);
    match format {
        LogFormat::Human => builder.format(|line, record| {
            let style = line.default_level_style(record.level());
            log_format::write_human(line, style, SystemTime::now(), record)
        }),
        LogFormat::Json => {
            builder.format(|line, record| log_format::write_json(line, SystemTime::now(), record))
        }
    };
    // If no thread can be started for the log, each thread writes its own lines.
    let writer = LogWriter::to_stderr(format).ok();
    if let Some(writer) = writer.clone() {
        builder.target(Target::Pipe(Box::new(writer)));
        if format == LogFormat::Human && log_writer::stderr_has_colours() {
            builder.write_style(WriteStyle::Always);
        }
        log_panics();
    }
    builder.init();
    writer
}

/// Has panics logged: the default hook writes to stderr itself, and blocks if it is not read.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        match trace.status() {
            BacktraceStatus::Captured => error!("thread {thread:?} {panic}\n{trace}"),
            _ => error!("thread {thread:?} {panic}"),
        }
    }));
}
