//! Completions in a shell: the script of `ringmaster ctl completions`, and what it then asks this
//! program for.
//!
//! clap_complete's engine looks at the words of the command line here, not in the shell, so that it
//! can ask the balancer for the names of its replicas.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use super::{UsageError, admin_access, args, command};
use crate::api::DEFAULT_FLEET;
use crate::ctl;
use crate::experiments::AdminAccess;

/// What tells the program that a shell asks it; with the shell's name.
const VARIABLE: &str = "RINGMASTER_COMPLETE";

/// A shell's user does not wait longer for names.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Answers a shell, if one asks, and ends the program then.
pub fn complete_for_shell() {
    if std::env::var_os(VARIABLE).is_some_and(|shell| !shell.is_empty()) {
        CompleteEnv::with_factory(command::command)
            .var(VARIABLE)
            .complete();
    }
}

/// The script for a shell.
pub(super) fn script(shell: Shell) -> Result<String, UsageError> {
    let failed = |error: &dyn std::fmt::Display| -> UsageError {
        format!("cannot write the script for {shell}: {error}").into()
    };
    let shells = Shells::builtins();
    let known = shells.completer(&shell.to_string());
    let known = known.ok_or_else(|| failed(&"the shell is unknown"))?;
    // The shell may be in another folder, and this program in no folder of its PATH.
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let program = program.to_string_lossy();
    let mut script = Vec::new();
    known
        .write_registration(VARIABLE, "ringmaster", "ringmaster", &program, &mut script)
        .map_err(|error| failed(&error))?;
    String::from_utf8(script).map_err(|error| failed(&error))
}

/// Completes the names of the replicas of the balancer that the command line is about.
pub(super) fn replica_names() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &std::ffi::OsStr| {
        let words: Vec<OsString> = std::env::args_os().collect();
        let env: Vec<_> = std::env::vars_os().collect();
        let Some(access) = access(&words, &env) else {
            return Vec::new();
        };
        let current = current.to_string_lossy();
        let names = ctl::replica_names(access, TIMEOUT);
        let names = names.into_iter().filter(|name| name.starts_with(&*current));
        names.map(CompletionCandidate::new).collect()
    })
}

/// The balancer that the words of an unfinished command line name.
fn access(words: &[OsString], env: &[(OsString, OsString)]) -> Option<AdminAccess> {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let flag = |name: &str| {
        let pairs = words.windows(2).filter(|pair| pair[0] == name);
        let apart = pairs.map(|pair| pair[1]).next_back();
        let mut joined = words
            .iter()
            .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        apart.or(joined.next_back())
    };
    let url = flag("--admin").map(args::read_base_url).transpose().ok()?;
    let token = admin_access::token(flag("--token-file").map(Path::new), env).ok()?;
    Some(AdminAccess {
        url: admin_access::url(url, env).ok()?.value,
        token: token.map(|said| said.value),
        fleet: flag("--fleet").unwrap_or(DEFAULT_FLEET).to_owned(),
    })
}
