//! What an operator may set, from the table of options to typed [`Settings`].
//!
//! ```text
//! flags, environment, file  ->  layers of texts  ->  one validation  ->  Settings
//! ```
//!
//! [`OPTIONS`] is the only list of options. Layers (flags over environment over file)
//! hold texts and where each was given. One pass judges them and finds every mistake,
//! each with its key, its origin and what is allowed. From then on there are types.

mod address;
mod admin_access;
mod command;
mod env_file;
mod environment;
mod file;
mod heartbeat;
mod key_source;
mod layers;
mod markdown;
mod option;
mod options;
mod reader;
mod recorded;
mod report;
mod retry;
mod settings;
mod sticky_cookie;
mod text;
mod units;
mod validate;

pub use admin_access::{AdminAccess, AdminCalls};
pub use key_source::{InvalidKeySource, KeySource};
pub use markdown::options_markdown;
pub use option::{Allowed, Fallback, OptionSpec, RuntimeKind, Shape};
pub use options::OPTIONS;
pub use retry::RetryPolicy;
pub use settings::{
    DefaultNames, HeartbeatSettings, RequestTimes, RuntimeSettings, Settings, Times,
};
pub use sticky_cookie::StickyCookie;

pub(crate) use address::{host_and_port, listen as listen_address};
pub(crate) use command::warnings as command_warnings;
pub(crate) use layers::{Given, Layer, Layers, Origin, Raw, meant};
pub(crate) use options::CONFIG;
pub(crate) use report::report;
pub(crate) use text::path as request_path;
pub(crate) use units::{duration, whole};
pub(crate) use validate::{ring_spec, settings};
pub(crate) use {environment::read as read_environment, file::read as read_file};
