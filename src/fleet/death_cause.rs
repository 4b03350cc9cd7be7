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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_death_by_an_end_has_an_exit() {
        let text = || "text".to_owned();
        for (cause, exit, words) in [
            (
                DeathCause::Ended(Exit::code(3)),
                Some(Exit::code(3)),
                "exited with code 3",
            ),
            (DeathCause::RefusesConnections, None, "refuses connections"),
            (DeathCause::Unresponsive, None, UNRESPONSIVE),
            (DeathCause::Unready(text()), None, "text"),
            (DeathCause::NotReadyInTime(text()), None, "text"),
            (DeathCause::Moved(text()), None, "text"),
        ] {
            assert_eq!(cause.exit(), exit.as_ref(), "{cause:?}");
            assert_eq!(cause.to_string(), words);
        }
    }
}
