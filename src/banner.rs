//! The few lines that a person sees when the balancer starts.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::config::{RuntimeSettings, Settings};

/// What it listens on, what it runs, what to try next.
pub fn text(address: SocketAddr, admin: Option<SocketAddr>, settings: &Settings) -> String {
    let url = url(address);
    let replicas = settings.replicas.len();
    let what = match &settings.runtime {
        RuntimeSettings::Process(template) => match &template.command {
            Some(command) => format!("{replicas} replicas of `{}`", command.join(" ")),
            None => format!("{replicas} demo replicas as child processes"),
        },
        RuntimeSettings::Docker(docker) => {
            format!("{replicas} containers of the image {}", docker.image)
        }
        RuntimeSettings::Static(_) => format!("{replicas} servers that somebody else runs"),
    };
    let path = match &settings.runtime {
        RuntimeSettings::Process(template) if template.command.is_none() => "/home",
        _ => "/",
    };
    let mut text = String::new();
    let strategy = settings.ring.strategy();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "ringmaster {version} listens on {url}\n\
         it balances {what} ({strategy} ring)\n\
         \n\
         try   curl {url}{path}\n      curl {url}/rep\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    if !matches!(settings.runtime, RuntimeSettings::Static(_)) {
        let _ = writeln!(
            text,
            "      curl -X POST {url}/add -H 'Content-Type: application/json' -d '{{\"n\":1}}'"
        );
    }
    if let Some(admin) = admin {
        let _ = writeln!(text, "admin curl {}/status", self::url(admin));
    }
    text.push_str("stop  Ctrl-C\n");
    text
}

/// An address that a client on this machine can use.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}
