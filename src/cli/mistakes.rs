//! What is said of a wrong command line: clap's finding in our words, with a guess at what was
//! meant only where a name is near, and the help of the subcommand that it was about.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::config;

/// The subcommands that arguments (the program's name first) select, outermost first.
pub(super) fn selected(command: &Command, args: &[OsString]) -> Vec<String> {
    let mut path = Vec::new();
    let mut command = command;
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        let Some(inner) = command.find_subcommand(arg) else {
            break;
        };
        path.push(inner.get_name().to_owned());
        command = inner;
    }
    path
}

/// `ringmaster help drill` in the form that clap knows, `ringmaster drill --help`; other
/// arguments as they are.
pub(super) fn with_help_flag(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let place = 1 + selected(command, &args).len();
    let of_subcommands = command_at(command, &selected(command, &args)).has_subcommands();
    if !of_subcommands || args.get(place).is_none_or(|arg| arg != "help") {
        return args;
    }
    let mut args = args;
    args.remove(place);
    args.push("--help".into());
    args
}

/// The command that the names of subcommands lead to.
fn command_at<'c>(command: &'c Command, path: &[String]) -> &'c Command {
    path.iter().fold(command, |command, name| {
        command.find_subcommand(name).unwrap_or(command)
    })
}

/// What clap found, in one line.
pub(super) fn describe(error: &Error, command: &Command, path: &[String]) -> String {
    let command = command_at(command, path);
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            if let Some(arg) = context(ContextKind::InvalidArg) {
                return unknown(command, arg);
            }
        }
        ErrorKind::InvalidSubcommand => {
            if let Some(name) = context(ContextKind::InvalidSubcommand) {
                return unknown(command, name);
            }
        }
        _ => {}
    }
    let text = error.render().to_string();
    let mistake = text
        .split("\n\n")
        .take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more"))
        .flat_map(str::lines)
        .map(str::trim)
        // clap's guesses are too bold, and the rest of its advice is in the help.
        .filter(|line| !line.starts_with("tip:"))
        .collect::<Vec<_>>()
        .join("; ")
        // A list that a colon announces needs no more.
        .replace(":; ", ": ");
    mistake
        .strip_prefix("error: ")
        .unwrap_or(&mistake)
        .to_owned()
}

/// What to say of an argument that the command does not have.
fn unknown(command: &Command, arg: &str) -> String {
    if let Some(name) = arg.strip_prefix("--") {
        let flags = command.get_arguments().filter_map(clap::Arg::get_long);
        return match config::did_you_mean(name, flags) {
            Some(flag) => format!("unexpected argument '{arg}' found; did you mean --{flag}?"),
            None => format!("unexpected argument '{arg}' found"),
        };
    }
    if arg.starts_with('-') || !command.has_subcommands() {
        return format!("unexpected argument '{arg}' found");
    }
    let shown = || command.get_subcommands().filter(|c| !c.is_hide_set());
    let names = || shown().map(Command::get_name);
    match config::did_you_mean(arg, names()) {
        Some(name) => format!("'{arg}' is not a command; did you mean {name}?"),
        None => format!(
            "'{arg}' is not a command; the commands are {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    }
}
