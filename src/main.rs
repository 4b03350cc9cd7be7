//! The command line's entrance: what was asked for, logs, exit codes.

use std::io::{self, Write};
use std::process::ExitCode;

use log::{info, warn};
use ringmaster::app::{AppError, Balancer};
use ringmaster::cli::{self, Invocation};
use ringmaster::config::Settings;
use ringmaster::drill::{self, DrillError};
use ringmaster::{analysis, banner, healthcheck, open_files};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Wrong use, as shells and getopt(3) have it.
const WRONG_USE: u8 = 2;
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(WRONG_USE);
        }
    };
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
        Invocation::Healthcheck { url } => return end(healthcheck::run(&url)),
        Invocation::Replica { listen, id } => {
            log_to_stderr();
            open_files::raise();
            let options = ringmaster_server::Options { listen, id };
            return end(ringmaster_server::serve(options));
        }
        Invocation::Analyze(options) => {
            open_files::raise();
            let analyzed = actix::System::new().block_on(analysis::run(&options));
            return end(analyzed.map(|summary| print(&summary)));
        }
        Invocation::Drill(options) => {
            open_files::raise();
            return end_drill(actix::System::new().block_on(drill::run(&options)));
        }
        Invocation::Balance { settings, warnings } => {
            log_to_stderr();
            open_files::raise();
            for warning in warnings {
                warn!("{warning}");
            }
            return end(actix::System::new().block_on(balance(*settings)));
        }
    }
    ExitCode::SUCCESS
}

/// `RINGMASTER_LOG` or `RUST_LOG`; without them, or with empty ones,
/// the flips and nothing of the libraries'.
fn log_to_stderr() {
    let variable = ["RINGMASTER_LOG", "RUST_LOG"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some_and(|filter| !filter.is_empty()))
        .unwrap_or("RUST_LOG");
    // actix calls it an error of the server's when a client does not speak HTTP.
    let usual = "warn,actix_http=off,ringmaster=info,replica=info";
    let env = env_logger::Env::new().filter_or(variable, usual);
    env_logger::Builder::from_env(env)
        .format_target(false)
        .init();
}

async fn balance(settings: Settings) -> Result<(), AppError> {
    // Before anything starts, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
    let balancer = Balancer::start(&settings).await?;
    print(&banner::text(
        balancer.address(),
        balancer.admin_address(),
        &settings,
    ));

    balancer
        .run_until(async move {
            let name = first_of(&mut terminate, &mut interrupt).await;
            info!("{name}: stopping; once more ends at once");
            actix::spawn(async move {
                first_of(&mut terminate, &mut interrupt).await;
                warn!("ending at once");
                std::process::exit(i32::from(FAILURE));
            });
        })
        .await
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

fn end<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILURE)
        }
    }
}
