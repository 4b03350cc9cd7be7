//! The command line's entrance: what was asked for.

mod program;

use std::process::ExitCode;

use log::warn;
use ringmaster::cli::{self, Invocation};
use ringmaster::config::LogFormat;
use ringmaster::sys::open_files;
use ringmaster::{ctl, drill, healthcheck};

use program::exit::{WRONG_USE, end, end_drill, end_logged};
use program::logging::log_to_stderr;
use program::output::{print, warn_early};

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
        Invocation::Replica(options) => {
            log = log_to_stderr(LogFormat::Human);
            open_files::raise();
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
            let balanced = system.block_on(program::balance::run(*settings, log.as_ref()));
            let code = end_logged(balanced, &log);
            // Dropping the runtime would wait for look-ups of names and for files that hang.
            std::mem::forget(system);
            return code;
        }
    }
    ExitCode::SUCCESS
}
