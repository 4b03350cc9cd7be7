//! Headers on their way through: what goes on, what is added, what has to be well-formed.

pub mod client_ip;
pub mod cookies;
pub mod forwarded;
pub mod hop_by_hop;
mod ip_text;
pub mod max_forwards;
pub mod request_id;
pub mod response;
pub mod sticky;
pub mod trailers;
pub mod validate;
pub mod via;
