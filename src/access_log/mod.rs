//! The access log (`--access-log`): a line for each request, in the combined format or as JSON.
//!
//! A worker thread fills a buffer of its own ([`AccessLog`]) and hands it over whole, to a thread
//! that writes ([`AccessLogWriter`]). Neither waits for the other: what the writer has no room for
//! is dropped and counted.

mod format;
mod json;
mod output;
mod record;
mod time_text;
mod worker_buffer;

use format::write_ip;

pub use output::AccessLogWriter;
pub use record::{AccessLine, AttemptRecord, RequestRecord};
pub use worker_buffer::AccessLog;
