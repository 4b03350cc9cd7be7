//! How the program ends: exit codes, and the error that explains one.

use std::process::ExitCode;

use ringmaster::drill::{DrillError, Outcome};
use ringmaster::log_writer::LogWriter;

use super::output::print;

/// Wrong use, as shells and getopt(3) have it.
pub const WRONG_USE: u8 = 2;
/// Any other failure.
pub const FAILURE: u8 = 1;

/// Ends a drill: one that the fleet has not passed is a failure.
pub fn end_drill(drilled: Result<Outcome, DrillError>) -> ExitCode {
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
pub fn end_logged<E: std::fmt::Display>(
    result: Result<(), E>,
    log: &Option<LogWriter>,
) -> ExitCode {
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

/// Ends a program without a log.
pub fn end<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(FAILURE)
        }
    }
}
