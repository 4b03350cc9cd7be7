//! Why an instance counts as dead: the first sign of it.

use std::fmt;

use super::instance::Exit;
use super::unresponsive::UNRESPONSIVE;

/// The first sign of an instance's death. Of what it is text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeathCause {
    /// It has ended.
    Ended(Exit),
    /// It accepts no connections.
    RefusesConnections,
    /// It has ceased to answer heartbeats.
    Unresponsive,
    /// It has answered heartbeats badly for too long.
    Unready(String),
    /// It has not answered a heartbeat well in time.
    NotReadyInTime(String),
    /// Its address is not its own any more.
    Moved(String),
}

impl DeathCause {
    /// How it ended, if it has and that is known.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Ended(exit) => Some(exit),
            _ => None,
        }
    }
}

impl fmt::Display for DeathCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(exit) => exit.fmt(f),
            Self::RefusesConnections => f.write_str("refuses connections"),
            Self::Unresponsive => f.write_str(UNRESPONSIVE),
            Self::Unready(text) | Self::NotReadyInTime(text) | Self::Moved(text) => {
                f.write_str(text)
            }
        }
    }
}
