//! `ringmaster analyze` in a build without the feature `analyze`: how to get it.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command};

use super::args::{ANALYZE, help};

use super::{Invocation, UsageError};

const HOW_TO_GET_IT: &str = "\
this ringmaster was built without 'analyze'; from its source folder, run \
'cargo run --release --features analyze -- analyze'; the Docker image has it";

/// The subcommand. It takes any arguments, so that all of them get the same answer.
pub(super) fn command() -> Command {
    let any = Arg::new("any").num_args(0..).hide(true);
    Command::new(ANALYZE)
        .long_about(HOW_TO_GET_IT)
        .arg(help())
        .arg(any.allow_hyphen_values(true).trailing_var_arg(true))
}

/// Refuses.
pub(super) fn invocation(
    _matches: &ArgMatches,
    _env: &[(OsString, OsString)],
) -> Result<Invocation, UsageError> {
    Err(HOW_TO_GET_IT.to_owned().into())
}
