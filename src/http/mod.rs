//! What clients see: the admin calls, and everything else forwarded. In the order of a request:
//! `listener`, `connection`, `service`, `proxy` with `headers`, or `api`.
//!
//! Handlers know messages, not actors: what they may ask for is in [`Links`].

mod api;
mod connection;
mod context;
mod drain;
mod error;
mod headers;
mod listener;
mod proxy;
mod raw_request;
mod server;
mod service;
mod tunnel_limit;

pub use api::{AdminGuard, AdminHandles, AdminTokens, Sessions, admin_site};
#[cfg(feature = "fuzzing")]
pub use connection::h1::fuzz;
pub use context::{BROKEN_RESPONSES, ENDED_TUNNELS, FAILED_REQUESTS, HttpSettings, Links, Worker};
pub use drain::GracefulShutdown;
pub use headers::via::Via;
pub use listener::client_limit::ClientLimit;
pub use server::{Server, ServerSettings, Site, serve};
pub use service::proxy_site;
pub use tunnel_limit::TunnelLimit;
