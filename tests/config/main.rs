//! The command line, the environment and the file, through `cli::parse`: what is said at the
//! three places ([`Said`]) and what comes of it.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

mod layers;
mod mistakes;
mod printed;
mod settings;

use std::ffi::OsString;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use ringmaster::cli::{self, Invocation, UsageError};
use ringmaster::config::{OPTIONS, RuntimeSettings, Settings};
use ringmaster::fleet::ContainerOptions;
use ringmaster::ring::KeySource;
use ringmaster::ring::{ReplicaName, Strategy};
use ringmaster::runtime::docker::{PullPolicy, Security};

/// What is said at each of the three places.
#[derive(Clone, Copy, Default)]
struct Said<'a> {
    /// As on a command line, without the program's name.
    args: &'a [&'a str],
    /// Pairs of name and value.
    env: &'a [(&'a str, &'a str)],
    /// The text of `ringmaster.toml`, if there is one.
    file: Option<&'a str>,
}

/// What comes of it. Messages name the file `ringmaster.toml`, wherever it was.
fn parse(said: Said<'_>) -> Result<Invocation, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringmaster.toml");
    let mut args: Vec<OsString> = vec!["ringmaster".into()];
    args.extend(said.args.iter().map(OsString::from));
    if let Some(text) = said.file {
        std::fs::write(&path, text).unwrap();
        args.extend(["--config".into(), path.clone().into()]);
    }
    let env = said.env.iter().map(|(k, v)| (k.into(), v.into()));
    cli::parse(args, env).map_err(|error| shortened(&error, folder.path()))
}

fn shortened(error: &UsageError, folder: &Path) -> Vec<String> {
    let folder = format!("{}/", folder.display());
    let mistakes = error.mistakes().iter();
    mistakes.map(|line| line.replace(&folder, "")).collect()
}

fn settings(said: Said<'_>) -> Settings {
    match parse(said) {
        Ok(Invocation::Balance { settings, .. }) => *settings,
        other => panic!("{other:?}"),
    }
}

fn flags(args: &[&str]) -> Settings {
    settings(Said {
        args,
        ..Said::default()
    })
}

fn file(text: &str) -> Settings {
    settings(Said {
        file: Some(text),
        ..Said::default()
    })
}

fn env(env: &[(&str, &str)]) -> Settings {
    settings(Said {
        env,
        ..Said::default()
    })
}
