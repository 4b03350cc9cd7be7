//! Who is told of events, beside the log and the admin API.

use std::fmt;
use std::path::PathBuf;

use actix_web::http::Uri;
use clap::Args;

use super::super::read;
use super::super::rule::text;

const TARGET: &str = "an http:// URL, or a command line such as '/usr/local/bin/page --team web'";

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTarget {
    /// To this URL, whose scheme is http.
    Webhook(Uri),
    /// To the stdin of this program, with these arguments; not empty.
    Command(Vec<String>),
}

impl EventTarget {
    fn read(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return read::words(text).map(Self::Command);
        }
        let url: Uri = text
            .parse()
            .map_err(|wrong| format!("not a URL: {wrong}"))?;
        match (url.scheme_str(), url.host()) {
            (Some("http"), Some(host)) if !host.is_empty() => Ok(Self::Webhook(url)),
            (Some("https"), _) => Err("https is not spoken here; a command such as \
                                       'curl --data-binary @- URL' does it"
                .to_owned()),
            _ => Err("not a URL of http".to_owned()),
        }
    }
}

/// As logs name it: without what may be secret, a path or arguments.
impl fmt::Display for EventTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(url) => {
                let port = url.port_u16().map(|port| format!(":{port}"));
                let host = url.host().unwrap_or_default();
                write!(f, "http://{host}{}", port.unwrap_or_default())
            }
            Self::Command(words) => f.write_str(words.first().map_or("", String::as_str)),
        }
    }
}

/// Who is told of events.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Events")]
pub struct EventOptions {
    /// Tell this URL or command of every event
    ///
    /// A URL gets each event of GET /api/v1/events as the JSON body of a POST, with a signature if
    /// there is a secret; a command gets it on stdin, and its parts as RINGMASTER_EVENT,
    /// RINGMASTER_REPLICA, RINGMASTER_GENERATION and RINGMASTER_REASON. What fails is tried again for
    /// ten minutes. Healing never waits for it. See docs/hooks.md.
    #[arg(long, value_name = "TARGET", value_parser = text(TARGET, EventTarget::read))]
    pub on_event: Vec<EventTarget>,
    /// Sign what is sent to URLs with the secret in this file
    ///
    /// The headers are those of Standard Webhooks: webhook-id, webhook-timestamp and
    /// webhook-signature, an HMAC of SHA-256. A secret that begins with whsec_ is base64.
    #[arg(long, value_name = "FILE", value_parser = text("a file's path", read::file))]
    pub on_event_secret_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_urls_of_http_or_commands() {
        let read = |text| EventTarget::read(text).map(|target| target.to_string());
        for (text, named) in [
            ("http://hooks.example/x?y", "http://hooks.example"),
            ("http://[::1]:8080/secret", "http://[::1]:8080"),
            ("/bin/page --key 'a b'", "/bin/page"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(named), "{text}");
        }
        for (text, wrong) in [
            ("https://x/", "https is not spoken"),
            ("ftp://x/", "not a URL of http"),
            ("http:///x", "not a URL"),
            ("http://a b/", "not a URL"),
            ("/bin/page 'x", "quote"),
            ("", "empty"),
        ] {
            let error = EventTarget::read(text).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
