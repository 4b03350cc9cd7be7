//! The cookie that keeps a session on its replica (`--sticky-cookie`, `--sticky-ttl`).

use std::time::Duration;

/// A cookie whose value is the key of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name; valid.
    pub name: String,
    /// How long a browser keeps it; none: until it is closed.
    pub ttl: Option<Duration>,
}
