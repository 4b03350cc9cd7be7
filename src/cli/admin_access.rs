//! Where the admin API is and with which token it is called: flags over environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{UsageError, reachable, variable};
use crate::config;
use crate::experiments::{AdminAccess, AdminToken};

const URL_VARIABLE: &str = "RINGMASTER_ADMIN_URL";
const TOKEN_VARIABLE: &str = "RINGMASTER_ADMIN_TOKEN";
/// Where a balancer with this environment listens.
const LISTEN_VARIABLE: &str = "RINGMASTER_ADMIN";
const DEFAULT_URL: &str = "http://127.0.0.1:5001";

/// The token of `analyze` and `drill`.
#[derive(Args)]
pub(super) struct TokenFlags {
    /// The admin token, in a file [default: RINGMASTER_ADMIN_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
}

/// Where a value comes from, in words.
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) by: String,
}

/// The URL: the flag's, or the environment's, or where a balancer listens by default.
pub(super) fn url(
    flag: Option<String>,
    env: &[(OsString, OsString)],
) -> Result<Said<String>, UsageError> {
    let said = |value: String, by: &str| Said {
        value,
        by: by.to_owned(),
    };
    if let Some(url) = flag {
        return Ok(said(url, "--admin"));
    }
    if let Some(text) = variable(env, URL_VARIABLE) {
        let url = super::args::read_base_url(text);
        let wrong =
            |wrong| format!("{URL_VARIABLE} = {text:?}: {wrong}; allowed is http://HOST:PORT");
        return Ok(said(url.map_err(wrong)?, URL_VARIABLE));
    }
    // In a balancer's container this finds the balancer.
    let listen = variable(env, LISTEN_VARIABLE).and_then(|text| config::listen_address(text).ok());
    Ok(match listen {
        Some(address) => said(format!("http://{}", reachable(address)), LISTEN_VARIABLE),
        None => said(DEFAULT_URL.to_owned(), "the default"),
    })
}

/// The token: of a file, or of the environment. A command line has none, because every process of
/// the machine can read it.
pub(super) fn token(
    file: Option<&Path>,
    env: &[(OsString, OsString)],
) -> Result<Option<Said<AdminToken>>, UsageError> {
    let (text, by) = match (file, variable(env, TOKEN_VARIABLE)) {
        (Some(path), _) => {
            let by = format!("--token-file {}", path.display());
            match std::fs::read_to_string(path) {
                Ok(text) => (text, by),
                Err(error) => return Err(format!("{by}: {error}").into()),
            }
        }
        (None, Some(text)) => (text.to_owned(), TOKEN_VARIABLE.to_owned()),
        (None, None) => return Ok(None),
    };
    let value = AdminToken::parse(&text).map_err(|wrong| format!("{by}: {wrong}"))?;
    Ok(Some(Said { value, by }))
}

/// The default fleet's, for `analyze` and `drill`.
pub(super) fn of_default_fleet(
    url: String,
    flags: &TokenFlags,
    env: &[(OsString, OsString)],
) -> Result<AdminAccess, UsageError> {
    let token = token(flags.token_file.as_deref(), env)?;
    Ok(AdminAccess {
        token: token.map(|said| said.value),
        ..AdminAccess::open(url)
    })
}
