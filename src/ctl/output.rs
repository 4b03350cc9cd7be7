//! What is printed: tables and sentences for people, or the API's JSON.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::client::ApiReply;
use super::error::CtlError;
use crate::api::{ReplicaState, Timestamp};

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// Where results go.
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Results as JSON, or for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints an answer: as it came, or as `text` puts it.
    pub fn reply<T>(&self, reply: &ApiReply<T>, text: impl FnOnce(&T) -> String) {
        // A reader that has seen enough (`| head`) is no failure.
        let _ = match self.json {
            true => print(&reply.json),
            false => print(&text(&reply.value)),
        };
    }

    /// Prints a sentence about something that has no JSON.
    pub fn say(&self, text: &str) {
        if !self.json {
            let _ = print(text);
        }
    }

    /// Says what a change does; asks whether that is meant, if there is a terminal to ask on.
    ///
    /// # Errors
    ///
    /// It is not, or the terminal cannot be read.
    pub fn confirm(&self, what: &str, yes: bool) -> Result<(), CtlError> {
        let (mut stderr, stdin) = (io::stderr(), io::stdin());
        if yes || !stdin.is_terminal() || !stderr.is_terminal() {
            self.say(what);
            return Ok(());
        }
        write!(stderr, "{what}\nGo on? [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        stdin.read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CtlError::Declined),
        }
    }
}

/// Prints a text, ending in a line break; colours go to a terminal that wants them.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{}", text.trim_end())?;
    stdout.flush()
}

/// A text of the balancer's or of a replica's in one line, without what a terminal would obey.
pub fn plain(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_debug().collect::<String>(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// `3 s ago`; a clock that is behind counts as the same.
pub fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago", span(now, at))
}

/// `3 s`.
pub fn span(now: Timestamp, at: Timestamp) -> String {
    let time = Duration::from_secs_f64(now.millis_since(at).max(0.0) / 1e3);
    coarse(time)
}

/// A duration in the largest unit that it has two of.
pub fn coarse(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = time.as_secs();
    match seconds {
        _ if seconds < 2 * MINUTE => format!("{seconds} s"),
        _ if seconds < 2 * HOUR => format!("{} min", seconds / MINUTE),
        _ if seconds < 2 * DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} d", seconds / DAY),
    }
}

/// Colours the state in each row of a table, which stands below this header.
pub fn with_coloured_states(table: &str, header: &str) -> String {
    let Some(column) = table.lines().next().and_then(|line| line.find(header)) else {
        return table.to_owned();
    };
    let states = [
        ReplicaState::Starting,
        ReplicaState::Ready,
        ReplicaState::Drained,
        ReplicaState::Unready,
        ReplicaState::Hung,
        ReplicaState::Restarting,
        ReplicaState::BackingOff,
        ReplicaState::Draining,
        ReplicaState::Stopping,
    ];
    let names = states.map(|state| (state.to_string(), colour(state)));
    let lines = table.lines().map(|line| {
        // Before it there are names of replicas, which are ASCII.
        let Some((before, rest)) = line.split_at_checked(column) else {
            return format!("{line}\n");
        };
        let found = names.iter().find(|(name, _)| {
            let rest = rest.strip_prefix(name.as_str());
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        });
        match found {
            Some((name, colour)) => {
                let rest = &rest[name.len()..];
                format!("{before}{colour}{name}{RESET}{rest}\n")
            }
            None => format!("{line}\n"),
        }
    });
    lines.collect()
}

fn colour(state: ReplicaState) -> &'static str {
    match state {
        ReplicaState::Ready => GREEN,
        ReplicaState::Hung | ReplicaState::BackingOff => RED,
        _ => YELLOW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_the_largest_unit_that_they_have_two_of() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(coarse(Duration::from_secs(seconds)), text);
        }
        let now = Timestamp::now();
        assert_eq!(ago(now, now + Duration::from_secs(9)), "0 s ago");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(
            plain("a\x1b[2J\nb\u{9b}c\u{e9}"),
            "a\\u{1b}[2J\\nb\\u{9b}c\u{e9}"
        );
    }

    #[test]
    fn state_is_coloured_in_its_column_alone() {
        let table = "replica  state\n-------------\nready    ready  1\nb        backing off  2\n";
        let coloured = with_coloured_states(table, "state");
        assert!(
            coloured.contains("ready    \x1b[32mready\x1b[0m  1\n"),
            "{coloured}"
        );
        assert!(
            coloured.contains("\x1b[31mbacking off\x1b[0m  2\n"),
            "{coloured}"
        );
    }
}
