//! Forwarding: the key, the attempts, time-outs, the response's body, tunnels.

pub mod access_trace;
mod added_headers;
pub mod forward;
mod key;
mod request_tag;
mod response_body;
mod response_timeout;
mod upgrade;
