//! The balancer as a program: from its signals' first to its end.

use std::io::{self, IsTerminal};

use log::{info, warn};
use ringmaster::app::{AppError, Balancer};
use ringmaster::banner;
use ringmaster::config::{AccessLogTarget, Settings};
use ringmaster::log_writer::LogWriter;
use ringmaster::sys::orphans;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::FAILURE;
use super::output::print;

/// Balances until a signal ends it.
pub async fn run(settings: Settings, log: Option<&LogWriter>) -> Result<(), AppError> {
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
