//! The command line's entrance: what was asked for, logs, exit codes.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use env_logger::{Target, WriteStyle};
use log::{error, info, warn};
use ringmaster::app::{AppError, Balancer};
use ringmaster::cli::{self, Invocation};
use ringmaster::config::{AccessLogTarget, LogFormat, Settings};
use ringmaster::ctl;
use ringmaster::drill::{self, DrillError};
use ringmaster::log_format;
use ringmaster::log_writer::{self, LogWriter};
use ringmaster::sys::{open_files, orphans};
use ringmaster::{banner, healthcheck};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Wrong use, as shells and getopt(3) have it.
const WRONG_USE: u8 = 2;
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    cli::complete_for_shell();
    let invocation = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(WRONG_USE);
        }
    };
    let log;
    match invocation {
        Invocation::Print(page) => page.print(),
        Invocation::Check { report, warnings } => {
            warn_early(&warnings);
            print(&report);
        }
        Invocation::Ring { request, warnings } => {
            warn_early(&warnings);
            return end(request.answer().map(|answer| print(&answer)));
        }
        Invocation::Completions(script) => print(&script),
        Invocation::Ctl(options) => {
            return end(actix::System::new().block_on(ctl::run(&options)));
        }
        Invocation::Guard => return end(ringmaster::runtime::process::guard()),
        Invocation::Healthcheck { url } => return end(healthcheck::run(&url)),
        Invocation::Replica { listen, id } => {
            log = log_to_stderr(LogFormat::Human);
            open_files::raise();
            let options = ringmaster_server::Options { listen, id };
            let served = ringmaster_server::serve(options);
            return end_logged(served, &log);
        }
        #[cfg(feature = "analyze")]
        Invocation::Analyze(options) => {
            open_files::raise();
            let analyzed = actix::System::new().block_on(ringmaster::analysis::run(&options));
            return end(analyzed.map(|summary| print(&summary)));
        }
        Invocation::Drill(options) => {
            open_files::raise();
            return end_drill(actix::System::new().block_on(drill::run(&options)));
        }
        Invocation::Balance { settings, warnings } => {
            log = log_to_stderr(settings.logs.log_format);
            open_files::raise();
            for warning in warnings {
                warn!("{warning}");
            }
            let system = actix::System::new();
            let balanced = system.block_on(balance(*settings, log.as_ref()));
            let code = end_logged(balanced, &log);
            // Dropping the runtime would wait for look-ups of names and for files that hang.
            std::mem::forget(system);
            return code;
        }
    }
    ExitCode::SUCCESS
}

/// `RINGMASTER_LOG` or `RUST_LOG`; without them, or with empty ones,
/// the flips and nothing of the libraries'. None of it blocks, whether stderr is read or not.
fn log_to_stderr(format: LogFormat) -> Option<LogWriter> {
    let variable = ["RINGMASTER_LOG", "RUST_LOG"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|filter| !filter.is_empty()))
        .unwrap_or("RUST_LOG");
    // actix calls it an error of the server's when a client does not speak HTTP.
    let usual = "warn,actix_http=off,ringmaster=info,replica=info";
    let env = env_logger::Env::new().filter_or(variable, usual);
    let mut builder = env_logger::Builder::from_env(env);
    match format {
        LogFormat::Human => builder.format_target(false),
        LogFormat::Json => {
            builder.format(|line, record| log_format::write_json(line, SystemTime::now(), record))
        }
    };
    // Without a thread for it the log is written by whoever has something to say.
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

async fn balance(settings: Settings, log: Option<&LogWriter>) -> Result<(), AppError> {
    // Before anything starts, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    survive_other_signals(&settings)?;
    if std::process::id() == 1 {
        actix::spawn(orphans::reap());
    }
    let balancer = Balancer::start(&settings).await?;
    print_banner(&balancer);

    let log = log.cloned();
    balancer
        .run_until(async move {
            let name = first_of(&mut terminate, &mut interrupt).await;
            info!("{name}: stopping; once more ends at once");
            actix::spawn(async move {
                first_of(&mut terminate, &mut interrupt).await;
                warn!("ending at once");
                if let Some(log) = log {
                    log.flush_for_exit();
                }
                std::process::exit(i32::from(FAILURE));
            });
        })
        .await
}

/// Prints what to try next. Where the access log goes to stdout, that is for programs, and it is
/// logged. The link that logs in goes to a terminal alone: a log may be kept, and read by others.
fn print_banner(balancer: &Balancer) {
    let access_log = &balancer.settings().logs.access_log;
    let is_logged = *access_log == Some(AccessLogTarget::Stdout);
    let on_stdout = !is_logged && io::stdout().is_terminal();
    let has_terminal = on_stdout || io::stderr().is_terminal();
    let link = has_terminal.then(|| balancer.login_link()).flatten();
    let banner = banner::text(
        balancer.address(),
        balancer.admin_address(),
        balancer.takes_changes(),
        link.as_deref().filter(|_| on_stdout),
        balancer.settings(),
    );
    if is_logged {
        info!("{}", banner.trim_end());
    }
    // On a thread of its own: stdout may be a pipe that is not read.
    let printing = std::thread::Builder::new().spawn(move || {
        if !is_logged {
            print(&banner);
        }
        if let Some(link) = link.filter(|_| !on_stdout) {
            eprint!("{}", banner::login_line(&link));
        }
    });
    if let Err(error) = printing {
        warn!("cannot print what to try next: {error}");
    }
}

/// SIGHUP, SIGUSR1 and SIGUSR2 end a process that does not handle them; operators send them to
/// daemons for a reload or for new log files.
fn survive_other_signals(settings: &Settings) -> Result<(), AppError> {
    let reopen = match settings.logs.access_log {
        Some(AccessLogTarget::File(_)) => "SIGUSR1: opening the access log anew",
        _ => "SIGUSR1: nothing to do",
    };
    for (kind, meaning) in [
        (
            SignalKind::hangup(),
            "SIGHUP: settings cannot be reloaded while the balancer runs; restart it to change them",
        ),
        (SignalKind::user_defined1(), reopen),
        (SignalKind::user_defined2(), "SIGUSR2: nothing to do"),
    ] {
        let mut signals = signal(kind).map_err(AppError::Signals)?;
        actix::spawn(async move {
            while signals.recv().await.is_some() {
                info!("{meaning}");
            }
        });
    }
    Ok(())
}

async fn first_of(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn print(text: &str) {
    // Whoever reads may have seen enough (`| head`), which is no failure.
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
}

fn warn_early(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

fn end_drill(drilled: Result<drill::Outcome, DrillError>) -> ExitCode {
    match drilled {
        Ok(outcome) => {
            print(&outcome.text);
            if outcome.good {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILURE)
            }
        }
        Err(error @ DrillError::Use(_)) => {
            eprintln!("error: {error}");
            ExitCode::from(WRONG_USE)
        }
        Err(error) => end(Err(error)),
    }
}

/// Ends a program that logs: its error goes the way of the log.
fn end_logged<E: std::fmt::Display>(result: Result<(), E>, log: &Option<LogWriter>) -> ExitCode {
    let Some(log) = log else {
        return end(result);
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.error(&error.to_string());
            ExitCode::from(FAILURE)
        }
    };
    log.flush_for_exit();
    code
}

fn end<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILURE)
        }
    }
}
