//! Ringmaster: a self-healing HTTP load balancer.
//!
//! N replicas of a web server behind one address. A request's key is hashed to a
//! slot, the slot belongs to a replica, and a replica that dies is replaced under
//! the same name and on the same slots.
//!
//! The layers, where each may use only what stands to its left
//! (`tests/architecture.rs` holds the direction):
//!
//! ```text
//! api  <-  ring  <-  fleet  <-  sys  <-  h1  <-  runtime  <-  fault_injection  <-  config  <-  access_log  <-  upstream  <-  actors  <-  hooks  <-  metrics  <-  http  <-  app
//! ```
//!
//! * [`api`] is the JSON of the HTTP API, as types: for the server and for those that ask it.
//! * [`ring`] and [`fleet`] decide. They are pure: no actix, no async, no clock,
//!   no I/O, no log.
//! * [`runtime`] carries out: instances are started and stopped as child processes,
//!   as containers, or are somebody else's.
//! * [`fault_injection`] kills, pauses and delays instances, for drills.
//! * [`h1`] is HTTP/1.1 as bytes, for both sides: where messages end. It is pure, too.
//! * [`access_log`] writes a line for each request.
//! * [`upstream`] is the way to a replica: connections, retries, what an instance may hold.
//! * `hooks` tell webhooks and commands of events.
//! * [`metrics`] is what `/metrics` shows of all that, collected when it is asked for.
//! * `actors` pass messages between the two, `http` is what clients see, and `app`
//!   puts it all together.
//! * [`cli`] and [`config`] turn what an operator says into the typed settings that
//!   `app` starts from; nothing else knows flags, variables or files.
//! * [`ring_cli`] answers `ringmaster ring`, offline, from [`ring`] alone.
//! * [`experiments`] loads and watches a balancer from outside, for `analysis`, [`drill`]
//!   and `make chaos`.
//! * [`ctl`] is `ringmaster ctl`, a client of the admin API.
//! * `analysis` is a client of a whole balancer, from outside: the experiments of
//!   `ringmaster analyze`, with the feature `analyze`.

pub mod access_log;
mod actors;
#[cfg(feature = "analyze")]
pub mod analysis;
pub mod api;
pub mod app;
pub mod banner;
pub mod cli;
pub mod config;
pub mod ctl;
pub mod drill;
pub mod experiments;
pub mod fault_injection;
pub mod fleet;
pub mod h1;
pub mod healthcheck;
mod hooks;
pub mod http;
mod human;
pub mod log_format;
mod log_report;
pub mod log_writer;
pub mod metrics;
pub mod repeats;
pub mod ring;
pub mod ring_cli;
pub mod runtime;
pub mod sys;
pub mod upstream;
