//! Forwarding: the key, the attempts, time-outs, the response's body, tunnels.

pub mod access_trace;
mod added_headers;
mod attempt;
pub mod forward;
mod key;
mod relay;
mod request_context;
mod request_tag;
mod response_body;
mod response_timeout;
mod upgrade;
