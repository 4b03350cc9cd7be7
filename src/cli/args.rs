//! What several subcommands share.

use clap::{Arg, ArgAction};

use crate::config::{self, Rule, text_rule};

/// The experiments' subcommand, whether it is built in or not.
pub(super) const ANALYZE: &str = "analyze";

/// `-h` and `--help`.
pub(super) fn help() -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .help("Print this; --help says more than -h")
        .action(ArgAction::Help)
}

/// An URL; `allowed` says what may be behind `http://HOST:PORT`.
pub(super) fn url(allowed: &'static str) -> Rule<String> {
    text_rule(allowed, read_url)
}

/// The URL of a balancer, without a path.
pub(super) fn base_url() -> Rule<String> {
    text_rule("http://HOST:PORT", read_base_url)
}

/// Reads the URL of a balancer.
pub(super) fn read_base_url(text: &str) -> Result<String, String> {
    let url = read_url(text)?.trim_end_matches('/').to_owned();
    let authority = url.strip_prefix("http://").unwrap_or_default();
    match authority.contains(['/', '?', '#']) {
        true => Err("has a path".to_owned()),
        false => Ok(url),
    }
}

fn read_url(url: &str) -> Result<String, String> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err("does not start with http://".to_owned());
    };
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has a character in it that no URL has".to_owned());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    let default_port = if has_port { "" } else { ":80" };
    config::host_and_port(&format!("{authority}{default_port}")).map(|_| url.to_owned())
}
