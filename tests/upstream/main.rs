//! Requests on their way to replicas, and responses on their way back.

#![allow(clippy::unwrap_used, missing_docs)]

mod cut_off;
mod differential;
#[path = "../support/docker/mod.rs"]
mod docker;
mod forwarding;
mod forwarding_headers;
mod hostile;
mod in_flight;
mod outliers;
mod own_cookies;
mod static_servers;
mod streaming;
#[path = "../support/mod.rs"]
mod support;
mod timeouts;
mod trailers;
mod upgrades;
mod varnish;
