//! Heartbeats.

use std::time::Duration;

use actix_web::http::Method;
use clap::{Args, ValueEnum};

use super::super::read;
use super::super::rule::{choice, duration, parsed, text, whole};
use super::TIME;
use crate::fleet::{Expectation, StatusSet};

const HEADER: &str = "'NAME: VALUE', but for headers of the connection and the body";
const STATUSES: &str = "statuses and ranges of them from 200 to 599, with commas between";
const METHODS: [(&str, Method); 4] = [
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("OPTIONS", Method::OPTIONS),
    ("POST", Method::POST),
];

/// What a heartbeat does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HeartbeatKind {
    /// It sends a request.
    Http,
    /// It connects, and no more.
    Tcp,
}

/// How replicas are probed.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct HeartbeatSettings {
    /// What a heartbeat does
    ///
    /// http sends a request; tcp only connects, which tells whether a server listens and not
    /// whether it is ready.
    #[arg(long = "heartbeat", value_name = "KIND", default_value = "http")]
    pub kind: HeartbeatKind,
    /// The path that a heartbeat requests
    #[arg(
        long = "heartbeat-path", value_name = "PATH", default_value = "/heartbeat",
        value_parser = text("a path that starts with '/', without spaces", read::path)
    )]
    pub path: String,
    /// The method of a heartbeat's request
    #[arg(
        long = "heartbeat-method", value_name = "METHOD", default_value = "GET",
        value_parser = choice(METHODS)
    )]
    pub method: Method,
    /// Send a header with each heartbeat, such as 'Host: shop.example'
    #[arg(
        long = "heartbeat-header", value_name = "HEADER",
        value_parser = text(HEADER, read::header)
    )]
    pub headers: Vec<(String, String)>,
    /// The port that heartbeats go to [default: the one that requests go to]
    #[arg(long = "heartbeat-port", value_name = "PORT", value_parser = whole::<u16>(1, 65535))]
    pub port: Option<u16>,
    /// Which statuses are a good answer, such as 200,204,300-399
    #[arg(
        long = "heartbeat-status", value_name = "STATUSES", default_value = "200-299",
        value_parser = parsed::<StatusSet>(STATUSES)
    )]
    pub statuses: StatusSet,
    /// Text that a good answer's body has to contain
    ///
    /// Only its first 64 KiB are searched.
    #[arg(
        long = "heartbeat-body", value_name = "TEXT",
        value_parser = text("any text", read::not_empty)
    )]
    pub body: Option<String>,
    /// From one heartbeat to the next
    ///
    /// Shorter finds a hung replica sooner; a dead one is noticed without heartbeats.
    #[arg(
        long = "heartbeat-interval", value_name = TIME, default_value = "1s",
        value_parser = duration("10ms", "1h")
    )]
    pub interval: Duration,
    /// How long a heartbeat's answer may take
    #[arg(
        long = "heartbeat-timeout", value_name = TIME, default_value = "1s",
        value_parser = duration("10ms", "1h")
    )]
    pub timeout: Duration,
    /// How many heartbeats in a row without a good answer take a replica off the ring
    ///
    /// A bad answer makes it unready: it goes on running. No answer at all: it hangs, and is
    /// replaced after --hang-timeout.
    #[arg(
        long = "heartbeat-failures", value_name = "N", default_value = "3",
        value_parser = whole::<u32>(1, 100)
    )]
    pub failures: u32,
    /// How many good answers in a row bring a replica onto the ring
    #[arg(
        long = "heartbeat-successes", value_name = "N", default_value = "1",
        value_parser = whole::<u32>(1, 100)
    )]
    pub successes: u32,
}

impl HeartbeatSettings {
    /// What a good answer is.
    pub fn expectation(&self) -> Expectation {
        Expectation {
            statuses: self.statuses.clone(),
            body: self.body.clone(),
        }
    }
}
