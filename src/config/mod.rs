//! The configuration, from flags, environment and file to typed [`Settings`].
//!
//! ```text
//! flags, environment, file  ->  layers of texts  ->  clap reads each option  ->  Settings
//! ```
//!
//! The structs in `options` are the only list of options; clap makes flags, help and parsers of
//! them. What clap lacks is here: the file with its lines, the environment by our rules (clap's own
//! takes an empty variable for a value, splits flags wherever it splits variables, and reads the
//! process's environment alone), and every mistake at once, each with its key, its origin and what
//! is allowed. So flags reach clap's parsers as the other two do: as texts with an origin, of which
//! `validate` makes arguments again.

mod address;
mod command_warnings;
mod env_file;
mod environment;
mod file;
mod layers;
mod option;
mod options;
mod read;
mod recorded;
mod report;
mod rule;
mod settings;
mod units;
mod validate;

pub use option::{OPTIONS, OptionSpec};
pub use options::{
    AccessLogFormat, AccessLogTarget, AdminCalls, EventOptions, EventTarget, HealthOptions,
    HeartbeatKind, HeartbeatSettings, Limit, Limits, LogFormat, LogOptions, Off, RetryPolicy,
    RolloutOptions, RuntimeKind, ServerOptions,
};
pub use report::options_markdown;
pub use settings::{DefaultNames, RuntimeSettings, Settings, StickyCookie};

pub(crate) use address::{host_and_port, listen as listen_address};
pub(crate) use command_warnings::warnings as command_warnings;
pub(crate) use layers::{Given, Layer, Origin, did_you_mean, flags};
pub(crate) use option::CONFIG;
pub(crate) use read::{
    image as image_name, path as request_path, variable as env_variable, words as command_words,
};
pub(crate) use report::report;
pub(crate) use rule::{Rule, duration as duration_rule, text as text_rule, whole as whole_rule};
pub(crate) use validate::{ring_spec, settings};
pub(crate) use {environment::read as read_environment, file::read as read_file};
